"""The expression grammar against Python itself, row by row, and against everything that it must refuse."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivesigma.core.errors import ExpressionError
from fivesigma.core.jagged import Column, Jagged
from fivesigma.read import Expression

NUMBERS = ("a", "b", "n", "two", "half", "zero")  # columns all: Python's own numbers raise when divided by zero
FUNCTIONS = {
    "abs": abs,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "min": min,
    "max": max,
    "hypot": np.hypot,
    "arctan2": np.arctan2,
    "where": lambda condition, x, y: x if condition else y,
}
ROWS = 7


def reference(text: str, columns: dict[str, Any]) -> list[Any]:
    """Slow and obvious: Python evaluates each row."""
    code = compile(text, "row", "eval")
    rows = range(len(next(iter(columns.values()))))
    with np.errstate(all="ignore"):
        return [eval(code, {"__builtins__": {}}, FUNCTIONS | {k: v[i] for k, v in columns.items()}) for i in rows]


def extend_numbers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/"]), inner),
        st.builds("(-{})".format, inner),
        st.builds("({} ** 2)".format, inner),
        st.builds("{}({})".format, st.sampled_from(["abs", "sqrt"]), inner),
        st.builds("{}({}, {})".format, st.sampled_from(["hypot", "arctan2"]), inner, inner),
    )


numbers = st.recursive(st.sampled_from(NUMBERS), extend_numbers, max_leaves=6)
comparisons = st.one_of(
    st.builds("({} {} {})".format, numbers, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), numbers),
    st.builds("({} < {} <= {})".format, numbers, numbers, numbers),
    st.just("c"),
)
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("(not {})".format, inner),
    ),
    max_leaves=5,
)
choices = st.builds("where({}, {}, {})".format, conditions, numbers, numbers)


@settings(deadline=None, max_examples=200)
@given(text=st.one_of(numbers, conditions, choices), seed=st.integers(0, 1000))
def test_equals_python_row_by_row(text: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns: dict[str, Column] = {
        "a": rng.normal(0, 3, ROWS),
        "b": rng.choice([-1.0, 0.0, 0.5, np.nan, np.inf], ROWS),
        "n": rng.integers(-3, 4, ROWS),
        "c": rng.random(ROWS) < 0.5,
        **{name: np.full(ROWS, value) for name, value in (("two", 2), ("half", 0.5), ("zero", 0))},
    }
    got = Expression(text).evaluate(columns)
    assert got.shape == (ROWS,)
    np.testing.assert_allclose(got.astype(float), np.array(reference(text, columns), dtype=float), rtol=1e-13)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", [1.0, 2.0, 3.0]),
        ("1 if_", None),
        ("x ** -1", [1.0, 1 / 2, 1 / 3]),
        ("n ** -1", [1.0, 1 / 2, 1 / 4]),
        ("7 // n", [7, 3, 1]),
        ("-7 % n", [0, 1, 1]),
        ("bit(n, 1)", [False, True, False]),
        ("(x > 1) & (x < 3) | ~(n != 4)", [False, True, True]),
        ("true", [True] * 3),
        ("pi * 0", [0.0] * 3),
        ("delta_phi(3.0, -3.0) * n", np.array([1, 2, 4]) * (6 - 2 * np.pi)),
        ("(x > 1) + (x > 2)", [0, 1, 2]),
        ("min(x, n, 2.5)", [1.0, 2.0, 2.5]),
        ("record.value * 2", [2.0, 4.0, 6.0]),
        ("x >\n  1.5", [False, True, True]),
    ],
)
def test_closed_forms(text: str, expected: Any) -> None:
    columns: dict[str, Column] = {
        "x": np.array([1, 2, 3], np.float32),
        "n": np.array([1, 2, 4], np.uint8),
        "record.value": np.array([1.0, 2, 3]),
    }
    if expected is None:
        with pytest.raises(ExpressionError, match="not an expression"):
            Expression(text)
        return
    np.testing.assert_allclose(Expression(text).evaluate(columns), expected, rtol=1e-15)


def test_single_precision_branches_are_compared_in_double() -> None:
    """As TTree::Draw does: float32(0.1) is above 0.1."""
    assert Expression("x > 0.1").evaluate({"x": np.array([0.1], np.float32)}).tolist() == [True]


def test_small_integers_do_not_overflow() -> None:
    assert Expression("n * n").evaluate({"n": np.array([200], np.uint8)}).tolist() == [40000]


JAGGED = Jagged.from_lists([[3.0, 1.0], [], [5.0]])
FLAT = np.array([10.0, 20.0, 30.0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("count(x)", [2, 0, 1]),
        ("count(x > 2)", [1, 0, 1]),
        ("sum(x)", [4.0, 0.0, 5.0]),
        ("sum(x > 2)", [1, 0, 1]),
        ("max(x)", [3.0, np.nan, 5.0]),
        ("min(x)", [1.0, np.nan, 5.0]),
        ("mean(x)", [2.0, np.nan, 5.0]),
        ("first(x, -1)", [3.0, -1.0, 5.0]),
        ("first(x, y)", [3.0, 20.0, 5.0]),
        ("at(x, 1, -1)", [1.0, -1.0, -1.0]),
        ("sum(x * y)", [40.0, 0.0, 150.0]),
        ("sum(x * x + 1)", [12.0, 0.0, 26.0]),
        ("any(x > 4)", [False, False, True]),
        ("all(x > 2)", [False, True, True]),
        ("max(max(x, 4))", [4.0, np.nan, 5.0]),
        ("count(x) >= 1 and max(x) > 4", [False, False, True]),
        ("sum(where(x > 2, x, 0))", [3.0, 0.0, 5.0]),
    ],
)
def test_jagged_closed_forms(text: str, expected: list[float]) -> None:
    np.testing.assert_array_equal(Expression(text).evaluate({"x": JAGGED, "y": FLAT}), expected)


@settings(deadline=None, max_examples=100)
@given(lists=st.lists(st.lists(st.floats(-1e6, 1e6, width=32), max_size=5), min_size=1, max_size=8))
def test_per_event_functions_equal_loops(lists: list[list[float]]) -> None:
    columns: dict[str, Column] = {"x": Jagged.from_lists(lists)}
    loops = {
        "sum(x)": [np.add.reduce(np.array(v)) for v in lists],
        "max(x)": [max(v, default=np.nan) for v in lists],
        "min(x)": [min(v, default=np.nan) for v in lists],
        "count(x)": [len(v) for v in lists],
        "at(x, 2, 0.5)": [v[2] if len(v) > 2 else 0.5 for v in lists],
    }
    for text, expected in loops.items():
        np.testing.assert_allclose(Expression(text).evaluate(columns), expected, rtol=1e-12, atol=1e-6)


def test_a_jagged_variable_keeps_its_lists() -> None:
    column = Expression("x / y").evaluate_column({"x": JAGGED, "y": FLAT})
    assert isinstance(column, Jagged)
    np.testing.assert_allclose(column.values, [0.3, 0.1, 1 / 6])
    assert column.counts.tolist() == [2, 0, 1]


def test_nan_is_silent_and_fails_comparisons() -> None:
    columns: dict[str, Column] = {"x": np.array([-1.0, 0.0, math.e])}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(Expression("log(x)").evaluate(columns), [np.nan, -np.inf, 1.0])
        assert Expression("log(x) > -1e9").evaluate(columns).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("x +", "not an expression"),
        ("x = 1", "not an expression"),
        ("__import__('os')", "unknown function '__import__'"),
        ("x.__class__()", "only named functions"),
        ("[x for x in y]", "ListComp is not in the expression grammar"),
        ("lambda: 1", "Lambda is not"),
        ("'text'", "Constant is not"),
        ("1j", "Constant is not"),
        ("x[0]", r"say first\(x, default\)"),
        ("1 if x else 2", r"say where\(condition, a, b\)"),
        ("x is 1", "Compare is not"),
        ("x in y", "Compare is not"),
        ("x << 2", "BinOp is not"),
        ("(y := 1)", "NamedExpr is not"),
        ("f'{x}'", "JoinedStr is not"),
        ("sqr(x)", "did you mean 'sqrt'"),
        ("sqrt(x, 1)", r"sqrt\(\) takes 1 arguments, got 2"),
        ("sqrt(x=1)", "positional arguments only"),
        ("max(*x)", "positional arguments only"),
        ("first(x)", r"first\(\) takes 2 arguments, got 1"),
        ("9" * 30, "more than 64 bits"),
        ("+".join("x" * 200), "nested more than 100 deep"),
        ("(" * 500 + "x" + ")" * 500, "not an expression"),
        ("x\0", "not an expression"),
        ("x" * 10_001, "10,001 characters"),
    ],
)
def test_refused_when_parsed(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        Expression(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jet_Pt > 2", "unknown column 'jet_Pt'; did you mean jet_pt"),
        ("jet_pt and true", "expected a condition, got numbers"),
        ("jet_pt > 2 & n < 5", "bind tighter than comparisons"),
        ("not jet_pt", "expected a condition"),
        ("x", "a list for each event"),
        ("count(jet_pt)", "needs a jagged column"),
        ("max(jet_pt)", "of one argument needs a jagged column"),
        ("x + z", "different lengths, first in event 1"),
        ("n // (n - 1)", "integer division by zero"),
        ("n % 0", "integer division by zero"),
        ("where(jet_pt, 1, 2)", "must be a condition"),
        ("any(x)", r"any\(\): needs a condition"),
        ("at(x, 0.5, 1)", "must be an integer"),
        ("bit(jet_pt, 1)", "needs integers"),
        ("bit(n, 70)", "0 to 63"),
        ("big + 1", "do not fit into 64-bit"),
    ],
)
def test_refused_when_evaluated(text: str, message: str) -> None:
    columns: dict[str, Column] = {
        "jet_pt": np.array([1.0, 2.0, 3.0]),
        "n": np.array([1, 2, 3]),
        "x": JAGGED,
        "z": Jagged.from_lists([[1.0, 2.0], [4.0], []]),
        "big": np.array([2**64 - 1] * 3, np.uint64),
    }
    with pytest.raises(ExpressionError, match=message):
        Expression(text).evaluate(columns)


def test_the_caret_is_under_the_mistake() -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression("jet_pt > 250 and jet_mas < 95").evaluate({"jet_pt": FLAT, "jet_mass": FLAT})
    _, shown, caret = str(caught.value).splitlines()
    assert shown[caret.index("^") :].startswith("jet_mas")


def test_the_caret_counts_letters_not_bytes() -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression("η > 1 and φ < 2").evaluate({"η": FLAT})
    _, shown, caret = str(caught.value).splitlines()
    assert shown[caret.index("^")] == "φ"


def test_a_selection_must_be_a_condition() -> None:
    with pytest.raises(ExpressionError, match="must be a condition, got numbers"):
        Expression("x + 1").evaluate_selection({"x": FLAT})
    assert Expression("x > 10").evaluate_selection({"x": FLAT}).tolist() == [False, True, True]


def test_columns_are_what_must_be_read() -> None:
    assert Expression("where(a > pi, sum(b), c.d) == true").columns == {"a", "b", "c.d"}


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ExpressionError, match="different numbers of events"):
        Expression("x").evaluate({"x": FLAT, "y": np.zeros(2)})
