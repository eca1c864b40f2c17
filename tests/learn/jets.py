"""A small converted dataset with signed weights, and programs that train on it."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from fivesigma.dataset import Conversion, Dataset, Sample, convert

FLAT = ("a", "b", "c")


def small_jets(folder: Path, n: int = 2_000, **replaced: Any) -> Dataset:
    """Signal is shifted in all columns, and has more constituents; a fifth of the weights are negative."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, n).astype(np.int8)
    counts = rng.poisson(3 + 2 * label)
    columns = {
        "event": np.arange(n),
        "label": label,
        "w": np.where(rng.random(n) < 0.2, -0.5, 1.0),
        **{name: rng.normal(0.8 * label, 1.0).astype(np.float32) for name in FLAT},
        **{x: ak.unflatten(rng.random(int(counts.sum())).astype(np.float32), counts) for x in ("pt", "eta")},
        **replaced,
    }
    types = {k: "var * float32" if isinstance(v, ak.Array) else v.dtype for k, v in columns.items()}
    folder.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(folder / "jets.root") as file:
        file.mktree("jets", types).extend(columns)
    conversion = Conversion(
        samples=(Sample(name="jets", files=(str(folder / "jets.root"),)),),
        columns=(*FLAT, "pt", "eta"),
        label="label",
        weight="w",
        identity=("event",),
        nan="keep",
        step=700,
    )
    return convert(conversion, folder / "dataset")
