"""The units fit together."""

from __future__ import annotations

import math

import pytest

from fivesigma.physics import units


def test_units() -> None:
    assert 1000 * units.MEV == units.GEV == pytest.approx(units.TEV / 1000)
    assert pytest.approx(math.pi * units.RADIAN) == 180 * units.DEGREE
    assert pytest.approx(80369.2 * units.MEV) == units.W_MASS
