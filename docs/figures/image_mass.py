"""Figures and numbers of docs/features/jet-images.md: the steps of a jet image, and what each does to the jet mass.

``python docs/figures/image_mass.py [sample.root]`` writes steps.svg, image_mass.svg and image_mass.json beside itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import mplhep
import numpy as np
import uproot
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from fivesigma.core.integrity import file_digest, write_json
from fivesigma.features.jet_image import (
    Image,
    Pixels,
    downward,
    flip,
    image_mass,
    normalise,
    pixel_centres,
    pixelate,
    regrid_area,
    regrid_cubic,
    rotate,
    translate,
)
from fivesigma.physics.kinematics import delta_phi, invariant_mass

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "src/fivesigma/studies/data/w-tagging.root"
SIZE, EXTENT, PITCH = 25, 1.25, 0.1
N_JETS = 2000
BRANCHES = ["constituent_pt", "constituent_eta", "constituent_phi", "subjet_pt", "subjet_eta", "subjet_phi"]

Array = NDArray[np.float64]


def main(sample: Path) -> None:
    """Read W jets, make the figures and the table."""
    with uproot.open(sample) as file:
        # By an even stride, so that it does not matter how the sample is ordered.
        columns = file["jets"].arrays([*BRANCHES, "label", "jet_mass"], library="np")
    signal = np.flatnonzero(columns["label"] == 1)
    signal = signal[:: max(1, len(signal) // N_JETS)][:N_JETS]
    jets = [tuple(np.asarray(columns[b][i], dtype=np.float64) for b in BRANCHES) for i in signal]
    jets = [jet for jet in jets if len(jet[3]) >= 2]

    rows = {name: [step(jet) for jet in jets] for name, step in VARIANTS.items()}
    true = np.array([float(invariant_mass(*jet[:3])) for jet in jets])
    masses = {name: image_mass(np.stack(images), EXTENT) for name, images in rows.items()}
    norm = np.mean([np.linalg.norm(image) for image in rows[FULL]])
    masses["L2-normalised"] = masses["L2-normalised"] * norm

    table = {name: summary(mass / true) for name, mass in masses.items()}
    for name, numbers in table.items():
        print(f"{name:<44} {numbers['median']:.4f} ± {numbers['spread']:.4f}")
    distances = [distance(a, b) for a, b in zip(rows["scipy's cubic spline"], rows["rotated, cubic"], strict=True)]
    area = [distance(a, b) for a, b in zip(rows["rotated, exact area"], rows["rotated, cubic"], strict=True)]
    pt = [float(i.sum() / j[0].sum()) for i, j in zip(rows["scipy's cubic spline"], jets, strict=True)]
    content = {
        "command": "python docs/figures/image_mass.py",
        "sample": {"file": sample.name, "xxh3": file_digest(sample), "jets": len(jets)},
        "mass of the image over mass of the constituents": table,
        "relative L2 distance from the cubic image, median": {
            "scipy's cubic spline": float(np.median(distances)),
            "exact area": float(np.median(area)),
        },
        "pt of the image of scipy's cubic spline over pt of the jet": summary(np.array(pt)),
        "negative intensity of the cubic image over pt, median": float(
            np.median([-i[i < 0].sum() / i.sum() for i in rows[FULL]])
        ),
    }
    print(content)
    write_json(HERE / "image_mass.json", content)
    mplhep.style.use("CMS")
    mpl.rcParams.update({"svg.hashsalt": "fivesigma", "svg.fonttype": "path", "font.size": 14})
    draw_masses(true, masses)
    draw_steps(jets[most_telling(jets)])


def in_frame(jet: tuple[Array, ...]) -> tuple[Pixels, float]:
    """Towers relative to the leading subjet, and the angle that turns the second one down."""
    pt, eta, phi, subjet_pt, subjet_eta, subjet_phi = jet
    first, second = np.argsort(-subjet_pt)[:2]
    pixels = translate(pixelate(pt, eta, phi, side=PITCH, snap=False), subjet_eta[first], subjet_phi[first])
    towards = subjet_eta[second] - subjet_eta[first], float(delta_phi(subjet_phi[second], subjet_phi[first]))
    return pixels, downward(pixels, towards)


def binned(jet: tuple[Array, ...]) -> Image:
    """Every tower in the one pixel in which its centre lies."""
    pixels, _ = in_frame(jet)
    edges = np.linspace(-EXTENT, EXTENT, SIZE + 1)
    return np.histogram2d(pixels.phi, pixels.eta, bins=(edges, edges), weights=pixels.intensity)[0]


def spline(jet: tuple[Array, ...]) -> Image:
    """The binned image turned and interpolated by a cubic spline, as in the paper."""
    _, angle = in_frame(jet)
    grid = pixel_centres(SIZE, EXTENT)
    phi, eta = np.meshgrid(grid, grid, indexing="ij")
    back = rotate(Pixels(phi.ravel(), eta.ravel(), phi.ravel(), PITCH), -angle)
    at = (np.stack([back.phi, back.eta]) + EXTENT) / PITCH - 0.5
    return np.asarray(map_coordinates(binned(jet), at, order=3, mode="constant").reshape(SIZE, SIZE))


def turned(jet: tuple[Array, ...]) -> Pixels:
    """Towers with the second subjet straight below the first."""
    pixels, angle = in_frame(jet)
    return rotate(pixels, angle)


def full(jet: tuple[Array, ...]) -> Image:
    """The default of ``JetImages``."""
    return flip(regrid_cubic(turned(jet), SIZE, EXTENT))


def energy(jet: tuple[Array, ...]) -> Image:
    """The same with energy as intensity, as it was before the translation."""
    return full((jet[0] * np.cosh(jet[1]), *jet[1:]))


FULL = "rotated, cubic, flipped"
VARIANTS: dict[str, Callable[[tuple[Array, ...]], Image]] = {
    "translated, each tower in one pixel": binned,
    "translated, cubic": lambda jet: regrid_cubic(in_frame(jet)[0], SIZE, EXTENT),
    "rotated, cubic": lambda jet: regrid_cubic(turned(jet), SIZE, EXTENT),
    FULL: full,
    "rotated, exact area": lambda jet: regrid_area(turned(jet), SIZE, EXTENT),
    "scipy's cubic spline": spline,
    "energy as intensity": energy,
    "L2-normalised": lambda jet: normalise(full(jet), "l2"),
}


def summary(ratio: Array) -> dict[str, float]:
    """Median and half the width of the central 68 %, and the error of the median from its order statistics."""
    low, median, high = np.percentile(ratio, [15.87, 50.0, 84.13])
    spread = float((high - low) / 2)
    return {"median": float(median), "spread": spread, "error_of_median": float(1.2533 * spread / np.sqrt(len(ratio)))}


def distance(a: Image, b: Image) -> float:
    """Relative L2 distance."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def most_telling(jets: list[Any]) -> int:
    """A jet with two prongs well apart, at an angle, that is flipped."""
    for i, jet in enumerate(jets):
        image = regrid_cubic(turned(jet), SIZE, EXTENT)
        _, angle = in_frame(jet)
        lower = jet[3][1] / jet[3][0]
        if (
            lower > 0.45
            and abs(np.sin(angle)) > 0.6
            and np.cos(angle) < -0.3
            and not np.array_equal(flip(image), image)
        ):
            return i
    return 0


