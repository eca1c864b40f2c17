"""Projects for FPGAs: the emulation of conifer's and hls4ml's C++ is our integers, bit for bit."""

from __future__ import annotations

import importlib
import math
import re
import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.deploy.models import boosted, forest, toy_model
from tests.deploy.networks import network

from fivesigma.core.errors import ConfigError, MissingDependencyError, ModelError, ParityError
from fivesigma.core.progress import progress_mode
from fivesigma.deploy import Artifact, Fpga, TrainedModel, export, fpga_project, load_artifact, verify
from fivesigma.deploy.c_features import seen_by_network
from fivesigma.deploy.feed_forward import Activated
from fivesigma.deploy.fixed_point import HLS4ML_FRACTION, HLS4ML_TABLES, quantised
from fivesigma.deploy.fixed_trees import FixedTrees, quantised_trees
from fivesigma.deploy.network_steps import feed_forward
from fivesigma.deploy.tree_ensemble import Tree, ensemble_on_inputs
from fivesigma.learn import DeclaredClassifier, McDropoutClassifier
from fivesigma.trees import AdaBoost

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
    assert details["emulation"] == fpga_project.cpp_compiler().version
    assert details["loss"]["auc_fixed"] == pytest.approx(details["loss"]["auc_model"], abs=0.01)


@pytest.mark.parametrize("kind", ["a forest", "AdaBoost"])
def test_other_trees(kind: str, tmp_path: Path) -> None:
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


MIXED: dict[str, Any] = {
    "first": {
        "from": "x",
        "layers": [{"dense": 6, "activation": "tanh"}, "batch-norm", {"dense": 5, "activation": "relu"}],
    },
    "second": {"from": "first", "layers": [{"dense": 4, "activation": "sigmoid"}, "tanh"]},
}


def mixed() -> TrainedModel:
    heads = {"signal": {"from": "second", "loss": "bce"}}
    return toy_model(DeclaredClassifier(blocks=MIXED, heads=heads, epochs=2, seed=3))


def test_tanh_and_sigmoid_are_hls4mls_tables(tmp_path: Path) -> None:
    artifact = export(mixed(), Fpga(bits=12), tmp_path / "out")
    outputs = artifact.manifest["proof"]["outputs"]
    assert (outputs["score"]["worst"], outputs["ours"]["worst"]) == (0.0, 0.0)
    loss = artifact.manifest["details"]["loss"]
    assert abs(loss["loss"]) < 0.001 + 3 * loss["uncertainty"]


@pytest.mark.parametrize("bits", [4, 8, 12, 24])
def test_the_tables_are_what_hls4ml_documents(bits: int) -> None:
    """Its index is the number × size ÷ range, towards zero, from the middle; an entry is rounded, halves up."""
    model = mixed()
    network = feed_forward(model)
    fixed = quantised(network, bits, seen_by_network(model, model.recorded), as_hls4ml=True)
    found = [(place, step) for place, step in enumerate(fixed.steps) if step.table is not None]
    assert len(found) == 3
    for place, exact in found:
        assert isinstance(exact.step, Activated)
        assert exact.table is not None
        before, size, end = fixed.fractions[place], len(exact.table), 4 if exact.step.function == "tanh" else 8
        codes = np.arange(fixed.low, fixed.high + 1, max(1, 2 ** (bits - 12)))
        answers = fixed._value(exact, {place: codes[:, None]})[:, 0]  # type: ignore[arg-type]
        for code, answer in zip(codes.tolist(), answers.tolist(), strict=True):
            index = math.trunc(Fraction(code, 2**before) * size / (2 * end)) + size // 2
            x = 2 * end * (min(max(index, 0), size - 1) - size / 2) / size
            y = math.tanh(x) if end == 4 else 1 / (1 + math.exp(-x))
            assert answer == min(math.floor(Fraction(y) * 2**exact.fraction + Fraction(1, 2)), fixed.high)


@pytest.mark.parametrize(("function", "end", "most"), [(f, *words) for f, words in HLS4ML_TABLES.items()])
def test_no_entry_depends_on_the_last_bits_of_a_c_library(function: str, end: int, most: int) -> None:
    for before in range(HLS4ML_FRACTION + 1):
        x = np.arange(-end << before, end << before) * 2.0**-before
        y = np.tanh(x) if function == "tanh" else 1 / (1 + np.exp(-x))
        unit = np.spacing(np.abs(y).astype(np.float32)).astype(np.float64)
        low, high = (np.floor((y + sign * unit) * 2.0**most + 0.5) for sign in (-2, 2))
        np.testing.assert_array_equal(low, high)


def changed_number(line: str) -> str:
    """The first number of a list in C one larger."""
    before, first, after = re.split(r"(-?[\d.]+(?:e-?\d+)?)(?=[,}])", line, maxsplit=1)
    return f"{before}{float(first) + 1 if '.' in first else int(first) + 1}{after}"


