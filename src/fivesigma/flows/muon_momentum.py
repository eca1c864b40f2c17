"""Muons of the study ``muon-trigger``, and everything that assigns a momentum and a charge to them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fivesigma.evaluate.trigger import TriggerMuons
from fivesigma.flows.analytic_momentum import LARGEST, AnalyticMomentum
from fivesigma.flows.compressed_inputs import Compression
from fivesigma.simulate.muon_spectrometer import weight_of_spectrum
from fivesigma.simulate.muons import INPUT_BITS, PATTERNS, PT, draw_muons
from fivesigma.studies.words import Words

Float64 = NDArray[np.float64]
NOT_FOUND = -10.0
"""What is assigned to a muon without a track: no threshold is as low."""
FULL = Compression({name: bits for name, (bits, _) in INPUT_BITS.items()})
KNEE = 4.0
"""Strips: networks see sign(x) ln(1 + |x|/4) of a bending angle."""
BENDS = ("dphi_first", "dphi_second", "dphi_third", "bend")


class MomentumWords(Words):
    """A regressor of pT."""

    estimator: str = Field(description="a regressor that `fivesigma studies estimators` lists")
    options: dict[str, Any] = Field(default_factory=dict, description="its arguments")
    target: Literal["log-pt", "inverse-pt"] = Field(default="log-pt", description="what it learns: ln pT or 1/pT")


@dataclass(frozen=True)
class Muons:
    """Inputs of muons that have a track, with their truth; and all muons, for efficiencies."""

    all: TriggerMuons
    eta: Float64  # (found,), true
    inputs: Mapping[str, NDArray[Any]]  # of the found, integers
    pt: Float64
    charge: NDArray[np.int64]

    @classmethod
    def draw(cls, n: int, seed: int, power: float) -> Muons:
        """As many of both charges, with weights of the spectrum."""
        columns = {name: np.asarray(column) for name, column in draw_muons(n - n // 2, n // 2, seed).items()}
        found, pt = columns["pattern"] >= 0, columns["muon_pt"].astype(np.float64)
        weight = weight_of_spectrum(pt, power, *PT)
        return cls(
            TriggerMuons(pt, weight, columns["event_number"].astype(np.uint64), found),
            columns["muon_eta"][found].astype(np.float64),
            {name: columns[name][found] for name in (*INPUT_BITS, "side")},
            pt[found],
            columns["muon_charge"][found].astype(np.int64),
        )

    def scored(self, log_pt: Float64) -> Float64:
        """Of the found → of all muons."""
        scores = np.full(len(self.all.pt), NOT_FOUND)
        scores[self.all.found] = log_pt
        return scores

    def some(self, n: int) -> Muons:
        """``n`` of those with a track, evenly spread; for quick fits."""
        chosen = np.unique(np.linspace(0, len(self.pt) - 1, min(n, len(self.pt))).astype(np.int64))
        where = np.flatnonzero(self.all.found)[chosen]
        every = TriggerMuons(self.all.pt[where], self.all.weight[where], self.all.event[where], self.all.found[where])
        inputs = {name: column[chosen] for name, column in self.inputs.items()}
        return Muons(every, self.eta[chosen], inputs, self.pt[chosen], self.charge[chosen])

    @property
    def turned(self) -> NDArray[np.int64]:
        """1 where the first bending angle has the sign that the charge bends to, otherwise 0."""
        return np.asarray(self.charge == -self.inputs["side"], dtype=np.int64)


class Momentum(Protocol):
    """Assigns ln(pT/GeV) and, if it can, the charge."""

    def log_pt(self, muons: Muons) -> Float64:
        """Of the found muons."""

    def charge(self, muons: Muons) -> NDArray[np.int64]:
        """Of the found muons, ±1."""


@dataclass(frozen=True)
class Analytic:
    """The analytic fit as a model of the study."""

    fit: AnalyticMomentum

    def log_pt(self, muons: Muons) -> Float64:
        """See `AnalyticMomentum`."""
        return self.fit.log_pt(muons.inputs)

    def charge(self, muons: Muons) -> NDArray[np.int64]:
        """The sign of the fitted curvature."""
        return np.where(self.fit.curvature(muons.inputs) >= 0, 1, -1) * muons.inputs["side"].astype(np.int64)


@dataclass
class Regressed:
    """A fitted regressor on codes of inputs; ``sides``, if there is one, tells the charge."""

    estimator: Any
    target: str
    compression: Compression = FULL
    sides: Any = None
    cpu_seconds: float = 0.0

    def log_pt(self, muons: Muons) -> Float64:
        """What the regressor says, as ln pT."""
        return _log_pt(self.estimator.predict(self._x(muons)), self.target)

    def charge(self, muons: Muons) -> NDArray[np.int64]:
        """By the classifier, by the network's own head, or by the first bending angle alone."""
        if self.sides is not None:
            right = self.sides.predict_proba(self._x(muons))[:, 1] > 0.5
        elif getattr(self.estimator, "targets", ()):
            right = self.estimator.predict_heads(self._x(muons))["side"][:, 0] > 0.5
        else:
            right = np.ones(len(muons.pt), bool)
        return np.where(right, -1, 1) * muons.inputs["side"].astype(np.int64)

    def _x(self, muons: Muons) -> Float64:
        if _is_network(self.estimator):
            return network_inputs(muons.inputs)
        return self.compression.codes(muons.inputs)


def fit_momentum(
    words: MomentumWords, muons: Muons, seed: int, compression: Compression = FULL, sides: Any = None
) -> Regressed:
    """Fit one regressor; a network with a head called ``side`` learns the charge too."""
    from fivesigma.learn import ESTIMATORS

    started = time.process_time()
    estimator = ESTIMATORS[words.estimator](**{"seed": seed, **words.options})
    y = np.log(muons.pt) if words.target == "log-pt" else 1.0 / muons.pt
    if _is_network(estimator):
        both = np.stack([y, muons.turned], axis=1) if estimator.targets else y
        estimator.fit(network_inputs(muons.inputs), both)
    else:
        estimator.fit(compression.codes(muons.inputs), y)
    return Regressed(estimator, words.target, compression, sides, time.process_time() - started)


def network_inputs(inputs: Mapping[str, NDArray[Any]]) -> Float64:
    """What networks see: logarithms of bends, the others scaled to about −1 … 1, one column a pattern; (muon, column)."""
    columns = [np.sign(inputs[name]) * np.log1p(np.abs(inputs[name]) / KNEE) / 2 for name in BENDS]
    columns += [inputs["dtheta"] / 4.0, inputs["eta_bin"] / 8.0 - 1.0]
    columns += [(inputs["pattern"] == number).astype(np.float64) for number in range(len(PATTERNS))]
    return np.stack(columns, axis=1).astype(np.float64)


def _is_network(estimator: Any) -> bool:
    return hasattr(estimator, "predict_heads")


def _log_pt(found: Float64, target: str) -> Float64:
    return found if target == "log-pt" else -np.log(np.maximum(found, 1.0 / LARGEST))
