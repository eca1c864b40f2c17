"""The ledger: where every event and every bit of weight went, from file to fold.

A ledger is checked, not believed: each total is stored where it was counted, and `Ledger.check` compares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import LedgerError

RELATIVE_TOLERANCE = (
    1e-9  # of sums of weights, relative to the sum of absolute weights: what adding in another order changes
)


@dataclass(frozen=True)
class Count:
    """Events and their weights: number, Σw, Σw², Σ|w|, and how many weights are negative or zero.

    >>> Count.of(np.array([2.0, -1.0, 0.0]))
    Count(events=3, sumw=1.0, sumw2=5.0, sumabs=3.0, negative=1, zero=1)
    """

    events: int = 0
    sumw: float = 0.0
    sumw2: float = 0.0
    sumabs: float = 0.0
    negative: int = 0
    zero: int = 0

    @classmethod
    def of(cls, weight: NDArray[Any]) -> Count:
        """Of events with these weights, shape (events,)."""
        w = np.asarray(weight, dtype=np.float64)
        return cls(
            events=len(w),
            sumw=float(w.sum()),
            sumw2=float(np.square(w).sum()),
            sumabs=float(np.abs(w).sum()),
            negative=int((w < 0).sum()),
            zero=int((w == 0).sum()),
        )

    def __add__(self, other: Count) -> Count:
        return Count(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def to_json(self) -> dict[str, Any]:
        """Its fields by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def total(counts: Iterable[Count]) -> Count:
    """The sum of counts."""
    result = Count()
    for count in counts:
        result = result + count
    return result


@dataclass(frozen=True)
class NotFinite:
    """Values of one column that are no measurement, among the events that pass the cuts: NaN, ±∞, declared as missing.

    Under the name "event weight": the weights of all events read.
    """

    nan: int = 0
    inf: int = 0
    missing: int = 0

    def __add__(self, other: NotFinite) -> NotFinite:
        return NotFinite(self.nan + other.nan, self.inf + other.inf, self.missing + other.missing)

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.nan or self.inf or self.missing)


