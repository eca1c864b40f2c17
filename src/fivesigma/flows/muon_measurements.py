"""What the study ``muon-trigger`` measures of each model: rates, turn-on, plateau, resolution, charge, accepted spectrum."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.progress import progress
from fivesigma.evaluate.measurement import Measurement, json_list
from fivesigma.evaluate.trigger import (
    EqualEfficiency,
    TriggerMuons,
    cut_at,
    fraction,
    rate,
    rates_at_equal_efficiency,
    relative_width,
    turn_on,
)
from fivesigma.flows.muon_momentum import Momentum, Muons
from fivesigma.simulate.muon_spectrometer import weight_of_spectrum
from fivesigma.simulate.muons import ETA, PT

if TYPE_CHECKING:
    from fivesigma.flows.muon_trigger import MuonTriggerWords

Float64 = NDArray[np.float64]

PT_BINS = (2.0, 4.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0, 200.0)
ETA_BINS = tuple(np.linspace(*ETA, 5))
IN_ETA = (15.0, 30.0)
"""GeV: muons of whom resolution and charge are given in bins of η."""
TURN_ON = (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 33, 37, 42, 50, 60, 80, 120, 200)
RATE_THRESHOLDS = (5.0, 7.0, 10.0, 14.0, 18.0, 22.0, 25.0, 30.0, 40.0)
PLATEAU = 2.0
"""The plateau is what is above so many thresholds."""
SPECTRUM_BINS = np.geomspace(2, 200, 21)


@dataclass
class Measured:
    """Metrics of each model, curves by name and model, and paired differences."""

    metrics: dict[str, dict[str, Measurement]] = field(default_factory=dict)
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)
    differences: list[dict[str, Any]] = field(default_factory=list)


def measure_models(
    words: MuonTriggerWords,
    models: Mapping[str, Momentum],
    pruned: Mapping[str, Momentum],
    held_out: Muons,
    test: Muons,
    baseline: str,
) -> Measured:
    """All of it; ``pruned`` models are measured at the middle threshold only."""
    measured = Measured()
    everyone = {**models, **pruned}
    with progress(len(everyone), "scoring", unit="models") as advance:
        scores: dict[str, Float64] = {}
        chosen: dict[str, Float64] = {}
        for name, model in everyone.items():
            scores[name], chosen[name] = test.scored(model.log_pt(test)), held_out.scored(model.log_pt(held_out))
            advance(1)
    for name, model in models.items():
        measured.metrics[name] = _one_model(words, model, chosen[name], scores[name], held_out, test, name, measured)
    for name in pruned:
        measured.metrics[name] = _resolution(name, scores[name][test.all.found], test, measured, curves=False)
    main = main_threshold(words)
    for name in everyone:
        _accepted(name, scores[name], cut_at(held_out.all, chosen[name], main, words.efficiency), test.all, measured)
    with progress(len(words.thresholds) + len(words.other_powers), "bootstrap", unit="comparisons") as advance:
        for threshold in words.thresholds:
            some = scores if threshold == main else {name: scores[name] for name in models}
            _compare(words, test.all, some, baseline, threshold, measured, "")
            advance(1)
        for power in words.other_powers:
            weight = weight_of_spectrum(test.all.pt, power, *PT)
            some = {name: scores[name] for name in models}
            _compare(words, replace(test.all, weight=weight), some, baseline, main, measured, f"_power_{power:g}")
            advance(1)
    return measured


def main_threshold(words: MuonTriggerWords) -> float:
    """The one that inputs are left out at: the middle of the study's."""
    return sorted(words.thresholds)[len(words.thresholds) // 2]


def _one_model(
    words: MuonTriggerWords,
    model: Momentum,
    chosen: Float64,
    score: Float64,
    held_out: Muons,
    test: Muons,
    name: str,
    measured: Measured,
) -> dict[str, Measurement]:
    metrics: dict[str, Measurement] = {}
    muons = test.all
    for threshold in words.thresholds:
        cut = cut_at(held_out.all, chosen, threshold, words.efficiency)
        points = turn_on(muons, score, cut, TURN_ON)
        _curve(measured, f"turn_on_{threshold:g}", name, TURN_ON, points)
        high = muons.pt > PLATEAU * threshold
        metrics[f"plateau_efficiency_{threshold:g}"] = fraction((muons.found & (score >= cut))[high])
        metrics[f"plateau_efficiency_of_tracks_{threshold:g}"] = fraction((score >= cut)[high & muons.found])
        metrics[f"efficiency_of_tracks_at_{threshold:g}"] = fraction((score >= cut)[muons.near(threshold)])
    cuts = [cut_at(held_out.all, chosen, threshold, words.efficiency) for threshold in RATE_THRESHOLDS]
    rates = [rate(muons, score, cut) for cut in cuts]
    _curve(measured, "rate", name, RATE_THRESHOLDS, rates, edges=False)
    metrics |= _resolution(name, score[muons.found], test, measured)
    metrics |= _charge(name, model.charge(test) != test.charge, test, measured)
    return metrics


def _resolution(
    name: str, log_pt: Float64, test: Muons, measured: Measured, *, curves: bool = True
) -> dict[str, Measurement]:
    """Of 1/pT: half of the central 68 % of pT(true)/pT(assigned) over its median."""
    ratio = test.pt / np.exp(log_pt)
    bins = list(itertools.pairwise(PT_BINS))
    found = [relative_width(ratio[(test.pt >= low) & (test.pt < high)]) for low, high in bins]
    metrics = {f"resolution_{low:g}_{high:g}": m for (low, high), m in zip(bins, found, strict=True)}
    error = log_pt - np.log(test.pt)
    metrics["mean_squared_error"] = Measurement(
        float(np.mean(error**2)), float(np.std(error**2) / np.sqrt(len(error))), "mean; standard deviation / √n"
    )
    if curves:
        _curve(measured, "resolution", name, PT_BINS, found)
        inside = (test.pt >= IN_ETA[0]) & (test.pt < IN_ETA[1])
        in_eta = [
            relative_width(ratio[inside & (test.eta >= low) & (test.eta < high)])
            for low, high in itertools.pairwise(ETA_BINS)
        ]
        _curve(measured, "resolution_in_eta", name, ETA_BINS, in_eta)
    return metrics


def _charge(name: str, wrong: NDArray[np.bool_], test: Muons, measured: Measured) -> dict[str, Measurement]:
    bins = list(itertools.pairwise(PT_BINS))
    found = [fraction(wrong[(test.pt >= low) & (test.pt < high)]) for low, high in bins]
    _curve(measured, "charge_misidentification", name, PT_BINS, found)
    inside = (test.pt >= IN_ETA[0]) & (test.pt < IN_ETA[1])
    in_eta = [
        fraction(wrong[inside & (test.eta >= low) & (test.eta < high)]) for low, high in itertools.pairwise(ETA_BINS)
    ]
    _curve(measured, "charge_misidentification_in_eta", name, ETA_BINS, in_eta)
    return {f"charge_misidentification_{low:g}_{high:g}": m for (low, high), m in zip(bins, found, strict=True)}


def _accepted(name: str, score: Float64, cut: float, muons: TriggerMuons, measured: Measured) -> None:
    """The true spectrum of what is accepted, per million muons and GeV, and which share of it is far below threshold."""
    passed = muons.found & (score >= cut)
    total = muons.weight.sum() / 1e6
    width = np.diff(SPECTRUM_BINS)
    sums, squares = (
        np.histogram(muons.pt[passed], SPECTRUM_BINS, weights=muons.weight[passed] ** k)[0] for k in (1, 2)
    )
    measured.curves.setdefault("accepted_spectrum", {})[name] = {
        "edges": SPECTRUM_BINS.tolist(),
        "y": (sums / total / width).tolist(),
        "uncertainty": (np.sqrt(squares) / total / width).tolist(),
    }
    low = passed & (muons.pt < 10.0)
    weight = muons.weight
    share = weight[low].sum() / weight[passed].sum()
    others = passed & ~low
    sigma = np.sqrt((1 - share) ** 2 * (weight[low] ** 2).sum() + share**2 * (weight[others] ** 2).sum())
    measured.metrics[name]["share_of_rate_below_10"] = Measurement(
        float(share), float(sigma / weight[passed].sum()), "sums of squared weights"
    )


def _compare(
    words: MuonTriggerWords,
    muons: TriggerMuons,
    scores: Mapping[str, Float64],
    baseline: str,
    threshold: float,
    measured: Measured,
    suffix: str,
) -> None:
    found: EqualEfficiency = rates_at_equal_efficiency(
        muons, scores, threshold, words.efficiency, n_replicas=words.replicas, seed=words.seed
    )
    metric = f"rate_reduction_at_{threshold:g}{suffix}"
    for name in scores:
        if not suffix:
            measured.metrics[name][f"rate_at_{threshold:g}"] = found.rates[name]
        if name != baseline:
            measured.metrics[name][metric] = found.reduction(name, baseline)
    for second in (baseline, words.tables_of):
        measured.differences += [
            _difference(name, second, metric, found.reduction(name, second)) for name in scores if name != second
        ]


def _difference(first: str, second: str, metric: str, reduction: Measurement) -> dict[str, Any]:
    """A row of paired differences; no reduction is 1."""
    n_sigma = (reduction.value - 1) / reduction.uncertainty if reduction.uncertainty > 0 else None
    return {"first": first, "second": second, "metric": metric, **reduction.to_json(), "n_sigma": n_sigma}


def _curve(
    measured: Measured, curve: str, name: str, x: Sequence[float], points: Sequence[Measurement], *, edges: bool = True
) -> None:
    middle = np.sqrt(np.multiply(x[1:], x[:-1])) if edges else np.asarray(x)
    measured.curves.setdefault(curve, {})[name] = {
        "x": json_list(middle),
        "y": json_list([p.value for p in points]),
        "low": json_list([p.interval[0] if p.interval else p.value - p.uncertainty for p in points]),
        "high": json_list([p.interval[1] if p.interval else p.value + p.uncertainty for p in points]),
    }
