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

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any, get_args

import numpy as np

from fivesigma.core.errors import ConfigError, OutputError, SimulationError
from fivesigma.core.integrity import file_digest, write_json
from fivesigma.core.jagged import Columns, Jagged
from fivesigma.core.progress import say
from fivesigma.core.provenance import provenance, versions
from fivesigma.core.registry import unknown_name
from fivesigma.simulate import calorimeter, jet_selection
from fivesigma.simulate.jet_finding import import_fastjet
from fivesigma.simulate.jet_selection import JetLedger, JetProcess, select_jets
from fivesigma.simulate.production import Part, Task, produce, read_parts
from fivesigma.simulate.pythia import cross_section, import_pythia, next_events, pythia_seed, start_pythia
from fivesigma.simulate.root_file import FileFormat, write_root
from fivesigma.simulate.simulation import SIMULATIONS, SimulatedClass, SimulationResult

RECIPE = 1
"""Raised whenever the content of a part changes, so that old parts are not mixed with new ones."""
EVENTS_PER_TASK = 10_000_000
"""``event_number`` = (10,000 label + task) · 10,000,000 + event: unique in a sample, shared by the jets of an event."""
TASKS_PER_CLASS = 10_000
JETS_PER_TASK = 500
"""Half a minute (signal) to two minutes (background) of one core."""
JETS_PER_BASKET = 5_000
MAX_SEED = 2**31 - 1
"""The seed is stored as ``run_number``, int32, so that events of samples with different seeds stay different."""

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
    output = Path(output)
    _check(output, n_signal, n_background, seed, file_format)
    import_pythia()
    import_fastjet()
    config = configuration(seed, multiparton)
    request = {"configuration": config, "jets": {"signal": n_signal, "background": n_background}, "format": file_format}
    tasks = plan(n_signal, n_background, seed=seed, multiparton=multiparton)
    folder, metadata_path = output.with_name(output.name + ".parts"), output.with_suffix(".json")
    if (finished := _finished(output, metadata_path, folder, request)) is not None:
        say(f"{output} is complete already")
        return SimulationResult("w-tagging", output, metadata_path, finished, len(tasks), len(tasks))

    resumed = produce(
        tasks, folder, config, workers=_processors() if workers is None else workers, description="simulate w-tagging"
    )
    say(f"writing {output}")
    ordered = sorted(tasks, key=lambda task: (task.process != "signal", task.index))
    classes = _classes(ordered, folder)
    write_root(output, _TREE, _blocks(ordered, folder, classes, seed), file_format)
    command = command or default_command(output, n_signal, n_background, seed, file_format, multiparton)
    write_json(metadata_path, _metadata(output, command, seed, request, classes))
    if not keep_parts:
        shutil.rmtree(folder)
    return SimulationResult("w-tagging", output, metadata_path, tuple(classes.values()), len(tasks), resumed)


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
        return generate_jets(jet_processes(self.multiparton)[self.process], self)


def plan(n_signal: int, n_background: int, *, seed: int, multiparton: bool = True) -> list[WTaggingTask]:
    """The tasks of a sample, both classes advancing in proportion; a larger sample has the same full parts.

    >>> [(t.process, t.index, t.n_jets) for t in plan(600, 500, seed=1)]
    [('signal', 0, 500), ('background', 0, 500), ('signal', 1, 100)]
    """
    tasks = [
        (start / n_jets, WTaggingTask(name, index, min(JETS_PER_TASK, n_jets - start), seed, multiparton))
        for name, n_jets in (("signal", n_signal), ("background", n_background))
        for index, start in enumerate(range(0, n_jets, JETS_PER_TASK))
    ]
    return [task for _, task in sorted(tasks, key=lambda pair: pair[0])]


def generate_jets(process: JetProcess, task: WTaggingTask) -> Part:
    """Generate events until ``task.n_jets`` jets are accepted.

    Raises
    ------
    SimulationError
        if no jet at all is accepted in 20,000 events, or an event number would not be unique.
    """
    number = pythia_seed(task.seed, process.name, task.index)
    pythia = start_pythia(process.settings, number)
    first_event = (process.label * TASKS_PER_CLASS + task.index) * EVENTS_PER_TASK
    ledger, blocks = JetLedger(), []
    while ledger.jets < task.n_jets:
        events = next_events(pythia, _EVENTS_PER_BATCH)
        blocks.append(select_jets(events, process, first_event + ledger.events, task.n_jets - ledger.jets, ledger))
        if ledger.events + ledger.events_failed >= _BARREN_EVENTS and ledger.jets == 0:
            raise SimulationError(f"{process.name}: no jet accepted in {_BARREN_EVENTS:,} events; check the settings")
        if ledger.events > EVENTS_PER_TASK:
            raise SimulationError(f"{process.name}: part {task.index} needs more than {EVENTS_PER_TASK:,} events")
    sigma = cross_section(pythia)
    summary = {
        "pythia_seed": number,
        "cross_section_pb": sigma.value,
        "cross_section_error_pb": sigma.error,
        "cross_section_events": sigma.n_events,
        "ledger": asdict(ledger),
    }
    return Part({name: _join([block[name] for block in blocks]) for name in blocks[0]}, summary)


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


