"""Numbers as they stand in tables: never more digits than the uncertainty has."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivesigma.evaluate.measurement import Measurement
from fivesigma.report import number, with_uncertainty


@pytest.mark.parametrize(
    ("value", "uncertainty", "shown"),
    [
        (13.456, 0.278, "13.46 ± 0.28"),
        (0.98543, 0.00021, "0.98543 ± 0.00021"),
        (1298.4, 46.2, "1\u202f298 ± 46"),
        (0.9, 0.0996, "0.90 ± 0.10"),
        (-2.5, 0.5, "−2.50 ± 0.50"),
        (math.nan, 1.0, "–"),
        (math.inf, math.nan, "∞"),
        (3.0, None, "3"),
        (0.25, math.nan, "0.2500 ± undefined"),
        (0.25, 0.0, "0.2500"),
    ],
)
def test_rounding_follows_the_uncertainty(value: float, uncertainty: float | None, shown: str) -> None:
    assert with_uncertainty(value, uncertainty) == shown


@settings(deadline=None, max_examples=100)
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e5))
def test_page_and_terminal_print_the_same_digits(value: float, uncertainty: float) -> None:
    page = with_uncertainty(value, uncertainty).replace("\u202f", "").replace("−", "-")
    assert page == str(Measurement(value, uncertainty, "test"))


@settings(deadline=None, max_examples=100)
@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_a_bare_number_keeps_four_digits(value: float) -> None:
    digits = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")
    text = number(value).replace("\u202f", "").translate(digits).replace("×10", "e")
    assert float(text) == pytest.approx(value, rel=6e-4, abs=1e-300)
