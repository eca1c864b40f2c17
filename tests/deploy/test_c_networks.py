"""Networks in C: float32 as torch to the stated tolerance, fixed point bit for bit, sanitizers and fuzzer without a word."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.deploy.models import boosted
from tests.deploy.networks import network
from tests.deploy.test_c_trees import C99, CLANG, CLANGPP, CPP, build_and_run

from fivesigma.core.errors import ConfigError, ModelError, ParityError
from fivesigma.deploy import Artifact, CHeader, TrainedModel, c_network, export, load_artifact, verify
from fivesigma.deploy.c_features import seen_by_network
from fivesigma.deploy.c_network import network_header
from fivesigma.deploy.c_target import CompiledTrees
from fivesigma.deploy.feed_forward import Activated, Added, Affine, Gated, Joined, Largest, Part, Scaled
from fivesigma.deploy.fixed_point import FixedNetwork, quantised
from fivesigma.deploy.network_steps import feed_forward
from fivesigma.deploy.parity import SPECIAL
from fivesigma.learn import McDropoutClassifier

SANITIZE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
EXACT_IN_FLOAT = ("dense", "maxout")  # neither tanh nor exp within


@pytest.fixture(scope="session")
def dense() -> TrainedModel:
    return network("dense")


@pytest.fixture(scope="session")
def in_float(dense: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export(dense, CHeader(), tmp_path_factory.mktemp("artefacts") / "float")


@pytest.fixture(scope="session")
def in_fixed(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Every kind of layer that has a form in integers."""
    return export(network("network"), CHeader(number="fixed", bits=12), tmp_path_factory.mktemp("artefacts") / "fixed")


@pytest.mark.parametrize(
    ("kind", "scaling"),
    [
        ("dense", "log"),
        ("dense", "quantile"),
        ("dense", None),
        ("maxout", "standard"),
        ("network", "standard"),
        ("two outputs", "none"),
        ("network-regressor", "standard"),
        ("deep-ensemble", "standard"),
        ("deep-ensemble-regressor", "log"),
        ("pivot", "standard"),
    ],
)
def test_every_learner_and_scaling_answers_as_torch(kind: str, scaling: Any, tmp_path: Path) -> None:
    model = network(kind, scaling)
    artefact = export(model, CHeader(), tmp_path / "toy")
    found = artefact.predictor.predict(model.recorded)
    np.testing.assert_allclose(found, model.probability(model.recorded), rtol=1e-5, atol=1e-6)
    outputs = artefact.manifest["proof"]["outputs"]
    assert outputs["asinh_score"]["worst"] <= 1e-5
    assert outputs["batch_differs"]["worst"] == 0.0
    assert verify(artefact.folder, model).inputs == sum(artefact.manifest["proof"]["inputs"].values())


@pytest.mark.parametrize("kind", EXACT_IN_FLOAT)
def test_float_is_the_same_bits_as_sums_in_order(kind: str, tmp_path: Path) -> None:
    model = network(kind)
    steps = feed_forward(model)
    (tmp_path / "toy.h").write_text(network_header(model, steps, "toy"), encoding="utf-8")
    values = model.recorded.copy()
    values[::7] = np.random.default_rng(1).choice([x for x in SPECIAL if x == x], values[::7].shape)
    want = steps.score(seen_by_network(model, values))
    for options in (("-std=c99", "-O0"), ("-std=c99", "-O3", "-march=native")):  # no vectors, and the widest
        got = CompiledTrees(tmp_path, "toy", *options).answers(values)
        np.testing.assert_array_equal(got["score"], want.astype(np.float64))


@pytest.mark.parametrize(("bits", "fraction"), [(8, None), (12, None), (18, 9)])
def test_fixed_point_is_the_same_integers_as_pythons(bits: int, fraction: int | None, tmp_path: Path) -> None:
    model = network("network")
    fixed = quantised(feed_forward(model), bits, seen_by_network(model, model.recorded), fraction)
    (tmp_path / "toy.h").write_text(network_header(model, fixed, "toy"), encoding="utf-8")
    values = np.concatenate([model.recorded[:200], np.random.default_rng(1).choice(SPECIAL[1:], (50, 3))])
    codes = fixed.codes(seen_by_network(model, values))
    want = np.array([slow_score(fixed, [int(code) for code in event]) for event in codes])
    np.testing.assert_array_equal(CompiledTrees(tmp_path, "toy").answers(values)["score"], want)
    np.testing.assert_array_equal(fixed.score(seen_by_network(model, values)), want)


