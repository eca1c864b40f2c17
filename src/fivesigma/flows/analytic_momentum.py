"""The analytic fit: 1/pT from bending angles in closed form, the yardstick of the study ``muon-trigger``.

Measured angles y between the stations hit, and the bend of the first, have the expectation g · q/pT and the covariance V
(multiple scattering and strips), both in closed form (`fivesigma.simulate.muon_spectrometer`); the best linear estimate is
q/pT = gᵀV⁻¹y / gᵀV⁻¹g. As V falls with pT, weights are taken at the estimate of a first pass. The calibration corrects
what the linear form leaves out, mostly energy loss: the median of the estimate in bins of true pT, inverted.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.simulate.muon_spectrometer import Spectrometer, covariance, deflection
from fivesigma.simulate.muons import ETA, ETA_BINS, PATTERNS

Float64 = NDArray[np.float64]

REFERENCES = (3.0, 5.0, 8.0, 12.0, 20.0, 35.0, 60.0, 120.0)
"""pT in GeV at which weights are prepared."""
FIRST_PASS = 4
"""Of them, the one that the first pass takes: 20 GeV."""
LARGEST = 500.0
"""GeV: the most that is assigned."""


@dataclass
class AnalyticMomentum:
    """The fit for all patterns and bins of η; ``calibrate`` it before use."""

    where: Spectrometer = field(default_factory=Spectrometer)

    def __post_init__(self) -> None:
        wires = [2 * np.arctan(np.exp(-eta)) for eta in reversed(ETA)]
        theta = wires[0] + (np.arange(ETA_BINS) + 0.5) / ETA_BINS * (wires[1] - wires[0])
        self._weights = np.zeros((len(REFERENCES), len(PATTERNS), ETA_BINS, 4))
        for eta_bin, angle in enumerate(theta):
            tan_theta = float(np.tan(angle))
            at, bend = deflection(self.where, np.array([tan_theta]))
            response = np.append(at[0], bend[0])
            for r, pt in enumerate(REFERENCES):
                full = covariance(self.where, pt, tan_theta)
                for p, hit in enumerate(PATTERNS):
                    self._weights[r, p, eta_bin] = _best_weights(hit, response, full)
        self._curves: dict[int, tuple[Float64, Float64]] = {}

    def curvature(self, inputs: Mapping[str, NDArray[Any]]) -> Float64:
        """Estimate of q/pT in 1/GeV, turned by ``side`` as the inputs are, (muon,)."""
        names = ("dphi_first", "dphi_second", "dphi_third", "bend")
        y = np.stack([inputs[name] for name in names], axis=1) * self.where.strip
        pattern, eta_bin = inputs["pattern"], inputs["eta_bin"]
        first = (self._weights[FIRST_PASS, pattern, eta_bin] * y).sum(axis=1)
        edges = np.sqrt(np.multiply(REFERENCES[1:], REFERENCES[:-1]))
        nearest = np.digitize(1.0 / np.maximum(np.abs(first), 1.0 / LARGEST), edges)
        return np.asarray((self._weights[nearest, pattern, eta_bin] * y).sum(axis=1))

    def calibrate(self, inputs: Mapping[str, NDArray[Any]], pt: Float64) -> AnalyticMomentum:
        """Learn the median estimate against true pT for two, three and four hits; numerical inversion needs no spectrum."""
        raw = self._raw(inputs)
        hits = _hits(inputs)
        edges = np.geomspace(pt.min(), min(100.0, pt.max()), 25)
        for n in (2, 3, 4):
            xs, ys = [], []
            for low, high in itertools.pairwise(edges):
                inside = (hits == n) & (pt >= low) & (pt < high)
                if inside.sum() >= 20:
                    xs.append(float(np.median(raw[inside])))
                    ys.append(float(np.median(np.log(pt[inside]))))
            self._curves[n] = (np.maximum.accumulate(xs) + 1e-9 * np.arange(len(xs)), np.array(ys))
        return self

    def log_pt(self, inputs: Mapping[str, NDArray[Any]]) -> Float64:
        """Calibrated ln(pT/GeV), (muon,); beyond the calibration's ends, shifted as at them."""
        raw, hits = self._raw(inputs), _hits(inputs)
        found = raw.copy()
        for n, (x, y) in self._curves.items():
            mine = hits == n
            found[mine] = raw[mine] + np.interp(raw[mine], x, y - x)
        return found

    def _raw(self, inputs: Mapping[str, NDArray[Any]]) -> Float64:
        return np.asarray(-np.log(np.maximum(np.abs(self.curvature(inputs)), 1.0 / LARGEST)))


def _hits(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    return np.asarray(np.array([hit.bit_count() for hit in PATTERNS])[inputs["pattern"]], dtype=np.int64)


def _best_weights(hit: int, response: Float64, full: Float64) -> Float64:
    """Weights of the three angles between stations hit and the first's bend, zero for those that a pattern has not."""
    stations = [k for k in range(4) if hit & (8 >> k)]
    rows = []
    for before, after in itertools.pairwise(stations):
        row = np.zeros(5)
        row[before], row[after] = -1.0, 1.0
        rows.append(row)
    places = list(range(len(rows)))
    if stations[0] == 0:
        rows.append(np.eye(5)[4])
        places.append(3)
    made = np.array(rows)
    g, v = made @ response, made @ full @ made.T
    best = np.linalg.solve(v, g)
    weights = np.zeros(4)
    weights[places] = best / (g @ best)
    return weights
