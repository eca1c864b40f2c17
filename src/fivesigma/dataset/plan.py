"""``ConversionPlan``: what a conversion would read and write, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fivesigma.core.jagged import Column, Jagged
from fivesigma.dataset.inputs import Inputs
from fivesigma.dataset.rows import select
from fivesigma.dataset.samples import Sample
from fivesigma.read.events import Events, Partition

TRIED = 5_000
"""Entries at the beginning of each sample that are read and selected, to see how many pass and how large they are."""


@dataclass(frozen=True)
class ColumnPlan:
    """A column of the dataset: name, type, and the mean number of values in an event (1 if flat)."""

    name: str
    dtype: str
    jagged: bool
    values_per_event: float


@dataclass(frozen=True)
class SamplePlan:
    """A sample: its files, trees and entries; how many events are expected to pass, and the bytes that they take."""

    name: str
    files: int
    trees: tuple[str, ...]
    entries: int
    input_bytes: int
    tried: int
    passed: int
    expected_events: int
    expected_bytes: int
    most_bytes: int  # if every event passed


@dataclass(frozen=True)
class ConversionPlan:
    """What a conversion would do, by sample and by column, and which branches no checksum protects.

    Numbers of events and bytes are expected from the first `TRIED` entries of each sample: a file that begins otherwise
    than it goes on makes them wrong; ``most_bytes`` does not depend on how many pass.
    """

    samples: tuple[SamplePlan, ...]
    columns: tuple[ColumnPlan, ...]
    unprotected: tuple[tuple[str, str], ...]  # branch and file

    @property
    def expected_bytes(self) -> int:
        """Disk space of the dataset."""
        return sum(sample.expected_bytes for sample in self.samples)

    def to_json(self) -> dict[str, Any]:
        """JSON-like content."""
        return {
            "samples": [vars(sample) | {"trees": list(sample.trees)} for sample in self.samples],
            "columns": [vars(column) for column in self.columns],
            "unprotected": [{"branch": branch, "file": file} for branch, file in self.unprotected],
            "expected_bytes": self.expected_bytes,
        }

    def sample_rows(self) -> list[dict[str, Any]]:
        """For tables: one line a sample, sizes in MB."""
        return [
            {
                "sample": s.name,
                "files": s.files,
                "trees": ",".join(s.trees),
                "entries": s.entries,
                "input MB": f"{s.input_bytes / 1e6:.1f}",
                "passed": f"{s.passed} of {s.tried} tried",
                "expected events": s.expected_events,
                "expected MB": f"{s.expected_bytes / 1e6:.1f}",
                "at most MB": f"{s.most_bytes / 1e6:.1f}",
            }
            for s in self.samples
        ]

    def column_rows(self) -> list[dict[str, Any]]:
        """For tables: one line a column, with the number of files in which no checksum protects it."""
        bare = [branch for branch, _ in self.unprotected]
        return [
            {
                "column": c.name,
                "type": f"jagged {c.dtype}" if c.jagged else c.dtype,
                "values an event": f"{c.values_per_event:.3g}",
                "unprotected in files": bare.count(c.name),
            }
            for c in self.columns
        ]


def plan_conversion(inputs: Inputs) -> ConversionPlan:
    """Read a little of each sample, and say what `fivesigma.dataset.convert` would do; nothing is written.

    Raises
    ------
    FivesigmaError
        what the first entries of a sample would raise in the conversion.
    """
    conversion, plans, tried = inputs.conversion, [], []
    for sample, events in zip(conversion.samples, inputs.events, strict=True):
        columns, plan = _try(inputs, sample, events)
        plans.append(plan)
        tried.append(columns)
    unprotected = [
        (name, str(file.path))
        for sample, events in zip(conversion.samples, inputs.events, strict=True)
        for file in events.files
        for name in file.unprotected(conversion.branches_of(sample))
    ]
    described = tuple(_describe(name, [columns[f"column:{name}"] for columns in tried]) for name in conversion.kept)
    return ConversionPlan(tuple(plans), described, tuple(unprotected))


def _try(inputs: Inputs, sample: Sample, events: Events) -> tuple[dict[str, Column], SamplePlan]:
    file = next(file for file in events.files if file.entries)
    part = Partition(file, 0, min(TRIED, file.entries))
    selection = select(inputs.conversion, sample, part, events.read(part, inputs.conversion.branches_of(sample)))
    columns = selection.columns
    passed, book = len(columns["y"]), 6  # bytes of the columns `sample` and `file`
    size = sum(_bytes(column) for column in columns.values()) + passed * book
    a_row = size / passed if passed else float(sum(_width(column) for column in columns.values()) + book)
    scale = events.entries / len(part)
    plan = SamplePlan(
        name=sample.name,
        files=len(events.files),
        trees=tuple(dict.fromkeys(f.tree for f in events.files)),
        entries=events.entries,
        input_bytes=sum(f.size for f in events.files),
        tried=len(part),
        passed=passed,
        expected_events=round(passed * scale),
        expected_bytes=round(size * scale),
        most_bytes=round(a_row * events.entries),
    )
    return columns, plan


def _bytes(column: Column) -> int:
    if isinstance(column, Jagged):
        return int(column.values.nbytes + 8 * len(column))  # an offset for each event
    return int(np.asarray(column).nbytes)


def _width(column: Column) -> int:
    """Bytes of an event in a flat column; of the offset alone in a jagged one."""
    return 8 if isinstance(column, Jagged) else int(np.asarray(column).itemsize)


def _describe(name: str, parts: list[Column]) -> ColumnPlan:
    values = sum(len(part.values) if isinstance(part, Jagged) else len(part) for part in parts)
    events = sum(len(part) for part in parts)
    return ColumnPlan(name, parts[0].dtype.name, isinstance(parts[0], Jagged), values / events if events else 0.0)
