"""SoftKiller (Cacciari, Salam, Soyez, arXiv:1407.0408): an event's soft towers removed until half of it is empty."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fivesigma.simulate.calorimeter import Towers
from fivesigma.simulate.jet_finding import offsets_of

ETA_MAX = 2.5
"""The threshold is found in |eta| < 2.5, and applied everywhere."""
N_ETA = 12
N_PHI = 15
"""Patches of 0.417 x 0.419, 180 in all, near the paper's 0.4."""

_N_PATCHES = N_ETA * N_PHI


def soft_killer(towers: Towers) -> Towers:
    """The towers above their event's threshold, the median over patches of the hardest tower in each.

    The smallest threshold for which the median transverse momentum density over the patches is zero (equation 2.2). An
    event with towers in less than half of its patches loses nothing.
    """
    threshold = soft_threshold(towers)
    event = np.repeat(np.arange(len(threshold)), np.diff(towers.offsets))
    kept = towers.pt > threshold[event]
    offsets = offsets_of(np.bincount(event[kept], minlength=len(threshold)))
    return Towers(towers.pt[kept], towers.eta[kept], towers.phi[kept], offsets)


def soft_threshold(towers: Towers) -> NDArray[np.float64]:
    """GeV, of each event, shape (events,)."""
    n = len(towers.offsets) - 1
    event = np.repeat(np.arange(n), np.diff(towers.offsets))
    inside = np.abs(towers.eta) < ETA_MAX
    row = ((towers.eta[inside].astype(np.float64) + ETA_MAX) * N_ETA / (2 * ETA_MAX)).astype(np.int64)
    column = ((towers.phi[inside].astype(np.float64) + math.pi) * N_PHI / (2 * math.pi)).astype(np.int64) % N_PHI
    hardest = np.zeros((n, _N_PATCHES))
    np.maximum.at(hardest, (event[inside], row * N_PHI + column), towers.pt[inside])
    return np.asarray(np.median(hardest, axis=1))
