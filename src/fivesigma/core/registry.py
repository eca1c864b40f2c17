"""Names to things, explicitly: a dictionary, a decorator, and an error that lists what is known."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import TypeVar

from fivesigma.core.errors import ConfigError, UnknownNameError

T = TypeVar("T")


def nearest_names(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The known names most like ``name``, best first.

    >>> nearest_names("jet_Pt", ["jet_pt", "jet_eta", "label"])
    ['jet_pt', 'jet_eta']
    """
    lowered = {k.lower(): k for k in known}
    return [lowered[k] for k in difflib.get_close_matches(name.lower(), lowered, n=n, cutoff=0.5)]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence that every unknown name gets: what was asked, the nearest, all that are known.

    >>> unknown_name("model", "cn", ["cnn", "dense"])
    "unknown model 'cn'; did you mean 'cnn'? Known: cnn, dense"
    """
    names = sorted(known)
    nearest = nearest_names(name, names, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(names) or 'none'}"


class Registry(Mapping[str, T]):
    """A mapping from names to things of one kind, filled by a decorator.

    >>> shapes: Registry[type] = Registry("shape")
    >>> @shapes.register("round")
    ... class Round: pass
    >>> shapes["round"].__name__
    'Round'
    >>> shapes["ronud"]
    Traceback (most recent call last):
    fivesigma.core.errors.UnknownNameError: unknown shape 'ronud'; did you mean 'round'? Known: round
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._homes: dict[str, str] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: add the decorated thing as ``name``; a name can be taken only once."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ConfigError(f"the {self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return add

    def live_in(self, homes: Mapping[str, str]) -> None:
        """Names that are registered once their module is imported, which is when one is first asked for."""
        self._homes |= homes

    def __getitem__(self, name: str) -> T:
        if name not in self._entries and name in self._homes:
            import_module(self._homes[name])
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownNameError(unknown_name(self.kind, name, self)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._entries, *self._homes}))

    def __len__(self) -> int:
        return len({*self._entries, *self._homes})

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._homes
