"""Every error that fivesigma raises on purpose.

The tree::

    FivesigmaError
    ├── ConfigError              a study, an option or a command line that cannot be meant
    │   └── UnknownNameError     a name that is not in a registry, a schema or a YAML model
    ├── MissingDependencyError   an optional extra that is not installed
    ├── InputError               input files: always names file, tree, branch, entry where they are known
    │   ├── FileFormatError      not a ROOT file, truncated, not closed, damaged
    │   ├── MissingBranchError   a branch that is not there (with the nearest names)
    │   ├── BranchTypeError      flat against jagged, float against int, a type that cannot be read
    │   ├── DuplicateInputError  the same file given twice, by path, link or copy
    │   ├── NoEventsError        nothing to read, or nothing left after the selection, or one class missing
    │   ├── RemoteError          a file on another machine that does not come: refused, gone, late, cut short, changed
    │   └── WorkerError          a worker process that crashed, stalled or ran out of memory while it read
    ├── ExpressionError          a selection or new variable outside the expression grammar
    ├── LedgerError              event counts or weight sums that do not balance
    ├── DatasetError             a converted dataset that is damaged, incomplete or of another schema
    ├── SplitError               the same event twice, or in two folds
    ├── WeightError              weights that a learner or a metric cannot take
    ├── FeatureError             features missing, permuted, renamed or not finite
    ├── ModelError               a learner that failed: NaN loss, a model file that cannot be read
    ├── ArtifactError            an exported model that is damaged, or not of this model, machine or version
    │   └── ParityError          an export that scores differently than the model it was made from
    ├── ResumeError              a rerun whose configuration differs from what is on disk
    ├── OutputError              an output that cannot be written
    └── SimulationError          a generator that failed or was asked for the impossible
"""

from __future__ import annotations

from pathlib import Path


class FivesigmaError(Exception):
    """Base of all errors that speak to the person at the keyboard."""


class ConfigError(FivesigmaError):
    """A study, an option or a command line that cannot be meant."""


class UnknownNameError(ConfigError):
    """A name that is not in a registry, a schema or a YAML model."""


class MissingDependencyError(FivesigmaError):
    """An optional extra that is not installed."""


class InputError(FivesigmaError):
    """Something is wrong with an input file.

    The message is built from its parts, so that file, tree, branch and entry always stand in the same order:

    >>> print(InputError("value is NaN", file="a.root", tree="jets", branch="pt", entry=7, remedy="use nan: drop"))
    value is NaN
      file:   a.root
      tree:   jets
      branch: pt
      entry:  7
      remedy: use nan: drop
    """

    def __init__(
        self,
        cause: str,
        *,
        file: object = None,
        tree: str | None = None,
        branch: str | None = None,
        entry: int | None = None,
        remedy: str | None = None,
    ) -> None:
        self.cause, self.file, self.tree, self.branch, self.entry, self.remedy = (
            cause,
            file if file is None or isinstance(file, Path | str) else str(file),
            tree,
            branch,
            entry,
            remedy,
        )
        where = {"file": file, "tree": tree, "branch": branch, "entry": entry, "remedy": remedy}
        lines = [f"  {name + ':':<7} {value}" for name, value in where.items() if value is not None]
        super().__init__("\n".join([cause, *lines]))


class FileFormatError(InputError):
    """Not a ROOT file, truncated, not closed, or damaged."""


class MissingBranchError(InputError):
    """A branch that is not in the tree."""


class BranchTypeError(InputError):
    """A branch of another type than was asked for or than in the other files."""


class DuplicateInputError(InputError):
    """The same input given twice, by path, by link or as a copy."""


class NoEventsError(InputError):
    """Nothing to read, nothing left after the selection, or one class missing."""


class RemoteError(InputError):
    """A file on another machine that does not come: refused, gone, late, cut short, or changed meanwhile."""


class WorkerError(InputError):
    """A worker process that crashed, stalled or ran out of memory; file, tree and entries say on what."""


class ExpressionError(FivesigmaError):
    """A selection or new variable outside the expression grammar."""


class LedgerError(FivesigmaError):
    """Event counts or weight sums that do not balance."""


class DatasetError(FivesigmaError):
    """A converted dataset that is damaged, incomplete or of another schema."""


class SplitError(FivesigmaError):
    """The same event twice, or in two folds."""


class WeightError(FivesigmaError):
    """Weights that a learner or a metric cannot take."""


class FeatureError(FivesigmaError):
    """Features missing, permuted, renamed or not finite."""


class ModelError(FivesigmaError):
    """A learner that failed, or a model file that cannot be read."""


class ArtifactError(FivesigmaError):
    """An exported model that is damaged, or not of this model, machine or version."""


class ParityError(ArtifactError):
    """An export that scores differently than the model it was made from."""


class ResumeError(FivesigmaError):
    """A rerun whose configuration differs from what is on disk."""


class OutputError(FivesigmaError):
    """An output that cannot be written."""


class SimulationError(FivesigmaError):
    """A generator that failed or was asked for the impossible."""
