"""Pythia 8 as a generator of batches of events: settings, seeds, visible particles, the code of the hard process.

Pythia (arXiv:2203.11601, GPL) is imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from fivesigma.core.errors import MissingDependencyError, SimulationError

N_SEEDS = 900_000_000
"""Pythia takes seeds from 1 to 900,000,000."""
INVISIBLE = (12, 13, 14, 16)
"""Neutrinos, and muons, which leave little in a calorimeter: absolute PDG codes left out of the towers."""
PB_PER_MB = 1e9
"""Picobarn in a millibarn, the unit of Pythia's cross-sections."""

_INCOMING, _OUTGOING = -21, -23  # status codes of the hardest subprocess
_GLUON, _CHARM, _BOTTOM = 21, 4, 5


@dataclass(frozen=True)
class EventRecords:
    """Pythia's records of a batch of events: every particle of every stage.

    ``event``: int64 (particles,), row of the event; ``code``: PDG codes and ``status``: Pythia's status codes (positive
    for final particles), int64 (particles,); ``momenta``: (particles, 4), E, px, py, pz in GeV; ``weight``: (events,);
    ``n_failed``: events that Pythia gave up.
    """

    event: NDArray[np.int64]
    code: NDArray[np.int64]
    status: NDArray[np.int64]
    momenta: NDArray[np.float64]
    weight: NDArray[np.float64]
    n_failed: int

    def __len__(self) -> int:
        return len(self.weight)


@dataclass(frozen=True)
class GeneratedEvents:
    """A batch of events, reduced to what a calorimeter sees.

    ``event``: int64 (particles,), row of the event; ``momenta``: (particles, 4), E, px, py, pz in GeV of the visible
    stable particles; ``weight``: (events,); ``incoming``, ``outgoing``: PDG codes of the partons of the hard process,
    int64 (events, 2), zero where a process has fewer than two; ``n_failed``: events that Pythia gave up.
    """

    event: NDArray[np.int64]
    momenta: NDArray[np.float64]
    weight: NDArray[np.float64]
    incoming: NDArray[np.int64]
    outgoing: NDArray[np.int64]
    n_failed: int

    def __len__(self) -> int:
        return len(self.weight)


@dataclass(frozen=True)
class CrossSection:
    """A generator's estimate of a cross-section and its statistical error, in pb, from ``n_events`` accepted events."""

    value: float
    error: float
    n_events: int


def import_pythia() -> Any:
    """The ``pythia8mc`` module.

    Raises
    ------
    MissingDependencyError
        if it is not installed.
    """
    try:
        import pythia8mc
    except ImportError as error:
        raise MissingDependencyError(
            "generating events needs pythia8mc, which is not installed: pip install 'fivesigma[sim]'"
        ) from error
    return pythia8mc


def pythia_seed(seed: int, process: str, task: int) -> int:
    """The seed of Pythia for one task: a hash of (seed, process) plus the task's index, in 1 … 900,000,000.

    Tasks of one process never share a seed; it does not depend on how many tasks there are, or on who runs them.

    >>> pythia_seed(1, "signal", 0), pythia_seed(1, "signal", 1)
    (94927586, 94927587)
    """
    start = xxhash.xxh3_64_intdigest(f"fivesigma/{seed}/{process}".encode())
    return 1 + (start + task) % N_SEEDS


def start_pythia(settings: Sequence[str], seed: int) -> Any:
    """A Pythia that is ready to generate.

    Raises
    ------
    SimulationError
        if a setting is not known to Pythia, or Pythia refuses the settings together.
    MissingDependencyError
        if pythia8mc is not installed.
    """
    pythia = import_pythia().Pythia("", False)
    for line in ("Print:quiet = on", *settings, "Random:setSeed = on", f"Random:seed = {seed}"):
        if not pythia.readString(line):
            raise SimulationError(f"Pythia does not know the setting {line!r}")
    if not pythia.init():
        raise SimulationError("Pythia cannot start with the settings:\n  " + "\n  ".join(settings))
    return pythia


