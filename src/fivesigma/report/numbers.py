"""Numbers as physicists print them: rounded by their uncertainty."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"
THIN = "\N{NARROW NO-BREAK SPACE}"
NOTHING = "–"
UNDEFINED = "undefined"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def with_uncertainty(value: float, uncertainty: float | None) -> str:
    r"""A value and its uncertainty, rounded to two significant digits of the uncertainty.

    The same rule as `fivesigma.evaluate.Measurement` prints by, so that page and terminal agree.

    >>> with_uncertainty(0.827, 0.119), with_uncertainty(52.634, 0.961), with_uncertainty(0.9, 0.0996)
    ('0.83 ± 0.12', '52.63 ± 0.96', '0.90 ± 0.10')
    >>> with_uncertainty(-12345.6, 789.0)
    '−12\u202f346 ± 789'
    """
    if math.isnan(value):
        return NOTHING
    if math.isinf(value) or uncertainty is None or uncertainty == 0:
        return number(value)
    if not math.isfinite(uncertainty):
        return f"{number(value)} ± {UNDEFINED}"
    decimals = _decimals(uncertainty)
    return f"{_fixed(value, decimals)} ± {_fixed(uncertainty, decimals)}"


def number(value: float, digits: int = 4) -> str:
    r"""A number without an uncertainty: integers in full, others to ``digits`` significant digits.

    >>> number(1234567), number(0.000123456), number(float("inf")), number(0.98543)
    ('1\u202f234\u202f567', '1.235×10⁻⁴', '∞', '0.9854')
    """
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if value == 0 or (float(value).is_integer() and abs(value) < 1e15):
        return _fixed(value, 0)
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if not -4 < int(exponent) < 7:
        return f"{mantissa.replace('-', MINUS)}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    return _fixed(value, max(digits - 1 - int(exponent), 0))


def _decimals(uncertainty: float) -> int:
    return max(0, 1 - math.floor(math.log10(float(f"{uncertainty:.1e}"))))


def _fixed(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace(",", THIN).replace("-", MINUS)