def draw_masses(true: Array, masses: dict[str, Array]) -> None:
    """Distributions of the mass of images against that of the constituents."""
    panels = [
        ("the steps", ["translated, each tower in one pixel", "translated, cubic", FULL, "rotated, exact area"]),
        ("another intensity, another norm", [FULL, "energy as intensity", "L2-normalised"]),
    ]
    figure, axes = plt.subplots(1, 2, figsize=(14, 5.6), layout="constrained")
    for axis, (title, names) in zip(axes, panels, strict=True):
        bins = np.linspace(50, 115, 53) if title == "the steps" else np.linspace(0, 260, 53)
        axis.hist(true, bins, color="0.85", label="constituents")
        for name in names:
            axis.hist(masses[name], bins, histtype="step", linewidth=1.6, label=name)
        axis.set(xlabel="mass [GeV]", ylabel=f"W jets / {bins[1] - bins[0]:.3g} GeV", title=title)
        axis.legend(fontsize=11)
    save(figure, "image_mass.svg")


def draw_steps(jet: tuple[Array, ...]) -> None:
    """One jet after each step."""
    pt, eta, phi, subjet_pt, subjet_eta, subjet_phi = jet
    first = int(np.argmax(subjet_pt))
    around = phi[np.argmax(pt)] + delta_phi(phi, phi[np.argmax(pt)])
    pixels, angle = in_frame(jet)
    image = regrid_cubic(rotate(pixels, angle), SIZE, EXTENT)
    figure, axes = plt.subplots(1, 5, figsize=(20, 4.6), layout="constrained")
    norm = LogNorm(0.3, float(pt.max()))
    for axis, p, title in [
        (axes[0], Pixels(pt, eta, around, PITCH), "pixelate"),
        (axes[1], pixels, "translate"),
        (axes[2], rotate(pixels, angle), "rotate"),
    ]:
        draw_squares(axis, p, norm)
        axis.set(title=title, xlabel="η", ylabel="φ", aspect="equal")
    centre = (float(subjet_eta[first]), float(around[0] + delta_phi(subjet_phi[first], around[0])))
    axes[0].set(xlim=(centre[0] - EXTENT, centre[0] + EXTENT), ylim=(centre[1] - EXTENT, centre[1] + EXTENT))
    for axis in axes[1:3]:
        axis.set(xlim=(-EXTENT, EXTENT), ylim=(-EXTENT, EXTENT), xlabel="Δη", ylabel="Δφ")
    for axis, shown, title in [(axes[3], image, "re-grid"), (axes[4], flip(image), "flip")]:
        drawn = axis.imshow(
            np.where(shown > 0.3, shown, np.nan),
            origin="lower",
            extent=[-EXTENT, EXTENT] * 2,
            norm=norm,
            cmap="viridis",
        )
        axis.set(title=title, xlabel="Δη", ylabel="Δφ")
    figure.colorbar(drawn, ax=axes, label="pt [GeV]", shrink=0.8)
    save(figure, "steps.svg")


def draw_squares(axis: Any, pixels: Pixels, norm: LogNorm) -> None:
    """Pixels as the squares that they are, turned."""
    for intensity, eta, phi in zip(pixels.intensity, pixels.eta, pixels.phi, strict=True):
        corner = (eta - pixels.side / 2, phi - pixels.side / 2)
        colour = mpl.colormaps["viridis"](norm(intensity))
        degrees = float(np.degrees(pixels.angle))
        square = Rectangle(corner, pixels.side, pixels.side, angle=degrees, rotation_point="center", color=colour)
        axis.add_patch(square)


def save(figure: Any, name: str) -> None:
    """Write an SVG without a date, so that the same figure is the same file."""
    figure.savefig(HERE / name, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE)