def next_records(pythia: Any, n_events: int) -> EventRecords:
    """Generate ``n_events`` events; those that Pythia gives up are left out and counted."""
    import awkward as ak

    batch = pythia.nextBatch(n_events, errorMode="skip")
    n, particle = len(batch), batch.prt

    def flat(column: Any) -> NDArray[Any]:  # a column at a time: the record has many more
        return np.asarray(ak.to_numpy(ak.flatten(column)))

    return EventRecords(
        event=np.repeat(np.arange(n), ak.to_numpy(ak.num(particle.id))),
        code=flat(particle.id).astype(np.int64),
        status=flat(particle.status).astype(np.int64),
        momenta=np.column_stack([flat(particle.p[name]) for name in ("e", "px", "py", "pz")]).astype(np.float64),
        weight=ak.to_numpy(ak.firsts(batch.info.weights)).astype(np.float64),
        n_failed=n_events - n,
    )


def next_events(pythia: Any, n_events: int) -> GeneratedEvents:
    """Generate ``n_events`` events and keep what a calorimeter sees of them."""
    records = next_records(pythia, n_events)
    visible = (records.status > 0) & ~np.isin(np.abs(records.code), INVISIBLE)
    incoming, outgoing = (
        _first_two(records.event, records.code, records.status == status, len(records))
        for status in (_INCOMING, _OUTGOING)
    )
    return GeneratedEvents(
        event=records.event[visible],
        momenta=records.momenta[visible],
        weight=records.weight,
        incoming=incoming,
        outgoing=outgoing,
        n_failed=records.n_failed,
    )


def cross_section(pythia: Any) -> CrossSection:
    """Pythia's own estimate for all events so far, times the branching fractions of the decays that are on."""
    info = pythia.infoPython()
    return CrossSection(PB_PER_MB * info.sigmaGen(), PB_PER_MB * info.sigmaErr(), int(info.nAccepted()))


def hard_qcd_codes(incoming: NDArray[np.int64], outgoing: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pythia's codes of ``HardQCD`` processes from the flavours of their partons, int64 (events,).

    111 gg→gg, 112 gg→qq̄, 113 qg→qg, 114 qq→qq, 115 qq̄→gg, 116 qq̄→q′q̄′, and with new heavy quarks 121 gg→cc̄, 122 qq̄→cc̄,
    123 gg→bb̄, 124 qq̄→bb̄. Flavours cannot tell 116 from 114 where q′ = q: those count as 114.

    >>> hard_qcd_codes(np.array([[21, 21], [1, -1]]), np.array([[5, -5], [2, -2]])).tolist()
    [123, 116]
    """
    gluons_in, gluons_out = (np.sum(x == _GLUON, axis=1) for x in (incoming, outgoing))
    heavy = np.abs(outgoing[:, 0])
    new_flavour = (incoming.sum(axis=1) == 0) & (np.abs(incoming[:, 0]) != heavy)
    to_quarks, annihilation = (gluons_in == 2) & (gluons_out == 0), (gluons_in == 0) & (gluons_out == 0) & new_flavour
    cases = [
        ((gluons_in == 2) & (gluons_out == 2), 111),
        (to_quarks & (heavy == _CHARM), 121),
        (to_quarks & (heavy == _BOTTOM), 123),
        (to_quarks, 112),
        (gluons_in == 1, 113),
        ((gluons_in == 0) & (gluons_out == 2), 115),
        (annihilation & (heavy == _CHARM), 122),
        (annihilation & (heavy == _BOTTOM), 124),
        (annihilation, 116),
    ]
    return np.select([c for c, _ in cases], [np.int64(v) for _, v in cases], np.int64(114))


def _first_two(
    event: NDArray[np.int64], code: NDArray[np.int64], chosen: NDArray[np.bool_], n_events: int
) -> NDArray[np.int64]:
    event, code = event[chosen], code[chosen]
    rank = np.arange(len(event)) - np.searchsorted(event, event)
    out = np.zeros((n_events, 2), dtype=np.int64)
    first = rank < 2
    out[event[first], rank[first]] = code[first]
    return out
