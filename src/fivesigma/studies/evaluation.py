"""What a study's YAML says under ``evaluate``: metrics, and what they are to withstand."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fivesigma.studies.words import SampleWords, Words


class YieldWords(Words):
    """Expected yields before the cut on the classifier, for significance."""

    signal: float = Field(default=100.0, gt=0, description="expected signal events")
    background: float = Field(default=1000.0, gt=0, description="expected background events")
    background_uncertainty: float = Field(
        default=0.1, ge=0, description="relative systematic uncertainty σ_B of the background"
    )


class VariationWords(Words):
    """One direction of one nuisance: other weights, shifted columns, or other samples."""

    weight: str | None = Field(default=None, description="expression that multiplies the event's weight")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="column and the expression that replaces it; new variables and features are made again from it",
    )
    samples: dict[str, SampleWords] = Field(
        default_factory=dict, description="samples that stand in for those of the same name"
    )
    paired: bool = Field(default=False, description="the samples must hold exactly the nominal events")

    @model_validator(mode="after")
    def _is_one_kind(self) -> VariationWords:
        if not (self.weight or self.columns or self.samples):
            raise ValueError("a variation needs `weight`, `columns` or `samples`")
        if self.samples and (self.weight or self.columns):
            raise ValueError("`samples` have weights and columns of their own: give them there")
        if self.paired and not self.samples:
            raise ValueError("`paired` is said of `samples`; other variations are of the same rows anyway")
        return self


class DataWords(Words):
    """Data to compare the simulation with: variables, and the models' scores."""

    samples: dict[str, SampleWords] = Field(description="files of data; they have no labels")
    variables: dict[str, tuple[float, ...]] = Field(description="column and its bin edges")
    normalise: bool = Field(default=True, description="scale simulation to data and compare shapes; or compare yields")


class EvaluateWords(Words):
    """What is measured on out-of-fold scores, and against what."""

    metrics: tuple[str, ...] = ("auc", "rejection_at_0.5", "rejection_at_0.2", "significance_improvement_at_0.5")
    baseline: str = Field(description="the model that all others are compared with, event by event")
    replicas: int = Field(default=200, ge=20, description="bootstrap replicas")
    bins: dict[str, tuple[float, ...]] = Field(
        default_factory=dict, description="edges of bins in which rejection is measured"
    )
    restricted: dict[str, str] = Field(
        default_factory=dict, description="name and selection of restricted phase spaces"
    )
    yields: YieldWords = YieldWords()
    significance: Literal["asimov", "ams", "s-over-sqrt-b"] = Field(
        default="asimov", description="definition of significance that is scanned over the cut"
    )
    variations: dict[str, dict[str, VariationWords]] = Field(
        default_factory=dict, description="nuisance, direction (up, down), and how the events change"
    )
    nuisances: tuple[str, ...] = Field(
        default=(), description="columns that scores should not depend on: tested within each class"
    )
    flatness: tuple[str, ...] = Field(
        default=(), description="columns in which the background efficiency should be flat, together"
    )
    sculpting: tuple[str, ...] = Field(default=(), description="masses whose background shape a cut should not change")
    working_points: tuple[float, ...] = Field(
        default=(0.3, 0.5, 0.8), description="nominal signal efficiencies of cuts that stay fixed under variations"
    )
    calibrate: Literal["isotonic", "platt"] | None = Field(
        default=None, description="calibrate scores out of fold, and show the calibration before and after"
    )
    data: DataWords | None = Field(default=None, description="data to compare the simulation with")
