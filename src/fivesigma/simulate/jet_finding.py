"""Jet finding with FastJet: clustering, trimming, N-subjettiness, over many events at once.

Momenta are float64 arrays of shape (n, 4), E, px, py, pz in GeV; lists of different lengths are ``Jagged`` columns of
positions in such an array. FastJet (GPL) is imported when it is first used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import MissingDependencyError
from fivesigma.core.jagged import Jagged
from fivesigma.physics.kinematics import FourMomentum, transverse_momentum

Algorithm = Literal["antikt", "kt", "cambridge"]

_WHOLE_SPACE = 1000.0  # a radius that puts everything in one jet


@dataclass(frozen=True)
class Jets:
    """Jets found in several events, those of an event next to each other, by falling pt.

    ``event``: int64 (jets,), row of the event; ``members``: positions of the constituents; ``momenta``: (jets, 4).
    """

    event: NDArray[np.int64]
    members: Jagged
    momenta: FourMomentum

    def __getitem__(self, which: NDArray[Any]) -> Jets:
        """The chosen jets, by boolean mask or by indices."""
        return Jets(self.event[which], self.members[which], self.momenta[which])

    @property
    def rank(self) -> NDArray[np.int64]:
        """0 for the leading jet of an event, 1 for the next, shape (jets,)."""
        return np.arange(len(self.event)) - np.searchsorted(self.event, self.event)


@dataclass(frozen=True)
class TrimmedJets:
    """Jets after trimming, in the order of the jets that were trimmed.

    ``momenta``: (jets, 4), zero where nothing survived; ``members``: positions of the surviving constituents;
    ``subjets``: the surviving subjets by falling pt, ``subjets.event`` being the row of the jet.
    """

    momenta: FourMomentum
    members: Jagged
    subjets: Jets

    @property
    def subjet_offsets(self) -> NDArray[np.int64]:
        """Where each jet's subjets begin, shape (jets + 1,)."""
        return np.searchsorted(self.subjets.event, np.arange(len(self.momenta) + 1)).astype(np.int64)


def find_jets(
    momenta: FourMomentum, offsets: NDArray[np.int64], *, algorithm: Algorithm, radius: float, pt_min: float = 0.0
) -> Jets:
    """Cluster every event with FastJet (arXiv:1111.6097), E-scheme recombination.

    Parameters
    ----------
    momenta
        (n, 4), of all events one after another
    offsets
        (events + 1,), where each event begins
    algorithm, radius
        ``antikt`` (arXiv:0802.1189), ``kt`` or ``cambridge``, and its R
    pt_min
        jets below are left out, GeV
    """
    import awkward as ak

    fastjet = import_fastjet()
    if len(momenta) == 0:
        return Jets(np.zeros(0, dtype=np.int64), Jagged.from_lists([], np.int64), np.zeros((0, 4)))
    definition = fastjet.JetDefinition(getattr(fastjet, f"{algorithm}_algorithm"), radius)
    sequence = fastjet.ClusterSequence(_events(momenta, offsets), definition)
    index = ak.to_packed(sequence.constituent_index(min_pt=pt_min))
    jet_counts = ak.to_numpy(ak.num(index, axis=1))
    per_jet = ak.to_numpy(ak.num(ak.flatten(index, axis=1), axis=1)).astype(np.int64)
    event = np.repeat(np.arange(len(offsets) - 1), jet_counts)
    local = ak.to_numpy(ak.flatten(index, axis=None)).astype(np.int64)
    members = Jagged(local + np.repeat(offsets[event], per_jet), offsets_of(per_jet))
    jets = Jets(event, members, sum_members(momenta, members))
    return jets[np.lexsort((-transverse_momentum(jets.momenta), event))]


def trim(jets: Jets, momenta: FourMomentum, *, radius: float, pt_fraction: float) -> TrimmedJets:
    """Trim jets (Krohn, Thaler, Wang, arXiv:0912.1342).

    The constituents of each jet are clustered with kt into subjets of ``radius``; subjets with less than
    ``pt_fraction`` of the jet's pt are dropped, and the jet becomes the sum of the others. ``momenta`` are those the
    jets were found in.
    """
    inside = jets.members.values
    subjets = find_jets(momenta[inside], jets.members.offsets, algorithm="kt", radius=radius)
    subjets = Jets(subjets.event, Jagged(inside[subjets.members.values], subjets.members.offsets), subjets.momenta)
    threshold = pt_fraction * transverse_momentum(jets.momenta)
    kept = subjets[transverse_momentum(subjets.momenta) >= threshold[subjets.event]]
    owner = np.repeat(kept.event, kept.members.counts)
    members = Jagged(kept.members.values, offsets_of(np.bincount(owner, minlength=len(jets.event))))
    return TrimmedJets(sum_members(momenta, members), members, kept)


def n_subjettiness(
    momenta: FourMomentum, members: Jagged, *, radius: float, axes: str = "OnePass_WTA_KT_Axes"
) -> NDArray[np.float64]:
    """N-subjettiness of each jet: tau1 and tau2, shape (jets, 2).

    Defined by Thaler and Van Tilburg, arXiv:1011.2268, and computed by FastJet contrib with ``NormalizedMeasure`` and
    beta = 1: tau_N = sum_k pt_k min_a dR(a, k) / (sum_k pt_k R0), with R0 = ``radius``. The axes a are the N exclusive
    kt axes in the winner-take-all recombination scheme, improved by one pass of minimisation
    (``OnePass_WTA_KT_Axes``, arXiv:1108.2701), our choice where arXiv:1511.05190 leaves it open; ``axes`` takes any
    other choice of FastJet contrib by its name. The minimisation is local and stops at a relative
    precision of about 1e-3, so that tau_N may lie a few percent above the true minimum.
    """
    if len(members) == 0:
        return np.zeros((0, 2))
    import awkward as ak

    fastjet = import_fastjet()
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, _WHOLE_SPACE)
    sequence = fastjet.ClusterSequence(_events(momenta[members.values], members.offsets), definition)
    tau = sequence.njettiness(
        measure_definition="NormalizedMeasure", axes_definition=axes, njets=[1, 2], beta=1.0, R0=radius
    )
    return np.asarray(ak.to_numpy(tau), dtype=np.float64).reshape(len(members), 2)


def sum_members(momenta: FourMomentum, members: Jagged) -> FourMomentum:
    """Four-momentum of each list of positions, shape (lists, 4); zero for an empty list."""
    owner = np.repeat(np.arange(len(members)), members.counts)
    sums = [np.bincount(owner, momenta[members.values, i], minlength=len(members)) for i in range(4)]
    return np.column_stack(sums).astype(np.float64)


def offsets_of(counts: NDArray[Any]) -> NDArray[np.int64]:
    """Where each of several lists of ``counts`` values begins, and the end of the last, shape (lists + 1,)."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def import_fastjet() -> Any:
    """The ``fastjet`` module.

    Raises
    ------
    MissingDependencyError
        if it is not installed.
    """
    try:
        import fastjet
    except ImportError as error:
        raise MissingDependencyError(
            "jet finding needs fastjet, which is not installed: pip install 'fivesigma[sim]'"
        ) from error
    return fastjet


def _events(momenta: FourMomentum, offsets: NDArray[np.int64]) -> Any:
    import awkward as ak

    fields = [ak.contents.NumpyArray(np.ascontiguousarray(momenta[:, i])) for i in range(4)]
    record = ak.contents.RecordArray(fields, ["E", "px", "py", "pz"])
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), record))
