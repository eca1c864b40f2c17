"""A trigger that cuts on a measured momentum: turn-on, rate, and rates of several triggers at equal efficiency.

Scores are the logarithm of the momentum that is assigned. They are counted in fine bins (``BINS`` of ``STEP`` each), so that
a bootstrap over muons is a few histograms a replica; within a bin, rate and efficiency are interpolated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fivesigma.evaluate.binomial import clopper_pearson
from fivesigma.evaluate.bootstrap import N_REPLICAS, bootstrap_measurement, bootstrap_replicas
from fivesigma.evaluate.measurement import Measurement

LOWEST, STEP, BINS = 0.0, 0.0025, 2800
"""ln(pT/GeV) from 1 GeV to 1.1 TeV in steps of 0.25 %."""
WINDOW = 0.1
"""Muons whose true ln pT is this near to a threshold's tell its efficiency."""
PER = 1e6
"""Rates are per million muons of the spectrum."""

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class TriggerMuons:
    """True pT (GeV), spectrum's weight, identity, and whether a track was found; all (muon,)."""

    pt: Float64
    weight: Float64
    event: NDArray[np.uint64]
    found: NDArray[np.bool_]

    def near(self, threshold: float) -> NDArray[np.bool_]:
        """Found muons with a true pT near to a threshold."""
        return self.found & (np.abs(np.log(self.pt / threshold)) < WINDOW)


def binned(score: Float64) -> NDArray[np.int64]:
    """The bin of each score, (muon,)."""
    return np.clip(np.floor((score - LOWEST) / STEP), 0, BINS - 1).astype(np.int64)


def cut_at(muons: TriggerMuons, score: Float64, threshold: float, efficiency: float) -> float:
    """The largest lower edge of a bin above which at least this share of the found muons near the threshold lies."""
    counts = np.bincount(binned(score[muons.near(threshold)]), minlength=BINS)
    above = counts[::-1].cumsum()[::-1] / counts.sum()
    return float(LOWEST + STEP * np.flatnonzero(above >= efficiency)[-1])


def turn_on(
    muons: TriggerMuons, score: Float64, cut: float, edges: Sequence[float] | Float64, *, of_found: bool = False
) -> list[Measurement]:
    """Efficiency in bins of true pT with Clopper–Pearson intervals, of all muons or of those with a track."""
    passed = muons.found & (score >= cut)
    which = np.digitize(muons.pt, edges) - 1
    of = muons.found if of_found else np.ones(len(passed), bool)
    points = []
    for index in range(len(edges) - 1):
        inside = (which == index) & of
        n, k = int(inside.sum()), int((inside & passed).sum())
        low, high = clopper_pearson(k, n) if n else (0.0, 1.0)
        points.append(Measurement(k / n if n else np.nan, (high - low) / 2, "binomial (Clopper–Pearson)", (low, high)))
    return points


def rate(muons: TriggerMuons, score: Float64, cut: float) -> Measurement:
    """Accepted muons per million of the spectrum; √Σw² of those accepted."""
    weight = muons.weight[muons.found & (score >= cut)]
    total = muons.weight.sum()
    return Measurement(
        float(PER * weight.sum() / total), float(PER * np.sqrt((weight**2).sum()) / total), "sum of squared weights"
    )


@dataclass(frozen=True)
class EqualEfficiency:
    """Rates of several triggers at one threshold and equal efficiency, and reductions of one against another, paired."""

    threshold: float
    rates: dict[str, Measurement]
    replicas: dict[str, Float64]
    """The rates in each bootstrap replica, the same muons for all."""

    def reduction(self, model: str, baseline: str) -> Measurement:
        """Rate of the baseline over the model's."""
        return bootstrap_measurement(
            self.rates[baseline].value / self.rates[model].value,
            self.replicas[baseline] / np.maximum(self.replicas[model], 1e-300),
        )


def rates_at_equal_efficiency(
    muons: TriggerMuons,
    scores: Mapping[str, Float64],
    threshold: float,
    efficiency: float,
    *,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> EqualEfficiency:
    """All triggers cut where they keep ``efficiency`` of the found muons near the threshold, in every replica anew."""
    bins = {name: binned(score[muons.found]) for name, score in scores.items()}
    near = muons.near(threshold)[muons.found]
    weight = muons.weight[muons.found]

    def of(counts: NDArray[np.uint8], total: float) -> Float64:
        values = []
        weighted = weight * counts[muons.found]
        kept = counts[muons.found][near]
        for name in scores:
            near_above = np.bincount(bins[name][near], kept, BINS)[::-1].cumsum()
            rate_above = np.bincount(bins[name], weighted, BINS)[::-1].cumsum()
            values.append(PER * np.interp(efficiency * near_above[-1], near_above, rate_above) / total)
        return np.array(values)

    ones = np.ones(len(muons.pt), np.uint8)
    central = of(ones, float(muons.weight.sum()))
    replicas = bootstrap_replicas(
        lambda counts: of(counts, float(muons.weight @ counts)), muons.event, n_replicas=n_replicas, seed=seed
    )
    return EqualEfficiency(
        threshold,
        {name: bootstrap_measurement(float(central[i]), replicas[:, i]) for i, name in enumerate(scores)},
        {name: replicas[:, i] for i, name in enumerate(scores)},
    )


def relative_width(ratio: Float64, *, n_replicas: int = 100, seed: int = 0) -> Measurement:
    """Half of the central 68.27 % of a ratio over its median, with its bootstrap uncertainty."""
    rng = np.random.default_rng(seed)
    levels = (0.15865525, 0.5, 0.84134475)

    def width(values: Float64) -> float:
        low, middle, high = np.quantile(values, levels)
        return float((high - low) / (2 * middle))

    if len(ratio) < 20:
        return Measurement(float("nan"), float("nan"), "fewer than 20 muons")
    replicas = np.array([width(ratio[rng.integers(0, len(ratio), len(ratio))]) for _ in range(n_replicas)])
    return bootstrap_measurement(width(ratio), replicas)


def fraction(passed: NDArray[np.bool_]) -> Measurement:
    """A share with its Clopper–Pearson interval."""
    k, n = int(passed.sum()), len(passed)
    low, high = clopper_pearson(k, n) if n else (0.0, 1.0)
    return Measurement(k / n if n else float("nan"), (high - low) / 2, "binomial (Clopper–Pearson)", (low, high))
