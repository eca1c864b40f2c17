"""The workspace is one that pyhf accepts, and fits to the significance of the closed formula."""

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from fivesigma.core.errors import ConfigError, FeatureError, WeightError
from fivesigma.evaluate import Template, WorkspaceSample, pyhf_workspace, signal_and_background
from fivesigma.physics.significance import approximate_median_significance, asimov_significance, binned_significance

EDGES = np.array([0.0, 0.5, 1.0])


def template(content: list[float], error: list[float] | None = None) -> Template:
    edges = np.arange(len(content) + 1.0)
    squares = np.zeros(len(content)) if error is None else np.square(error)
    return Template(edges, np.array(content), squares, 0.0)


def discovery(spec: dict[str, Any]) -> float:
    import pyhf

    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-10))
    workspace = pyhf.Workspace(json.loads(json.dumps(spec, allow_nan=False)))  # checked against pyhf's schema
    model = workspace.model()
    return float(norm.isf(pyhf.infer.hypotest(0.0, workspace.data(model), model, test_stat="q0")))


@pytest.mark.filterwarnings("ignore")
def test_one_bin_is_the_asimov_formula() -> None:
    plain = pyhf_workspace(
        {"cut": signal_and_background(template([10]), template([100]))}, simulation_statistics="none"
    )
    assert discovery(plain) == pytest.approx(asimov_significance(10, 100), rel=1e-3)
    gauss = signal_and_background(template([10]), template([100]), background_uncertainty=0.1)
    spec = pyhf_workspace({"cut": gauss}, simulation_statistics="none")
    assert discovery(spec) == pytest.approx(approximate_median_significance(10, 100, 10), rel=1e-3)
    counted = signal_and_background(template([10]), template([100], [10.0]))
    spec = pyhf_workspace({"cut": counted}, simulation_statistics="shapesys")
    for sample in spec["channels"][0]["samples"]:
        if sample["name"] == "signal":  # simulated without error
            sample["modifiers"] = [m for m in sample["modifiers"] if m["type"] != "shapesys"]
    assert discovery(spec) == pytest.approx(asimov_significance(10, 100, 10), rel=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_several_bins_with_one_rate_are_the_binned_formula() -> None:
    s, b = [1.0, 4.0, 6.0], [100.0, 30.0, 5.0]
    channel = signal_and_background(template(s), template(b), background_uncertainty=0.3)
    spec = pyhf_workspace({"output": channel}, simulation_statistics="none")
    assert discovery(spec) == pytest.approx(binned_significance(s, b, 0.3), rel=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_variations_split_into_rate_and_shape_say_the_same_at_one_sigma() -> None:
    import pyhf

    nominal = template([100.0, 50.0], [4.0, 3.0])
    varied = (template([120.0, 45.0]), template([85.0, 55.0]))
    background = WorkspaceSample(nominal, {"jes": varied})
    for split in (True, False):
        spec = pyhf_workspace(
            {"output": {"signal": WorkspaceSample(template([5.0, 10.0], [0.1, 0.1])), "background": background}},
            shape_and_rate=split,
        )
        model = pyhf.Workspace(spec).model()
        for value, expected in zip((1.0, -1.0), varied, strict=True):
            start = model.config.suggested_init()
            start[model.config.par_slice("mu")] = [0.0]
            start[model.config.par_slice("jes")] = [value]
            assert model.expected_actualdata(start) == pytest.approx(expected.content)
        assert model.config.par_order.count("jes") == 1


@pytest.mark.filterwarnings("ignore")
def test_statistics_of_the_simulation_weaken_the_result() -> None:
    def channel(error: list[float]) -> dict[str, WorkspaceSample]:
        return {
            "signal": WorkspaceSample(template([10.0, 5.0], [0.1, 0.1])),
            "background": WorkspaceSample(template([50.0, 50.0], error)),
        }

    without = discovery(pyhf_workspace({"c": channel([9.0, 9.0])}, simulation_statistics="none"))
    values = [
        discovery(pyhf_workspace({"c": channel([9.0, 9.0])}, simulation_statistics=k))
        for k in ("staterror", "shapesys")
    ]
    assert all(value < 0.9 * without for value in values)


def test_templates_hold_signed_weights_and_what_lies_outside() -> None:
    found = Template.of([0.1, 0.2, 0.7, 3.0], EDGES, [1.0, -0.5, 2.0, 4.0])
    assert found.content.tolist() == [0.5, 2.0]
    assert found.squares.tolist() == [1.25, 4.0]
    assert found.outside == 4.0


def test_what_cannot_be_a_workspace_is_refused() -> None:
    with pytest.raises(WeightError, match="bin 1 has the yield -2"):
        pyhf_workspace({"c": signal_and_background(template([1, 1]), template([3, -2]))})
    with pytest.raises(ConfigError, match="no channel has the signal sample 'higgs'; samples: background, signal"):
        pyhf_workspace({"c": signal_and_background(template([1]), template([3]))}, signal="higgs")
    with pytest.raises(FeatureError, match="expected the edges"):
        pyhf_workspace({"c": signal_and_background(template([1]), template([3, 2]))})
    with pytest.raises(ConfigError, match="expected 1 counts"):
        pyhf_workspace({"c": signal_and_background(template([1]), template([3]))}, observed={"c": [1, 2]})
