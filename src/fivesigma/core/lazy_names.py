"""Names of a package that are imported when they are first asked for, so that a process loads only what it uses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__``: name → the thing of that name in the module that ``homes`` says.

    A name must not be that of a module of the package: once imported, the module would stand in its place.

    >>> lazy_names("fivesigma.core", {"Task": "fivesigma.core.engine"})("Task").__name__
    'Task'
    >>> lazy_names("fivesigma.core", {"Task": "fivesigma.core.engine"})("Tusk")
    Traceback (most recent call last):
    AttributeError: module 'fivesigma.core' has no attribute 'Tusk'
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, found)
        return found

    return find