def slow_score(fixed: FixedNetwork, codes: list[int]) -> float:
    """One event in Python's integers, number by number, from the definition of each step."""

    def fit(total: int, bits: int) -> int:
        quotient, rest = divmod(total, 1 << bits)
        return min(max(quotient + int(2 * rest >= 1 << bits and bits > 0), fixed.low), fixed.high)

    values = [codes]
    for exact in fixed.steps:
        match exact.step:
            case Affine(source) | Scaled(source):
                assert exact.weight is not None
                assert exact.bias is not None
                weight = np.diag(exact.weight) if exact.weight.ndim == 1 else exact.weight
                made = [
                    fit(sum(w * x for w, x in zip(map(int, row), values[source], strict=True)) + int(b), exact.round)
                    for row, b in zip(weight, exact.bias, strict=True)
                ]
            case Activated(source, "relu"):
                made = [max(x, 0) for x in values[source]]
            case Activated(source, "prelu"):
                assert exact.weight is not None
                made = [x if x > 0 else fit(x * int(exact.weight), exact.round) for x in values[source]]
            case Activated(source, function):
                assert exact.table is not None
                made = []
                for x in values[source]:
                    cell = min(max((x - exact.first) // 2**exact.cell, 0), len(exact.table) - 1)
                    made.append(x if function == "elu" and x > 0 else int(exact.table[cell]))
            case Largest(source, pieces):
                many = values[source]
                made = [max(many[i : i + pieces]) for i in range(0, len(many), pieces)]
            case Added(source, other):
                a, b = exact.left
                made = [fit(x * a + y * b, exact.round) for x, y in zip(values[source], values[other], strict=True)]
            case Gated(gate, new, old):
                a, b, one = exact.left
                made = [
                    fit(one * y * b + g * (x * a - y * b), exact.round)
                    for g, x, y in zip(values[gate], values[new], values[old], strict=True)
                ]
            case Joined(many_sources):
                made = [
                    fit(x, bits)
                    for source, bits in zip(many_sources, exact.rounds, strict=True)
                    for x in values[source]
                ]
            case Part(source, begin, end):
                made = values[source][begin:end]
            case _:
                raise AssertionError(exact.step)
        values.append(made)
    return values[-1][0] * 2.0**-exact.fraction


def test_codes_stand_for_numbers_to_half_a_code() -> None:
    model = network("dense")
    seen = seen_by_network(model, model.recorded)
    steps = feed_forward(model)
    fixed = quantised(steps, 14, seen)
    exact = steps.values(seen.astype(np.float64))
    inputs = fixed.codes(seen) * 2.0**-fixed.input_fraction
    assert np.abs(inputs - exact[0]).max() <= 0.5 * 2.0**-fixed.input_fraction
    for codes, fraction, want in zip(fixed.values(fixed.codes(seen)), fixed.fractions, exact, strict=True):
        assert np.abs(codes).max() > 0.4 * fixed.high  # the bits are used
        assert np.abs(codes * 2.0**-fraction - want).max() < 0.01 * np.abs(want).max()


def test_more_bits_lose_less_and_the_fewest_that_do_are_chosen(tmp_path: Path) -> None:
    model = network("dense")
    artefact = export(model, CHeader(number="fixed", loss=2e-4), tmp_path / "toy")
    found = artefact.manifest["details"]["fixed"]
    assert [row["bits"] for row in found["scan"]] == list(range(6, found["bits"] + 1, 2))
    assert all(row["loss"] > 2e-4 for row in found["scan"][:-1])
    assert found["loss"]["loss"] == found["scan"][-1]["loss"] <= 2e-4
    assert found["loss"]["auc_model"] - found["loss"]["auc_fixed"] == found["loss"]["loss"]
    fixed = [export(model, CHeader(number="fixed", bits=b), tmp_path / str(b)).manifest["details"] for b in (8, 16)]
    changes = [details["fixed"]["loss"]["mean_difference"] for details in fixed]
    assert changes[1] < changes[0] / 50


@pytest.mark.parametrize("artefact", ["in_float", "in_fixed"])
@pytest.mark.parametrize("compiler", [C99, CPP, CLANG, CLANGPP], ids=lambda c: f"{c[0]} {c[-1]}")
def test_the_test_program_builds_without_a_warning_and_agrees(
    compiler: tuple[str, ...], artefact: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(request.getfixturevalue(artefact).folder, tmp_path / "toy"))
    assert "vectors, 0 differ" in build_and_run(folder, "test_toy_bdt.c", *compiler, "-O2")


@pytest.mark.parametrize("artefact", ["in_float", "in_fixed"])
def test_sanitizers_and_fuzzer_find_nothing(artefact: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(request.getfixturevalue(artefact).folder, tmp_path / "toy"))
    assert "150 rounds" in build_and_run(folder, "fuzz_toy_bdt.c", *C99, *SANITIZE, arguments=("150",))


def test_a_nan_is_answered_by_a_nan_and_infinities_by_numbers(in_float: Artifact, in_fixed: Artifact) -> None:
    events = np.array([[80.0, 0.3, np.nan], [np.inf, 0.3, 0.6], [-np.inf, -np.inf, np.inf]])
    for artefact in (in_float, in_fixed):
        got = artefact.predictor.predict(events)
        assert np.isnan(got[0])
        assert ((got[1:] >= 0) & (got[1:] <= 1)).all()


def test_the_integer_network_has_no_floating_point_operation(in_fixed: Artifact, tmp_path: Path) -> None:
    source = '#include "toy_bdt.h"\nint32_t f(const int32_t *x);\nint32_t f(const int32_t *x) { return toy_bdt_network(x); }\n'
    (tmp_path / "integers.c").write_text(source, encoding="utf-8")
    command = ["gcc", "-std=c99", "-O1", "-fno-tree-vectorize", f"-I{in_fixed.folder}", "-S", "-o", "-", "integers.c"]
    assembly = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert "imul" in assembly
    assert not re.findall(r"\b(?:cvt|add|sub|mul|div)[sp][sd]\b|\bf(?:ld|st|add|mul)", assembly)


def test_a_changed_weight_is_found(in_float: Artifact, dense: TrainedModel, tmp_path: Path, monkeypatch: Any) -> None:
    folder = Path(shutil.copytree(in_float.folder, tmp_path / "toy"))
    header = folder / "toy_bdt.h"
    text = header.read_text(encoding="utf-8")
    at = text.index("toy_bdt_weight_1[")
    at = text.index("\n", at) + 1
    changed = text[:at] + "    1.0f," + text[text.index(",", at) + 1 :]
    header.write_text(changed, encoding="utf-8")
    with pytest.raises(ParityError, match=r"toy_bdt.h was changed(.|\n)*asinh_score differs at"):
        verify(folder)
    monkeypatch.setattr("fivesigma.deploy.network_target.network_header", lambda *_: changed)
    with pytest.raises(ParityError, match="is not the model, and was not written: asinh_score differs"):
        export(dense, CHeader(), tmp_path / "other")
    assert c_network.network_header is network_header


def test_what_has_no_such_form_is_refused_with_what_does(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"layer-norm within a network has no form in fixed point; .*number=float"):
        export(network("two outputs"), CHeader(number="fixed", bits=16), tmp_path / "toy")
    with pytest.raises(ConfigError, match="layout=nodes: model 'toy-bdt' is a network; its options are number, bits"):
        export(network("dense"), CHeader(layout="nodes"), tmp_path / "toy")
    with pytest.raises(ConfigError, match="number=fixed: model 'toy-bdt' is no network; its options are layout"):
        export(boosted(), CHeader(number="fixed"), tmp_path / "toy")
    with pytest.raises(ConfigError, match="bits and fraction are of number=fixed"):
        CHeader(bits=8)
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)
    draws = TrainedModel("draws", McDropoutClassifier(epochs=1, nodes=(4,)).fit(X, y), ("a", "b"))
    with pytest.raises(ModelError, match=r"mc-dropout is not one network of layers; those are dense, maxout"):
        feed_forward(draws)
    alone = TrainedModel("alone", network("dense", None).estimator, ("a", "b", "c"), recorded=np.empty((0, 3)))
    with pytest.raises(ConfigError, match="no recorded events"):
        export(alone, CHeader(number="fixed", bits=16), tmp_path / "toy")
    artefact = export(alone, CHeader(number="fixed", bits=16, fraction=6), tmp_path / "declared")
    assert set(artefact.manifest["details"]["fixed"]["fractions"]) == {6}
    assert load_artifact(artefact.folder).inputs == ("a", "b", "c")
