"""What to convert: samples, cuts, variables, weights and who an event is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fivesigma.core.errors import ConfigError
from fivesigma.core.registry import unknown_name
from fivesigma.read.expression import Expression
from fivesigma.read.remote_options import RemoteOptions

NanPolicy = Literal["error", "drop", "keep"]
ColumnType = Literal[
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"
]
DuplicatePolicy = Literal["error", "allow"]

FORMAT_VERSION = 2
"""Of the shards on disk and of the way they are made; part of every configuration hash."""

PSEUDO_COLUMNS = ("sample", "label")
"""May stand in `identity` and `row` without being branches: a hash of the sample's name, and the label 0 or 1."""


class Sample(BaseModel):
    """Files of one physics process (or data), with their label.

    ``label`` is 0 (background), 1 (signal), or an expression that gives 0 or 1; None takes the conversion's.
    ``weight`` is an expression, multiplied by the conversion's; ``selection`` comes before the conversion's.
    ``entries`` is how many there must be in all its files together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    files: tuple[str, ...] = Field(min_length=1)
    tree: str | None = None
    label: int | str | None = None
    weight: str | None = None
    selection: dict[str, str] = Field(default_factory=dict)
    entries: int | None = Field(default=None, ge=0)


class Conversion(BaseModel):
    """From files to a dataset.

    Parameters
    ----------
    samples
        at least one; together they must give both labels.
    tree
        of every sample that does not name its own.
    selection
        named cuts in order; an event is counted under the first that rejects it.
    new_variables
        name to expression, computed before the cuts, in order: later ones may use earlier ones.
    columns, observers
        what is kept: inputs of learners, and what is only looked at. New variables are kept if they are named here.
    label, weight
        for samples without their own; the weight multiplies the samples'.
    identity
        integer columns that say which event it is (run, event number, …): rows of one event share a fold. ``sample``
        and ``label`` may be used as if they were columns.
    row
        columns that say which row it is (event and jet number, …): must be unique. By default `identity`.
    n_folds, salt
        see `fivesigma.dataset.split.fold_of`.
    nan
        what to do with a row in which a kept column is NaN or infinite: "error", "drop" (counted), "keep" (counted).
        Under "drop" this covers the weight, too; otherwise a weight that is not finite is an error.
    missing, missing_policy
        values that stand for "not measured", counted by column; and what to do with a row that has one in a kept
        column: "keep", "drop", "error".
    dtypes
        the type of a kept column, by name. It is needed where files have different types (float and double, say); the
        ledger counts values that it rounds, and values that do not fit (overflow, a fraction or NaN as integer) are
        errors. Others have the type of their branch, new variables 64 bits.
    max_loss
        the share of a sample that may be left out because files are damaged or crash the reader; None refuses the first
        such file. Of its entries, or of its files if one cannot say how many entries it has. All are in the ledger.
    manifest
        the JSON file of `fivesigma.read.write_manifest`: files that it lists must be as they were then.
    remote
        how to reach files given by URL; if it is left out, the environment says, see `RemoteOptions`.
    duplicates
        "error" refuses rows of different identity whose floating-point columns are bit by bit equal.
    unlabelled
        data: one label is enough, and means nothing.
    step
        entries read at a time; the dataset's rows do not depend on it, its shards do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: tuple[Sample, ...] = Field(min_length=1)
    tree: str | None = None
    selection: dict[str, str] = Field(default_factory=dict)
    new_variables: dict[str, str] = Field(default_factory=dict)
    columns: tuple[str, ...] = Field(min_length=1)
    label: int | str | None = None
    weight: str | None = None
    observers: tuple[str, ...] = ()
    identity: tuple[str, ...] = Field(min_length=1)
    row: tuple[str, ...] | None = None
    n_folds: int = Field(default=5, ge=2, le=100)
    salt: str = ""
    nan: NanPolicy = "error"
    missing: tuple[float, ...] = (-999.0,)
    missing_policy: NanPolicy = "keep"
    dtypes: dict[str, ColumnType] = Field(default_factory=dict)
    max_loss: float | None = Field(default=None, gt=0, lt=1)
    manifest: str | None = None
    remote: RemoteOptions | None = None
    duplicates: DuplicatePolicy = "error"
    unlabelled: bool = False
    step: int = Field(default=100_000, ge=1)

    @property
    def kept(self) -> tuple[str, ...]:
        """Columns of the dataset, each once: inputs, observers, and those that identity and rows need."""
        needed = [n for n in (*self.identity, *(self.row or ())) if n not in PSEUDO_COLUMNS]
        return tuple(dict.fromkeys([*self.columns, *self.observers, *needed]))

    def label_of(self, sample: Sample) -> Expression:
        """The label of a sample's events.

        Raises
        ------
        ConfigError
            if neither the sample nor the conversion has one.
        """
        label = sample.label if sample.label is not None else self.label
        if label is None:
            raise ConfigError(f"sample {sample.name!r} has no label: give it 0, 1, or an expression such as `label`")
        return Expression(str(label))

    def weight_of(self, sample: Sample) -> Expression:
        """The weight of a sample's events, 1 if nothing is said."""
        factors = [f"({w})" for w in (sample.weight, self.weight) if w is not None]
        return Expression(" * ".join(factors) or "1.0")

    def cuts_of(self, sample: Sample) -> dict[str, Expression]:
        """The cuts on a sample in order."""
        both = sample.selection.keys() & self.selection.keys()
        if both:
            raise ConfigError(
                f"sample {sample.name!r} and the conversion both have a cut named {', '.join(sorted(both))}"
            )
        return {name: Expression(text) for name, text in (*sample.selection.items(), *self.selection.items())}

    def branches_of(self, sample: Sample) -> tuple[str, ...]:
        """The branches that must be read for a sample, each once."""
        variables = {name: Expression(text) for name, text in self.new_variables.items()}
        wanted: list[str] = list(self.kept)
        expressions = [
            *variables.values(),
            *self.cuts_of(sample).values(),
            self.label_of(sample),
            self.weight_of(sample),
        ]
        wanted.extend(name for e in expressions for name in sorted(e.columns))
        return tuple(dict.fromkeys(name for name in wanted if name not in variables))

    def description(self) -> dict[str, Any]:
        """What the dataset depends on, apart from the input's content; order of cuts and variables included."""
        content = self.model_dump(mode="json", exclude={"samples", "selection", "new_variables", "manifest", "remote"})
        if not self.unlabelled:
            del content["unlabelled"]  # hashes of datasets stay what they were
        content["selection"] = list(map(list, self.selection.items()))
        content["new_variables"] = list(map(list, self.new_variables.items()))
        content["samples"] = [
            {
                **s.model_dump(mode="json", exclude={"files", "selection", "entries"}),
                "selection": list(map(list, s.selection.items())),
            }
            for s in self.samples
        ]
        return content | {"format": FORMAT_VERSION}

    def check_names(self) -> None:
        """Refuse two samples of one name, and types of columns that are not kept.

        Raises
        ------
        ConfigError
            naming it.
        """
        refuse_repeated("sample", [s.name for s in self.samples])
        refuse_repeated("column", self.columns)
        for name in self.dtypes:
            if name not in self.kept:
                raise ConfigError(f"dtypes: {unknown_name('column', name, self.kept)}")


def refuse_repeated(kind: str, names: Iterable[str]) -> None:
    """Refuse a name that occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"the {kind} {name!r} is given twice")
        seen.add(name)
