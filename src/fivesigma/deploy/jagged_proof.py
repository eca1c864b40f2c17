"""The inputs that prove a model of jagged columns: recorded, random and adversarial jets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.jagged import Column, Jagged
from fivesigma.deploy.event_columns import EventColumns
from fivesigma.deploy.jagged_model import JaggedModel
from fivesigma.deploy.parity import SPECIAL
from fivesigma.features import JetImages
from fivesigma.features.jet_image import pixel_centres

RANDOM = 500
MOST = 128
"""The most constituents tried; twice the most recorded, if that is more."""
FAR = (1e12, 100.0, 100.0)
"""The largest pt, η and φ tried: further out squares overflow in float32, or a turn is less than the rounding of the angle."""

Particles: TypeAlias = NDArray[np.float64]
"""pt, eta, phi of each, (particle, 3)."""
Jet: TypeAlias = tuple[Particles, Particles]
"""Constituents and subjets."""


def jagged_proof_inputs(model: JaggedModel, seed: int) -> tuple[EventColumns, dict[str, int]]:
    """Events, and how many of each kind.

    Recorded ones; random jets; adversarial ones: without constituents, with the most; with no, one, two subjets, one upon
    the other; of equal pt; across φ = ±π; with constituents at the pixels' centres and edges, the window's, and both
    neighbouring numbers; with a value of ``SPECIAL`` in each column. Flat columns have recorded or normal values, and each
    of ``SPECIAL``.
    """
    rng = np.random.default_rng(seed)
    most = MOST if model.events is None else max(MOST, *(2 * int(c.counts.max()) for c in _jagged(model.events)))
    images = [part for part in model.parts if isinstance(part, JetImages)]
    random = _events(model, rng, [[jet(rng, most) for _ in range(RANDOM)] for _ in images])
    parts = {} if model.events is None else {"recorded": model.events}
    parts |= {"random": random, "adversarial": _adversarial(model, rng, images, most)}
    return EventColumns.concatenate(list(parts.values())), {kind: len(part) for kind, part in parts.items()}


def _jagged(events: EventColumns) -> list[Jagged]:
    return [column for column in events.columns.values() if isinstance(column, Jagged)]


def jet(rng: np.random.Generator, most: int, *, constituents: int | None = None, subjets: int | None = None) -> Jet:
    """A jet anywhere in the detector."""
    n = int(rng.integers(1, most + 1)) if constituents is None else constituents
    n_subjets = int(rng.integers(0, 4)) if subjets is None else subjets
    axis = np.array([rng.uniform(-2.5, 2.5), rng.uniform(-np.pi, np.pi)])
    around = [axis + rng.normal(scale=0.4, size=(count, 2)) for count in (n, n_subjets)]
    momenta = [rng.exponential(scale, size=(count, 1)) for scale, count in ((8.0, n), (80.0, n_subjets))]
    found = [np.concatenate([pt, place], axis=1) for pt, place in zip(momenta, around, strict=True)]
    for particles in found:
        particles[:, 2] = np.arctan2(np.sin(particles[:, 2]), np.cos(particles[:, 2]))
    return found[0], found[1]


def _adversarial(model: JaggedModel, rng: np.random.Generator, images: Sequence[JetImages], most: int) -> EventColumns:
    tried = [_special_jets(rng, image, most) for image in images]
    length = max([len(jets) for jets in tried], default=0)
    filled = [jets + [jet(rng, most) for _ in range(length - len(jets))] for jets in tried]
    blocks = [_events(model, rng, filled)] if length else []
    for name in model.inputs:
        if all(name not in image.columns for image in images):
            block = _events(model, rng, [[jet(rng, most) for _ in SPECIAL] for _ in images], len(SPECIAL))
            blocks.append(EventColumns({**block.columns, name: np.array(SPECIAL)}))
    return EventColumns.concatenate(blocks)


def _special_jets(rng: np.random.Generator, image: JetImages, most: int) -> list[Jet]:
    jets = [
        jet(rng, most, constituents=n, subjets=k) for n in (0, 1, 2, 3, most) for k in (0, 1, 2, 3) for _ in range(3)
    ]
    for _ in range(5):
        one = jet(rng, most, constituents=9, subjets=2)
        upon = (one[0], np.tile(one[1][:1], (2, 1)))
        equal = (one[0].copy(), one[1].copy())
        equal[0][:, 0] = equal[1][:, 0] = 20.0
        nothing = (one[0] * [0.0, 1.0, 1.0], one[1])
        jets += [upon, equal, nothing]
    jets += _across_pi(rng, most) + _at_edges(image)
    for which in (0, 1):
        for column in range(3):
            for value in SPECIAL:
                one = jet(rng, most, constituents=7, subjets=3)
                far = np.isfinite(value) and abs(value) > FAR[column]
                one[which][int(rng.integers(0, 3)), column] = np.copysign(FAR[column], value) if far else value
                jets.append(one)
    return jets


def _across_pi(rng: np.random.Generator, most: int) -> list[Jet]:
    jets = []
    for phi in (np.pi, -np.pi, np.nextafter(np.pi, 0), np.nextafter(-np.pi, 0)):
        for turn in (-2 * np.pi, 0.0, 2 * np.pi):
            constituents, subjets = jet(rng, most, constituents=12, subjets=2)
            constituents[:, 2] += phi - subjets[0, 2]
            subjets[:, 2] += phi - subjets[0, 2]
            constituents[::2, 2] += turn
            jets.append((constituents, subjets))
    return jets


def _at_edges(image: JetImages) -> list[Jet]:
    """One constituent more and more to the right of an upright jet, at the pixels' centres and edges."""
    half = image.extent / image.size
    centres = pixel_centres(image.size, image.extent)
    places = np.concatenate([centres, centres - half, [centres[-1] + half, image.extent + 2 * half, 2 * image.extent]])
    if image.tower is not None:
        places = np.concatenate([places, np.arange(-5, 6) * image.tower])
    subjets = np.array([[100.0, 0.0, 0.0], [50.0, 0.0, -0.5]])
    jets = []
    for place in places:
        for eta in (np.nextafter(place, -np.inf), place, np.nextafter(place, np.inf)):
            jets.append((np.array([[90.0, 0.0, 0.0], [40.0, 0.1, -0.5], [9.0, eta, 0.05]]), subjets))  # noqa: PERF401
    return jets


def _events(
    model: JaggedModel, rng: np.random.Generator, jets: Sequence[Sequence[Jet]], events: int | None = None
) -> EventColumns:
    """Jets of each part of the model as columns, with flat columns beside them."""
    n = len(jets[0]) if jets else (events or RANDOM)
    columns: dict[str, Column] = {}
    images = [part for part in model.parts if isinstance(part, JetImages)]
    for image, found in zip(images, jets, strict=True):
        for which, names in ((0, image.columns[:3]), (1, image.columns[3:])):
            for column, name in enumerate(names):
                columns[name] = Jagged.from_lists([one[which][:, column].tolist() for one in found])
    draw: Callable[[str], Any] = lambda name: (  # noqa: E731
        rng.normal(size=n) if model.events is None else rng.choice(np.asarray(model.events.columns[name]), n)
    )
    return EventColumns({name: columns[name] if name in columns else draw(name) for name in model.inputs})
