"""Files with faults: ROOT files of our own in every codec and container, and copies of them with bits flipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from tests.faults.damaged import Flips
from tests.faults.kinds import ROOT_KINDS, write_kind

ENTRIES = 600


@pytest.fixture(scope="session")
def own_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """600 events in three baskets or clusters, by "<container>-<codec>"; ``pt`` and ``jet_pt`` compress well."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 4, ENTRIES)
    columns: dict[str, Any] = {
        "event": np.arange(ENTRIES),
        "pt": np.round(rng.exponential(50.0, ENTRIES)).astype(np.float32),
        "jet_pt": ak.unflatten(np.round(rng.exponential(50.0, int(counts.sum()))).astype(np.float32), counts),
    }
    return {kind: write_kind(folder / kind, kind, columns, parts=3) for kind in ROOT_KINDS}


@pytest.fixture
def flips(tmp_path: Path) -> Flips:
    """Copies of a file with one bit flipped at random places within byte ranges: (place, path), one at a time."""

    def copies(path: Path, ranges: list[tuple[int, int]], n: int = 100, seed: int = 5) -> Iterator[tuple[int, Path]]:
        rng = np.random.default_rng(seed)
        content = path.read_bytes()
        places = np.concatenate([np.arange(start, stop) for start, stop in ranges])
        copy = tmp_path / path.name
        for place in rng.choice(places, n).tolist():
            damaged = bytearray(content)
            damaged[place] ^= 1 << int(rng.integers(8))
            copy.write_bytes(bytes(damaged))
            yield place, copy

    return copies
