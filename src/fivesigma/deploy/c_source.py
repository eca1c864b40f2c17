"""C99 as text: names that C takes, numbers that lose nothing, templates."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from fivesigma.core.errors import FeatureError

C_WORDS = frozenset(
    [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
    ]
)
CPP_WORDS = frozenset(
    [
        "alignas",
        "alignof",
        "and",
        "asm",
        "bool",
        "catch",
        "class",
        "compl",
        "constexpr",
        "decltype",
        "delete",
        "dynamic_cast",
        "explicit",
        "export",
        "false",
        "friend",
        "mutable",
        "namespace",
        "new",
        "noexcept",
        "not",
        "nullptr",
        "operator",
        "or",
        "private",
        "protected",
        "public",
        "static_assert",
        "template",
        "this",
        "throw",
        "true",
        "try",
        "typeid",
        "typename",
        "using",
        "virtual",
        "xor",
    ]
)
COLUMNS = 120


def identifier(name: str) -> str:
    """The name as C and C++ take it.

    >>> identifier("cnn+mass"), identifier("2b-tag"), identifier("double")
    ('cnn_mass', '_2b_tag', 'double_')
    """
    text = re.sub(r"\W", "_", name, flags=re.ASCII)
    if text[:1].isdigit():
        text = "_" + text
    return text + "_" if text in C_WORDS | CPP_WORDS or keyword.iskeyword(text) else text


def identifiers(names: Sequence[str]) -> list[str]:
    """One for each name, all different.

    Raises
    ------
    FeatureError
        if two names become the same in C.
    """
    made = [identifier(name) for name in names]
    for i, one in enumerate(made):
        if one in made[:i]:
            raise FeatureError(
                f"{names[made.index(one)]!r} and {names[i]!r} would both be {one!r} in C; rename one of them"
            )
    return made


def number(x: float) -> str:
    """A double, exactly.

    >>> number(0.1), number(2.0), number(float("inf"))
    ('0.1', '2.0', 'INFINITY')
    """
    if math.isinf(x):
        return "INFINITY" if x > 0 else "-INFINITY"
    return repr(float(x))


def array(kind: str, name: str, values: Iterable[Any], write: Any = str) -> str:
    """A constant array, wrapped.

    >>> print(array("double", "edges", [1.0, 2.5], number))
    static const double edges[2] = {
        1.0, 2.5
    };
    """
    words = [write(value) for value in values] or ["0"]
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) + 2 > COLUMNS:
            lines.append(line)
            line = "   "
        line += f" {word},"
    lines.append(line.rstrip(","))
    return f"static const {kind} {name}[{len(words)}] = {{\n" + "\n".join(lines) + "\n};"


def comment(text: str) -> str:
    """Text that cannot end its comment."""
    return text.replace("*/", "* /").replace("\n", " ")


def quoted(text: str) -> str:
    """Text between quotation marks of C."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def smallest_unsigned(largest: int) -> str:
    """The smallest type of C that holds 0 … largest.

    >>> smallest_unsigned(255), smallest_unsigned(256)
    ('uint8_t', 'uint16_t')
    """
    bits = next(bits for bits in (8, 16, 32, 64) if largest < 2**bits)
    return f"uint{bits}_t"


def signed_type(values: Any) -> str:
    """The smallest signed type of C that holds all values.

    >>> signed_type([-128, 127]), signed_type([128])
    ('int8_t', 'int16_t')
    """
    low, high = int(np.min(values)), int(np.max(values))
    bits = next(bits for bits in (8, 16, 32, 64) if -(2 ** (bits - 1)) <= low and high < 2 ** (bits - 1))
    return f"int{bits}_t"


def bits_of(values: Any) -> list[str]:
    """Doubles by their bits, for NaN, infinity and −0 too."""
    return [f"0x{int(x):016x}u" for x in np.asarray(values, dtype=np.float64).ravel().view(np.uint64)]


def render(template: str, **words: Any) -> str:
    """A template of ``deploy/templates`` with its words filled in."""
    text: str = _environment().get_template(template).render(**words)
    return text


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(  # noqa: S701 this is C, not HTML
        loader=PackageLoader("fivesigma.deploy"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
