"""What stands in an input file: branches, their types, and who the file is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fivesigma.core.errors import BranchTypeError, FileFormatError, MissingBranchError
from fivesigma.core.registry import nearest_names
from fivesigma.read.remote import FilePath

NOTHING = "nothing"
"""What protects values that no checksum covers; part of `Branch.protection` wherever some values have none."""

DAMAGED_REMEDY = "the file is damaged: copy it again from its source, or leave it out of the sample"

COUNT = ".count"
"""Ends the name of the branch with the lengths of the inner lists of a list of lists."""


@dataclass(frozen=True)
class Branch:
    """One branch (TTree) or field (RNTuple).

    ``dtype`` is NumPy's name of the type of one value ("float32"), None if fivesigma cannot read the branch: strings,
    objects, lists of lists of lists. Lists of lists are two branches: ``name`` has all inner values of an event,
    ``name.count`` the length of each inner list. An array of fixed size is a list of constant length. ``typename`` is
    what ROOT calls it.

    >>> str(Branch("jet_pt", "float32", jagged=False)), str(Branch("track_pt", "float32", jagged=True))
    ('float32', 'jagged float32')
    """

    name: str
    dtype: str | None
    jagged: bool
    typename: str = field(default="", compare=False)
    codec: str = field(default="", compare=False)
    key: str = field(default="", compare=False, repr=False)  # where the format has it: name, field number, path
    protection: str = field(default="", compare=False)  # the checksum that covers its values, or "nothing"
    fault: str = field(default="", compare=False, repr=False)  # why its values cannot be trusted

    def __str__(self) -> str:
        if self.dtype is None:
            return f"{self.typename} (cannot be read)"
        return f"jagged {self.dtype}" if self.jagged else self.dtype


@dataclass(frozen=True)
class InputFile:
    """One tree in one file, as it was when it was scanned.

    ``xxh3`` is the 128-bit digest of the whole file, ``entries`` the number of events in ``tree``;
    ``covered`` says that a manifest vouches for every byte of it.
    """

    path: FilePath
    tree: str
    container: str  # "TTree" or "RNTuple"
    entries: int
    size: int
    xxh3: str
    branches: Mapping[str, Branch] = field(repr=False)
    version: str = field(default="", compare=False, repr=False)  # changes with the content: time of change, ETag
    covered: bool = field(default=False, compare=False)

    def branch(self, name: str) -> Branch:
        """The readable branch called ``name``.

        Raises
        ------
        MissingBranchError
            if there is none; the message names the nearest.
        BranchTypeError
            if its type is one that fivesigma does not read.
        FileFormatError
            if the scan found that what the file says about it is contradictory.
        """
        if name not in self.branches:
            nearest = nearest_names(name, self.branches)
            remedy = f"did you mean {', '.join(nearest)}?" if nearest else "`fivesigma inspect` lists the branches"
            raise MissingBranchError("no such branch", file=self.path, tree=self.tree, branch=name, remedy=remedy)
        branch = self.branches[name]
        if branch.fault:
            raise FileFormatError(branch.fault, file=self.path, tree=self.tree, branch=name, remedy=DAMAGED_REMEDY)
        if branch.dtype is None:
            raise BranchTypeError(
                f"type {branch.typename!r} cannot be read: expected numbers or booleans, one or a list per event",
                file=self.path,
                tree=self.tree,
                branch=name,
                remedy="choose another branch; `fivesigma inspect` lists those that can be read",
            )
        return branch

    def unprotected(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the named branches of which some values have no checksum: none in a file that a manifest covers."""
        if self.covered:
            return ()
        return tuple(name for name in names if NOTHING in self.branch(name).protection)

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
