"""Toy results with the shapes of real ones: every figure of the report, from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm
from tests.report.systematics_toys import systematic_figures

from fivesigma.evaluate.binned import BinnedRejection, BinRejection
from fivesigma.evaluate.calibration import Calibration
from fivesigma.evaluate.measurement import Measurement
from fivesigma.evaluate.overtraining import ClassOvertraining, Overtraining
from fivesigma.report import (
    SECTIONS,
    Facts,
    Gallery,
    Plot,
    Section,
    Table,
    Text,
    WorkingPoints,
    figures,
    section,
    write_report,
)
from fivesigma.report.blocks import Block
from fivesigma.report.figures.coverage import Curve, GainPoint

HOSTILE_NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac{1}{$ $x_{\\bad}^$",
    "_hidden",
    "</script><!--\u2028 {{ 7*7 }} ${pt}",
    "中文 \x00\x1b[31m\n tab\t",
    "javascript:alert(1)",
)
MODELS = {
    "mass": 0.75,
    "tau21": 0.95,
    "mass+tau21": 1.32,
    "subjet_dr": 0.6,
    "fisher": 1.35,
    "substructure-bdt": 1.6,
    "random-forest": 1.52,
    "dense": 1.72,
    "maxout": 1.76,
    "cnn": 1.81,
    "locally-connected": 1.78,
    "cnn+mass": 1.9,
    "cnn+tau21": 1.86,
}


@dataclass(frozen=True, eq=False)
class ToyCurve:
    """The ROC curve of two unit Gaussians, ``separation`` apart, as if measured with 10,000 background events."""

    signal_efficiency: NDArray[np.float64]
    background_efficiency: NDArray[np.float64]
    background_efficiency_low: NDArray[np.float64]
    background_efficiency_high: NDArray[np.float64]
    threshold: NDArray[np.float64]


def toy_curve(separation: float, points: int = 100) -> ToyCurve:
    grid = np.round(np.linspace(0.01, 1.0, points), 4)
    cut = norm.isf(np.minimum(grid, 0.9999)) + separation
    background = norm.sf(cut)
    error = np.sqrt(background * (1 - background) / 10_000)
    return ToyCurve(grid, background, background - error, background + error, expit(2 * cut - separation))


def toy_image(kind: str, rng: np.random.Generator, size: int = 25) -> NDArray[np.float64]:
    axis = np.linspace(-1.25, 1.25, size)
    eta, phi = np.meshgrid(axis, axis)
    width = 0.1 if kind == "signal" else 0.19
    lead = 90 * np.exp(-(eta**2 + phi**2) / (2 * width**2))
    second = 35 * np.exp(-(eta**2 + (phi + 0.65) ** 2) / (2 * (1.2 * width) ** 2)) * (1 if kind == "signal" else 0.4)
    return np.asarray(lead + second + 0.02 * rng.gamma(0.5, size=eta.shape) * np.exp(-(eta**2 + phi**2)))


def toy_overtraining(rng: np.random.Generator) -> Overtraining:
    edges = np.linspace(0, 1, 41)
    checks = []
    for a, b in ((4, 2), (2, 4)):
        train, _ = np.histogram(rng.beta(a, b, 8000), edges)
        test, _ = np.histogram(rng.beta(a, b, 2000), edges)
        checks.append(
            ClassOvertraining(
                edges, train / 200, np.sqrt(train) / 200, test / 50, np.sqrt(test) / 50, 0.013, 0.41, 38.2, 39, 0.5
            )
        )
    return Overtraining(*checks)


def toy_calibration(bend: float, rng: np.random.Generator) -> Calibration:
    edges = np.linspace(0, 1, 11)
    centres = (edges[:-1] + edges[1:]) / 2
    observed = np.clip(centres + bend * np.sin(2 * np.pi * centres) + rng.normal(0, 0.01, 10), 0, 1)
    fraction = np.abs(centres - 0.5) ** 2 + 0.03
    low, high = np.maximum(observed - 0.02, 0), np.minimum(observed + 0.02, 1)
    some = Measurement(0.02, 0.004, "toy")
    return Calibration(edges, centres, observed, low, high, fraction / fraction.sum(), some, 0.01, some)


def toy_rejections() -> dict[str, Measurement]:
    return {
        m: Measurement(1 / norm.sf(s), 0.05 / norm.sf(s) ** 1.2, "bootstrap, 200 replicas") for m, s in MODELS.items()
    }


def toy_bins(separation: float, rng: np.random.Generator) -> BinnedRejection:
    bins = []
    for low in (250.0, 260.0, 270.0, 280.0, 290.0):
        value = (1 / norm.sf(separation)) * (1 + 0.1 * rng.normal())
        bins.append(BinRejection(low, low + 10, 2000, 2000, Measurement(value, 0.06 * value, "toy"), None, None))
    return BinnedRejection("jet_pt", 0.5, 0.6, tuple(bins))


def toy_columns(
    rng: np.random.Generator, rows: int = 6000
) -> tuple[dict[str, NDArray[Any]], NDArray[Any], NDArray[Any]]:
    y = (np.arange(rows) % 2).astype(np.int8)
    mass = np.where(y == 1, rng.normal(80, 5, rows), rng.uniform(65, 95, rows))
    tau21 = np.where(y == 1, rng.beta(4, 9, rows), rng.beta(7, 6, rows))
    columns = {
        "jet_mass": mass,
        "jet_pt": rng.exponential(18, rows) % 50 + 250,
        "tau21": tau21,
        "subjet_dr": 0.5 + 0.25 * tau21 + 0.004 * (mass - 80) + rng.normal(0, 0.08, rows),
        "n_constituents": rng.poisson(28 - 8 * y, rows).astype(float),
    }
    return columns, y, rng.lognormal(0, 0.3, rows)


def toy_figures(seed: int = 1) -> dict[str, tuple[Plot, ...]]:
    """Every figure function, called once with realistic toys, by the section it belongs to."""
    rng = np.random.default_rng(seed)
    columns, y, weight = toy_columns(rng)
    curves = {model: toy_curve(s) for model, s in MODELS.items()}
    units = {"jet_mass": "GeV", "jet_pt": "GeV"}
    signal, background = toy_image("signal", rng), toy_image("background", rng)
    pt_edges = np.linspace(250, 300, 21)
    sums = [np.histogram(250 + rng.exponential(s, 20_000) % 50, pt_edges)[0].astype(float) for s in (20, 35, 20.3)]
    filters = rng.normal(size=(32, 11, 11)).cumsum(1).cumsum(2)
    epochs = np.arange(1, 31)
    folds = [
        {
            "train": list(0.42 + 0.25 * np.exp(-epochs / 6) + 0.004 * rng.normal(size=30)),
            "validation": list((0.45 + 0.22 * np.exp(-epochs / 5) + 0.008 * rng.normal(size=30))[: 30 - 3 * k]),
        }
        for k in range(5)
    ]
    densities = {
        name: np.histogram2d(columns["jet_mass"][y == k], rng.beta(2 + 2 * k, 4 - 2 * k, int((y == k).sum())),
                             bins=(24, 25), range=((65, 95), (0, 1)))[0]
        for name, k in (("signal", 1), ("background", 0))
    }  # fmt: skip
    rejections = toy_rejections()
    costs = [
        figures.CostPoint(m, r.value, r.uncertainty, 3.0 * 1.9**i, 0.3 * 1.6**i)
        for i, (m, r) in enumerate(rejections.items())
    ]
    importances = {n: Measurement(0.02 * i, 0.002, "toy") for i, n in enumerate(columns)}
    corners = np.where(signal + background > 0.5, np.tanh((signal - background) / 30), np.nan)
    activating = {
        f"node {k} ({60 + 6 * k} % signal)": [toy_image("signal" if k > 2 else "background", rng) for _ in range(8)]
        for k in range(6)
    }
    return {
        "inputs": tuple(figures.input_variable(n, v, y, weight, unit=units.get(n)) for n, v in columns.items()),
        "correlations": (figures.linear_correlations(columns, y, weight),),
        "reweighting": (
            figures.reweighting_closure(
                "jet_pt", pt_edges, *sums, target_error=np.sqrt(sums[0]), before_error=np.sqrt(sums[1]),
                after_error=np.sqrt(sums[2]), target_label="background", moved_label="signal", unit="GeV",
            ),
        ),
        "overtraining": tuple(figures.overtraining_check(m, toy_overtraining(rng)) for m in ("cnn", "dense")),
        "restricted": (
            figures.background_rejection(
                {m: toy_curve(s / 6) for m, s in MODELS.items()}, name="rejection-restricted",
                where="79 < mass < 81 GeV, 0.19 < τ21 < 0.21",
            ),
        ),
        "rejection": (
            figures.background_rejection(curves, reference="mass+tau21"),
            figures.significance_improvement(curves),
            figures.rejection_summary(rejections),
        ),
        "cuts": (
            figures.cut_efficiencies("cnn", curves["cnn"], signal=100, background=1000, background_uncertainty=0.1),
        ),
        "bins": (figures.rejection_in_bins({m: toy_bins(s, rng) for m, s in list(MODELS.items())[4:]}, unit="GeV"),),
        "calibration": (figures.reliability({"cnn": toy_calibration(0, rng), "dense": toy_calibration(0.03, rng)}),),
        "convergence": (figures.convergence(dict.fromkeys(("dense", "maxout", "cnn"), folds)),),
        "jet-images": (
            figures.average_images({"signal": signal, "background": background}, 1.25),
            figures.image_difference(signal - background, 1.25),
        ),
        "learned": (
            figures.first_layer_filters("cnn", filters),
            figures.convolved_differences("cnn", rng.normal(size=(32, 15, 15)).cumsum(1)),
            figures.most_activating_images("cnn", activating),
            figures.pixel_correlations({"cnn": corners, "cnn, restricted": 0.4 * corners, "dense": corners.T}, 1.25),
            figures.conditional_distribution("cnn", "jet_mass", np.linspace(65, 95, 25), np.linspace(0, 1, 26),
                                             densities,
                                             label="jet mass", unit="GeV"),
            figures.permutation_importance("substructure-bdt", importances),
        ),
        "cost": (figures.gain_against_cost(costs),),
        **systematic_figures(("cnn", "dense", "pile-up"), "interactions", "GeV"),
    }  # fmt: skip


def toy_sections(most_plots: Mapping[str, int] | None = None) -> list[Section]:
    """A whole report; with ``most_plots``, no more plots than that in these sections, and none in others."""
    plots = toy_figures()
    if most_plots is not None:
        plots = {anchor: found[: most_plots.get(anchor, 0)] for anchor, found in plots.items()}
    rejections = toy_rejections()
    rows = tuple((model, r, Measurement(0.9123, 0.0021, "bootstrap"), None) for model, r in rejections.items())
    columns = ("Model", "1/ε_B at ε_S = 50 %", "AUC", "Published")
    notes = ("Uncertainties: bootstrap over events, 200 replicas.",)
    summary = Table("Background rejection and area under the curve", columns, rows, notes)
    ledger = Table.of_rows(
        "Events from file to fold",
        [
            {"stage": "read", "events": 20_000, "Σw": 20_000.0},
            {"stage": "65 < mass < 95", "events": 19_874, "Σw": 19_871.5, "negative weights": 0},
        ],
    )
    paper = ("Jet-images: deep learning edition, arXiv:1511.05190", "https://arxiv.org/abs/1511.05190")
    blocks: dict[str, tuple[Block, ...]] = {
        "summary": (Text("Hadronic W jets against QCD jets.\n\nImages of 25 × 25 pixels.", (paper,)), summary),
        "inputs": (Gallery(plots.pop("inputs")),),
        "overtraining": (Gallery(plots.pop("overtraining")),),
        "cuts": (WorkingPoints({m: toy_curve(MODELS[m]) for m in ("cnn", "dense", "mass+tau21")}), *plots.pop("cuts")),
        "ledger": (ledger,),
        "provenance": (
            Facts({"command": "fivesigma run", "seed": 1, "versions": {"numpy": "2"}, "files": ["a", "b"]}),
        ),
    }
    blocks |= plots
    return [section(anchor, *blocks[anchor]) for anchor in SECTIONS]


def hostile_figures() -> list[Plot]:
    """Every figure function with names that try to break out of it."""
    rng = np.random.default_rng(2)
    columns, y, weight = toy_columns(rng, 400)
    values = list(columns.values())
    names = HOSTILE_NAMES
    hostile_columns = {name: values[i % len(values)] for i, name in enumerate(names)}
    curves = {name: toy_curve(1 + 0.1 * i) for i, name in enumerate(names)}
    edges, ones, bad = np.linspace(250, 300, 6), np.ones(5), names[0]
    shares = Curve([0.1, 0.5, 0.9], [0.2, 0.4, 0.8], [0.1, 0.1, 0.1])
    return [
        figures.input_variable(names[1], values[0], y, weight, label=names[2], unit=names[2]),
        figures.linear_correlations(hostile_columns, y, weight),
        figures.reweighting_closure(bad, edges, ones, ones, ones, target_error=ones, before_error=ones,
                                    after_error=ones, target_label=names[2], moved_label=names[3]),
        figures.overtraining_check(names[2], toy_overtraining(rng)),
        figures.cut_efficiencies(bad, curves[bad], signal=1, background=1),
        figures.background_rejection(curves, reference=names[1], where=names[2]),
        figures.significance_improvement(curves),
        figures.rejection_summary({n: Measurement(9.0, 1.0, "toy") for n in names}, where=bad),
        figures.rejection_in_bins({n: toy_bins(1.0, rng) for n in names}, label=names[2], unit=names[4]),
        figures.reliability({n: toy_calibration(0.0, rng) for n in names}),
        figures.convergence({n: [{"train": [2.0, 1.0], "validation": [2.0, 1.5]}] for n in names[:3]}, loss=names[2]),
        figures.average_images({n: np.eye(5) for n in names[:2]}, 1.0, intensity=names[2]),
        figures.image_difference(np.eye(5), 1.0, scale=names[2], title=bad, caption=names[1]),
        figures.first_layer_filters(bad, np.ones((3, 4, 4))),
        figures.convolved_differences(bad, np.ones((3, 4, 4))),
        figures.pixel_correlations({n: np.eye(5) for n in names[:4]}, 1.0),
        figures.most_activating_images(bad, {n: [np.eye(5)] for n in names}),
        figures.conditional_distribution(bad, names[2], edges, np.linspace(0, 1, 4), {bad: np.ones((5, 3))}, unit=bad),
        figures.permutation_importance(bad, {n: Measurement(0.1, 0.01, "toy") for n in names}, metric=names[2]),
        figures.gain_against_cost([figures.CostPoint(n, 5.0, 1.0, 2.0, 3.0) for n in names]),
        figures.coverage_curves(dict.fromkeys(names, shares), truth=names[2], name="coverage"),
        figures.width_against_distance(
            dict.fromkeys(names, shares), dict.fromkeys(names, shares), quantity=names[2], level=0.68, name="width"
        ),
        figures.gain_against_training(
            [GainPoint(n, 0.1, 0.01, 2.0) for n in names], gain=names[2], baseline=bad, name="gain"
        ),
        *(plot for found in systematic_figures(names, names[2], names[4]).values() for plot in found),
    ]  # fmt: skip


def hostile_sections() -> list[Section]:
    """Every place in the page that a name from outside can reach."""
    names, plots = HOSTILE_NAMES, hostile_figures()
    bad = names[0]
    nested = {n: {n: [n, {n: n}]} for n in names}
    slider = WorkingPoints({name: toy_curve(1 + 0.1 * i) for i, name in enumerate(names)})
    return [
        Section(bad, "first", (Text("\n\n".join(names), ((bad, "https://arxiv.org/"),)), slider)),
        Section(names[1], "second", (Table(bad, names[:2], tuple((n, n) for n in names), names), Facts(nested, bad))),
        Section(names[4], "third", (plots[0], Gallery((plots[7], plots[12])))),
    ]


@pytest.fixture(scope="session")
def hostile_plots() -> list[Plot]:
    return hostile_figures()


@pytest.fixture(scope="session")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all sections; figures in some of them only, because saving one takes about a second."""
    folder = tmp_path_factory.mktemp("report")
    drawn = ("inputs", "cuts", "calibration", "jet-images", "learned")
    sections = toy_sections(dict.fromkeys(drawn, 1))
    return write_report(folder / "report.html", "W tagging", sections, subtitle="toy events")


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    return write_report(folder / "report.html", HOSTILE_NAMES[0], hostile_sections(), subtitle=HOSTILE_NAMES[1])
