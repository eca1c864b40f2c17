"""``JetImages``: the jagged columns of jets as images, ready for a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError, FeatureError
from fivesigma.core.jagged import Columns, Jagged
from fivesigma.core.registry import unknown_name
from fivesigma.features.contract import FEATURES, fit_weight, jagged_column
from fivesigma.features.jet_image import Intensity, Normalisation, Regrid
from fivesigma.features.jet_image_compiled import jet_images

COLUMNS = ("constituent_pt", "constituent_eta", "constituent_phi", "subjet_pt", "subjet_eta", "subjet_phi")
"""pt, eta, phi of constituents and of subjets, as our samples name them."""


@FEATURES.register("jet-images")
@dataclass
class JetImages:
    """Jet images: pixelate → translate → rotate → re-grid → flip → normalise (arXiv:1511.05190).

    The steps are defined, one a function, in `fivesigma.features.jet_image`.

    Parameters
    ----------
    size, extent
        pixels along a side, and the half-width of the window in η and φ.
    intensity
        "pt", or "energy" (which depends on where in η the jet was: for demonstrations).
    regrid
        "cubic" (Keys' kernel, keeps pt and mass, with small negative lobes) or "area" (exact overlap, never negative).
    normalise
        "none", "l1", "l2", "pt-sum": each image by a number of its own.
    scale
        "none": intensities in GeV (or what ``normalise`` made of them); "standard": all images divided by one number,
        fitted as the weighted root mean square of a pixel, which suits networks and keeps ratios between jets.
    tower
        side of the calorimeter cells into which constituents are put first; None if they are towers already.
    columns
        pt, eta, phi of the constituents, then of the subjets.

    Examples
    --------
    >>> one = {name: Jagged.from_lists([[200.0, 60.0]]) for name in ("constituent_pt", "subjet_pt")}
    >>> one |= {name: Jagged.from_lists([[1.0, 1.4]]) for name in ("constituent_eta", "subjet_eta")}
    >>> one |= {name: Jagged.from_lists([[3.1, -2.9]]) for name in ("constituent_phi", "subjet_phi")}
    >>> image = JetImages(regrid="cubic").transform(one)[0]  # the second subjet is √(0.4² + 0.283²) = 0.49 below
    >>> image.shape, [round(float(v)) for v in (image[12, 12], image[7, 12], image.sum())]
    ((25, 25), [200, 59, 260])
    """

    size: int = 25
    extent: float = 1.25
    intensity: Intensity = "pt"
    regrid: Regrid = "cubic"
    normalise: Normalisation = "none"
    scale: Literal["none", "standard"] = "none"
    tower: float | None = None
    columns: tuple[str, ...] = COLUMNS
    unit: float | None = field(default=None, repr=False)
    """Fitted: the intensity that becomes 1, in the unit of the images."""

    def __post_init__(self) -> None:
        choices = {
            "intensity": Intensity,
            "regrid": Regrid,
            "normalise": Normalisation,
            "scale": Literal["none", "standard"],
        }
        for name, literal in choices.items():
            known = get_args(literal)
            if getattr(self, name) not in known:
                raise ConfigError(f"jet-images: {unknown_name(name, str(getattr(self, name)), known)}")
        if self.size < 2 or not self.extent > 0 or (self.tower is not None and not 0 < self.tower < 1):
            raise ConfigError(
                f"jet-images: expected size ≥ 2, extent > 0 and 0 < tower < 1 (or None), "
                f"got size {self.size}, extent {self.extent}, tower {self.tower}"
            )
        self.columns = tuple(self.columns)
        if len(self.columns) != len(COLUMNS):
            raise ConfigError(
                f"jet-images: expected six columns like {', '.join(COLUMNS)}; got {', '.join(self.columns)}"
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the columns that are read."""
        return self.columns

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one image."""
        return (self.size, self.size)

    def fit(self, columns: Columns, weight: NDArray[Any] | None = None) -> Self:
        """Fit the scale; with ``scale="none"`` nothing is learnt. Negative weights count with their absolute value."""
        if self.scale == "none":
            return self
        images = self._images(columns, threads=1)
        share = fit_weight(weight, len(images))
        mean_square = np.einsum("e,eij,eij->", share, images, images, dtype=np.float64) / self.size**2
        if not mean_square > 0:
            raise FeatureError("jet-images: cannot fit a scale, all images are empty")
        self.unit = float(np.sqrt(mean_square))
        return self

    def transform(self, columns: Columns, *, threads: int = 1) -> NDArray[np.float32]:
        """Images, float32 of shape (jet, size, size); rows are φ, columns η, ascending.

        Raises
        ------
        FeatureError
            on a missing column (naming the nearest), a non-finite value (naming column and entry), columns of unequal
            lengths, a jet without constituents, or if a scale is to be applied that was not fitted.
        """
        if self.scale == "standard" and self.unit is None:
            raise FeatureError('jet-images: scale="standard" is fitted: call fit before transform')
        images = self._images(columns, threads)
        if self.scale == "standard":
            images /= np.float32(self.unit)
        return images

    def _images(self, columns: Columns, threads: int) -> NDArray[np.float32]:
        constituents, subjets = self._jagged(columns, self.columns[:3]), self._jagged(columns, self.columns[3:])
        if len(constituents[0]) != len(subjets[0]):
            raise FeatureError(
                f"column {self.columns[3]!r}: expected {len(constituents[0])} jets as in {self.columns[0]!r}, "
                f"got {len(subjets[0])}"
            )
        empty = constituents[0].counts == 0
        if empty.any():
            raise FeatureError(f"column {self.columns[0]!r}: no constituents in entry {int(np.argmax(empty))}")
        return jet_images(
            constituents,
            subjets,
            size=self.size,
            extent=self.extent,
            energy=self.intensity == "energy",
            area=self.regrid == "area",
            normalisation=self.normalise,
            tower=self.tower,
            threads=threads,
        )

    @staticmethod
    def _jagged(columns: Columns, names: tuple[str, ...]) -> tuple[Jagged, Jagged, Jagged]:
        pt, eta, phi = (jagged_column(columns, name) for name in names)
        for name, other in zip(names[1:], (eta, phi), strict=True):
            if other.offsets is not pt.offsets and not np.array_equal(other.offsets, pt.offsets):
                raise FeatureError(f"column {name!r}: numbers of values per event differ from those of {names[0]!r}")
        return pt, eta, phi

    def to_json(self) -> dict[str, Any]:
        """Options and the fitted unit."""
        return {"features": "jet-images", **asdict(self), "columns": list(self.columns)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The same transform again."""
        options: dict[str, Any] = {name: value for name, value in content.items() if name != "features"}
        return cls(**options)
