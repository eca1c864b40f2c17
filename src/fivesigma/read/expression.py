"""Selections and new variables: a small, allow-listed grammar over columns. Never ``eval``.

The grammar is Python's, parsed by `ast`:

========================  =====================================================================================
numbers and names         ``jet_pt``, ``250``, ``1.5e3``, ``true``, ``false``, ``pi``; dotted names are branches
arithmetic                ``+ - * / // % **``
comparisons               ``< <= > >= == !=``, also chained: ``250 < jet_pt < 300``
conditions                ``and or not`` and, the same, ``& | ~`` (around ``&`` comparisons need parentheses)
functions                 ``abs sqrt exp expm1 log log10 log1p sin cos tan arcsin arccos arctan arctan2 sinh cosh
                          tanh hypot floor ceil sign isfinite isnan where(condition, a, b) min(a, b, …) max(a, b, …)
                          bit(flags, n) delta_phi(a, b)``
of a jagged column        ``count(x) sum(x) min(x) max(x) mean(x) any(x) all(x) first(x, default) at(x, i, default)``
========================  =====================================================================================

Rules: all arithmetic is in double precision and in 64-bit integers, as in ``TTree::Draw``, whatever the branch's type.
An expression of a jagged column is element by element; flat columns are repeated for each element. ``min``, ``max`` and
``mean`` of an event without elements are NaN, ``sum`` and ``count`` are 0. log(−1) is NaN, 1/0 infinity: neither warns,
the ledger counts them. A comparison with NaN is false. There is no ``x[0]``: say ``first(x, default)``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ExpressionError
from fivesigma.core.jagged import Column, Columns, Jagged
from fivesigma.core.registry import nearest_names, unknown_name
from fivesigma.read.functions import CONSTANTS, ELEMENTWISE, EXACT, PER_EVENT, Operand, apply, is_condition, to_operand

MAX_LENGTH = 10_000  # characters; a longer expression is a mistake or an attack on the parser
_MAX_DEPTH = 100  # nested operations
_SHOWN = 100  # characters shown around a mistake

Operator: TypeAlias = Callable[..., Any]

_ARITHMETIC: dict[type[ast.AST], Operator] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.remainder,
    ast.Pow: np.power,
}
_COMPARISONS: dict[type[ast.AST], Operator] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
_CONDITIONS: dict[type[ast.AST], Operator] = {
    ast.And: np.logical_and,
    ast.Or: np.logical_or,
    ast.BitAnd: np.logical_and,
    ast.BitOr: np.logical_or,
}
_PARENTHESES = (
    "`&` and `|` bind tighter than comparisons: write (a < b) & (c < d), or `and`, `or`; for flags, bit(flags, n)"
)


@dataclass(frozen=True)
class Expression:
    """One parsed expression; wrong grammar is refused here, before any file is read.

    >>> cut = Expression("250 < jet_pt < 300 and count(constituent_pt) >= 2")
    >>> sorted(cut.columns)
    ['constituent_pt', 'jet_pt']
    >>> columns = {"jet_pt": np.array([260.0, 280.0]), "constituent_pt": Jagged.from_lists([[1.0], [2.0, 3.0]])}
    >>> cut.evaluate(columns).tolist()
    [False, True]

    Raises
    ------
    ExpressionError
        with the expression, and a caret under the offending place.
    """

    text: str
    columns: frozenset[str] = field(init=False, compare=False)
    _tree: ast.expr = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = " ".join(self.text.split())
        object.__setattr__(self, "text", text)
        tree = _parse(text)
        object.__setattr__(self, "_tree", tree)
        object.__setattr__(self, "columns", frozenset(_check(tree, text)))

    def evaluate(self, columns: Columns) -> NDArray[Any]:
        """One value per event, shape (events,): float64, int64 or bool.

        Raises
        ------
        ExpressionError
            for an unknown column (with the nearest names), a jagged result, or operands that do not fit.
        """
        value = self.evaluate_column(columns)
        if isinstance(value, Jagged):
            _fail(
                self.text,
                self._tree,
                "a list for each event, expected one value: use count, sum, max, min, first or at",
            )
        return value

    def evaluate_column(self, columns: Columns) -> Column:
        """As `evaluate`, but lists of values per event are allowed."""
        n_events = _n_events(columns)
        with np.errstate(all="ignore"):
            value = _Evaluation(self.text, columns).value(self._tree)
        if isinstance(value, Jagged):
            return value
        return np.ascontiguousarray(np.broadcast_to(value, (n_events,)))

    def evaluate_selection(self, columns: Columns) -> NDArray[np.bool_]:
        """As `evaluate`, and refuse what is not a condition.

        Raises
        ------
        ExpressionError
            if the result is a number: ``jet_pt`` is not a cut, ``jet_pt > 0`` is.
        """
        value = self.evaluate(columns)
        if value.dtype != np.bool_:
            _fail(
                self.text,
                self._tree,
                f"a selection must be a condition, got numbers ({value.dtype}): compare it with something",
            )
        return value

    def __str__(self) -> str:
        return self.text


def _n_events(columns: Columns) -> int:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ExpressionError(f"columns of different numbers of events: {lengths}")
    return next(iter(lengths.values()), 1)


def _fail(text: str, node: ast.AST, cause: str, error: BaseException | None = None) -> NoReturn:
    column = len(text.encode()[: getattr(node, "col_offset", 0)].decode(errors="ignore"))
    start = max(0, column - _SHOWN // 2)
    shown = text[start : start + _SHOWN]
    raise ExpressionError(f"{cause}\n  {shown}\n  {' ' * (column - start)}^") from error


def _parse(text: str) -> ast.expr:
    if not text:
        raise ExpressionError("an empty expression")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression of {len(text):,} characters; at most {MAX_LENGTH:,} are allowed")
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        place = ast.Name("", col_offset=len(text[: max(0, (error.offset or 1) - 1)].encode()))
        _fail(text, place, f"not an expression: {error.msg}", error)
    except (ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"not an expression: {error}\n  {text[:_SHOWN]}") from error
    return tree


def _check(tree: ast.expr, text: str) -> set[str]:
    """Walk the whole tree, refuse what is not in the grammar, collect the columns."""
    columns: set[str] = set()
    pending: list[tuple[ast.expr, int]] = [(tree, 0)]
    while pending:
        node, depth = pending.pop()
        if depth > _MAX_DEPTH:
            _fail(text, node, f"nested more than {_MAX_DEPTH} deep")
        pending.extend((child, depth + 1) for child in _children(node, text, columns))
    return columns


def _children(node: ast.expr, text: str, columns: set[str]) -> list[ast.expr]:
    """Operands of an allowed node; names go into ``columns``."""
    match node:
        case ast.Constant(value=bool() | int() | float()):
            if isinstance(node.value, int) and not -(2**63) <= node.value < 2**63:
                _fail(text, node, "an integer of more than 64 bits")
            return []
        case ast.Name() | ast.Attribute():
            name = _dotted(node, text)
            if name not in CONSTANTS:
                columns.add(name)
            return []
        case ast.UnaryOp(op=ast.UAdd() | ast.USub() | ast.Not() | ast.Invert()):
            return [node.operand]
        case ast.BinOp() if type(node.op) in _ARITHMETIC or type(node.op) in _CONDITIONS:
            return [node.left, node.right]
        case ast.BoolOp():
            return list(node.values)
        case ast.Compare() if all(type(op) in _COMPARISONS for op in node.ops):
            return [node.left, *node.comparators]
        case ast.Call():
            return _arguments(node, text)
        case ast.Subscript():
            _fail(text, node, "no subscripts: say first(x, default) or at(x, i, default)")
        case ast.IfExp():
            _fail(text, node, "no `if … else`: say where(condition, a, b)")
        case _:
            _fail(text, node, f"{type(node).__name__} is not in the expression grammar")


def _arguments(node: ast.Call, text: str) -> list[ast.expr]:
    if not isinstance(node.func, ast.Name):
        _fail(text, node, "only named functions can be called")
    known = {**ELEMENTWISE, **PER_EVENT}
    name = node.func.id
    if name not in known:
        _fail(text, node, unknown_name("function", name, known))
    if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
        _fail(text, node, f"{name}() takes positional arguments only")
    allowed = {n for table in (ELEMENTWISE, PER_EVENT) if name in table for n in table[name].n_arguments}
    if len(node.args) not in allowed:
        expected = " or ".join(str(n) for n in sorted(allowed)[:3])
        _fail(
            text,
            node,
            f"{name}() takes {expected}{' or more' if len(allowed) > 3 else ''} arguments, got {len(node.args)}",
        )
    return list(node.args)


def _dotted(node: ast.expr, text: str) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, text)}.{node.attr}"
    _fail(text, node, "a dot may only stand inside the name of a branch")


@dataclass(frozen=True)
class _Evaluation:
    """One walk over an allowed tree, with the columns of one partition."""

    text: str
    columns: Columns

    def value(self, node: ast.expr) -> Operand:
        match node:
            case ast.Constant():
                return to_operand(np.asarray(node.value))
            case ast.Name() | ast.Attribute():
                return self._named(node)
            case ast.UnaryOp(op=ast.Not() | ast.Invert()):
                return self._apply(node, np.logical_not, self._condition(node.operand))
            case ast.UnaryOp():
                function = np.negative if isinstance(node.op, ast.USub) else np.positive
                return self._apply(node, function, self._number(node.operand))
            case ast.BinOp() if type(node.op) in _CONDITIONS:
                operands = (
                    self._condition(node.left, _PARENTHESES),
                    self._condition(node.right, _PARENTHESES),
                )
                return self._apply(node, _CONDITIONS[type(node.op)], *operands)
            case ast.BinOp():
                return self._binary(node)
            case ast.BoolOp():
                return self._all(node, _CONDITIONS[type(node.op)], [self._condition(v) for v in node.values])
            case ast.Compare():
                return self._compare(node)
            case ast.Call(func=ast.Name(id=name)):
                return self._call(node, name)
            case _:  # refused when parsed
                _fail(self.text, node, f"{type(node).__name__} is not in the expression grammar")

    def _named(self, node: ast.expr) -> Operand:
        name = _dotted(node, self.text)
        if name in CONSTANTS:
            return np.asarray(CONSTANTS[name])
        if name not in self.columns:
            nearest = nearest_names(name, self.columns)
            hint = (
                f"; did you mean {' or '.join(nearest)}?"
                if nearest
                else f"; there are: {', '.join(sorted(self.columns)) or 'none'}"
            )
            _fail(self.text, node, f"unknown column {name!r}{hint}")
        try:
            return to_operand(self.columns[name])
        except ValueError as error:
            _fail(self.text, node, f"column {name!r}: {error}", error)

    def _binary(self, node: ast.BinOp) -> Operand:
        left, right = self._number(node.left), self._number(node.right)
        if isinstance(node.op, ast.Pow):
            left = apply(lambda x: x.astype(np.float64), left)  # integers have no negative powers
        divides_integers = left.dtype.kind == right.dtype.kind == "i" and isinstance(node.op, ast.FloorDiv | ast.Mod)
        if divides_integers and not np.all(right.values if isinstance(right, Jagged) else right):
            _fail(self.text, node, "integer division by zero: use floating-point numbers, or where()")
        return self._apply(node, _ARITHMETIC[type(node.op)], left, right)

    def _compare(self, node: ast.Compare) -> Operand:
        values = [self.value(node.left), *(self.value(v) for v in node.comparators)]
        pairs = zip(node.ops, values[:-1], values[1:], strict=True)
        return self._all(node, np.logical_and, [self._apply(node, _COMPARISONS[type(op)], a, b) for op, a, b in pairs])

    def _all(self, node: ast.expr, function: Operator, values: list[Operand]) -> Operand:
        result = values[0]
        for value in values[1:]:
            result = self._apply(node, function, result, value)
        return result

    def _call(self, node: ast.Call, name: str) -> Operand:
        values = [self.value(argument) for argument in node.args]
        reduces = name in PER_EVENT and isinstance(values[0], Jagged)
        if name in PER_EVENT and name not in ELEMENTWISE and not reduces:
            _fail(self.text, node, f"{name}() needs a jagged column, got one value per event")
        if reduces and len(values) not in PER_EVENT[name].n_arguments:
            reduces = False
        if not reduces and name in ELEMENTWISE and len(values) not in ELEMENTWISE[name].n_arguments:
            _fail(self.text, node, f"{name}() of one argument needs a jagged column, got one value per event")
        try:
            if reduces:
                reduced: Operand = PER_EVENT[name].function(*values)
                return reduced
            function = ELEMENTWISE[name]
            if function.first_is_condition and not is_condition(values[0]):
                _fail(self.text, node, f"the first argument of {name}() must be a condition, got numbers")
        except ValueError as error:
            _fail(self.text, node, f"{name}(): {error}", error)
        return self._apply(node, function.function, *(values if name in EXACT else [_promoted(v) for v in values]))

    def _apply(self, node: ast.expr, function: Operator, *operands: Operand) -> Operand:
        try:
            return apply(function, *operands)
        except ValueError as error:
            _fail(self.text, node, str(error), error)

    def _condition(self, node: ast.expr, hint: str = "") -> Operand:
        value = self.value(node)
        if not is_condition(value):
            _fail(self.text, node, f"expected a condition, got numbers{'; ' + hint if hint else ''}")
        return value

    def _number(self, node: ast.expr) -> Operand:
        return _promoted(self.value(node))


def _promoted(value: Operand) -> Operand:
    """Conditions count as 0 and 1 in arithmetic."""
    return apply(lambda x: x.astype(np.int64), value) if is_condition(value) else value
