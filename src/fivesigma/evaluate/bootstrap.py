"""The Poisson bootstrap over events: how much would a number move with another sample of the same size?

Every event gets a Poisson(1) count in every replica, instead of drawing n events with replacement (Chamandy et al.,
"Estimating uncertainty for massive data streams", Google 2012; the usual choice in ATLAS and CMS unfolding). The count
is a pure function of (seed, replica, event identity), so

- two jets of the same event move together,
- all models, and all sub-samples, see the same replicas: differences between them are paired,
- the order of rows, and which other rows are there, change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.evaluate.measurement import CONFIDENCE, Measurement

N_REPLICAS = 200
"""Default number of replicas: the uncertainty itself is then known to about 7 %."""

_CUMULATIVE = np.cumsum([math.exp(-1.0) / math.factorial(k) for k in range(20)])  # P(count <= k) of Poisson(1)
_CUMULATIVE[-1] = 1.0


@numba.njit(nogil=True, cache=True)
def _mix(z: np.uint64) -> np.uint64:
    """The splitmix64 step (Steele, Lea and Flood, OOPSLA 2014): neighbouring inputs give independent outputs."""
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(nogil=True, cache=True)
def _uniform(event: np.uint64, key: np.uint64) -> np.float64:
    return np.float64(_mix(_mix(event) ^ key) >> np.uint64(11)) * 2.0**-53


@numba.njit(nogil=True, cache=True)
def _fill_uniform(event: NDArray[np.uint64], seed: np.uint64, replica: np.uint64, out: NDArray[np.float64]) -> None:
    key = _mix(_mix(seed) ^ replica)
    for row in range(len(event)):
        out[row] = _uniform(event[row], key)


@numba.njit(nogil=True, cache=True)
def _fill_counts(
    event: NDArray[np.uint64],
    seed: np.uint64,
    replica: np.uint64,
    cumulative: NDArray[np.float64],
    out: NDArray[np.uint8],
) -> None:
    key = _mix(_mix(seed) ^ replica)
    for row in range(len(event)):
        uniform = _uniform(event[row], key)
        count = 0
        while uniform >= cumulative[count]:
            count += 1
        out[row] = count


def event_uniform(event: NDArray[np.uint64], replica: int, seed: int = 0) -> NDArray[np.float64]:
    """A number in [0, 1) that depends on (seed, replica, event identity) alone."""
    numbers = np.empty(len(event))
    _fill_uniform(event, np.uint64(seed), np.uint64(replica), numbers)
    return numbers


def poisson_counts(event: NDArray[np.uint64], replica: int, seed: int = 0) -> NDArray[np.uint8]:
    """How often each row stands in one replica: Poisson(1), the same for all rows of one event.

    >>> poisson_counts(np.array([7, 8, 7], dtype=np.uint64), replica=0)
    array([2, 3, 2], dtype=uint8)
    """
    counts = np.empty(len(event), dtype=np.uint8)
    _fill_counts(event, np.uint64(seed), np.uint64(replica), _CUMULATIVE, counts)
    return counts


def bootstrap_replicas(
    statistic: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
    event: NDArray[np.uint64],
    *,
    n_replicas: int = N_REPLICAS,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Evaluate ``statistic(counts)`` in every replica.

    Parameters
    ----------
    statistic : takes the counts (row,) by which weights are to be multiplied; returns an array of any fixed shape.
    event : (row,) identities.

    Returns
    -------
    (replica, …) values of the statistic.
    """
    check_replicas(n_replicas)
    return np.stack([statistic(poisson_counts(event, replica, seed)) for replica in range(n_replicas)])


def check_replicas(n_replicas: int) -> None:
    """Fewer than 20 replicas cannot give a 68 % interval."""
    if n_replicas < 20:
        raise ConfigError(f"n_replicas: expected at least 20 for a 68 % interval, got {n_replicas}")


def central_interval(replicas: NDArray[np.float64]) -> tuple[float, float]:
    """The central 68.27 % of the replicas; NaN replicas count as unknown and, beyond 5 %, make the interval NaN.

    Infinite replicas (no background left above the cut) keep their rank, so that an interval may end in infinity.
    """
    known = np.sort(replicas[~np.isnan(replicas)])
    if len(known) < 0.95 * len(replicas):
        return math.nan, math.nan
    position = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) * (len(known) - 1)
    low, high = (_interpolated(known, float(p)) for p in position)
    return low, high


def _interpolated(ordered: NDArray[np.float64], position: float) -> float:
    below, above = ordered[math.floor(position)], ordered[math.ceil(position)]
    if not (math.isfinite(below) and math.isfinite(above)):  # ∞ − ∞ has no value
        return float(below if position - math.floor(position) < 0.5 else above)
    return float(below + (above - below) * (position - math.floor(position)))


def bootstrap_measurement(value: float, replicas: NDArray[np.float64]) -> Measurement:
    """A value with half of the central 68.27 % interval of its replicas as uncertainty."""
    how = f"bootstrap, {len(replicas)} replicas"
    low, high = central_interval(replicas)
    if not math.isfinite(value):
        return Measurement(value, math.nan, f"{how}; not defined: no background above the cut", (low, high))
    uncertainty = (high - low) / 2 if math.isfinite(high - low) else math.nan
    if math.isnan(uncertainty):
        how = f"{how}; no uncertainty: in more than 5 % of them the value is not defined, or its interval is open"
    return Measurement(value, uncertainty, how, (low, high))
