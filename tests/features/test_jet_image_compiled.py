"""The compiled chain against the step-by-step one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.toy_jets import Jet, as_columns, toy_jet

from fivesigma.features import JetImages, jet_image

OPTIONS: list[dict[str, Any]] = [
    {},
    {"size": 33, "extent": 1.0},
    {"size": 16, "extent": 0.4},  # much lies outside the window
    {"regrid": "area"},
    {"regrid": "area", "size": 16, "extent": 0.4},
    {"regrid": "area", "tower": 0.23},  # squares larger than pixels
    {"tower": 0.1},
    {"intensity": "energy"},
    {"normalise": "l1"},
    {"normalise": "l2"},
    {"normalise": "pt-sum", "extent": 0.5},
]


def step_by_step(jet: Jet, features: JetImages) -> np.ndarray[Any, Any]:
    return jet_image(
        jet.pt,
        jet.eta,
        jet.phi,
        jet.subjets,
        size=features.size,
        extent=features.extent,
        intensity=features.intensity,
        regrid=features.regrid,
        normalisation=features.normalise,
        tower=features.tower,
    )


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_compiled_equals_step_by_step(options: dict[str, Any]) -> None:
    jets = [toy_jet(seed, n_subjets=seed % 3) for seed in range(15)]  # also without, and with one subjet
    features = JetImages(**options)
    images = features.transform(as_columns(jets))
    assert images.dtype == np.float32
    assert images.shape == (15, features.size, features.size)
    for jet, image in zip(jets, images, strict=True):
        expected = step_by_step(jet, features)
        assert image == pytest.approx(expected, abs=2e-7 * np.abs(expected).max())


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["cubic", "area"]), st.integers(2, 40), st.floats(0.2, 4.0))
def test_any_size_and_extent(seed: int, regrid: Any, size: int, extent: float) -> None:
    jet = toy_jet(seed)
    features = JetImages(size=size, extent=extent, regrid=regrid)
    image, expected = features.transform(as_columns([jet]))[0], step_by_step(jet, features)
    tolerance = 1e-6 * np.abs(expected).max()
    # Halves that are equal but for rounding may be flipped by one and not by the other.
    assert image == pytest.approx(expected, abs=tolerance) or image[:, ::-1] == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("regrid", ["cubic", "area"])
@pytest.mark.parametrize("turn", range(8))
def test_squares_that_lie_exactly_on_pixel_edges(regrid: Any, turn: int) -> None:
    """Second subjets at multiples of 45°, towers on a grid of half pixels: edges and corners coincide."""
    direction = turn * np.pi / 4
    eta, phi = (a.ravel() for a in np.meshgrid(np.arange(-3, 4) * 0.05, np.arange(-3, 4) * 0.05))
    subjets = np.array([[2.0, 0.0, 0.0], [1.0, np.cos(direction), np.sin(direction)]])
    jet = Jet(np.arange(1.0, 50.0), eta, phi, subjets)
    features = JetImages(regrid=regrid)
    image, expected = features.transform(as_columns([jet]))[0], step_by_step(jet, features)
    assert image.sum() == pytest.approx(jet.pt.sum(), rel=1e-6)
    assert image == pytest.approx(expected, abs=1e-4) or image[:, ::-1] == pytest.approx(expected, abs=1e-4)


def test_threads_give_the_same_images() -> None:
    columns = as_columns([toy_jet(seed) for seed in range(7)])
    one = JetImages().transform(columns)
    assert np.array_equal(JetImages().transform(columns, threads=2), one)
    assert np.array_equal(JetImages().transform(columns, threads=16), one)


def test_float32_columns_are_computed_in_float64() -> None:
    jets = [toy_jet(seed) for seed in range(5)]
    in_32 = as_columns(jets, np.float32)
    assert np.array_equal(
        JetImages().transform(in_32),
        JetImages().transform({name: type(c)(c.values.astype(np.float64), c.offsets) for name, c in in_32.items()}),
    )


def test_images_of_a_batch_do_not_depend_on_their_neighbours() -> None:
    jets = [toy_jet(seed) for seed in range(6)]
    together = JetImages(extent=0.5).transform(as_columns(jets))
    for jet, image in zip(jets, together, strict=True):
        assert np.array_equal(JetImages(extent=0.5).transform(as_columns([jet]))[0], image)