def default_command(
    output: Path, n_signal: int, n_background: int, seed: int, file_format: FileFormat, multiparton: bool
) -> str:
    """The command line that makes this sample."""
    words = ["fivesigma simulate w-tagging", f"--output {output.name}", f"--n-signal {n_signal}"]
    words += [f"--n-background {n_background}", f"--seed {seed}"]
    words += [] if file_format == "ttree" else [f"--format {file_format}"]
    words += [] if multiparton else ["--no-multiparton"]
    return " ".join(words)


def _check(output: Path, n_signal: int, n_background: int, seed: int, file_format: str) -> None:
    if output.suffix != ".root":
        raise ConfigError(f"expected an output that ends in .root, got {output}")
    if file_format not in get_args(FileFormat):
        raise ConfigError(unknown_name("file format", file_format, get_args(FileFormat)))
    limit = TASKS_PER_CLASS * JETS_PER_TASK
    for name, number in (("n_signal", n_signal), ("n_background", n_background)):
        if not 0 <= number <= limit:
            raise ConfigError(f"expected {name} from 0 to {limit:,}, got {number:,}")
    if n_signal + n_background == 0:
        raise ConfigError("asked for no jets at all: give n_signal or n_background")
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"expected a seed from 0 to {MAX_SEED}, got {seed}")


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _finished(
    output: Path, metadata_path: Path, folder: Path, request: dict[str, Any]
) -> tuple[SimulatedClass, ...] | None:
    """The classes of a sample that an earlier run completed, or None; an error if another file is in the way."""
    if not output.exists() or (not metadata_path.exists() and folder.exists()):
        return None
    try:
        metadata = json.loads(metadata_path.read_text(encoding="utf-8"))
        classes = tuple(SimulatedClass(**entry) for entry in metadata["classes"])
        same = metadata["request"] == request and metadata["file"]["xxh3"] == file_digest(output)
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise OutputError(f"{output} exists and is not the sample asked for; choose another output, or remove it")
    return classes


def _classes(tasks: Sequence[WTaggingTask], folder: Path) -> dict[str, SimulatedClass]:
    """Add up the summaries of all parts: cross-sections weighted by the events that estimated them, and ledgers."""
    summaries: dict[str, list[dict[str, Any]]] = {}
    for task, part in zip(tasks, read_parts(tasks, folder), strict=True):
        summaries.setdefault(task.process, []).append(part.summary)
    classes = {}
    for name, parts in summaries.items():
        events = np.array([part["cross_section_events"] for part in parts], dtype=np.float64)
        values = np.array([part["cross_section_pb"] for part in parts])
        errors = np.array([part["cross_section_error_pb"] for part in parts])
        ledger = {key: sum(part["ledger"][key] for part in parts) for key in parts[0]["ledger"]}
        sigma = float(np.sum(events * values) / events.sum())
        classes[name] = SimulatedClass(
            name=name,
            label=jet_processes(True)[name].label,
            entries=ledger["jets"],
            cross_section=sigma,
            cross_section_error=float(sqrt(np.sum((events * errors) ** 2)) / events.sum()),
            accepted_cross_section=sigma * ledger["accepted"] / ledger["events"],
            ledger=ledger,
        )
    return classes


def _blocks(
    tasks: Sequence[WTaggingTask], folder: Path, classes: dict[str, SimulatedClass], seed: int
) -> Iterator[Columns]:
    """The parts' columns with those that only the whole sample knows, a basket at a time."""
    pending: list[Columns] = []
    for task, part in zip(tasks, read_parts(tasks, folder), strict=True):
        known = dict(part.columns)
        first = {"run_number": np.full(task.n_jets, seed, dtype=np.int32)}
        cross = {"cross_section": np.full(task.n_jets, classes[task.process].cross_section)}
        pending.append(first | known | cross)
        if sum(len(block["label"]) for block in pending) >= JETS_PER_BASKET:
            yield {name: _join([block[name] for block in pending]) for name in pending[0]}
            pending = []
    if pending:
        yield {name: _join([block[name] for block in pending]) for name in pending[0]}


def _join(columns: Sequence[Any]) -> Any:
    return Jagged.concatenate(columns) if isinstance(columns[0], Jagged) else np.concatenate(columns)


def _metadata(
    output: Path, command: str, seed: int, request: dict[str, Any], classes: dict[str, SimulatedClass]
) -> dict[str, Any]:
    return {
        "file": {
            "name": output.name,
            "tree": _TREE,
            "entries": sum(c.entries for c in classes.values()),
            "bytes": output.stat().st_size,
            "xxh3": file_digest(output),
        },
        **provenance(seed, command),
        "classes": [asdict(c) for c in classes.values()],
        "request": request,
    }
