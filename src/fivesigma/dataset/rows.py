"""One entry range: from what was read to the rows that are kept, and the ledger of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from fivesigma.core.errors import BranchTypeError, ExpressionError, InputError
from fivesigma.core.jagged import Column, Jagged
from fivesigma.dataset.column_types import as_declared
from fivesigma.dataset.duplicates import identity_columns
from fivesigma.dataset.ledger import Count, FileLedger, NotFinite
from fivesigma.dataset.samples import Conversion, Sample
from fivesigma.dataset.split import event_hash, fold_of_hash
from fivesigma.read.events import Partition
from fivesigma.read.expression import Expression

WEIGHT = "event weight"  # among the names of columns in `FileLedger.not_finite`
_DROP_REMEDY = "say `{word}: drop` to leave such rows out and count them, `{word}: keep` to keep them, or add a cut"


@dataclass(frozen=True)
class Selection:
    """What is kept of consecutive entries, and what became of each.

    ``columns`` are those of `select_rows`; ``weight`` float64 and ``fate`` int16 have one value for each entry that was
    read: the number of the cut that rejected it, one more for dropped, two more for selected.
    """

    columns: dict[str, Column]
    weight: NDArray[np.float64]
    fate: NDArray[np.int16]
    not_finite: dict[str, NotFinite]
    rounded: dict[str, int]


def select_rows(
    conversion: Conversion, sample: Sample, partition: Partition, columns: Mapping[str, Column]
) -> tuple[dict[str, Column], FileLedger]:
    """The rows of one entry range that pass, and where the others went.

    Returns columns ``column:<name>`` for each kept one, and ``y`` int8, ``weight`` float64, ``event`` uint64, ``fold``
    int8, ``entry`` int64 (in the file), all of the same number of rows.

    Raises
    ------
    InputError
        for a weight that is not finite, a label other than 0 and 1, a kept value not finite under ``nan: error`` or
        missing under ``missing_policy: error``.
    BranchTypeError
        for a value that does not fit into the column's declared type.
    ExpressionError
        for operands that do not fit.
    SplitError
        for identity columns that are not integers.
    """
    return together(conversion, sample, partition, [select(conversion, sample, partition, columns)])


def select(conversion: Conversion, sample: Sample, partition: Partition, columns: Mapping[str, Column]) -> Selection:
    """What `select_rows` does for one piece of an entry range; `together` joins the pieces."""
    columns = dict(columns)
    for name, text in conversion.new_variables.items():
        with _named(f"new variable {name!r}"):
            columns[name] = Expression(text).evaluate_column(columns)
    weight, weights_not_finite = _weights(conversion, sample, columns, partition)
    cuts = conversion.cuts_of(sample)
    fate = _cuts(cuts, columns, len(weight))
    fate[(fate > len(cuts)) & ~np.isfinite(weight)] = len(cuts)
    weight = np.where(np.isfinite(weight), weight, 0.0)
    passed = fate > len(cuts)
    labels = _labels(conversion.label_of(sample), columns, passed, partition)
    kept = {name: columns[name][passed] for name in conversion.kept}
    good, not_finite = _measured(conversion, kept, np.flatnonzero(passed), partition)
    if not good.all():
        fate[np.flatnonzero(passed)[~good]] = len(cuts)
        kept = {name: column[good] for name, column in kept.items()}
    rows = np.flatnonzero(fate > len(cuts))
    rounded = _declare(conversion, kept, partition)
    y = labels[rows].astype(np.int8)
    event = _event(conversion, sample, kept, y)
    selected: dict[str, Column] = {f"column:{name}": column for name, column in kept.items()}
    selected |= {"y": y, "weight": weight[rows], "event": event, "entry": rows + partition.start}
    selected["fold"] = fold_of_hash(event, conversion.n_folds, conversion.salt)
    return Selection(selected, weight, fate, {**not_finite, WEIGHT: weights_not_finite}, rounded)


def together(
    conversion: Conversion, sample: Sample, partition: Partition, pieces: Sequence[Selection]
) -> tuple[dict[str, Column], FileLedger]:
    """Rows and ledger of an entry range from its consecutive pieces: the same, bit by bit, into however many it was cut."""
    columns = {name: _concatenated([piece.columns[name] for piece in pieces]) for name in pieces[0].columns}
    weight, fate = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("weight", "fate"))
    cuts = list(conversion.cuts_of(sample))
    not_finite = {name: sum((piece.not_finite[name] for piece in pieces), NotFinite()) for name in pieces[0].not_finite}
    ledger = FileLedger(
        file=str(partition.file.path),
        tree=partition.file.tree,
        sample=sample.name,
        xxh3=partition.file.xxh3,
        entries=partition.file.entries,
        read=Count.of(weight),
        rejected={name: Count.of(weight[fate == i]) for i, name in enumerate(cuts)},
        dropped=Count.of(weight[fate == len(cuts)]),
        selected=Count.of(weight[fate > len(cuts)]),
        not_finite=not_finite,
        rounded={name: sum(piece.rounded[name] for piece in pieces) for name in pieces[0].rounded},
        unprotected=partition.file.unprotected(conversion.branches_of(sample)),
    )
    return columns, ledger


def _concatenated(parts: Sequence[Column]) -> Column:
    if len(parts) == 1:
        return parts[0]
    jagged = [part for part in parts if isinstance(part, Jagged)]
    return Jagged.concatenate(jagged) if jagged else np.concatenate([p for p in parts if not isinstance(p, Jagged)])


@contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except ExpressionError as error:
        raise ExpressionError(f"{what}: {error}") from error


def _weights(
    conversion: Conversion, sample: Sample, columns: Mapping[str, Column], partition: Partition
) -> tuple[NDArray[np.float64], NotFinite]:
    """Weights of all entries, and how many are not finite: an error unless such rows are to be dropped."""
    expression = conversion.weight_of(sample)
    with _named("weight"):
        weight = expression.evaluate(columns).astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(weight))
    if wrong.size and conversion.nan != "drop":
        raise InputError(
            f"{wrong.size:,} weights are not finite, first {weight[wrong[0]]} from {expression}",
            file=partition.file.path,
            tree=partition.file.tree,
            entry=int(wrong[0]) + partition.start,
            remedy="correct the weight expression, for instance with where(condition, a, b); or say `nan: drop`",
        )
    nan = int(np.isnan(weight).sum())
    return weight, NotFinite(nan, wrong.size - nan)


def _cuts(cuts: Mapping[str, Expression], columns: Mapping[str, Column], entries: int) -> NDArray[np.int16]:
    """For each entry the number of the first cut that rejects it, or one more than the number of cuts."""
    fate = np.full(entries, len(cuts) + 1, dtype=np.int16)
    for i, (name, cut) in enumerate(cuts.items()):
        with _named(f"cut {name!r}"):
            passes = cut.evaluate_selection(columns)
        fate[(fate > len(cuts)) & ~passes] = i
    return fate


def _labels(
    expression: Expression, columns: Mapping[str, Column], passed: NDArray[np.bool_], partition: Partition
) -> NDArray[np.float64]:
    with _named("label"):
        label = expression.evaluate(columns)
    wrong = np.flatnonzero(passed & ~np.isin(label, (0, 1)))
    if wrong.size:
        raise InputError(
            f"a label must be 0 or 1, got {label[wrong[0]]} from {expression} ({wrong.size:,} such rows)",
            file=partition.file.path,
            tree=partition.file.tree,
            entry=int(wrong[0]) + partition.start,
            remedy="write the label as a condition, such as `label == 24`, or cut such rows away",
        )
    return label.astype(np.float64)


def _measured(
    conversion: Conversion, kept: Mapping[str, Column], passed: NDArray[np.int64], partition: Partition
) -> tuple[NDArray[np.bool_], dict[str, NotFinite]]:
    """Which rows to keep under the policies, and how many values of each column are NaN, infinite or missing."""
    good = np.ones(len(passed), dtype=np.bool_)
    counts: dict[str, NotFinite] = {}
    for name, column in kept.items():
        values = column.values if isinstance(column, Jagged) else column
        if _all_measured(values, conversion.missing):  # most columns: two fast passes say so
            counts[name] = NotFinite()
            continue
        finite = np.isfinite(values) if values.dtype.kind == "f" else np.ones(len(values), np.bool_)
        n_bad = len(values) - int(np.count_nonzero(finite))
        nan = int(np.isnan(values).sum()) if n_bad else 0
        missing = _missing(values, conversion.missing)
        counts[name] = NotFinite(nan, n_bad - nan, int(np.count_nonzero(missing)))
        found = f"{nan:,} NaN, {n_bad - nan:,} infinite"
        for word, policy, wrong, what in (
            ("nan", conversion.nan, ~finite, f"values that are not finite ({found})"),
            ("missing_policy", conversion.missing_policy, missing, f"values declared as missing {conversion.missing}"),
        ):
            if policy == "keep" or not wrong.any():
                continue
            bad = _rows_with(wrong, column)
            if policy == "error":
                raise InputError(
                    f"{int(bad.sum()):,} rows have {what}",
                    file=partition.file.path,
                    tree=partition.file.tree,
                    branch=name,
                    entry=int(passed[np.argmax(bad)]) + partition.start,
                    remedy=_DROP_REMEDY.format(word=word),
                )
            good &= ~bad
    return good, counts


def _all_measured(values: NDArray[Any], missing: Sequence[float]) -> bool:
    """Whether all values are finite, and all on one side of every value declared as missing."""
    if not values.size or values.dtype.kind == "b":
        return True
    low, high = values.min(), values.max()  # NaN if one is NaN
    return bool(np.isfinite(low) and np.isfinite(high)) and not any(_within(v, low, high) for v in missing)


def _within(declared: float, low: Any, high: Any) -> bool:
    """Whether a value declared as missing can be among values of a type that may round it."""
    with np.errstate(over="ignore"):
        as_stored = low.dtype.type(declared) if low.dtype.kind == "f" else declared
    return bool(low <= as_stored <= high)


def _missing(values: NDArray[Any], declared: Sequence[float]) -> NDArray[np.bool_]:
    """Which values are one of those declared as missing, as the column's type has them; empty if none is."""
    none = np.zeros(0, np.bool_)
    if not values.size or values.dtype.kind == "b":
        return none
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            wanted = np.array(declared, dtype=np.float64).astype(values.dtype)
        wanted = wanted[np.isfinite(wanted)]
    else:
        limits = np.iinfo(values.dtype)
        fits = [v for v in declared if float(v).is_integer() and limits.min <= v <= limits.max]
        wanted = np.array([int(v) for v in fits], dtype=values.dtype)
    low, high = np.fmin.reduce(values), np.fmax.reduce(values)  # most columns hold none: two fast passes say so
    wanted = wanted[(wanted >= low) & (wanted <= high)]
    return np.isin(values, wanted) if wanted.size else none


