"""What stands in an input file: branches, their types, and who the file is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fivesigma.core.errors import BranchTypeError, MissingBranchError
from fivesigma.core.registry import nearest_names


@dataclass(frozen=True)
class Branch:
    """One branch (TTree) or field (RNTuple).

    ``dtype`` is NumPy's name of the type of one value ("float32"), None if fivesigma cannot read the branch: strings,
    objects, fixed-size arrays, vectors of vectors. ``typename`` is what ROOT calls it.

    >>> str(Branch("jet_pt", "float32", jagged=False)), str(Branch("track_pt", "float32", jagged=True))
    ('float32', 'jagged float32')
    """

    name: str
    dtype: str | None
    jagged: bool
    typename: str = field(default="", compare=False)
    codec: str = field(default="", compare=False)
    key: str = field(default="", compare=False, repr=False)  # full name in a TTree, field number in an RNTuple

    def __str__(self) -> str:
        if self.dtype is None:
            return f"{self.typename} (cannot be read)"
        return f"jagged {self.dtype}" if self.jagged else self.dtype


@dataclass(frozen=True)
class InputFile:
    """One tree in one file, as it was when it was scanned.

    ``xxh3`` is the 128-bit digest of the whole file, ``entries`` the number of events in ``tree``.
    """

    path: Path
    tree: str
    container: str  # "TTree" or "RNTuple"
    entries: int
    size: int
    xxh3: str
    branches: Mapping[str, Branch] = field(repr=False)
    mtime_ns: int = field(default=0, compare=False, repr=False)

    def branch(self, name: str) -> Branch:
        """The readable branch called ``name``.

        Raises
        ------
        MissingBranchError
            if there is none; the message names the nearest.
        BranchTypeError
            if its type is one that fivesigma does not read.
        """
        if name not in self.branches:
            nearest = nearest_names(name, self.branches)
            remedy = f"did you mean {', '.join(nearest)}?" if nearest else "`fivesigma inspect` lists the branches"
            raise MissingBranchError("no such branch", file=self.path, tree=self.tree, branch=name, remedy=remedy)
        branch = self.branches[name]
        if branch.dtype is None:
            raise BranchTypeError(
                f"type {branch.typename!r} cannot be read: expected numbers or booleans, one or a list per event",
                file=self.path,
                tree=self.tree,
                branch=name,
                remedy="choose another branch; `fivesigma inspect` lists those that can be read",
            )
        return branch

    def to_json(self) -> dict[str, Any]:
        """Path, tree, container, entries, size, digest (not the branches)."""
        return {
            "path": str(self.path),
            "tree": self.tree,
            "container": self.container,
            "entries": self.entries,
            "size": self.size,
            "xxh3": self.xxh3,
        }


def branch_to_json(branch: Branch) -> dict[str, Any]:
    """Name, type and codec of one branch."""
    content = asdict(branch)
    del content["key"]
    return content
