"""``simulate higgs``: H⁰ → W∓ H±, H± → W± h, h → bb̄ against top pairs, the benchmark of arXiv:1402.4735.

Proton collisions at 8 TeV: signal gg → H⁰ (425 GeV) → W∓ H± (325 GeV) → W W h (125 GeV) → W W b b̄; background
gg, qq̄ → t t̄ → W W b b̄; one W to e ν or μ ν, the other to quarks (parts alternate the lepton's charge). The paper used
MadGraph, Pythia and Delphes; here everything is Pythia 8 at leading order, and ``detector`` and ``lepton_jets`` stand
for the detector. Selection as in the paper: exactly one electron or muon, at least four jets, pt > 20 GeV and
|eta| < 2.5 for each, at least two b-tags (here among the four leading jets).

Known limits: no pile-up; without multi-parton interactions (``multiparton=False``, as the large sample is made) no
underlying event; leptons through τ are left out; the signal's cross-section has no meaning (couplings of 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fivesigma.core.errors import SimulationError
from fivesigma.core.jagged import Column, Columns
from fivesigma.core.provenance import versions
from fivesigma.simulate import detector, lepton_jets
from fivesigma.simulate.higgs_features import CHARGED_HIGGS_MASS, TOP_MASS, features_of
from fivesigma.simulate.jet_finding import import_fastjet
from fivesigma.simulate.lepton_jets import EventLedger, select_events
from fivesigma.simulate.production import Part, Task
from fivesigma.simulate.pythia import cross_section, import_pythia, next_records, pythia_seed, start_pythia
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
EVENTS_PER_PART = 1_000
"""Selected events; some ten seconds of one core without multi-parton interactions."""
LABELS = {"signal": 1, "background": 0}

COMMON_SETTINGS = ("Beams:idA = 2212", "Beams:idB = 2212", "Beams:eCM = 8000.", "Tune:pp = 14", f"6:m0 = {TOP_MASS}")
"""Protons at 8 TeV; the Monash 2013 tune (arXiv:1404.5630)."""
PROCESS_SETTINGS = {
    "signal": (
        "Higgs:useBSM = on",
        "HiggsBSM:gg2H2 = on",
        "HiggsH2:coup2HchgW = 1.",
        "HiggsHchg:coup2H1W = 1.",
        "35:m0 = 425.",
        "35:doForceWidth = on",
        "35:mWidth = 1.",
        "35:onMode = off",
        "35:onIfMatch = 24 37",
        f"37:m0 = {CHARGED_HIGGS_MASS}",
        "37:doForceWidth = on",
        "37:mWidth = 1.",
        "37:onMode = off",
        "37:onIfMatch = 24 25",
        "25:m0 = 125.",
        "25:onMode = off",
        "25:onIfMatch = 5 5",
    ),
    "background": ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on"),
}
LEPTON_SETTINGS = (
    ("24:onMode = off", "24:onPosIfAny = 11 13", "24:onNegIfAny = 1 2 3 4 5"),
    ("24:onMode = off", "24:onNegIfAny = 11 13", "24:onPosIfAny = 1 2 3 4 5"),
)
"""Of parts with an even and with an odd index: the lepton is positive, negative."""

_EVENTS_PER_BATCH = 200
_BARREN_EVENTS = 20_000  # no single event accepted in so many cannot be meant
_TREE = "events"


@SIMULATIONS.register("higgs")
def simulate_higgs(
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
    """Simulate lepton + jets events of a heavy Higgs boson and of top pairs, and write them into one ROOT file.

    The tree ``events`` has one entry a selected event, the signal first: ``run_number`` (the seed), ``event_number``,
    ``label`` (1 signal), the 21 low-level and 7 high-level features (``higgs_features``; GeV, radians),
    ``generator_weight`` and ``cross_section`` (pb, before selection, decays included). A metadata file of the same name
    with the suffix ``.json`` has command, settings, versions, cross-sections, the ledger of events, and a checksum.

    Content, resuming and options are as for ``simulate_w_tagging``; ``n_signal`` and ``n_background`` count selected
    events.

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
    check_request(output, entries, EVENTS_PER_PART, seed, file_format)
    import_pythia()
    import_fastjet()
    sample = SamplePlan(
        simulation="higgs",
        tree=_TREE,
        entry="events",
        labels=LABELS,
        entries=entries,
        tasks=cut_into_tasks(
            entries, EVENTS_PER_PART, lambda name, index, n: HiggsTask(name, index, n, seed, multiparton)
        ),
        config=configuration(seed, multiparton),
        seed=seed,
        file_format=file_format,
    )
    command = command or default_command(sample, output, multiparton)
    return make_sample(sample, output, command=command, workers=workers, keep_parts=keep_parts)


