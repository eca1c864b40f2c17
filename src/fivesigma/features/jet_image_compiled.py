"""Jet images of many jets at once: the steps of `fivesigma.features.jet_image`, compiled, over jagged columns.

One call makes one jet's image in about a microsecond: nothing is allocated per jet, a constituent touches only the
pixels near it, and trigonometric functions are not needed (the turn is made of the direction to the second subjet).
Equality with the step-by-step functions is tested to rounding. Indices are unsigned where speed needs it: signed ones
are checked for Python's counting from the end.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fivesigma.core.jagged import Jagged

_TWO_PI: Final = 2 * np.pi
_MARGIN: Final = 4  # pixels round the window in the scratch image, so that footprints that touch it need no bounds
_NORMALISATIONS: Final = {"none": 0, "l1": 1, "l2": 2, "pt-sum": 3}

_LANES: Final = 16  # the scratch image is as wide as makes loops over its columns whole vector operations
# Fused multiplication and addition: rounds once instead of twice.
_compiled: Final = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})

Floats = NDArray[Any]
Offsets = NDArray[np.int64]


def jet_images(
    constituents: tuple[Jagged, Jagged, Jagged],
    subjets: tuple[Jagged, Jagged, Jagged],
    *,
    size: int,
    extent: float,
    energy: bool,
    area: bool,
    normalisation: str,
    tower: float | None,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Images of all jets, float32 of shape (jet, size, size).

    ``constituents`` and ``subjets`` are pt, eta, phi, jagged; a jet needs at least one constituent. Options as in
    `fivesigma.features.jet_image.jet_image`. The result does not depend on ``threads``.
    """
    n_jets = len(constituents[0])
    images = np.empty((n_jets, size, size), dtype=np.float32)
    arrays = [c.values for c in constituents] + [constituents[0].offsets]
    arrays += [c.values for c in subjets] + [subjets[0].offsets]
    options: list[Any] = [float(extent), energy, area, _NORMALISATIONS[normalisation], float(tower or 0.0)]
    fill_compiled: Any = _fill

    def fill(start: int, stop: int) -> None:
        fill_compiled(*arrays, start, stop, *options, images)

    if threads <= 1:
        fill(0, n_jets)
        return images
    edges = np.linspace(0, n_jets, threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, edges[:-1].tolist(), edges[1:].tolist()))
    return images