@dataclass(frozen=True)
class FileLedger:
    """One input file: what was read, what each cut rejected, what is left.

    ``entries`` is what the file declares; ``rejected`` has, for each cut in order, the events that it rejects of those
    that the cuts before it left; ``dropped`` the events with a value that is not finite, under ``nan: drop``, or
    declared as missing, under ``missing_policy: drop``. ``rounded`` counts, for columns of declared type, the selected
    values that the type changed. A weight that is not finite counts as 0 in all sums. ``unprotected`` names the branches
    that were read although neither a checksum nor a manifest covers all their values.
    """

    file: str
    tree: str
    sample: str
    xxh3: str
    entries: int
    read: Count
    rejected: Mapping[str, Count]
    dropped: Count
    selected: Count
    not_finite: Mapping[str, NotFinite] = field(default_factory=dict)
    rounded: Mapping[str, int] = field(default_factory=dict)
    unprotected: tuple[str, ...] = ()

    def __add__(self, other: FileLedger) -> FileLedger:
        """Two entry ranges of the same file."""
        return replace(
            self,
            read=self.read + other.read,
            rejected={name: count + other.rejected[name] for name, count in self.rejected.items()},
            dropped=self.dropped + other.dropped,
            selected=self.selected + other.selected,
            not_finite={name: count + other.not_finite[name] for name, count in self.not_finite.items()},
            rounded={name: count + other.rounded[name] for name, count in self.rounded.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-like content."""
        return {
            **{name: getattr(self, name) for name in ("file", "tree", "sample", "xxh3", "entries")},
            "read": self.read.to_json(),
            "rejected": {name: count.to_json() for name, count in self.rejected.items()},
            "dropped": self.dropped.to_json(),
            "selected": self.selected.to_json(),
            "not_finite": {name: dict(vars(n)) for name, n in self.not_finite.items()},
            "rounded": dict(self.rounded),
            "unprotected": list(self.unprotected),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        return cls(
            **{name: content[name] for name in ("file", "tree", "sample", "xxh3", "entries")},
            read=Count(**content["read"]),
            rejected={name: Count(**count) for name, count in content["rejected"].items()},
            dropped=Count(**content["dropped"]),
            selected=Count(**content["selected"]),
            not_finite={name: NotFinite(**n) for name, n in content["not_finite"].items()},
            rounded=dict(content["rounded"]),
            unprotected=tuple(content["unprotected"]),
        )


@dataclass(frozen=True)
class SkippedFile:
    """An input file that was left out, and why; ``entries`` is None if it could not be asked how many it has."""

    sample: str
    file: str
    tree: str | None
    entries: int | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Its fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Part:
    """One part of a stage, for one label (0 background, 1 signal)."""

    name: str
    label: int
    count: Count


@dataclass(frozen=True)
class Stage:
    """A division of all selected events, each in exactly one part: samples, folds, train/validation/test."""

    name: str
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, name: str, masks: Mapping[str, NDArray[np.bool_]], y: NDArray[Any], weight: NDArray[Any]) -> Stage:
        """Counts of the events under each mask, by label; all arrays of shape (events,)."""
        labels = (0, 1)
        return cls(
            name,
            tuple(
                Part(p, label, Count.of(weight[mask & (y == label)])) for p, mask in masks.items() for label in labels
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-like content."""
        parts = [{"name": p.name, "label": p.label, **p.count.to_json()} for p in self.parts]
        return {"name": self.name, "parts": parts}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        counts = [{k: v for k, v in p.items() if k not in ("name", "label")} for p in content["parts"]]
        parts = zip(content["parts"], counts, strict=True)
        return cls(content["name"], tuple(Part(p["name"], p["label"], Count(**count)) for p, count in parts))


@dataclass(frozen=True)
class Ledger:
    """Files, then stages; the stage "sample" first, then "fold", then whatever training adds with `with_stage`.

    ``skipped`` are files that were left out, which only a study that says so allows.

    Usage::

        ledger = dataset.ledger.with_stage("test fold 0", {"train": train, "validation": validation, "test": test},
                                           dataset.y, dataset.weight)
        ledger.check()
    """

    files: tuple[FileLedger, ...]
    stages: tuple[Stage, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()

    def with_stage(
        self, name: str, masks: Mapping[str, NDArray[np.bool_]], y: NDArray[Any], weight: NDArray[Any]
    ) -> Ledger:
        """A further division of all selected events; ``weight`` is the dataset's own, before any weight policy."""
        return replace(self, stages=(*self.stages, Stage.of(name, masks, y, weight)))

    def check(self) -> None:
        """Events must balance exactly, sums of weights to 1e-9 of the sum of absolute weights.

        Raises
        ------
        LedgerError
            naming the file or stage, the quantity, what was expected and what was found.
        """
        for file in self.files:
            where = f"{file.file} ({file.tree})"
            if file.read.events != file.entries:
                raise LedgerError(f"{where}: {file.entries:,} entries in the file, {file.read.events:,} were read")
            _balance(
                f"{where}: read = rejected + dropped + selected",
                file.read,
                total([*file.rejected.values(), file.dropped, file.selected]),
            )
        selected = total(file.selected for file in self.files)
        first: dict[int, Count] = {}
        for stage in self.stages:
            _balance(
                f"stage {stage.name!r}: sum of its parts = selected", selected, total(p.count for p in stage.parts)
            )
            by_label = {label: total(p.count for p in stage.parts if p.label == label) for label in (0, 1)}
            for label, count in (first := first or by_label).items():
                _balance(
                    f"stage {stage.name!r}, label {label}: sum of its parts = {self.stages[0].name}",
                    count,
                    by_label[label],
                )

    def rows(self) -> list[dict[str, Any]]:
        """For tables: one dictionary a line, all with the same keys, from first to last step.

        Keys: ``stage`` ("read", "rejected", "dropped", "selected", or the name of a stage), ``file``, ``sample``,
        ``part`` (the cut, or the part of the stage), ``label`` (0, 1, or None for files), then ``events``, ``sumw``,
        ``sumw2``, ``sumabs``, ``negative``, ``zero``.
        """
        rows = []
        for file in self.files:
            steps = [("read", "", file.read), *(("rejected", cut, count) for cut, count in file.rejected.items())]
            steps += [("dropped", "not finite", file.dropped), ("selected", "", file.selected)]
            rows += [_row(stage, file.file, file.sample, part, None, count) for stage, part, count in steps]
        for division in self.stages:
            rows += [_row(division.name, "", "", p.name, p.label, p.count) for p in division.parts]
        return rows

    def not_finite_rows(self) -> list[dict[str, Any]]:
        """For tables: ``file``, ``sample``, ``branch``, ``nan``, ``inf``, ``missing``; only where there are any."""
        return [
            {"file": file.file, "sample": file.sample, "branch": name, **vars(n)}
            for file in self.files
            for name, n in file.not_finite.items()
            if n.any
        ]

    def cut_flow(self) -> str:
        """A few lines of text, by sample: events read, rejected by each cut, dropped, selected."""
        lines = []
        for sample in dict.fromkeys(file.sample for file in self.files):
            files = [file for file in self.files if file.sample == sample]
            steps = [("read", total(f.read for f in files))]
            steps += [(f"rejected by {cut!r}", total(f.rejected[cut] for f in files)) for cut in files[0].rejected]
            steps += [
                ("dropped, not finite or missing", total(f.dropped for f in files)),
                ("selected", total(f.selected for f in files)),
            ]
            lines += [
                f"  {sample}: {step}: {count.events:,} events, sum of weights {count.sumw:.6g}" for step, count in steps
            ]
            bare = [f for f in files if f.unprotected]
            if bare:
                names = ", ".join(dict.fromkeys(name for f in bare for name in f.unprotected))
                lines.append(f"  {sample}: unprotected in {len(bare)} of {len(files)} files (no checksum): {names}")
        for file in self.skipped:
            entries = "an unknown number of" if file.entries is None else f"{file.entries:,}"
            lines.append(f"  {file.sample}: left out: {file.file}, {entries} entries: {file.reason.splitlines()[0]}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """JSON-like content."""
        stages = [stage.to_json() for stage in self.stages]
        return {
            "files": [file.to_json() for file in self.files],
            "stages": stages,
            "skipped": [file.to_json() for file in self.skipped],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        return cls(
            tuple(FileLedger.from_json(file) for file in content["files"]),
            tuple(Stage.from_json(stage) for stage in content["stages"]),
            tuple(SkippedFile(**file) for file in content["skipped"]),
        )


def merge_ranges(ranges: Sequence[FileLedger]) -> tuple[FileLedger, ...]:
    """Ledgers of entry ranges, in order, to one for each tree of each file."""
    merged: dict[tuple[str, str, str], FileLedger] = {}
    for part in ranges:
        key = (part.sample, part.file, part.tree)
        merged[key] = merged[key] + part if key in merged else part
    return tuple(merged.values())


def merge_stages(stages: Iterable[Stage]) -> Stage:
    """The counts of one stage over several ranges of events, in order; parts in the order in which they first occur.

    Raises
    ------
    LedgerError
        if there is none, or they are of different names.
    """
    merged: dict[tuple[str, int], Count] = {}
    names = []
    for stage in stages:
        names.append(stage.name)
        for part in stage.parts:
            merged[part.name, part.label] = merged.get((part.name, part.label), Count()) + part.count
    if len(set(names)) != 1:
        raise LedgerError(f"expected ranges of one stage, got {sorted(set(names)) or 'none'}")
    return Stage(names[0], tuple(Part(name, label, count) for (name, label), count in merged.items()))


def _row(stage: str, file: str, sample: str, part: str, label: int | None, count: Count) -> dict[str, Any]:
    return {"stage": stage, "file": file, "sample": sample, "part": part, "label": label, **count.to_json()}


def _balance(where: str, expected: Count, found: Count) -> None:
    for name in ("events", "negative", "zero"):
        a, b = getattr(expected, name), getattr(found, name)
        if a != b:
            raise LedgerError(f"{where}: {name} do not balance: expected {a:,}, got {b:,} ({b - a:+,})")
    scale = {"sumw": expected.sumabs, "sumabs": expected.sumabs, "sumw2": expected.sumw2}
    for name, size in scale.items():
        a, b = getattr(expected, name), getattr(found, name)
        if not abs(a - b) <= RELATIVE_TOLERANCE * size:
            raise LedgerError(f"{where}: {name} does not balance: expected {a!r}, got {b!r}")
