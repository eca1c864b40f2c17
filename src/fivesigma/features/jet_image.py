"""Jet images, one jet at a time, one step a function: pixelate → translate → rotate → re-grid → flip → normalise.

The steps are those of "Jet-images: deep learning edition" (arXiv:1511.05190). This is the readable
definition; `fivesigma.features.jet_image_compiled` does the same to many jets at once and is tested against it.

Images have shape (size, size): rows are φ, columns η, both ascending, so that ``imshow(image, origin="lower")``
shows η to the right and φ upwards. ``extent`` is the half-width of the window: pixels have the side 2 extent / size.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fivesigma.physics.kinematics import delta_phi, mass_of, weighted_axis

Image: TypeAlias = NDArray[np.float64]
Intensity = Literal["pt", "energy"]
Regrid = Literal["cubic", "area"]
Normalisation = Literal["none", "l1", "l2", "pt-sum"]


class Pixels(NamedTuple):
    """The lit pixels of one jet before they are re-gridded: squares in the η–φ plane."""

    intensity: NDArray[np.float64]  # (pixel,) GeV
    eta: NDArray[np.float64]  # (pixel,) centres
    phi: NDArray[np.float64]  # (pixel,)
    side: float  # of every square
    angle: float = 0.0  # by which the squares are turned against the axes


def intensity_of(pt: NDArray[np.float64], eta: NDArray[np.float64], kind: Intensity = "pt") -> NDArray[np.float64]:
    """Transverse momentum, or energy pt cosh η of massless constituents.

    Energy is here to be shown, not to be used: the translation of the image is a boost along the beam, which keeps
    pt but not the energy, so that equal jets at different η get different images.
    """
    return pt * np.cosh(eta) if kind == "energy" else pt


def pixelate(intensity: ArrayLike, eta: ArrayLike, phi: ArrayLike, *, side: float, snap: bool = True) -> Pixels:
    """Constituents into the cells of the detector's own grid: positions become cell centres, cells are summed.

    The grid has cell edges at η = 0 and φ = −π, as our simulated calorimeter; in φ the side is adjusted so that a whole
    number of cells goes round.
    With ``snap=False`` the constituents are taken to be calorimeter towers: each is its own pixel, where it is.
    """
    intensity, eta, phi = (np.asarray(a, dtype=np.float64) for a in (intensity, eta, phi))
    if not snap:
        return Pixels(intensity, eta, phi, side)
    cells_round = round(2 * np.pi / side)
    side_phi = 2 * np.pi / cells_round
    cell = np.stack([np.floor(eta / side), np.floor((phi + np.pi) / side_phi) % cells_round])  # (2, constituent)
    lit, which = np.unique(cell, axis=1, return_inverse=True)
    summed = np.bincount(which, weights=intensity).astype(np.float64)
    return Pixels(summed, (lit[0] + 0.5) * side, (lit[1] + 0.5) * side_phi - np.pi, side)


def translate(pixels: Pixels, eta: float, phi: float) -> Pixels:
    """The point (eta, phi), where the leading subjet is, becomes the origin; differences in φ lie in [−π, π].

    In η this is a boost along the beam, in φ a rotation about it: pt stays what it was.
    """
    return pixels._replace(eta=pixels.eta - eta, phi=delta_phi(pixels.phi, phi))


def downward(pixels: Pixels, second: tuple[float, float] | None) -> float:
    """The angle that turns the second subjet, given relative to the leading one, straight down (to −π/2).

    Without a second subjet, or with one on top of the first, the principal axis of the pixels takes its place, in
    the sense in which most intensity lies on it (arXiv:1511.05190 says: principal component to the vertical).
    """
    if second is None or second == (0.0, 0.0):
        second = weighted_axis(pixels.intensity, pixels.eta, pixels.phi)
    return float(-np.pi / 2 - np.arctan2(second[1], second[0]))


def rotate(pixels: Pixels, angle: float) -> Pixels:
    """Turn centres and squares by ``angle`` (counter-clockwise) about the origin.

    Other than the translation this is no Lorentz transformation: see `image_mass` for what it does to the mass.
    """
    cosine, sine = np.cos(angle), np.sin(angle)
    eta = cosine * pixels.eta - sine * pixels.phi
    phi = sine * pixels.eta + cosine * pixels.phi
    return pixels._replace(eta=eta, phi=phi, angle=pixels.angle + angle)


def keys_kernel(distance: ArrayLike) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel, a = −1/2 (IEEE Trans. ASSP 29 (1981) 1153, eq. 15); distance in pixels.

    It interpolates, and its moments over the integers are exact up to the second: Σ K(x−j) jⁿ = xⁿ for n = 0, 1, 2.
    """
    d = np.abs(np.asarray(distance, dtype=np.float64))
    inner = (1.5 * d - 2.5) * d * d + 1.0
    outer = ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return np.where(d < 1, inner, np.where(d < 2, outer, 0.0))


