"""Projects for FPGAs: the emulation of conifer's and hls4ml's C++ is our integers, bit for bit."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.deploy.models import boosted, forest
from tests.deploy.networks import network

from fivesigma.core.errors import ConfigError, MissingDependencyError, ModelError, ParityError
from fivesigma.deploy import Artifact, Fpga, TrainedModel, export, load_artifact, verify
from fivesigma.deploy.fixed_trees import FixedTrees, quantised_trees
from fivesigma.deploy.tree_ensemble import Tree, ensemble_on_inputs

pytestmark = pytest.mark.filterwarnings("error")
FEW: dict[str, Any] = {"trees": 5, "leaves": 6}


@pytest.fixture(scope="module")
def trees() -> TrainedModel:
    return boosted("log", **FEW)


@pytest.fixture(scope="module")
def of_trees(trees: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export(trees, Fpga(bits=9), tmp_path_factory.mktemp("fpga") / "trees")


@pytest.fixture(scope="module")
def of_network(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export(network("dense"), Fpga(), tmp_path_factory.mktemp("fpga") / "network")


def leaf_of(fixed: FixedTrees, tree: Tree, event: list[float]) -> int:
    """Slow and obvious: Python's own integers and fractions."""
    node = 0 if len(tree.feature) else ~0
    while node >= 0:
        i = int(tree.feature[node])
        if math.isnan(event[i]):
            code = fixed.low
        elif math.isinf(event[i]):
            code = fixed.high if event[i] > 0 else fixed.low
        else:
            code = math.floor(Fraction(event[i]) * Fraction(2) ** fixed.fractions[i])
        code = min(max(code, fixed.low), fixed.high)
        node = int(tree.left[node] if code <= int(tree.threshold[node]) else tree.right[node])
    return int(tree.value[~node])


@pytest.mark.parametrize("bits", [6, 9, 24])
def test_trees_in_integers(trees: TrainedModel, bits: int) -> None:
    exact = ensemble_on_inputs(trees)
    fixed = quantised_trees(exact, 3, bits)
    rng = np.random.default_rng(4)
    special = rng.choice([np.nan, np.inf, -np.inf, 0, 1e300], (50, 3))
    events = np.concatenate([trees.recorded[:200], rng.normal(0, 100, (50, 3)), special])
    expected = [sum(leaf_of(fixed, tree, event) for tree in fixed.trees.trees) for event in events.tolist()]
    np.testing.assert_array_equal(fixed.score(events), np.array(expected) * 2.0**-fixed.leaf_fraction)
    assert max(abs(total) for total in expected) < 2 ** (fixed.score_bits - 1)
    if bits == 24:
        assert np.abs(fixed.score(trees.recorded) - exact.score(trees.recorded)).mean() < 1e-3


def test_conifers_emulation_is_our_integers(trees: TrainedModel, of_trees: Artifact) -> None:
    fixed = quantised_trees(ensemble_on_inputs(trees), 3, 9)
    proof = of_trees.manifest["proof"]
    assert proof["outputs"]["score"]["worst"] == 0.0
    assert proof["inputs"]["recorded"] == 2_000
    assert proof["inputs"]["at every cut"] == 3 * sum(len(tree.feature) for tree in fixed.trees.trees)
    columns = dict(zip(trees.inputs, trees.recorded.T, strict=True))
    expected = fixed.exact.probability(fixed.score(trees.recorded))
    np.testing.assert_array_equal(load_artifact(of_trees.folder).predict(columns), expected)
    assert verify(of_trees.folder, trees).inputs == sum(proof["inputs"].values())
    details = of_trees.manifest["details"]
    assert details["tool"].startswith("conifer ")
    assert details["loss"]["auc_fixed"] == pytest.approx(details["loss"]["auc_model"], abs=0.01)


