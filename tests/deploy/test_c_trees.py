"""Generated C: every layout bit for bit, every compiler without a warning, sanitizers and fuzzer without a word."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.deploy.models import boosted, forest

from fivesigma.core.errors import ConfigError
from fivesigma.deploy import Artifact, CTrees, TrainedModel, c_trees, export, load_artifact
from fivesigma.deploy.artifact import read_proof
from fivesigma.deploy.c_source import identifiers
from fivesigma.deploy.c_target import CompiledTrees
from fivesigma.deploy.c_trees import header
from fivesigma.deploy.parity import SPECIAL
from fivesigma.deploy.tree_ensemble import ensemble_on_inputs, tree_learner

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")
C99, CPP = ("gcc", "-std=c99"), ("g++", "-x", "c++", "-std=c++17")
CLANG, CLANGPP = ("clang", "-std=c99"), ("clang++", "-x", "c++", "-std=c++17")


def build_and_run(folder: Path, source: str, *command: str, arguments: tuple[str, ...] = ()) -> str:
    program = folder / f"{source}.program"
    build = subprocess.run(
        [*command, *WARNINGS, "-ffp-contract=off", source, "-lm", "-o", str(program)],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert build.returncode == 0, build.stderr
    answer = subprocess.run([str(program), *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.mark.parametrize("layout", ["bitvectors", "nested", "nodes"])
@pytest.mark.parametrize("kind", ["boosted", "many leaves", "groups", "forest"])
def test_every_layout_scores_as_the_library(
    layout: Any, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"many leaves": {"leaves": 60, "trees": 5, "min_events_in_leaf": 5}}.get(kind, {})
    if kind == "groups":
        monkeypatch.setattr(c_trees, "CACHE", 7 * 4 * c_trees.BLOCK)  # 20 trees in groups of seven
    model = forest() if kind == "forest" else boosted(**options)
    ensemble = ensemble_on_inputs(model)
    assert (ensemble.leaves > 32) == (kind in {"many leaves", "forest"})
    (tmp_path / "toy.h").write_text(header(model, ensemble, "toy", layout), encoding="utf-8")
    values = model.recorded[:999].copy()  # no multiple of a block
    values[::5] = np.random.default_rng(1).choice(SPECIAL, values[::5].shape)
    want = tree_learner(model).score(model.estimator, model.scaled(values))
    got = CompiledTrees(tmp_path, "toy").answers(values)
    np.testing.assert_array_equal(got["score"], want)
    np.testing.assert_array_equal(got["batch"], want)


@pytest.mark.parametrize("compiler", [C99, CPP, CLANG, CLANGPP], ids=lambda c: f"{c[0]} {c[-1]}")
def test_the_test_program_builds_without_a_warning_and_agrees(compiler: tuple[str, ...], artefact: Path) -> None:
    assert shutil.which(compiler[0]) is not None, f"{compiler[0]} is not installed (apt-get install gcc g++ clang)"
    assert "500 vectors, 0 differ" in build_and_run(artefact, "test_toy_bdt.c", *compiler, "-O2")


def test_the_test_program_finds_a_changed_threshold(artefact: Path) -> None:
    change_a_threshold(artefact / "toy_bdt.h", 1.1)
    with pytest.raises(AssertionError, match=r"vector \d+: expected"):
        build_and_run(artefact, "test_toy_bdt.c", *C99)


@pytest.mark.parametrize("layout", ["bitvectors", "nodes"])
def test_sanitizers_and_fuzzer_find_nothing(layout: Any, model: TrainedModel, artefact: Path, tmp_path: Path) -> None:
    folder = artefact if layout == "bitvectors" else export(model, CTrees(layout), tmp_path / "nodes").folder
    sanitize = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert "150 rounds" in build_and_run(folder, "fuzz_toy_bdt.c", *C99, *sanitize, arguments=("150",))


def test_threads_get_the_same_scores_at_the_same_time(exported: Artifact, model: TrainedModel) -> None:
    def scores(_: int) -> Any:
        return exported.predictor.answers(model.recorded)["batch"]  # ctypes lets go of Python's lock

    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(scores, range(16)):
            np.testing.assert_array_equal(got, scores(0))


def test_names_that_c_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(Exception, match=r"'a.b' and 'a b' would both be 'a_b'"):
        identifiers(["a.b", "a b"])


def test_bitvectors_of_large_trees_are_refused_with_what_would_do() -> None:
    model = boosted(leaves=100, trees=2, min_events_in_leaf=2)
    with pytest.raises(ConfigError, match=r"at most 64 leaves.*'nodes' or 'nested'"):
        header(model, ensemble_on_inputs(model), "toy", "bitvectors")
    assert "(nodes)" in header(model, ensemble_on_inputs(model), "toy", "auto")


def change_a_threshold(path: Path, factor: float = 1.0001) -> None:
    """By hand, in the fifth digit of the first cut."""
    lines = path.read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if "_threshold[" in line) + 1
    first, *rest = lines[at].split(",")
    lines[at] = ",".join([f"    {float(first) * factor!r}", *rest])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_many_probabilities_are_those_of_single_events(artefact: Path) -> None:
    exported = load_artifact(artefact)
    inputs = read_proof(artefact, exported.manifest).inputs
    single = exported.predictor.answers(inputs)["probability"]
    np.testing.assert_array_equal(exported.predictor.predict(inputs), single)
    name = exported.manifest["name"]
    header = artefact / f"{name}.h"
    earlier = header.read_text(encoding="utf-8").replace(f"{name}_probability_of(", f"{name}_from_score(")
    header.write_text(earlier, encoding="utf-8")  # as before there was this function
    np.testing.assert_array_equal(CompiledTrees(artefact, name).predict(inputs), single)
