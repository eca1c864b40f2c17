"""One entry range: from what was read to the rows that are kept, and the ledger of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import xxhash
from numpy.typing import NDArray

from fivesigma.core.errors import ExpressionError, InputError
from fivesigma.core.jagged import Column, Jagged
from fivesigma.dataset.duplicates import identity_columns
from fivesigma.dataset.ledger import Count, FileLedger, NotFinite
from fivesigma.dataset.samples import Conversion, Sample
from fivesigma.dataset.split import event_hash, fold_of_hash
from fivesigma.read.events import Partition
from fivesigma.read.expression import Expression

_NAN_REMEDY = "say `nan: drop` to leave such rows out and count them, `nan: keep` to keep them, or add a cut"


def select_rows(
    conversion: Conversion, sample: Sample, partition: Partition, columns: Mapping[str, Column]
) -> tuple[dict[str, Column], FileLedger]:
    """The rows of one entry range that pass, and where the others went.

    Returns columns ``column:<name>`` for each kept one, and ``y`` int8, ``weight`` float64, ``event`` uint64, ``fold``
    int8, ``entry`` int64 (in the file), all of the same number of rows.

    Raises
    ------
    InputError
        for a weight that is not finite, a label other than 0 and 1, a kept value not finite under ``nan: error``.
    ExpressionError
        for operands that do not fit.
    SplitError
        for identity columns that are not integers.
    """
    columns = dict(columns)
    for name, text in conversion.new_variables.items():
        with _named(f"new variable {name!r}"):
            columns[name] = Expression(text).evaluate_column(columns)
    weight = _weights(conversion.weight_of(sample), columns, partition)
    passed, rejected = _cuts(conversion.cuts_of(sample), columns, weight)
    labels = _labels(conversion.label_of(sample), columns, passed, partition)
    kept = {name: columns[name][passed] for name in conversion.kept}
    good, not_finite = _finite(kept, conversion.nan, passed, partition)
    rows = passed[good]
    selected: dict[str, Column] = {f"column:{name}": column[good] for name, column in kept.items()}
    y = labels[rows].astype(np.int8)
    event = _event(conversion, sample, {name: column[good] for name, column in kept.items()}, y)
    selected |= {"y": y, "weight": weight[rows], "event": event, "entry": rows + partition.start}
    selected["fold"] = fold_of_hash(event, conversion.n_folds, conversion.salt)
    ledger = FileLedger(
        file=str(partition.file.path),
        tree=partition.file.tree,
        sample=sample.name,
        xxh3=partition.file.xxh3,
        entries=partition.file.entries,
        read=Count.of(weight),
        rejected=rejected,
        dropped=Count.of(weight[passed[~good]]),
        selected=Count.of(weight[rows]),
        not_finite=not_finite,
    )
    return selected, ledger


@contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except ExpressionError as error:
        raise ExpressionError(f"{what}: {error}") from error


def _weights(expression: Expression, columns: Mapping[str, Column], partition: Partition) -> NDArray[np.float64]:
    with _named("weight"):
        weight = expression.evaluate(columns).astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(weight))
    if wrong.size:
        raise InputError(
            f"{wrong.size:,} weights are not finite, first {weight[wrong[0]]} from {expression}",
            file=partition.file.path,
            tree=partition.file.tree,
            entry=int(wrong[0]) + partition.start,
            remedy="correct the weight expression, for instance with where(condition, a, b)",
        )
    return weight


def _cuts(
    cuts: Mapping[str, Expression], columns: Mapping[str, Column], weight: NDArray[np.float64]
) -> tuple[NDArray[np.int64], dict[str, Count]]:
    """Positions of the rows that pass all cuts, and the count that each cut rejects of those left before it."""
    left = np.ones(len(weight), dtype=np.bool_)
    rejected = {}
    for name, cut in cuts.items():
        with _named(f"cut {name!r}"):
            passes = cut.evaluate_selection(columns)
        rejected[name] = Count.of(weight[left & ~passes])
        left &= passes
    return np.flatnonzero(left), rejected


def _labels(
    expression: Expression, columns: Mapping[str, Column], passed: NDArray[np.int64], partition: Partition
) -> NDArray[np.float64]:
    with _named("label"):
        label = expression.evaluate(columns)
    wrong = passed[~np.isin(label[passed], (0, 1))]
    if wrong.size:
        raise InputError(
            f"a label must be 0 or 1, got {label[wrong[0]]} from {expression} ({wrong.size:,} such rows)",
            file=partition.file.path,
            tree=partition.file.tree,
            entry=int(wrong[0]) + partition.start,
            remedy="write the label as a condition, such as `label == 24`, or cut such rows away",
        )
    return label.astype(np.float64)


def _finite(
    kept: Mapping[str, Column], policy: str, passed: NDArray[np.int64], partition: Partition
) -> tuple[NDArray[np.bool_], dict[str, NotFinite]]:
    """Which rows to keep under the policy, and how many values of each column are NaN or infinite."""
    good = np.ones(len(passed), dtype=np.bool_)
    counts: dict[str, NotFinite] = {}
    for name, column in kept.items():
        values = column.values if isinstance(column, Jagged) else column
        if values.dtype.kind != "f":
            continue
        finite = np.isfinite(values)
        nan = int(np.isnan(values).sum())
        counts[name] = NotFinite(nan, int((~finite).sum()) - nan)
        if finite.all() or policy == "keep":
            continue
        if isinstance(column, Jagged):
            bad = np.bincount(np.repeat(np.arange(len(column)), column.counts)[~finite], minlength=len(column)) > 0
        else:
            bad = ~finite
        if policy == "error":
            found = f"{counts[name].nan:,} NaN, {counts[name].inf:,} infinite"
            raise InputError(
                f"{int(bad.sum()):,} rows have values that are not finite ({found})",
                file=partition.file.path,
                tree=partition.file.tree,
                branch=name,
                entry=int(passed[np.argmax(bad)]) + partition.start,
                remedy=_NAN_REMEDY,
            )
        good &= ~bad
    return good, counts


def _event(
    conversion: Conversion, sample: Sample, kept: Mapping[str, Column], y: NDArray[np.int8]
) -> NDArray[np.uint64]:
    # The sample's name, not its position: folds do not change when a sample is added before it.
    number = np.full(len(y), xxhash.xxh64_intdigest(sample.name.encode()), dtype=np.uint64)
    return event_hash(identity_columns(conversion.identity, kept, y, number))