def _rows_with(wrong: NDArray[np.bool_], column: Column) -> NDArray[np.bool_]:
    """The rows that own one of the values."""
    if not isinstance(column, Jagged):
        return wrong
    return np.bincount(np.repeat(np.arange(len(column)), column.counts)[wrong], minlength=len(column)) > 0


def _declare(conversion: Conversion, kept: dict[str, Column], partition: Partition) -> dict[str, int]:
    """Convert columns of declared type, in place; how many values of each were rounded."""
    rounded = {}
    for name, dtype in conversion.dtypes.items():
        try:
            kept[name], rounded[name] = as_declared(kept[name], dtype)
        except BranchTypeError as error:
            raise BranchTypeError(
                f"{error}, in entries {partition.start:,} to {partition.stop:,}",
                file=partition.file.path,
                tree=partition.file.tree,
                branch=name,
                remedy="declare a wider type in `dtypes`, or add a cut",
            ) from error
    return rounded


def _event(
    conversion: Conversion, sample: Sample, kept: Mapping[str, Column], y: NDArray[np.int8]
) -> NDArray[np.uint64]:
    # The sample's name, not its position: folds do not change when a sample is added before it.
    number = np.full(len(y), xxhash.xxh64_intdigest(sample.name.encode()), dtype=np.uint64)
    return event_hash(identity_columns(conversion.identity, kept, y, number))