@dataclass(frozen=True)
class HiggsTask(Task):
    """A fixed number of selected events of one class, generated with its own seed."""

    seed: int
    multiparton: bool

    def generate(self) -> Part:
        """Generate until ``n_entries`` events are selected; they depend on nothing but the task.

        Raises
        ------
        SimulationError
            if no event at all is selected in 20,000, or an event number would not be unique.
        """
        number = pythia_seed(self.seed, f"higgs/{self.process}", self.index)
        pythia = start_pythia(settings(self.process, self.multiparton, self.index), number)
        rng = np.random.default_rng(number)
        first_event = (LABELS[self.process] * TASKS_PER_CLASS + self.index) * EVENTS_PER_TASK
        ledger, blocks = EventLedger(), list[Columns]()
        while ledger.accepted < self.n_entries:
            records = next_records(pythia, _EVENTS_PER_BATCH)
            first = first_event + ledger.events
            events = select_events(records, self.n_entries - ledger.accepted, ledger, rng)
            known: dict[str, Column] = {
                "event_number": first + events.row,
                "label": np.full(len(events.row), LABELS[self.process], dtype=np.int32),
            }
            blocks.append(known | features_of(events) | {"generator_weight": records.weight[events.row]})
            if ledger.accepted == 0 and ledger.events >= _BARREN_EVENTS:
                raise SimulationError(f"{self.process}: no event accepted in {_BARREN_EVENTS:,}; check the settings")
            if ledger.events > EVENTS_PER_TASK:
                raise SimulationError(f"{self.process}: part {self.index} needs more than {EVENTS_PER_TASK:,} events")
        columns = {name: join([block[name] for block in blocks]) for name in blocks[0]}
        return Part(columns, part_summary(number, cross_section(pythia), ledger))


def settings(process: str, multiparton: bool, index: int) -> tuple[str, ...]:
    """Pythia's settings of a part."""
    switch = f"PartonLevel:MPI = {'on' if multiparton else 'off'}"
    return (*COMMON_SETTINGS, switch, *PROCESS_SETTINGS[process], *LEPTON_SETTINGS[index % 2])


def configuration(seed: int, multiparton: bool) -> dict[str, Any]:
    """All that the parts of a sample depend on, JSON-like."""
    installed = versions()
    return {
        "simulation": "higgs",
        "recipe": RECIPE,
        "seed": seed,
        "events_per_part": EVENTS_PER_PART,
        "pythia": {name: [list(settings(name, multiparton, i)) for i in (0, 1)] for name in LABELS},
        "detector": {
            "electron_efficiency": list(detector.ELECTRON_EFFICIENCY),
            "muon_efficiency": list(detector.MUON_EFFICIENCY),
            "electron_terms": list(detector.ECAL_TERMS),
            "muon_terms": [list(row) for row in detector.MUON_TERMS],
            "jet_terms": [[str(row[0]), *row[1:]] for row in detector.JET_TERMS],
            "soft_term": detector.SOFT_TERM,
            "tag_efficiency": {str(flavour): value for flavour, value in lepton_jets.TAG_EFFICIENCY.items()},
        },
        "selection": {
            "jet_radius": lepton_jets.JET_RADIUS,
            "pt_min": lepton_jets.PT_MIN,
            "eta_max": lepton_jets.ETA_MAX,
            "tags_min": lepton_jets.TAGS_MIN,
            "isolation_radius": lepton_jets.ISOLATION_RADIUS,
            "isolation_max": {str(code): value for code, value in lepton_jets.ISOLATION_MAX.items()},
        },
        "versions": {name: installed.get(name) for name in ("pythia8mc", "fastjet")},
    }