@pytest.mark.parametrize("kind", ["a forest", "AdaBoost"])
def test_other_trees(kind: str, tmp_path: Path) -> None:
    from tests.deploy.models import toy_model

    from fivesigma.trees import AdaBoost

    model = forest("none", trees=4, depth=3) if kind == "a forest" else toy_model(AdaBoost(trees=4, depth=2))
    artifact = export(model, Fpga(bits=12), tmp_path / "out")
    assert artifact.manifest["proof"]["outputs"]["score"]["worst"] == 0.0


def test_hls4mls_emulation_is_our_integers(of_network: Artifact) -> None:
    proof, details = of_network.manifest["proof"], of_network.manifest["details"]
    assert proof["outputs"]["score"]["worst"] == 0.0  # against NumPy
    assert proof["outputs"]["ours"]["worst"] == 0.0  # our own header beside it
    assert details["tool"].startswith("hls4ml ")
    assert (details["layers"], details["multiplications"]) == (3, 3 * 16 + 16 * 8 + 8)
    assert details["scan"][-1]["bits"] == details["bits"]
    assert details["scan"][-1]["loss"] <= 0.001
    assert verify(of_network.folder).inputs == sum(proof["inputs"].values())


@pytest.mark.parametrize(
    ("what", "file", "begin"),
    [
        ("of_trees", "firmware/parameters.h", "    {"),
        ("of_network", "firmware/weights/w4.h", "dense1_weight_t w4[128] = {"),
    ],
)
def test_a_number_changed_by_hand(what: str, file: str, begin: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(what).folder
    path = next(folder.glob("*_hls")) / file
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if line.startswith(begin) and "." in line)
    first, rest = lines[at].removeprefix(begin).split(",", 1)
    assert float(first) is not None
    changed = [*lines[:at], f"{begin}{float(first) + 0.5},{rest}", *lines[at + 1 :]]
    if what == "of_trees":  # every leaf of the first tree
        values = [float(x) for x in lines[at].strip(" {},\n").split(",")]
        changed[at] = begin + ",".join(str(v + 0.5) for v in values) + "},\n"
    path.write_text("".join(changed), encoding="utf-8")
    try:
        with pytest.raises(ParityError, match=r"(?s)was changed: .*score differs at [\d,]+ of"):
            verify(folder)
    finally:
        path.write_text(text, encoding="utf-8")


def test_the_same_model_gives_the_same_files_and_they_hold_no_place(
    trees: TrainedModel, of_trees: Artifact, of_network: Artifact, tmp_path: Path
) -> None:
    again = export(trees, Fpga(bits=9), tmp_path / "again")
    assert again.manifest["files"] == of_trees.manifest["files"]
    for artifact in (of_trees, of_network):
        for path in artifact.folder.rglob("*"):
            if path.is_file() and path.suffix != ".npy":
                assert str(artifact.folder.parent) not in path.read_text(encoding="utf-8", errors="replace"), path


def test_what_is_refused(trees: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"tanh has tables of its own in hls4ml"):
        export(network("network"), Fpga(bits=12), tmp_path / "a")
    with pytest.raises(ModelError, match=r"largest has tables"):
        export(network("maxout"), Fpga(bits=12), tmp_path / "b")
    with pytest.raises(ConfigError, match=r"expected 4 to 24 bits, got 40"):
        export(trees, Fpga(bits=40), tmp_path / "c")
    with pytest.raises(ConfigError, match="no number of bits loses at most -1"):
        export(trees, Fpga(loss=-1), tmp_path / "d")
    with pytest.raises(ConfigError, match=r"no recorded events.*declare the bits"):
        export(replace(trees, recorded=np.empty((0, 3))), Fpga(), tmp_path / "e")

    def gone(name: str, package: str | None = None) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", gone)
    with pytest.raises(MissingDependencyError, match=r"conifer writes the project.*fivesigma\[hls\]"):
        export(trees, Fpga(bits=9), tmp_path / "f")
    assert not list(tmp_path.iterdir())