@_compiled
def _fill(
    pt: Floats,
    eta: Floats,
    phi: Floats,
    offsets: Offsets,
    subjet_pt: Floats,
    subjet_eta: Floats,
    subjet_phi: Floats,
    subjet_offsets: Offsets,
    start: int,
    stop: int,
    extent: float,
    energy: bool,
    area: bool,
    normalisation: int,
    tower: float,
    images: NDArray[np.float32],
) -> None:
    """Fill ``images[start:stop]``."""
    size = images.shape[1]
    per_pixel = size / (2 * extent)
    side = tower * per_pixel if tower > 0 else 1.0  # of the turned squares, in pixels
    lanes = -(-size // _LANES) * _LANES
    wide, high = lanes + 2 * _MARGIN, size + 2 * _MARGIN
    scratch, profile = np.zeros(wide * high), np.empty(lanes)
    reach = int(np.ceil(side * np.sqrt(2.0))) + 2  # pixels that a turned square can touch along an axis, and one more
    block = np.empty((reach, reach))
    middle = 0.5 * size + _MARGIN  # of the window, in pixels from the edge of the scratch image
    for jet in range(start, stop):
        first, last = offsets[jet], offsets[jet + 1]
        centre_eta, centre_phi, cosine, sine = _frame(
            pt, eta, phi, first, last, subjet_pt, subjet_eta, subjet_phi, subjet_offsets[jet], subjet_offsets[jet + 1],
            energy, tower,
        )  # fmt: skip
        total = 0.0
        for i in range(first, last):
            intensity, x, y = _pixel(pt[i], eta[i], phi[i], centre_eta, centre_phi, energy, tower)
            total += intensity
            u = (cosine * x - sine * y) * per_pixel + middle
            v = (sine * x + cosine * y) * per_pixel + middle
            if area:
                _share_area(scratch, wide, high, block, intensity, u, v, cosine, sine, side)
            else:
                _share_cubic(scratch, wide, high, intensity, u - 0.5, v - 0.5)
        _finish(scratch, wide, profile, total, normalisation, images, jet)


@_compiled
def _pixel(
    pt: float, eta: float, phi: float, centre_eta: float, centre_phi: float, energy: bool, tower: float
) -> tuple[float, float, float]:
    """Intensity and position, relative to the centre, of the pixel that a constituent lights; all in float64."""
    pt, eta, phi = np.float64(pt), np.float64(eta), np.float64(phi)
    intensity = pt * np.cosh(eta) if energy else pt
    if tower > 0:
        side_phi = _TWO_PI / np.rint(_TWO_PI / tower)
        eta = (np.floor(eta / tower) + 0.5) * tower
        phi = (np.floor((phi + np.pi) / side_phi) + 0.5) * side_phi - np.pi
    difference = phi - centre_phi
    return intensity, eta - centre_eta, difference - _TWO_PI * np.rint(difference * (1 / _TWO_PI))


@_compiled
def _frame(
    pt: Floats,
    eta: Floats,
    phi: Floats,
    first: int,
    last: int,
    subjet_pt: Floats,
    subjet_eta: Floats,
    subjet_phi: Floats,
    first_subjet: int,
    last_subjet: int,
    energy: bool,
    tower: float,
) -> tuple[float, float, float, float]:
    """Position of the leading subjet, and cosine and sine of the angle that turns the second one downwards."""
    leading, second = _two_hardest(subjet_pt, first_subjet, last_subjet)
    if leading >= 0:
        centre_eta, centre_phi = np.float64(subjet_eta[leading]), np.float64(subjet_phi[leading])
    else:
        hardest, _ = _two_hardest(pt, first, last)
        centre_eta, centre_phi = np.float64(eta[hardest]), np.float64(phi[hardest])
    x, y = 0.0, 0.0
    if second >= 0:
        x = subjet_eta[second] - centre_eta
        y = subjet_phi[second] - centre_phi
        y -= _TWO_PI * np.rint(y * (1 / _TWO_PI))
    if x == 0.0 and y == 0.0:
        x, y = _principal_axis(pt, eta, phi, first, last, centre_eta, centre_phi, energy, tower)
    length = np.sqrt(x * x + y * y)
    return centre_eta, centre_phi, -y / length, -x / length


@_compiled
def _two_hardest(pt: Floats, first: int, last: int) -> tuple[int, int]:
    """Indices of the greatest and second greatest pt, the earlier at equality; −1 where there is none."""
    leading, second = -1, -1
    for i in range(first, last):
        if leading < 0 or pt[i] > pt[leading]:
            leading, second = i, leading
        elif second < 0 or pt[i] > pt[second]:
            second = i
    return leading, second


@_compiled
def _principal_axis(
    pt: Floats,
    eta: Floats,
    phi: Floats,
    first: int,
    last: int,
    centre_eta: float,
    centre_phi: float,
    energy: bool,
    tower: float,
) -> tuple[float, float]:
    """As `fivesigma.physics.kinematics.weighted_axis`, of the pixels about the centre."""
    xx, xy, yy, wx, wy = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(first, last):
        w, x, y = _pixel(pt[i], eta[i], phi[i], centre_eta, centre_phi, energy, tower)
        xx += w * x * x
        xy += w * x * y
        yy += w * y * y
        wx += w * x
        wy += w * y
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    cosine, sine = np.cos(angle), np.sin(angle)
    if cosine * wx + sine * wy < 0:
        return -cosine, -sine
    return cosine, sine


@_compiled
def _share_cubic(scratch: Floats, wide: int, high: int, intensity: float, u: float, v: float) -> None:
    """Add the 4×4 footprint of Keys' kernel (a = −1/2); ``u, v`` in pixel centres of the scratch image."""
    if not (u >= 1.0 and v >= 1.0 and u < high - 3.0 and v < high - 3.0):
        return  # does not touch the window: the margin is wider than half a footprint
    column, row = np.uint64(np.int64(u)), np.uint64(np.int64(v))
    t, s = u - np.floor(u), v - np.floor(v)
    a = ((-0.5 * t + 1.0) * t - 0.5) * t
    b = (1.5 * t - 2.5) * t * t + 1.0
    c = ((-1.5 * t + 2.0) * t + 0.5) * t
    d = (0.5 * t - 0.5) * t * t
    w0 = intensity * (((-0.5 * s + 1.0) * s - 0.5) * s)
    w1 = intensity * ((1.5 * s - 2.5) * s * s + 1.0)
    w2 = intensity * (((-1.5 * s + 2.0) * s + 0.5) * s)
    w3 = intensity * ((0.5 * s - 0.5) * s * s)
    one, step = np.uint64(1), np.uint64(wide)
    at = (row - one) * step + column - one
    _add_row(scratch, at, w0, a, b, c, d)
    _add_row(scratch, at + step, w1, a, b, c, d)
    _add_row(scratch, at + step + step, w2, a, b, c, d)
    _add_row(scratch, at + step + step + step, w3, a, b, c, d)


@_compiled
def _add_row(scratch: Floats, at: np.uint64, w: float, a: float, b: float, c: float, d: float) -> None:
    one = np.uint64(1)
    scratch[at] += w * a
    scratch[at + one] += w * b
    scratch[at + one + one] += w * c
    scratch[at + one + one + one] += w * d


@_compiled
def _share_area(
    scratch: Floats,
    wide: int,
    high: int,
    block: Floats,
    intensity: float,
    u: float,
    v: float,
    cosine: float,
    sine: float,
    side: float,
) -> None:
    """Add a turned square, shared out by exact overlap; ``u, v`` its centre in pixels from the scratch's edge.

    Overlaps come from the edges alone, as in the drawing of fonts: each piece of an edge adds the area to its right
    within its pixel, and its height to all pixels further right; a running sum along the rows completes them.
    """
    half_extent = 0.5 * side * (abs(cosine) + abs(sine))
    column, row = int(np.floor(u - half_extent)), int(np.floor(v - half_extent))
    n = len(block)
    if column + n <= _MARGIN or row + n <= _MARGIN or column >= high - _MARGIN or row >= high - _MARGIN:
        return
    block[:] = 0.0
    p, q = 0.5 * side * (cosine - sine), 0.5 * side * (cosine + sine)  # from the centre to the corner (+, +)
    x, y = u - column, v - row
    _add_edge(block, x + q, y - p, x + p, y + q)
    _add_edge(block, x + p, y + q, x - q, y + p)
    _add_edge(block, x - q, y + p, x - p, y - q)
    _add_edge(block, x - p, y - q, x + q, y - p)
    per_area = intensity / (side * side)
    for j in range(max(0, -row), min(n, high - row)):
        running = 0.0
        for i in range(n):
            running -= block[j, i]
            # What is left of zero after the last edge is rounding.
            if running > 1e-12 and 0 <= column + i < high:
                scratch[(row + j) * wide + column + i] += per_area * running


@_compiled
def _add_edge(block: Floats, x0: float, y0: float, x1: float, y1: float) -> None:
    """Add a directed edge, piece by piece where it crosses from pixel to pixel."""
    at = 0.0
    while at < 1.0:
        end = min(_next_crossing(x0, x1, at), _next_crossing(y0, y1, at), 1.0)
        middle = 0.5 * (at + end)
        x, y = x0 + middle * (x1 - x0), y0 + middle * (y1 - y0)
        column, row = int(x), int(y)
        height = (end - at) * (y1 - y0)
        inside = x - column  # mean distance from the left side of the pixel
        block[row, column] += height * (1.0 - inside)
        block[row, column + 1] += height * inside
        at = end


@_compiled
def _next_crossing(start: float, end: float, at: float) -> float:
    """The next fraction of the way from ``start`` to ``end``, after ``at``, at which a whole number is crossed."""
    step = end - start
    if abs(step) < 1e-14:
        return 2.0
    here = start + at * step
    # The tolerance keeps a crossing that has just been made from being found again.
    target = np.floor(here + 1e-12) + 1.0 if step > 0 else np.ceil(here - 1e-12) - 1.0
    crossing: float = max((target - start) / step, at + 1e-15)
    return crossing


@_compiled
def _finish(
    scratch: Floats,
    wide: int,
    profile: Floats,
    total: float,
    normalisation: int,
    images: NDArray[np.float32],
    jet: int,
) -> None:
    """Cut out the window, flip it if its left side has more, normalise it; leave zeros behind for the next jet."""
    size = np.uint64(images.shape[1])
    one, begin = np.uint64(1), np.uint64(_MARGIN * wide + _MARGIN)
    _profile(scratch, wide, images.shape[1], profile, 0)
    left, right = 0.0, 0.0
    for i in range(size // np.uint64(2)):
        left += profile[i]
        right += profile[size - one - i]
    norm = 1.0
    if normalisation == 3:
        norm = total
    elif normalisation > 0:
        _profile(scratch, wide, images.shape[1], profile, normalisation)
        norm = profile[: int(size)].sum()
        if normalisation == 2:
            norm = np.sqrt(norm)
    factor = 1.0 / norm if norm > 0 else 1.0
    image = images[jet].ravel()
    for j in range(size):
        source, target = begin + j * np.uint64(wide), j * size
        if left > right:
            for i in range(size):
                image[target + size - one - i] = factor * scratch[source + i]
        else:
            for i in range(size):
                image[target + i] = factor * scratch[source + i]
        for i in range(np.uint64(len(profile))):
            scratch[source + i] = 0.0


@_compiled
def _profile(scratch: Floats, wide: int, size: int, profile: Floats, power: int) -> None:
    """Sum of every column of the window: of the values, of their absolute values (power 1) or squares (power 2).

    Columns right of the window are summed too, and not used: a multiple of the vector length takes less time.
    """
    lanes, begin = np.uint64(len(profile)), np.uint64(_MARGIN * wide + _MARGIN)
    profile[:] = 0.0
    for j in range(np.uint64(size)):
        row = begin + j * np.uint64(wide)
        if power == 0:
            for i in range(lanes):
                profile[i] += scratch[row + i]
        elif power == 1:
            for i in range(lanes):
                profile[i] += abs(scratch[row + i])
        else:
            for i in range(lanes):
                profile[i] += scratch[row + i] ** 2
