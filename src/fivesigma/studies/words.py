"""The words that a study shares with its parts: a frozen mapping that refuses what it does not know, and a sample."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Words(BaseModel):
    """Words of a study: frozen, and any word not declared here is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SampleWords(Words):
    """One sample: its files, and what is special about it."""

    files: tuple[str, ...] = Field(
        description="files, URLs, globs or folders; 'fivesigma:NAME' is a sample that ships with the package"
    )
    tree: str | None = Field(default=None, description="TTree or RNTuple; the only one in the file if left out")
    label: int | None = Field(
        default=None, description="1 signal, 0 background; if left out, `labels` decides event by event"
    )
    weight: str | None = Field(default=None, description="expression that multiplies the study's weight")
    entries: int | None = Field(default=None, ge=0, description="entries that all files together must have")
