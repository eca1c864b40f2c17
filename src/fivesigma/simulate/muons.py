"""``simulate muons``: single muons in an end-cap-like spectrometer, as the integers that a trigger's hardware gets.

The hits of `fivesigma.simulate.muon_spectrometer` are read out as integers, and made into a track finder's inputs: angles
between the stations that were hit, one after another. All of them are turned so that the first bending angle is positive,
which keeps the charge apart from the momentum and makes μ⁺ and μ⁻ alike (as CMS' end-cap track finder does).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError
from fivesigma.core.integrity import file_digest, write_json
from fivesigma.core.jagged import Columns
from fivesigma.core.provenance import provenance
from fivesigma.simulate.muon_spectrometer import Spectrometer, Tracks, transport, weight_of_spectrum
from fivesigma.simulate.root_file import FileFormat, write_root
from fivesigma.simulate.simulation import SIMULATIONS, SimulatedClass, SimulationResult

PT = (2.0, 200.0)
"""GeV; flat in 1/pT between them."""
ETA = (1.6, 2.4)
POWER = 5.0
"""The spectrum of ``spectrum_weight`` falls as pT^−5: an assumption. Measured inclusive muons come mostly from heavy flavour,
steeper than W and Z above some 30 GeV (ATLAS, arXiv:1109.0525); the study `muon-trigger` also quotes other powers."""
BLOCK = 25_000
MISSING = -32768
"""What a hit's integers are where there is no hit."""

PATTERNS = tuple(
    hit for n in (4, 3, 2) for hit in (15, 14, 13, 11, 7, 12, 10, 9, 6, 5, 3) if hit.bit_count() == n
)  # fmt: skip
"""Stations hit, as bits (8: the first … 1: the fourth), of each value of ``pattern``: two at least."""
INPUT_BITS = {
    "dphi_first": (9, False),
    "dphi_second": (8, True),
    "dphi_third": (7, True),
    "bend": (5, True),
    "dtheta": (4, True),
    "pattern": (4, False),
    "eta_bin": (4, False),
}
"""Of each input of the trigger: bits, and whether it is signed; larger values are given as the largest."""
ETA_BINS = 16


@SIMULATIONS.register("muons")
def simulate_muons(
    output: Path,
    *,
    n_signal: int = 20_000,
    n_background: int = 20_000,
    seed: int = 1,
    workers: int | None = None,  # noqa: ARG001 seconds for a million
    file_format: FileFormat = "ttree",
    command: str | None = None,
) -> SimulationResult:
    """Write ``n_signal`` μ⁺ (label 1) and ``n_background`` μ⁻ (label 0) into the tree ``muons``; no generator is needed.

    Raises
    ------
    ConfigError
        for numbers that cannot be meant.
    OutputError
        if the file cannot be written.
    """
    output = Path(output)
    if min(n_signal, n_background) < 0 or n_signal + n_background == 0 or seed < 0:
        raise ConfigError(f"expected numbers of muons and a seed ≥ 0, got {n_signal}, {n_background} and seed {seed}")
    columns = draw_muons(n_signal, n_background, seed)
    entries = write_root(output, "muons", [columns], file_format)
    default = f"fivesigma simulate muons --output {output.name} --n-signal {n_signal} --n-background {n_background}"
    file = {"name": output.name, "tree": "muons", "entries": entries, "bytes": output.stat().st_size}
    metadata_path = output.with_suffix(".json")
    write_json(
        metadata_path,
        {
            "file": {**file, "xxh3": file_digest(output)},
            **provenance(seed, command or f"{default} --seed {seed}"),
            "request": {"n_signal": n_signal, "n_background": n_background, "seed": seed, "format": file_format},
            "spectrum": {"flat in 1/pT between": PT, "weights fall with the power": POWER, "eta": ETA},
        },
    )
    tracks = np.asarray(columns["pattern"]) >= 0
    labels = np.asarray(columns["label"])
    classes = tuple(
        SimulatedClass(name, number, n, 0.0, 0.0, 0.0, {"muons": n, "tracks": int(tracks[labels == number].sum())})
        for name, number, n in (("positive", 1, n_signal), ("negative", 0, n_background))
    )
    return SimulationResult("muons", output, metadata_path, classes, parts=1, parts_resumed=0)


def draw_muons(n_positive: int, n_negative: int, seed: int, where: Spectrometer | None = None) -> Columns:
    """The muons' columns, μ⁺ first; the same seed gives the same muons, more of them the same first blocks."""
    where = where or Spectrometer()
    blocks: list[dict[str, NDArray[np.generic]]] = []
    for label, n in ((1, n_positive), (0, n_negative)):
        for number, start in enumerate(range(0, n, BLOCK)):
            drawn = _draw_block(where, 2 * label - 1, np.random.default_rng([seed, label, number]))
            blocks.append({name: column[: min(BLOCK, n - start)] for name, column in drawn.items()})
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    n = n_positive + n_negative
    labels = np.repeat(np.array([1, 0], np.int32), [n_positive, n_negative])
    return {"event_number": np.arange(n, dtype=np.int64), "label": labels, **columns}


