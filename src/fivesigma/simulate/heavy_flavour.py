"""``simulate heavy-flavour``: decays of b hadrons to 2–4 tracks in a forward spectrometer, against collisions as they come.

Proton collisions at 13 TeV, 2 < eta < 5. Signal: gg, qq̄ → bb̄ with one b hadron in a decay of ``MODES``, all its charged tracks
in acceptance; parts take the modes in turn. Background: all hard QCD with pT-hat > 10 GeV, which stands for what a hardware
trigger lets through: light, charm and the few with beauty, told apart by ``flavour``; stored are events with two displaced
tracks. ``vertex_detector`` stands for the detector.

Known limits: no multi-parton interactions unless asked for (with them a forward event has three times as many tracks, and
generation is eight times slower), no pile-up, one primary vertex of fixed resolution, no ghost tracks, no interactions with
material; decays of signal by phase space but for the semileptonic one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fivesigma.core.errors import SimulationError
from fivesigma.core.jagged import Column, Columns
from fivesigma.core.provenance import versions
from fivesigma.simulate import displaced_events, vertex_detector
from fivesigma.simulate.charged_tracks import next_particles
from fivesigma.simulate.displaced_events import HeavyFlavourLedger, select_background, select_signal
from fivesigma.simulate.heavy_flavour_decays import MODES
from fivesigma.simulate.production import Part, Task
from fivesigma.simulate.pythia import cross_section, import_pythia, pythia_seed, start_pythia
from fivesigma.simulate.root_file import FileFormat
from fivesigma.simulate.sample import (
    EVENTS_PER_TASK,
    TASKS_PER_CLASS,
    SamplePlan,
    check_request,
    cut_into_tasks,
    default_command,
    join,
    make_sample,
    part_summary,
)
from fivesigma.simulate.simulation import SIMULATIONS, SimulationResult

RECIPE = 1
"""Raised whenever the content of a part changes, so that old parts are not mixed with new ones."""
EVENTS_PER_PART = 250
"""Stored events; some ten seconds of one core."""
LABELS = {"signal": 1, "background": 0}

COMMON_SETTINGS = ("Beams:idA = 2212", "Beams:idB = 2212", "Beams:eCM = 13000.", "Tune:pp = 14")
"""Protons at 13 TeV; the Monash 2013 tune (arXiv:1404.5630)."""
PROCESS_SETTINGS = {
    "signal": ("HardQCD:hardbbbar = on", "PhaseSpace:pTHatMin = 4."),
    "background": ("HardQCD:all = on", "PhaseSpace:pTHatMin = 10."),
}

_EVENTS_PER_BATCH = 1_000
_BARREN_EVENTS = 50_000
_TREE = "events"


@SIMULATIONS.register("heavy-flavour")
def simulate_heavy_flavour(
    output: Path,
    *,
    n_signal: int = 10_000,
    n_background: int = 10_000,
    seed: int = 1,
    workers: int | None = None,
    file_format: FileFormat = "ttree",
    multiparton: bool = False,
    keep_parts: bool = False,
    command: str | None = None,
) -> SimulationResult:
    """Simulate b-hadron decays and their background in a forward vertex detector, and write them into one ROOT file.

    The tree ``events`` has one entry an event, the signal first: ``run_number`` (the seed), ``event_number``, ``label``
    (1 signal), ``mode`` (code of ``MODES``, 0 background), ``flavour`` (heaviest hadron in the event: 5, 4, 0), of the signal's
    hadron ``decay_time`` (ps, true), ``hadron_pt hadron_eta hadron_mass`` and ``visible_mass`` (of its charged tracks, true;
    GeV), 0 in background; ``vertex_normal_x _y _z``, ``generator_weight``, ``cross_section`` (pb, before selection), and
    jagged ``track_x track_y`` (mm, at z = 0), ``track_tx track_ty track_p`` (GeV), all true, unit normal numbers
    ``track_normal_x _normal_y _normal_p`` from which ``vertex_detector.measure`` makes what is measured, and ``track_origin``
    (1 of the signal's decay, otherwise the heaviest flavour it comes from: 5, 4, 3 strange, 0).

    Stored are tracks that are found, with pT > 0.4 GeV and a measured impact parameter of χ² > 4; of background, events with
    two of χ² > 7. Tighter cuts than these are the trigger's.

    Content, resuming and options are as for ``simulate_w_tagging``; ``n_signal`` and ``n_background`` count stored events.

    Raises
    ------
    MissingDependencyError
        without pythia8mc (``pip install 'fivesigma[sim]'``).
    ConfigError
        for numbers that cannot be meant.
    ResumeError
        if ``<output>.parts`` holds parts of another configuration.
    OutputError
        if ``output`` exists and is not this very sample, or cannot be written.
    SimulationError
        if the generator fails.
    """
    output, entries = Path(output), {"signal": n_signal, "background": n_background}
    check_request(output, entries, EVENTS_PER_PART, seed, file_format)
    import_pythia()
    sample = SamplePlan(
        simulation="heavy-flavour",
        tree=_TREE,
        entry="events",
        labels=LABELS,
        entries=entries,
        tasks=cut_into_tasks(
            entries, EVENTS_PER_PART, lambda name, index, n: HeavyFlavourTask(name, index, n, seed, multiparton)
        ),
        config=configuration(seed, multiparton),
        seed=seed,
        file_format=file_format,
    )
    switch = ("--multiparton",) if multiparton else ()
    command = command or default_command(sample, output, True, *switch)
    return make_sample(sample, output, command=command, workers=workers, keep_parts=keep_parts)


@dataclass(frozen=True)
class HeavyFlavourTask(Task):
    """A fixed number of stored events of one class, generated with its own seed."""

    seed: int
    multiparton: bool

    def generate(self) -> Part:
        """Generate until ``n_entries`` events are stored; they depend on nothing but the task.

        Raises
        ------
        SimulationError
            if no event at all is stored in 50,000, or an event number would not be unique.
        """
        number = pythia_seed(self.seed, f"heavy-flavour/{self.process}", self.index)
        pythia = start_pythia(settings(self.process, self.multiparton, self.index), number)
        rng = np.random.default_rng(number)
        mode = MODES[self.index % len(MODES)] if self.process == "signal" else None
        first_event = (LABELS[self.process] * TASKS_PER_CLASS + self.index) * EVENTS_PER_TASK
        ledger, blocks = HeavyFlavourLedger(), list[Columns]()
        while ledger.accepted < self.n_entries:
            particles = next_particles(pythia, _EVENTS_PER_BATCH)
            first, wanted = first_event + ledger.events, self.n_entries - ledger.accepted
            if mode is None:
                row, columns = select_background(particles, wanted, ledger, rng)
            else:
                row, columns = select_signal(particles, mode, wanted, ledger, rng)
            known: dict[str, Column] = {
                "event_number": first + row,
                "label": np.full(len(row), LABELS[self.process], dtype=np.int32),
                "mode": np.full(len(row), 0 if mode is None else mode.code, dtype=np.int32),
            }
            blocks.append(known | dict(columns) | {"generator_weight": particles.weight[row]})
            if ledger.accepted == 0 and ledger.events >= _BARREN_EVENTS:
                raise SimulationError(f"{self.process}: no event stored of {_BARREN_EVENTS:,}; check the settings")
            if ledger.events > EVENTS_PER_TASK:
                raise SimulationError(f"{self.process}: part {self.index} needs more than {EVENTS_PER_TASK:,} events")
        columns = {name: join([block[name] for block in blocks]) for name in blocks[0]}
        return Part(columns, part_summary(number, cross_section(pythia), ledger))


def settings(process: str, multiparton: bool, index: int) -> tuple[str, ...]:
    """Pythia's settings of a part; parts of signal take the decays in turn."""
    switch = f"PartonLevel:MPI = {'on' if multiparton else 'off'}"
    decay = MODES[index % len(MODES)].settings if process == "signal" else ()
    return (*COMMON_SETTINGS, switch, *PROCESS_SETTINGS[process], *decay)


def configuration(seed: int, multiparton: bool) -> dict[str, Any]:
    """All that the parts of a sample depend on, JSON-like."""
    return {
        "simulation": "heavy-flavour",
        "recipe": RECIPE,
        "seed": seed,
        "events_per_part": EVENTS_PER_PART,
        "pythia": {
            "background": list(settings("background", multiparton, 0)),
            **{mode.name: list(settings("signal", multiparton, i)) for i, mode in enumerate(MODES)},
        },
        "detector": {
            "eta_range": list(vertex_detector.ETA_RANGE),
            "p_min": vertex_detector.P_MIN,
            "efficiency": vertex_detector.EFFICIENCY,
            "ip_um": [vertex_detector.IP_CONSTANT_UM, vertex_detector.IP_SLOPE_UM],
            "vertex_um": list(vertex_detector.VERTEX_UM),
            "momentum": [list(point) for point in vertex_detector.MOMENTUM_POINTS],
            "decay_radius_mm": vertex_detector.DECAY_RADIUS,
            "decay_z_mm": vertex_detector.DECAY_Z,
        },
        "stored": {
            "pt_min": displaced_events.PT_MIN,
            "track_ip_chi2_min": displaced_events.TRACK_IP_CHI2,
            "event_ip_chi2_min": displaced_events.EVENT_IP_CHI2,
        },
        "versions": {"pythia8mc": versions().get("pythia8mc")},
    }
