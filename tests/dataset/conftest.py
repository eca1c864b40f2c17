"""Jets in small ROOT files, and a conversion of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from fivesigma.dataset import Conversion, Sample

JetWriter = Callable[..., Path]


@pytest.fixture
def write_jets(tmp_path: Path) -> JetWriter:
    """Writes jets; keyword arguments replace columns."""

    def write(name: str, n: int = 200, *, seed: int = 1, **replaced: Any) -> Path:
        rng = np.random.default_rng(seed)
        counts = rng.integers(0, 5, n)
        columns = {
            "event_number": np.arange(n, dtype=np.int64),
            "jet_index": np.zeros(n, np.int32),
            "jet_pt": rng.uniform(240, 310, n).astype(np.float32),
            "jet_mass": rng.normal(80, 8, n).astype(np.float32),
            "tau21": rng.random(n).astype(np.float32),
            "generator_weight": rng.normal(1.0, 0.7, n),
            "constituent_pt": ak.unflatten(rng.random(int(counts.sum())).astype(np.float32), counts),
            **replaced,
        }
        path = tmp_path / name
        types = {k: "var * float32" if isinstance(v, ak.Array) else v.dtype for k, v in columns.items()}
        with uproot.recreate(path) as file:
            file.mktree("jets", types).extend(columns)
        return path

    return write


@pytest.fixture
def jets(write_jets: JetWriter) -> Conversion:
    """W jets (two files) against QCD jets, with cuts, variables, signed weights, shards of at most 120 entries."""
    signal = (write_jets("w1.root", 200, seed=1), write_jets("w2.root", 100, seed=2, event_number=np.arange(200, 300)))
    background = write_jets("qcd.root", 200, seed=3)
    return Conversion(
        samples=(
            Sample(name="W", files=tuple(map(str, signal)), label=1),
            Sample(name="QCD", files=(str(background),), label=0, weight="2.5"),
        ),
        selection={"pt window": "250 < jet_pt < 300", "mass": "jet_mass > 70"},
        new_variables={"n_constituents": "count(constituent_pt)", "scaled": "jet_mass / jet_pt"},
        columns=("jet_mass", "tau21", "n_constituents", "constituent_pt"),
        observers=("jet_pt", "scaled"),
        weight="generator_weight",
        identity=("sample", "event_number"),
        row=("sample", "event_number", "jet_index"),
        step=120,
    )
