"""Candidates against nested loops, and the numbers of a decay that is known exactly."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from fivesigma.core.errors import ConfigError
from fivesigma.physics.n_body import CANDIDATE_COLUMNS, KAON_MASS, Candidates, EventTracks, NBodyCuts, combine
from fivesigma.physics.straight_lines import closest_approach, fit_vertex

VERTEX_SIGMA = np.array([0.013, 0.013, 0.071])


def decay(mass: float, momentum: np.ndarray, at: np.ndarray, seed: int) -> np.ndarray:
    """Two kaons of a hadron that decays at ``at``, of shape (2, 5)."""
    p = np.sqrt(mass**2 / 4 - KAON_MASS**2)
    direction = np.random.default_rng(seed).normal(size=3)
    direction /= np.linalg.norm(direction)
    energy = np.sqrt(mass**2 + momentum @ momentum)
    beta, gamma = momentum / energy, energy / mass
    states = []
    for sign in (1, -1):
        own = sign * p * direction
        along = own @ beta
        lab = own + beta * (gamma**2 / (gamma + 1) * along + gamma * mass / 2)
        tx, ty = lab[:2] / lab[2]
        states.append([at[0] - tx * at[2], at[1] - ty * at[2], tx, ty, np.linalg.norm(lab)])
    return np.array(states)


def events(*blocks: np.ndarray) -> EventTracks:
    states = np.concatenate(blocks)
    event = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    sigma = np.full(len(states), 0.03)
    return EventTracks(event, states, sigma, np.full(len(states), 50.0), np.zeros((len(blocks), 3)), VERTEX_SIGMA)


def test_a_fully_seen_decay_has_its_mass_and_its_corrected_mass() -> None:
    momentum = np.array([4.0, -3.0, 60.0])
    flight = 8.0 * momentum / np.linalg.norm(momentum)
    found = combine(events(decay(5.28, momentum, flight, seed=1)))
    assert len(found) == 1
    row = {name: float(found.columns[name][0]) for name in CANDIDATE_COLUMNS}
    assert row["mass"] == pytest.approx(5.28, rel=1e-9)
    assert row["corrected_mass"] == pytest.approx(5.28, rel=1e-6)
    assert row["n_tracks"] == 2
    assert row["doca"] == pytest.approx(0.0, abs=1e-12)
    assert row["ip_chi2"] == pytest.approx(0.0, abs=1e-12)
    assert row["sum_pt"] >= 5.0 - 1e-9  # at least the hadron's own


def test_impact_and_flight_are_measured_in_their_uncertainties() -> None:
    """A hadron along z made 0.1 mm off the vertex in x: χ² = 0.1²/σ²(x), σ² of the fitted and the primary vertex."""
    states = decay(5.28, np.array([0.0, 0.0, 60.0]), np.array([0.1, 0.0, 8.0]), seed=2)
    tracks = events(states)
    found = combine(tracks)
    fitted = fit_vertex(states[:, :4], tracks.sigma)
    expected = 0.1**2 / (fitted.covariance[0, 0] + VERTEX_SIGMA[0] ** 2)
    assert float(found.columns["ip_chi2"][0]) == pytest.approx(
        expected, rel=0.05
    )  # the loss of x, y correlation is small
    d, c = np.array([0.1, 0.0, 8.0]), fitted.covariance + np.diag(VERTEX_SIGMA**2)
    assert float(found.columns["fd_chi2"][0]) == pytest.approx(float(d @ np.linalg.inv(c) @ d), rel=1e-9)


def slow_combine(tracks: EventTracks, cuts: NBodyCuts) -> set[tuple[int, ...]]:
    """Which tracks make a candidate: every combination in a loop, the obvious way."""
    found = set()
    for event in np.unique(tracks.event):
        places = np.flatnonzero(tracks.event == event)
        places = places[np.argsort(-tracks.ip_chi2[places], kind="stable")][: cuts.most_tracks]
        for n in (2, 3, 4):
            for chosen in combinations(sorted(places.tolist()), n):
                lines = tracks.states[list(chosen), :4]
                if any(closest_approach(lines[i], lines[j]) >= cuts.doca for i, j in combinations(range(n), 2)):
                    continue
                vertex = fit_vertex(lines, tracks.sigma[list(chosen)])
                flight = vertex.position - tracks.vertex[event]
                covariance = vertex.covariance + np.diag(tracks.vertex_sigma**2)
                pz = tracks.states[list(chosen), 4] / np.sqrt(1 + (lines[:, 2:] ** 2).sum(axis=1))
                momenta = np.column_stack([lines[:, 2] * pz, lines[:, 3] * pz, pz])
                energy = np.sqrt(KAON_MASS**2 + (momenta**2).sum(axis=1)).sum()
                total = momenta.sum(axis=0)
                mass2 = energy**2 - total @ total
                along = total @ flight / np.linalg.norm(flight)
                missing = np.sqrt(total @ total - along**2)
                corrected = np.sqrt(mass2 + missing**2) + missing
                if (
                    vertex.chi2 < cuts.vertex_chi2 * (2 * n - 3)
                    and flight @ np.linalg.inv(covariance) @ flight > cuts.fd_chi2
                    and cuts.corrected_mass[0] < corrected < cuts.corrected_mass[1]
                    and flight[2] > 0
                ):
                    found.add(chosen)
    return found


def members(found: Candidates) -> set[tuple[int, ...]]:
    return {tuple(sorted(row[row >= 0].tolist())) for row in found.tracks}


def test_candidates_are_those_of_nested_loops() -> None:
    rng = np.random.default_rng(3)
    blocks = []
    for i in range(12):
        momentum = np.array([*rng.normal(0, 4, 2), rng.uniform(20, 100)])
        at = rng.exponential(6.0) * momentum / np.linalg.norm(momentum)
        others = np.column_stack([rng.normal(0, 0.1, (5, 2)), rng.normal(0, 0.08, (5, 2)), rng.uniform(5, 40, 5)])
        more = decay(3.1, momentum, at, 100 + i) if i % 3 == 0 else np.empty((0, 5))
        block = np.concatenate([decay(5.28, momentum, at, i), more, others])[: 2 + i % 6 + len(more)]
        block[:, :2] += rng.normal(0, 0.03, (len(block), 2))
        blocks.append(block)
    tracks = events(*blocks)
    cuts = NBodyCuts(most_tracks=6)
    expected = slow_combine(tracks, cuts)
    found = combine(tracks, cuts)
    assert len(expected) > 15
    assert {len(chosen) for chosen in expected} == {2, 3, 4}
    assert members(found) == expected
    assert len(found) == len(expected)
    assert (np.diff(found.event) >= 0).all()


def test_no_tracks_no_candidates_and_disorder_is_refused() -> None:
    tracks = events(np.empty((0, 5)), np.empty((0, 5)))
    found = combine(tracks)
    assert len(found) == 0
    assert found.tracks.shape == (0, 4)
    disorder = events(np.zeros((1, 5)), np.zeros((1, 5)))
    with pytest.raises(ConfigError, match="not in order of event"):
        combine(
            EventTracks(
                np.array([1, 0]), disorder.states, disorder.sigma, disorder.ip_chi2, disorder.vertex, VERTEX_SIGMA
            )
        )