@pytest.mark.parametrize(
    ("what", "file", "after", "further"),
    [
        ("of_trees", "firmware/parameters.h", "tree_0_0 = {", 3),  # the cut of its root, by one code
        ("of_trees", "firmware/parameters.h", "tree_0_0 = {", 4),  # a leaf
        ("of_network", "firmware/weights/w4.h", "dense1_weight_t w4[128] = {", 0),
    ],
)
def test_a_number_changed_by_hand(
    what: str, file: str, after: str, further: int, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(what).folder
    path = next(folder.glob("*_hls")) / file
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if after in line and (further or "." in line)) + further
    if further == 4:  # values stand for every node; only those of leaves are used
        numbers = lines[at].strip(" {},\n").split(",")
        leaf = next(i for i, number in enumerate(numbers) if float(number) != 0)
        numbers[leaf] = str(float(numbers[leaf]) + 0.5)
        lines[at] = "    {" + ",".join(numbers) + "},\n"
    else:
        lines[at] = changed_number(lines[at])
    path.write_text("".join(lines), encoding="utf-8")
    try:
        with pytest.raises(ParityError, match=r"(?s)was changed: .*score differs at [\d,]+ of"):
            verify(folder)
    finally:
        path.write_text(text, encoding="utf-8")


def simulated(artifact: Artifact, folder: Path, *sources: str) -> subprocess.CompletedProcess[str]:
    """The project's test bench, as a synthesiser's simulation in C runs it: in ``folder``, beside the data."""
    project = next(artifact.folder.glob("*_hls"))
    shutil.copytree(project / "tb_data", folder / "tb_data")
    if (project / "firmware" / "weights").is_dir():
        shutil.copytree(project / "firmware" / "weights", folder / "weights")
    files = [str(project / name) for name in (f"{project.name}_test.cpp", f"firmware/{project.name}.cpp", *sources)]
    includes = [f"-I{project}", f"-I{project / 'firmware'}", f"-I{project / 'firmware/ap_types'}"]
    subprocess.run(["g++", "-std=c++11", "-w", *includes, *files, "-o", str(folder / "bench")], check=True)
    return subprocess.run([folder / "bench"], cwd=folder, capture_output=True, text=True, check=False)


def test_the_test_bench_of_trees_passes_and_can_fail(of_trees: Artifact, tmp_path: Path) -> None:
    ran = simulated(of_trees, tmp_path, "firmware/BDT.cpp")
    assert (ran.returncode, ran.stdout) == (0, "200 events, 0 scores differ\n")
    expected = tmp_path / "tb_data" / "tb_output_predictions.dat"
    first, rest = expected.read_text(encoding="utf-8").split("\n", 1)
    expected.write_text(f"{float(first) + 0.5}\n{rest}", encoding="utf-8")
    again = subprocess.run([tmp_path / "bench"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (1, "200 events, 1 scores differ\n")


def test_hls4mls_test_bench_reads_the_same_weights_from_text(of_network: Artifact, tmp_path: Path) -> None:
    assert simulated(of_network, tmp_path).returncode == 0
    found, expected = (
        np.loadtxt(tmp_path / "tb_data" / name) for name in ("csim_results.log", "tb_output_predictions.dat")
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # it prints six digits


def test_licences_go_with_the_sources(of_trees: Artifact, of_network: Artifact) -> None:
    for artifact, tools in ((of_trees, ("conifer", "hls4ml")), (of_network, ("hls4ml",))):
        project = next(artifact.folder.glob("*_hls"))
        for tool in tools:
            assert "Apache License" in (project / f"LICENSE.{tool}").read_text(encoding="utf-8")
        for path in project.rglob("*.*"):
            if path.is_file():
                assert "General Public License" not in path.read_text(encoding="utf-8"), path


def test_the_same_model_gives_the_same_files_and_they_hold_no_place(
    trees: TrainedModel,
    of_trees: Artifact,
    of_network: Artifact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fpga_project, "MANY_NUMBERS", 100)
    with progress_mode("plain"):
        again = export(trees, Fpga(bits=9), tmp_path / "again")
    numbers = 3 * sum(2 * len(tree.feature) + 1 for tree in ensemble_on_inputs(trees).trees)
    assert f"conifer writes {numbers} numbers into one header; g++ takes minutes" in capsys.readouterr().err
    assert again.manifest["files"] == of_trees.manifest["files"]
    for artifact in (of_trees, of_network):
        for path in artifact.folder.rglob("*"):
            if path.is_file() and path.suffix != ".npy":
                assert str(artifact.folder.parent) not in path.read_text(encoding="utf-8", errors="replace"), path


def test_what_is_refused(trees: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ModelError, match=r"prelu has no form in hls4ml that is ours bit by bit; .* relu, tanh, sigmoid"
    ):
        export(network("network"), Fpga(bits=12), tmp_path / "a")
    blocks: dict[str, Any] = {"trunk": {"from": "x", "layers": [{"residual": [{"dense": 3, "activation": "relu"}]}]}}
    heads = {"signal": {"from": "trunk", "loss": "bce"}}
    with pytest.raises(ModelError, match=r"one layer after another here; this network branches"):
        export(toy_model(DeclaredClassifier(blocks=blocks, heads=heads, epochs=1)), Fpga(bits=12), tmp_path / "a")
    with pytest.raises(ModelError, match=r"layer-norm has no form in hls4ml that is ours bit by bit"):
        export(network("two outputs"), Fpga(bits=12), tmp_path / "a")
    with pytest.raises(ModelError, match=r"maxout is neither trees nor a network of layers one after the other.*dense"):
        export(network("maxout"), Fpga(bits=12), tmp_path / "b")
    with pytest.raises(ModelError, match=r"mc-dropout is neither trees"):
        export(toy_model(McDropoutClassifier(epochs=1)), Fpga(bits=12), tmp_path / "b")
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