def regrid_cubic(pixels: Pixels, size: int, extent: float) -> Image:
    """Share every pixel out over the 4×4 pixels round its centre, by Keys' cubic kernel; shape (size, size).

    Because the kernel's moments are exact to second order, so are the image's: total pt, centroid and second moments
    are those of the pixels (as far as they lie in the window), and with them the mass to fourth order in angles.
    The kernel has negative lobes (down to −2/27 in each direction), and so has the image round isolated pixels: they
    are left, since cutting them would bias pt and mass. Interpolation by a cubic spline, as in the paper, has them too.
    """
    centres = pixel_centres(size, extent)
    pitch = 2 * extent / size
    columns = keys_kernel((pixels.eta[:, None] - centres) / pitch)  # (pixel, column)
    rows = keys_kernel((pixels.phi[:, None] - centres) / pitch)  # (pixel, row)
    return np.asarray(np.einsum("p,pr,pc->rc", pixels.intensity, rows, columns))


def regrid_area(pixels: Pixels, size: int, extent: float) -> Image:
    """Share every turned square out over the pixels by the exact area of overlap; shape (size, size).

    Never negative, conserves the pt within the window exactly and the centroid of a square within it up to the
    re-binning; widens second moments (and the mass) by the size of the pixels.
    """
    edges = np.linspace(-extent, extent, size + 1)
    half = 0.5 * pixels.side
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])  # (corner, (eta, phi))
    cosine, sine = np.cos(pixels.angle), np.sin(pixels.angle)
    corners = corners @ np.array([[cosine, sine], [-sine, cosine]])
    image = np.zeros((size, size))
    for intensity, eta, phi in zip(pixels.intensity, pixels.eta, pixels.phi, strict=True):
        square = corners + np.array([eta, phi])
        (left, bottom), (right, top) = square.min(axis=0), square.max(axis=0)
        columns = np.flatnonzero((edges[1:] > left) & (edges[:-1] < right))
        for row in np.flatnonzero((edges[1:] > bottom) & (edges[:-1] < top)):
            strip = _clip(_clip(square, 1, edges[row], 1.0), 1, edges[row + 1], -1.0)
            for column in columns:
                piece = _clip(_clip(strip, 0, edges[column], 1.0), 0, edges[column + 1], -1.0)
                image[row, column] += intensity * _area(piece) / pixels.side**2
    return image


def _clip(polygon: NDArray[np.float64], axis: int, bound: float, sign: float) -> NDArray[np.float64]:
    """The part of a convex polygon with ``sign * (coordinate - bound) >= 0`` (Sutherland and Hodgman)."""
    kept: list[NDArray[np.float64]] = []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        a, b = sign * (start[axis] - bound), sign * (end[axis] - bound)
        if a >= 0:
            kept.append(start)
        if a * b < 0:
            kept.append(start + (end - start) * a / (a - b))
    return np.array(kept).reshape(-1, 2)


