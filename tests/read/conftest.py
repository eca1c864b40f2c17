"""Small ROOT files of our own, as TTree and as RNTuple."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

Writer = Callable[..., Path]


@pytest.fixture
def write_tree(tmp_path: Path) -> Writer:
    """Writes ``n`` events to a TTree or RNTuple; returns the file's path."""

    def write(
        name: str = "a.root", n: int = 10, *, seed: int = 1, tree: str = "jets", rntuple: bool = False, **more: object
    ) -> Path:
        rng = np.random.default_rng(seed)
        counts = rng.integers(0, 4, n)
        columns: dict[str, object] = {
            "event_number": np.arange(n, dtype=np.int64),
            "pt": rng.uniform(250, 300, n).astype(np.float32),
            "flag": rng.random(n) < 0.5,
            "constituent_pt": ak.unflatten(rng.random(int(counts.sum())).astype(np.float32), counts),
            **more,
        }
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with uproot.recreate(path) as file:
            if rntuple:
                file.mkrntuple(tree, columns)
            else:
                types = {k: "var * float32" if isinstance(v, ak.Array) else v.dtype for k, v in columns.items()}  # type: ignore[attr-defined]
                file.mktree(tree, types).extend(columns)
        return path

    return write
