"""Expected significance of a counting experiment, in one bin and in several: pure functions of s, b and σ_b.

Conventions: ``signal`` s and ``background`` b are expected yields after the cut, ``uncertainty`` σ_b is *absolute*, in
events. Where no background is expected (b ≤ 0), or an expected yield is negative (signed weights), the value is NaN:
nothing can be said, and no cut should win by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.core.errors import UnknownNameError
from fivesigma.core.registry import unknown_name

FloatArray = NDArray[np.float64]
SignificanceKind = Literal["asimov", "ams", "s-over-sqrt-b"]

HIGGSML_REGULARISATION = 10.0
"""b_reg of the HiggsML challenge (Adam-Bourdarios et al., JMLR W&CP 42 (2015) 19): added to b, so that a cut that leaves
almost no background cannot win by a fluctuation."""

SMALL_UNCERTAINTY = 1e-4
"""σ_b²/b below which the formula without σ_b is exact to rounding, and the one with σ_b is not."""


def asimov_significance(signal: ArrayLike, background: ArrayLike, uncertainty: ArrayLike = 0.0) -> FloatArray:
    """Median discovery significance Z_A, with σ_b known from a control region of Poisson counts.

    Without σ_b: √(2[(s+b) ln(1+s/b) − s]), arXiv:1007.1727 eq. 97. With it: G. Cowan, "Discovery sensitivity for a
    counting experiment with background uncertainty" (2012), eq. 20, where b is measured as m ~ Poisson(τb), τ = b/σ_b².

    >>> asimov_significance([10, 10], 100, [0, 10]).round(4).tolist()
    [0.984, 0.6902]
    """
    s, b, sigma, valid = _yields(signal, background, uncertainty)
    n, variance = s + b, sigma**2
    with np.errstate(divide="ignore", invalid="ignore"):
        known = n * np.log(n / b) - s
        first = n * np.log(n * (b + variance) / (b**2 + n * variance))
        second = b**2 / variance * np.log1p(variance * s / (b * (b + variance)))
        half = np.where(variance < SMALL_UNCERTAINTY * b, known, first - second)
    return _root(2 * half, valid)


def approximate_median_significance(
    signal: ArrayLike, background: ArrayLike, uncertainty: ArrayLike = 0.0, *, regularisation: float = 0.0
) -> FloatArray:
    """AMS, the approximate median significance: as Z_A, but b is known to a Gaussian σ_b (arXiv:1611.01046, section 5.2).

    √(2[(s+b) ln((s+b)/b₀) − s − b + b₀] + (b − b₀)²/σ_b²), with the b₀ that fits best without signal,
    b₀ = ½(b − σ_b² + √((b − σ_b²)² + 4(s+b)σ_b²)). ``regularisation`` is added to b first: the HiggsML challenge's
    AMS has ``HIGGSML_REGULARISATION`` and no σ_b.

    >>> float(approximate_median_significance(10, 100, 10).round(4))
    0.6958
    """
    s, b, sigma, valid = _yields(signal, np.asarray(background, dtype=np.float64) + regularisation, uncertainty)
    n, variance = s + b, sigma**2
    root = np.sqrt((b - variance) ** 2 + 4 * n * variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        # ½(b − v + root), written so that b and v of very different size do not cancel.
        best = np.where(b >= variance, (b - variance + root) / 2, 2 * n * variance / (root - b + variance))
        pull = np.where(sigma > 0, (b - best) ** 2 / np.where(variance > 0, variance, 1.0), 0.0)
        likelihood = 2 * (n * np.log(n / best) - n + best)
    return _root(likelihood + pull, valid)


def s_over_sqrt_b(signal: ArrayLike, background: ArrayLike, uncertainty: ArrayLike = 0.0) -> FloatArray:
    """S/√(B + σ_b²): the limit of both for s ≪ b."""
    s, b, sigma, valid = _yields(signal, background, uncertainty)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(valid, s / np.sqrt(b + sigma**2), np.nan))


SIGNIFICANCES: dict[str, Callable[[ArrayLike, ArrayLike, ArrayLike], FloatArray]] = {
    "asimov": asimov_significance,
    "ams": approximate_median_significance,
    "s-over-sqrt-b": s_over_sqrt_b,
}
"""By the names that studies use: functions of s, b and the absolute σ_b."""


def significance_named(kind: str) -> Callable[[ArrayLike, ArrayLike, ArrayLike], FloatArray]:
    """The function of that name; an unknown one lists the known ones."""
    if kind not in SIGNIFICANCES:
        raise UnknownNameError(unknown_name("significance", kind, SIGNIFICANCES))
    return SIGNIFICANCES[kind]


def binned_significance(signal: ArrayLike, background: ArrayLike, relative_uncertainty: float = 0.0) -> float:
    """Median discovery significance of several bins, (bin,) s and b, whose b scale together by 1 ± σ (Gaussian).

    The profile likelihood of the Asimov data s + b under b only: q₀ = min_θ Σ 2[b(1+σθ) − n + n ln(n/(b(1+σθ)))] + θ².
    Without σ this is the sum in quadrature of the bins' Z_A; with one bin it is AMS. The bins constrain θ: with a
    background-rich bin, σ hurts less than in one cut. Bins without background make it NaN.

    >>> round(binned_significance([10.0], [100.0], 0.1), 4)
    0.6958
    """
    s, b, _, valid = _yields(signal, background, 0.0)
    if not valid.all() or not len(np.atleast_1d(s)):
        return float("nan")
    n = s + b
    scale = _best_scale(float(n.sum()), float(b.sum()), relative_uncertainty)
    pull = (scale - 1) / relative_uncertainty if relative_uncertainty > 0 else 0.0
    q0 = 2 * np.sum(b * scale - n + n * np.log(n / (b * scale))) + pull**2
    return float(np.sqrt(max(q0, 0.0)))


def _best_scale(observed: float, expected: float, sigma: float) -> float:
    """The common scale of b that fits best: as all bins move together, that of their sums (eq. of b₀ above)."""
    variance = (sigma * expected) ** 2
    if variance == 0:
        return 1.0
    root = np.sqrt((expected - variance) ** 2 + 4 * observed * variance)
    return float((expected - variance + root) / 2 / expected)


def _yields(
    signal: ArrayLike, background: ArrayLike, uncertainty: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]:
    s, b, sigma = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (signal, background, uncertainty)))
    valid = (s >= 0) & (b > 0) & (sigma >= 0) & np.isfinite(s + b + sigma)
    return np.where(valid, s, 0.0), np.where(valid, b, 1.0), np.where(valid, sigma, 0.0), valid


def _root(q0: FloatArray, valid: NDArray[np.bool_]) -> FloatArray:
    return np.asarray(np.where(valid, np.sqrt(np.maximum(q0, 0.0)), np.nan))
