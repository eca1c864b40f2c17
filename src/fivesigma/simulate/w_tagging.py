"""``simulate w-tagging``: boosted hadronic W jets against QCD jets, the benchmark of arXiv:1511.05190.

The sample of arXiv:1511.05190: proton collisions at 13 TeV; signal W' (600 GeV) → W Z → q q' ν ν, background QCD
dijets; visible particles without muons in 0.1 × 0.1 towers to |eta| < 5; anti-kt jets of R = 1.0, trimmed with kt
subjets of R = 0.3 at 5 %; 250 < pt < 300 GeV and 65 < mass < 95 GeV after trimming. Of a signal event the leading
jet is considered, of a QCD event both leading jets (leading before trimming). There
is no cut on the jets' eta beyond that of the towers: our choice, and ``jet_eta`` is stored.

Known limits: the dijets are those with 240 < pT-hat < 360 GeV, not all QCD. This window gives 2.3 nb of jets that
pass the cuts; 200 < pT-hat < 240 GeV would add 1.2 ± 0.1 nb, 160 < pT-hat < 200 GeV 0.8 ± 0.2 nb (jets that owe
their pt to radiation), 360 < pT-hat < 420 GeV 0.04 nb. Pythia is leading order with a parton shower. There is no
pile-up, and the calorimeter has no noise, smearing or threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fivesigma.core.errors import SimulationError
from fivesigma.core.provenance import versions
from fivesigma.simulate import calorimeter, jet_selection
from fivesigma.simulate.jet_finding import import_fastjet
from fivesigma.simulate.jet_selection import JetLedger, JetProcess, select_jets
from fivesigma.simulate.pile_up import PileUp
from fivesigma.simulate.production import Part, Task
from fivesigma.simulate.pythia import cross_section, import_pythia, next_events, pythia_seed, start_pythia
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
LABELS = {"signal": 1, "background": 0}
JETS_PER_TASK = 500
"""Half a minute (signal) to two minutes (background) of one core."""

COMMON_SETTINGS = ("Beams:idA = 2212", "Beams:idB = 2212", "Beams:eCM = 13000.", "Tune:pp = 14")
"""Protons at 13 TeV; the Monash 2013 tune (arXiv:1404.5630) with NNPDF2.3 LO, both Pythia's defaults."""
SIGNAL_SETTINGS = (
    "NewGaugeBoson:ffbar2Wprime = on",
    "Wprime:coup2WZ = 1.",
    "34:m0 = 600.",
    "34:onMode = off",
    "34:onIfMatch = 23 24",
    "24:onMode = off",
    "24:onIfAny = 1 2 3 4 5",
    "23:onMode = off",
    "23:onIfAny = 12 14 16",
)
"""A W' of 600 GeV to W Z, the W to quarks, the Z to neutrinos, so that the leading jet is the W."""
BACKGROUND_SETTINGS = ("HardQCD:all = on", "PhaseSpace:pTHatMin = 240.", "PhaseSpace:pTHatMax = 360.")
"""Dijets; GeV. Narrow, so that one event in ten gives a jet: see the known limits of ``simulate_w_tagging``."""

_EVENTS_PER_BATCH = 100
_BARREN_EVENTS = 20_000  # a process without a single jet in so many events cannot be meant
_TREE = "jets"


