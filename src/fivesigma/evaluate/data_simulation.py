"""Data against simulation: histograms with their ratio, χ², Kolmogorov–Smirnov, and a classifier that tells them apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, ndtr

from fivesigma.core.errors import WeightError
from fivesigma.evaluate.bootstrap import N_REPLICAS
from fivesigma.evaluate.measurement import Measurement, finite_or_none, json_list
from fivesigma.evaluate.overtraining import MINIMAL_BIN, weighted_chi2, weighted_ks
from fivesigma.evaluate.roc import measure
from fivesigma.evaluate.scored_events import FloatVector, finite_vector, weight_vector
from fivesigma.evaluate.template import Template


@dataclass(frozen=True, eq=False)
class DataSimulation:
    """One variable, or one score, in data and in simulation."""

    variable: str
    normalised: bool  # simulation scaled to the data's sum: only the shape is compared
    edges: FloatVector  # (bin + 1,)
    data: FloatVector  # (bin,)
    data_error: FloatVector  # (bin,) √Σw²
    simulation: FloatVector  # (bin,)
    simulation_error: FloatVector  # (bin,) √Σw²
    outside: tuple[float, float]  # Σw of data and of simulation beyond the edges
    scale: float  # that simulation was multiplied by
    chi2: float
    ndf: int
    chi2_p_value: float
    ks_distance: float
    ks_p_value: float

    @property
    def ratio(self) -> FloatVector:
        """Data over simulation; NaN where no simulation is."""
        return _divide(self.data, self.simulation)

    @property
    def ratio_error(self) -> FloatVector:
        """The data's part: its error over simulation."""
        return _divide(self.data_error, self.simulation)

    @property
    def band(self) -> FloatVector:
        """The simulation's part: its relative error, drawn around 1."""
        return _divide(self.simulation_error, self.simulation)

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        arrays = ("edges", "data", "data_error", "simulation", "simulation_error", "ratio", "ratio_error", "band")
        numbers = ("chi2", "ndf", "chi2_p_value", "ks_distance", "ks_p_value", "scale")
        return {name: json_list(getattr(self, name)) for name in arrays} | {
            "variable": self.variable,
            "normalised": self.normalised,
            "outside": list(self.outside),
            **{name: finite_or_none(getattr(self, name)) for name in numbers},
        }


def compare_data(
    data: ArrayLike,
    simulation: ArrayLike,
    edges: ArrayLike,
    data_weight: ArrayLike | None = None,
    simulation_weight: ArrayLike | None = None,
    *,
    variable: str = "variable",
    normalise: bool = True,
) -> DataSimulation:
    """Compare the values (row,) of data and of simulation in bins, both with signed weights (sideband subtraction).

    ``normalise`` scales simulation to the data's sum, and χ² is that of two weighted histograms of one shape
    (arXiv:physics/0605123, as ``weighted_chi2``). Otherwise yields are compared: Σ (d − s)²/(σ_d² + σ_s²), as many
    degrees of freedom as bins, neighbours merged until each side has ``MINIMAL_BIN`` effective events. The
    Kolmogorov–Smirnov test is unbinned and of shapes; with signed weights its p-value is approximate.

    Raises
    ------
    WeightError
        weights that do not sum to a positive number on either side.
    """
    x, s = finite_vector(variable, data), finite_vector(variable, simulation)
    wx = np.ones(len(x)) if data_weight is None else weight_vector(data_weight, len(x))
    ws = np.ones(len(s)) if simulation_weight is None else weight_vector(simulation_weight, len(s))
    for name, w in (("data", wx), ("simulation", ws)):
        if not w.sum() > 0:
            raise WeightError(f"{variable}: the weights of {len(w)} {name} events sum to {w.sum():.6g}; expected > 0")
    scale = float(wx.sum() / ws.sum()) if normalise else 1.0
    observed, expected = Template.of(x, edges, wx, variable), Template.of(s, edges, ws, variable).scaled(scale)
    histograms = (observed.content, observed.squares, expected.content, expected.squares)
    chi2, ndf, p_value = weighted_chi2(*histograms) if normalise else _chi2_of_yields(*histograms)
    distance, ks = weighted_ks(x, wx, s, ws)
    return DataSimulation(
        variable, normalise, observed.edges, observed.content, observed.error, expected.content, expected.error,
        (observed.outside, expected.outside), scale, chi2, ndf, p_value, distance, ks,
    )  # fmt: skip


def _chi2_of_yields(
    data: FloatVector, data_squares: FloatVector, simulation: FloatVector, simulation_squares: FloatVector
) -> tuple[float, int, float]:
    rows = np.stack([data, data_squares, simulation, simulation_squares])
    bins, pending = [], np.zeros(4)
    for column in rows.T:
        pending = pending + column
        if _enough(pending[0], pending[1]) and _enough(pending[2], pending[3]):
            bins.append(pending)
            pending = np.zeros(4)
    if bins and pending.any():
        bins[-1] = bins[-1] + pending
    if not bins:
        return 0.0, 0, 1.0
    d, d2, s, s2 = np.stack(bins, axis=1)
    value = float(np.sum((d - s) ** 2 / (d2 + s2)))
    return value, len(bins), float(chdtrc(len(bins), value))


def _enough(total: float, squares: float) -> bool:
    return total > 0 and squares > 0 and total**2 / squares >= MINIMAL_BIN


@dataclass(frozen=True)
class TwoSampleTest:
    """A classifier was trained to tell two samples apart: how well does it, on events that it has not seen?"""

    auc: Measurement  # 0.5: it cannot
    p_value: float  # one-sided, of an AUC this large if both samples are of one distribution

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {"auc": self.auc.to_json(), "p_value": finite_or_none(self.p_value)}


@dataclass(frozen=True)
class DataComparison:
    """Data against simulation: every variable and score, and what a classifier on the variables finds."""

    histograms: Mapping[str, DataSimulation]
    two_sample: TwoSampleTest

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        histograms = {name: histogram.to_json() for name, histogram in self.histograms.items()}
        return {"histograms": histograms, "two_sample": self.two_sample.to_json()}


def classifier_two_sample_test(
    score: ArrayLike,
    second: ArrayLike,
    weight: ArrayLike | None = None,
    event: ArrayLike | None = None,
    *,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> TwoSampleTest:
    """Test of the scores of a classifier that was trained to tell sample 1 from sample 0 (``second``).

    The scores must be out of fold (``fivesigma.learn.two_sample_scores`` makes them). D. Lopez-Paz and M. Oquab,
    "Revisiting classifier two-sample tests", arXiv:1610.06545, with the AUC, the Mann–Whitney form of the test, in place
    of accuracy. The p-value is Gaussian, from the AUC's bootstrap uncertainty: it holds for signed weights too.
    """
    auc = measure("auc", score, second, weight, event, n_replicas=n_replicas, seed=seed)
    p_value = float(ndtr(-(auc.value - 0.5) / auc.uncertainty)) if auc.uncertainty > 0 else math.nan
    return TwoSampleTest(auc, p_value)


def _divide(numerator: FloatVector, denominator: FloatVector) -> FloatVector:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