def _area(polygon: NDArray[np.float64]) -> float:
    """Area of a polygon with corners counter-clockwise (shoelace formula)."""
    x, y = polygon.T
    return float(0.5 * np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def flip(image: Image) -> Image:
    """Mirror the image, if need be, so that its right side (η > 0) has the greater summed intensity.

    The middle column of an odd size belongs to neither side.
    """
    half = image.shape[1] // 2
    return image[:, ::-1] if image[:, :half].sum() > image[:, -half:].sum() else image


def normalise(image: Image, how: Normalisation, pt_sum: float = 0.0) -> Image:
    """Divide by Σ|I| ("l1"), by √ΣI² ("l2"), or by the sum of the intensities of all the jet's constituents ("pt-sum").

    The last differs from the first by what lies outside the window and by negative pixels. A sum of zero leaves the
    image as it is. Normalising by L2 does not keep mass ratios of jets: see `image_mass`.
    """
    norms = {"none": 1.0, "l1": np.abs(image).sum(), "l2": np.sqrt(np.square(image).sum()), "pt-sum": pt_sum}
    norm = float(norms[how])
    return image / norm if norm > 0 else image


def jet_image(
    pt: ArrayLike,
    eta: ArrayLike,
    phi: ArrayLike,
    subjets: ArrayLike,
    *,
    size: int = 25,
    extent: float = 1.25,
    intensity: Intensity = "pt",
    regrid: Regrid = "cubic",
    normalisation: Normalisation = "none",
    tower: float | None = None,
) -> Image:
    """The whole chain for one jet, shape (size, size).

    Parameters
    ----------
    pt, eta, phi
        of the constituents, shape (constituent,).
    subjets
        pt, eta, phi of each subjet, shape (subjet, 3), in any order. Without any, the hardest constituent is the
        leading subjet.
    tower
        side of the calorimeter cells into which constituents are put first; None if they are towers already.
    """
    pt, eta, phi = (np.asarray(a, dtype=np.float64) for a in (pt, eta, phi))
    subjets = np.asarray(subjets, dtype=np.float64).reshape(-1, 3)
    if len(subjets) == 0:
        hardest = np.argmax(pt)
        subjets = np.array([[pt[hardest], eta[hardest], phi[hardest]]])
    leading, *others = subjets[np.argsort(-subjets[:, 0], kind="stable")]

    pixels = pixelate(
        intensity_of(pt, eta, intensity), eta, phi, side=tower or 2 * extent / size, snap=tower is not None
    )
    pixels = translate(pixels, leading[1], leading[2])
    second = (others[0][1] - leading[1], float(delta_phi(others[0][2], leading[2]))) if others else None
    pixels = rotate(pixels, downward(pixels, second))
    image = regrid_cubic(pixels, size, extent) if regrid == "cubic" else regrid_area(pixels, size, extent)
    return normalise(flip(image), normalisation, float(pixels.intensity.sum()))


def pixel_centres(size: int, extent: float) -> NDArray[np.float64]:
    """Centres of the pixels along either axis, shape (size,)."""
    return np.linspace(-extent, extent, 2 * size + 1)[1::2]


def image_mass(image: ArrayLike, extent: float) -> NDArray[np.float64]:
    """Mass of images whose pixels are massless particles at the pixel centres; shape (…, size, size) gives (…).

    The unit is that of the intensity; with pt as intensity the mass does not depend on where in η the jet was, so
    that the centre can be taken at η = 0. Negative pixels enter with their sign.

    >>> image = np.zeros((25, 25))
    >>> image[12, 12] = image[2, 12] = 40.0  # two towers of 40 GeV, 1.0 apart in φ: m = 2 pt sin(Δφ/2)
    >>> round(float(image_mass(image, 1.25)), 4)
    38.354
    """
    size = np.shape(image)[-1]
    centres = pixel_centres(size, extent)
    phi, eta = centres[:, None], centres[None, :]
    ones = np.ones((size, size))
    directions = np.stack([np.cosh(eta) * ones, np.cos(phi) * ones, np.sin(phi) * ones, np.sinh(eta) * ones], axis=-1)
    total: NDArray[np.float64] = np.tensordot(np.asarray(image, dtype=np.float64), directions, axes=2)
    return mass_of(total)