def _draw_block(where: Spectrometer, charge: int, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
    pt = 1.0 / rng.uniform(1.0 / PT[1], 1.0 / PT[0], BLOCK)
    eta, phi = rng.uniform(*ETA, BLOCK), rng.uniform(-np.pi, np.pi, BLOCK)
    tracks = transport(where, pt, eta, np.full(BLOCK, float(charge)), rng)
    hits = read_out(where, tracks, phi, rng)
    truth = {
        "muon_pt": pt.astype(np.float32),
        "muon_eta": eta.astype(np.float32),
        "muon_phi": phi.astype(np.float32),
        "muon_charge": np.full(BLOCK, charge, np.int32),
        "spectrum_weight": weight_of_spectrum(pt, POWER, *PT).astype(np.float32),
    }
    return {**truth, **hits, **trigger_inputs(hits)}


def read_out(
    where: Spectrometer, tracks: Tracks, phi: NDArray[np.float64], rng: np.random.Generator
) -> dict[str, NDArray[np.generic]]:
    """What the chambers give: ``phi_1`` … ``phi_4`` in strips, ``theta_1`` … in wires, ``station_bend`` in strips."""
    n, stations = tracks.phi.shape
    hit = tracks.alive & (rng.uniform(size=(n, stations)) < where.efficiency)
    measured = tracks.phi + rng.normal(0.0, where.phi_resolution, (n, stations))
    showers = rng.uniform(size=(n, stations)) < where.shower_probability
    measured = measured + showers * rng.normal(0.0, where.shower_width, (n, stations))
    turn = round(2 * np.pi / where.strip)
    strips = np.floor((measured + phi[:, None]) / where.strip).astype(np.int64) % turn
    theta = tracks.theta + rng.normal(0.0, where.theta_resolution, (n, stations))
    wires = np.floor(theta / where.wire).astype(np.int64)
    bend = tracks.bend + rng.normal(0.0, np.sqrt(2.0) * where.phi_resolution, n)
    bend = bend + showers[:, 0] * rng.normal(0.0, where.shower_width, n) * where.thickness
    found: dict[str, NDArray[np.generic]] = {}
    for station in range(stations):
        there = hit[:, station]
        found[f"phi_{station + 1}"] = np.where(there, strips[:, station], MISSING).astype(np.int32)
        found[f"theta_{station + 1}"] = np.where(there, wires[:, station], MISSING).astype(np.int32)
    found["station_bend"] = np.where(hit[:, 0], np.rint(bend / where.strip), MISSING).astype(np.int32)
    return found


def trigger_inputs(
    hits: dict[str, NDArray[np.generic]], where: Spectrometer | None = None
) -> dict[str, NDArray[np.generic]]:
    """The inputs of the momentum assignment, in integers; ``pattern`` is −1 where fewer than two stations were hit.

    ``side`` is the sign of the first bending angle, by which it, the others and ``bend`` were multiplied. What a pattern does
    not have is 0. ``eta_bin`` counts ``ETA_BINS`` equal bins of the first hit's wire between the limits of ``ETA``.
    """
    where = where or Spectrometer()
    phi = np.stack([hits[f"phi_{k}"] for k in (1, 2, 3, 4)], axis=1).astype(np.int64)
    theta = np.stack([hits[f"theta_{k}"] for k in (1, 2, 3, 4)], axis=1).astype(np.int64)
    there = phi != MISSING
    number = there @ np.array([8, 4, 2, 1])
    pattern = np.full(16, -1)
    pattern[list(PATTERNS)] = np.arange(len(PATTERNS))
    order = np.argsort(~there, axis=1, kind="stable")  # the stations that were hit first, in their order
    rows, hit = np.arange(len(phi)), there.sum(axis=1)
    ordered_phi, ordered_theta = np.take_along_axis(phi, order, 1), np.take_along_axis(theta, order, 1)
    turn = round(2 * np.pi / where.strip)
    dphi = (np.diff(ordered_phi, axis=1) + turn // 2) % turn - turn // 2
    dphi[np.arange(1, 4)[None, :] >= hit[:, None]] = 0
    side = np.where(dphi[:, 0] < 0, -1, 1)
    bend = np.where(there[:, 0], hits["station_bend"], 0).astype(np.int64)
    dtheta = np.where(hit > 1, ordered_theta[rows, np.maximum(hit - 1, 0)] - ordered_theta[:, 0], 0)
    low, high = (2 * np.arctan(np.exp(-eta)) / where.wire for eta in reversed(ETA))
    eta_bin = np.floor((ordered_theta[:, 0] + 0.5 - low) / (high - low) * ETA_BINS).astype(np.int64)
    values = {
        "dphi_first": side * dphi[:, 0],
        "dphi_second": side * dphi[:, 1],
        "dphi_third": side * dphi[:, 2],
        "bend": side * bend,
        "dtheta": dtheta,
        "pattern": pattern[number],
        "eta_bin": np.clip(eta_bin, 0, ETA_BINS - 1),
    }
    limited = {name: _limited(name, column) if name != "pattern" else column for name, column in values.items()}
    return {name: column.astype(np.int32) for name, column in {"side": side, **limited}.items()}


def _limited(name: str, values: NDArray[np.int64]) -> NDArray[np.int64]:
    bits, signed = INPUT_BITS[name]
    low = -(1 << (bits - 1)) if signed else 0
    return np.clip(values, low, low + (1 << bits) - 1)
