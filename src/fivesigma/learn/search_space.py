"""Ranges of hyper-parameters, as a study declares them.

::

    search:
      learning_rate: [1e-4, 1e-1, log]              # numbers, evenly in the logarithm
      dropout: [0.0, 0.5]                           # numbers, evenly
      leaves: [7, 127, int]                         # whole numbers; [7, 127, int, log] evenly in the logarithm
      optimiser: [adam, sgd, choice]                # one of these
      architecture.nodes: [[64], [64, 64], choice]  # dots lead into options that are mappings or lists
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from dataclasses import dataclass
from typing import Any

from fivesigma.core.errors import ConfigError, UnknownNameError
from fivesigma.core.registry import unknown_name

_KINDS = ("log", "int", "choice")


@dataclass(frozen=True)
class Range:
    """What one parameter may be: from ``low`` to ``high``, or one of ``choices``."""

    low: float = 0.0
    high: float = 0.0
    integer: bool = False
    log: bool = False
    choices: tuple[Any, ...] = ()

    @classmethod
    def parse(cls, name: str, words: Any) -> Range:
        """From ``[low, high]``, with ``log``, ``int`` or both behind; or ``[a, b, …, choice]``.

        >>> Range.parse("leaves", [7, 127, "int"])
        Range(low=7, high=127, integer=True, log=False, choices=())

        Raises
        ------
        ConfigError
            for anything else.
        """
        expected = "expected [low, high], [low, high, log], [low, high, int] or [a, b, …, choice]"
        if not isinstance(words, Sequence) or isinstance(words, str) or len(words) < 2:
            raise ConfigError(f"search.{name}: {expected}, got {words!r}")
        if words[-1] == "choice":
            return cls(choices=tuple(words[:-1]))
        low, high, *kinds = words
        for kind in kinds:
            if kind not in _KINDS:
                raise ConfigError(f"search.{name}: {unknown_name('kind of range', str(kind), _KINDS)}; {expected}")
        integer, log = "int" in kinds, "log" in kinds
        numbers = all(isinstance(edge, int if integer else int | float) for edge in (low, high))
        if not numbers or "choice" in kinds or not low < high or (log and not low > 0):
            raise ConfigError(f"search.{name}: {expected}, with low < high, and 0 < low for log; got {list(words)!r}")
        return cls(low, high, integer, log)

    def distribution(self) -> Any:
        """Optuna's of this range; choices stand as JSON, so that lists can be chosen too."""
        from optuna import distributions

        if self.choices:
            return distributions.CategoricalDistribution([json.dumps(choice) for choice in self.choices])
        if self.integer:
            return distributions.IntDistribution(int(self.low), int(self.high), log=self.log)
        return distributions.FloatDistribution(float(self.low), float(self.high), log=self.log)

    def value(self, drawn: Any) -> Any:
        """The parameter from what Optuna drew."""
        return json.loads(drawn) if self.choices else drawn


def parse_space(words: Mapping[str, Any]) -> dict[str, Range]:
    """The ranges by the name of their parameter."""
    if not words:
        raise ConfigError("nothing to search: give the model `search`, such as {learning_rate: [1e-4, 1e-1, log]}")
    return {name: Range.parse(name, found) for name, found in words.items()}


def with_parameters(options: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an estimator's options with other parameters; dots lead into mappings and, by number, into lists.

    >>> with_parameters({"architecture": {"nodes": [64, 32]}}, {"architecture.nodes.1": 16, "epochs": 5})
    {'architecture': {'nodes': [64, 16]}, 'epochs': 5}

    Raises
    ------
    UnknownNameError
        where a name leads nowhere.
    """
    changed = copy.deepcopy(dict(options))
    for name, value in parameters.items():
        *path, last = name.split(".")
        place: Any = changed
        for i, part in enumerate(path):
            if isinstance(place, MutableMapping):
                place = place.setdefault(part, {})
            else:
                place = _item(place, part, name, ".".join(path[:i]))
        if isinstance(place, MutableMapping):
            place[last] = value
        else:
            _item(place, last, name, ".".join(path))
            place[int(last)] = value
    return changed


def _item(place: Any, part: str, name: str, where: str) -> Any:
    if not isinstance(place, MutableSequence) or not part.isdigit() or int(part) >= len(place):
        length = f"a list of {len(place)}" if isinstance(place, MutableSequence) else f"{place!r}"
        raise UnknownNameError(f"search.{name}: {where or 'options'} is {length}, it has no {part!r}")
    return place[int(part)]
