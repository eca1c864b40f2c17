"""Two toys whose truth is known everywhere: the probability of a class, and the mean and the noise of a response."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

FloatArray = NDArray[np.float64]

SIGNAL = (((1.5, 0.0), 0.6), ((-0.5, 1.5), 0.6))  # (centre, standard deviation in both directions) of equal parts
BACKGROUND = (((0.0, 0.0), 1.0),)

LOG10_ENERGY = (np.log10(2.0), np.log10(200.0))  # of the beam, GeV
LARGEST_ETA = 3.0
ELECTROMAGNETIC_FRACTION = (0.4, 0.85)  # 1 − h/e, and the exponent m of Groom's f_h = (E/1 GeV)^(m − 1)
CRACK = (1.5, 0.2, 0.25)  # |η| of its middle, its width, and the response that is lost there
RESOLUTION = (0.6, 0.05, 0.5)  # a [√GeV], b, c [GeV]: σ/E = a/√E ⊕ b ⊕ c/E


class ClassEvents(NamedTuple):
    """Events of the toy of two classes."""

    X: FloatArray  # (event, 2)
    y: NDArray[np.int64]  # (event,)
    truth: FloatArray  # (event,): p(signal | x)


class ResponseEvents(NamedTuple):
    """Events of the toy of a calorimeter."""

    X: FloatArray  # (event, 2): log₁₀(E / GeV), η
    y: FloatArray  # (event,): measured over beam energy
    mean: FloatArray  # (event,)
    noise: FloatArray  # (event,): standard deviation


def draw_classes(events: int, seed: int) -> ClassEvents:
    """As many signal as background events on average: signal is two Gaussian spots on a broad Gaussian background."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, events)
    X = np.where(y[:, None] == 1, _spots(SIGNAL, events, rng), _spots(BACKGROUND, events, rng))
    return ClassEvents(X, y, signal_probability(X))


def signal_probability(X: FloatArray) -> FloatArray:
    """p(signal | x) = s / (s + b), exact; shape (event,)."""
    return np.asarray(expit(_log_density(X, SIGNAL) - _log_density(X, BACKGROUND)))


def draw_responses(events: int, seed: int) -> ResponseEvents:
    """Single hadrons of known energy, 2 to 200 GeV (flat in its logarithm), |η| < 3; the fluctuations are Gaussian."""
    rng = np.random.default_rng(seed)
    X = np.stack([rng.uniform(*LOG10_ENERGY, events), rng.uniform(-LARGEST_ETA, LARGEST_ETA, events)], axis=1)
    mean, noise = response(X), resolution(X)
    return ResponseEvents(X, mean + noise * rng.normal(size=events), mean, noise)


def response(X: FloatArray) -> FloatArray:
    """Mean of measured over true energy, shape (event,): that of a non-compensating calorimeter with a crack.

    1 − (1 − h/e) f_h with the hadronic fraction f_h = (E/1 GeV)^(m − 1) (D. E. Groom, NIM A 572 (2007) 633), times
    1 − 0.25 exp(−½ ((|η| − 1.5)/0.2)²).
    """
    scale, exponent = ELECTROMAGNETIC_FRACTION
    middle, width, lost = CRACK
    crack = 1 - lost * np.exp(-0.5 * ((np.abs(X[:, 1]) - middle) / width) ** 2)
    return np.asarray((1 - scale * (10.0 ** X[:, 0]) ** (exponent - 1)) * crack)


def resolution(X: FloatArray) -> FloatArray:
    """Standard deviation of measured over true energy, a/√E ⊕ b ⊕ c/E with a = 0.6 √GeV, b = 0.05, c = 0.5 GeV."""
    stochastic, constant, noise = RESOLUTION
    energy = 10.0 ** X[:, 0]
    return np.asarray(np.sqrt(stochastic**2 / energy + constant**2 + (noise / energy) ** 2))


def at_distance(X: FloatArray, distance: float, events: int, seed: int) -> FloatArray:
    """Points ``distance`` standard deviations of X from its mean, in random directions; shape (event, 2)."""
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, events)
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.asarray(X.mean(axis=0) + distance * X.std(axis=0) * direction)


Spots = tuple[tuple[tuple[float, float], float], ...]


def _spots(spots: Spots, events: int, rng: np.random.Generator) -> FloatArray:
    which = rng.integers(0, len(spots), events)
    centres, deviations = np.array([c for c, _ in spots]), np.array([d for _, d in spots])
    return np.asarray(centres[which] + deviations[which][:, None] * rng.normal(size=(events, 2)))


def _log_density(X: FloatArray, spots: Spots) -> FloatArray:
    terms = [
        -0.5 * (((X - np.asarray(centre)) / deviation) ** 2).sum(axis=1) - 2 * np.log(deviation)
        for centre, deviation in spots
    ]
    return np.asarray(logsumexp(np.stack(terms), axis=0) - np.log(2 * np.pi * len(spots)))
