import math

import pytest

from fivesigma.evaluate import Measurement


@pytest.mark.parametrize(
    ("value", "uncertainty", "text"),
    [
        (0.87413, 0.00214, "0.8741 ± 0.0021"),
        (18.9, 0.43, "18.90 ± 0.43"),
        (1298.2, 46.3, "1298 ± 46"),
        (0.98461, 0.000996, "0.9846 ± 0.0010"),
        (0.5, 0.0, "0.5000 ± 0.0000"),
        (math.inf, math.nan, "∞"),
        (math.nan, math.nan, "undefined"),
        (3.0, math.nan, "3 ± undefined"),
    ],
)
def test_written_with_two_digits_of_the_uncertainty(value: float, uncertainty: float, text: str) -> None:
    assert str(Measurement(value, uncertainty, "by hand")) == text


def test_json_has_no_infinity() -> None:
    content = Measurement(math.inf, math.nan, "by hand", (12.0, math.inf)).to_json()
    assert content == {"value": None, "uncertainty": None, "how": "by hand", "interval": [12.0, None]}