@SIMULATIONS.register("w-tagging")
def simulate_w_tagging(
    output: Path,
    *,
    n_signal: int = 10_000,
    n_background: int = 10_000,
    seed: int = 1,
    workers: int | None = None,
    file_format: FileFormat = "ttree",
    multiparton: bool = True,
    keep_parts: bool = False,
    command: str | None = None,
) -> SimulationResult:
    """Simulate W jets and QCD jets with Pythia 8 and FastJet, and write them into one ROOT file.

    The tree ``jets`` has one entry a jet, the signal first: ``run_number`` (the seed), ``event_number``, ``jet_index``
    (0 leading), ``label`` (1 signal), ``process_id`` (Pythia's code), ``jet_pt jet_eta jet_phi jet_mass`` (trimmed; eta
    is pseudorapidity), ``tau1 tau2 tau21`` (of the trimmed jet), ``subjet_dr`` (of the two leading subjets in eta and
    phi; 0 for the rare jet with one), ``generator_weight``, ``cross_section`` (pb, of the class before selection,
    decays included), and jagged ``constituent_pt eta phi`` (towers) and ``subjet_pt eta phi mass``, both by falling pt.
    GeV and radians. A metadata file of the same name with the suffix ``.json`` has command, settings, versions,
    cross-sections with errors, the ledger of events and jets, and a checksum.

    The content depends on the numbers of jets, ``seed`` and ``multiparton``, not on ``workers``. Finished parts are
    kept in ``<output>.parts``, so a killed run continues; when the file is complete they are removed. A finished sample
    of the same configuration is left as it is.

    Parameters
    ----------
    output
        the ROOT file to write
    n_signal, n_background
        numbers of jets, exactly; one of them may be 0
    seed, workers
        seed 0 to 2147483647; processes, by default one for every processor this process may use
    file_format, multiparton
        ``ttree`` or ``rntuple``; multi-parton interactions (without them generation is 4 to 9 times faster, and jets
        lack the underlying event)
    keep_parts
        keep the folder of parts, to make a larger sample of them later
    command
        what the metadata names as the command; by default the equivalent ``fivesigma simulate`` line

    Raises
    ------
    MissingDependencyError
        without pythia8mc or fastjet (``pip install 'fivesigma[sim]'``).
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
    check_request(output, entries, JETS_PER_TASK, seed, file_format)
    import_pythia()
    import_fastjet()
    sample = SamplePlan(
        simulation="w-tagging",
        tree=_TREE,
        entry="jets",
        labels=LABELS,
        entries=entries,
        tasks=plan(n_signal, n_background, seed=seed, multiparton=multiparton),
        config=configuration(seed, multiparton),
        seed=seed,
        file_format=file_format,
    )
    command = command or default_command(sample, output, multiparton)
    return make_sample(sample, output, command=command, workers=workers, keep_parts=keep_parts)


def jet_processes(multiparton: bool) -> dict[str, JetProcess]:
    """The two classes, by name: ``signal`` and ``background``."""
    common = (*COMMON_SETTINGS, f"PartonLevel:MPI = {'on' if multiparton else 'off'}")
    processes = (
        JetProcess("signal", 1, (*common, *SIGNAL_SETTINGS), leading_jets=1, process_id=3021),
        JetProcess("background", 0, (*common, *BACKGROUND_SETTINGS), leading_jets=2, process_id=None),
    )
    return {process.name: process for process in processes}


@dataclass(frozen=True)
class WTaggingTask(Task):
    """A fixed number of jets of one class, generated with its own seed."""

    seed: int
    multiparton: bool

    def generate(self) -> Part:
        """The jets of this task; they depend on nothing but the task."""
        process = jet_processes(self.multiparton)[self.process]
        return generate_jets(process, self, pythia_seed(self.seed, self.process, self.index))


def plan(n_signal: int, n_background: int, *, seed: int, multiparton: bool = True) -> list[WTaggingTask]:
    """The tasks of a sample, both classes advancing in proportion; a larger sample has the same full parts.

    >>> [(t.process, t.index, t.n_entries) for t in plan(600, 500, seed=1)]
    [('signal', 0, 500), ('background', 0, 500), ('signal', 1, 100)]
    """
    entries = {"signal": n_signal, "background": n_background}
    return cut_into_tasks(
        entries, JETS_PER_TASK, lambda name, index, n: WTaggingTask(name, index, n, seed, multiparton)
    )


def generate_jets(process: JetProcess, task: Task, number: int, pile_up: PileUp | None = None) -> Part:
    """Generate events with Pythia's seed ``number`` until ``task.n_entries`` jets are accepted.

    Raises
    ------
    SimulationError
        if no jet at all is accepted in 20,000 events, or an event number would not be unique.
    """
    pythia = start_pythia(process.settings, number)
    first_event = (process.label * TASKS_PER_CLASS + task.index) * EVENTS_PER_TASK
    ledger, blocks = JetLedger(), []
    while ledger.jets < task.n_entries:
        events, first = next_events(pythia, _EVENTS_PER_BATCH), first_event + ledger.events
        extra = np.zeros(len(events), dtype=np.int32)
        if pile_up is not None:
            events, extra = pile_up.overlay(events)
        wanted = task.n_entries - ledger.jets
        block = select_jets(events, process, first, wanted, ledger, suppress_pile_up=pile_up is not None)
        blocks.append(
            block if pile_up is None else block | {"n_pile_up": extra[np.asarray(block["event_number"]) - first]}
        )
        if ledger.events + ledger.events_failed >= _BARREN_EVENTS and ledger.jets == 0:
            raise SimulationError(f"{process.name}: no jet accepted in {_BARREN_EVENTS:,} events; check the settings")
        if ledger.events > EVENTS_PER_TASK:
            raise SimulationError(f"{process.name}: part {task.index} needs more than {EVENTS_PER_TASK:,} events")
    summary = part_summary(number, cross_section(pythia), ledger)
    return Part({name: join([block[name] for block in blocks]) for name in blocks[0]}, summary)


def configuration(seed: int, multiparton: bool) -> dict[str, Any]:
    """All that the parts of a sample depend on, JSON-like."""
    installed = versions()
    return {
        "simulation": "w-tagging",
        "recipe": RECIPE,
        "seed": seed,
        "jets_per_task": JETS_PER_TASK,
        "pythia": {name: list(process.settings) for name, process in jet_processes(multiparton).items()},
        "calorimeter": {
            "eta_max": calorimeter.ETA_MAX,
            "n_eta": calorimeter.N_ETA,
            "n_phi": calorimeter.N_PHI,
            "mantissa_bits": calorimeter.MANTISSA_BITS,
        },
        "jets": {
            "algorithm": "antikt",
            "radius": jet_selection.JET_RADIUS,
            "subjet_algorithm": "kt",
            "subjet_radius": jet_selection.SUBJET_RADIUS,
            "trim_fraction": jet_selection.TRIM_FRACTION,
            "pt_window": list(jet_selection.PT_WINDOW),
            "mass_window": list(jet_selection.MASS_WINDOW),
        },
        "versions": {name: installed.get(name) for name in ("pythia8mc", "fastjet")},
    }
