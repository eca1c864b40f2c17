from __future__ import annotations

import sys

import numpy as np
import pytest

from fivesigma.core.errors import MissingDependencyError, SimulationError
from fivesigma.simulate.jet_finding import import_fastjet
from fivesigma.simulate.pythia import (
    INVISIBLE,
    N_SEEDS,
    cross_section,
    hard_qcd_codes,
    import_pythia,
    next_events,
    pythia_seed,
    start_pythia,
)
from fivesigma.simulate.w_tagging import jet_processes

HARD_PROCESS_ONLY = ("PartonLevel:ISR = off", "PartonLevel:FSR = off", "HadronLevel:all = off")


def test_seeds_differ_between_tasks_and_are_in_range() -> None:
    seeds = [pythia_seed(seed, name, task) for seed in (1, 2) for name in ("a", "b") for task in range(1000)]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 1
    assert max(seeds) <= N_SEEDS


def test_codes_of_hard_processes() -> None:
    incoming = [[21, 21], [21, 21], [21, 21], [21, 21], [1, 21], [1, 2], [1, -1], [1, -1], [1, -1], [1, -1]]
    outgoing = [[21, 21], [1, -1], [4, -4], [5, -5], [21, 1], [1, 2], [21, 21], [2, -2], [-4, 4], [5, -5]]
    codes = hard_qcd_codes(np.array(incoming), np.array(outgoing))
    assert codes.tolist() == [111, 112, 121, 123, 113, 114, 115, 116, 122, 124]


@pytest.mark.sim
def test_codes_agree_with_pythia() -> None:
    signal, background = jet_processes(multiparton=False).values()
    pythia = start_pythia((*signal.settings, *HARD_PROCESS_ONLY), 5)
    next_events(pythia, 1)
    assert pythia.infoPython().code() == signal.process_id
    pythia = start_pythia((*background.settings, *HARD_PROCESS_ONLY), 5)
    for _ in range(50):
        events = next_events(pythia, 1)
        code, expected = int(hard_qcd_codes(events.incoming, events.outgoing)[0]), pythia.infoPython().code()
        same_flavours = sorted(events.incoming[0]) == sorted(events.outgoing[0])
        assert code == expected or (same_flavours and (code, expected) == (114, 116))


@pytest.mark.sim
def test_the_signal_decays_as_asked() -> None:
    """W' → W Z: invisible Z, so that visible transverse momentum balances the neutrinos; momentum is conserved."""
    import awkward as ak

    pythia = start_pythia(jet_processes(multiparton=False)["signal"].settings, 11)
    batch = pythia.nextBatch(30, errorMode="skip")
    for event in batch.prt:
        codes = ak.to_numpy(event.id)
        resonances = codes[(np.abs(codes) == 24) | (codes == 23) | (np.abs(codes) == 34)]
        assert set(np.abs(resonances).tolist()) == {23, 24, 34}
        final = event[event.status > 0]
        neutrinos = final[np.isin(np.abs(ak.to_numpy(final.id)), (12, 14, 16))]
        hardest = neutrinos[ak.to_numpy(ak.argsort(neutrinos.p.e, ascending=False))[:2]]
        mass2 = ak.sum(hardest.p.e) ** 2 - sum(ak.sum(hardest.p[axis]) ** 2 for axis in ("px", "py", "pz"))
        assert 40.0 < np.sqrt(mass2) < 140.0  # the Z
        assert abs(ak.sum(final.p.e) - 13000.0) < 1e-3


@pytest.mark.sim
def test_muons_and_neutrinos_are_not_seen() -> None:
    settings = ("Beams:eCM = 13000.", "WeakSingleBoson:ffbar2W = on", "24:onMode = off", "24:onIfAny = 13")
    events = next_events(start_pythia((*settings, *HARD_PROCESS_ONLY), 3), 5)
    assert INVISIBLE == (12, 13, 14, 16)
    transverse = np.hypot(events.momenta[:, 1], events.momenta[:, 2])
    assert transverse.max(initial=0.0) < 20.0  # the muon and the neutrino have about 40 GeV each


@pytest.mark.sim
def test_the_same_seed_gives_the_same_events() -> None:
    settings = (*jet_processes(multiparton=False)["background"].settings, *HARD_PROCESS_ONLY)
    one, two, other = (next_events(start_pythia(settings, seed), 3) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.momenta, two.momenta)
    assert one.momenta.shape != other.momenta.shape or not np.array_equal(one.momenta, other.momenta)


@pytest.mark.sim
def test_the_cross_section_is_in_picobarn() -> None:
    pythia = start_pythia((*jet_processes(multiparton=False)["background"].settings, *HARD_PROCESS_ONLY), 5)
    next_events(pythia, 100)
    sigma = cross_section(pythia)
    assert sigma.n_events == 100
    assert sigma.value == pytest.approx(2.2e4, rel=0.2)  # dijets, 240 < pT-hat < 360 GeV at 13 TeV, leading order
    assert 0 < sigma.error < sigma.value


@pytest.mark.sim
@pytest.mark.parametrize(
    ("setting", "message"),
    [("Foo:bar = on", "does not know the setting 'Foo:bar = on'"), ("Beams:eCM = 1.", "cannot start")],
)
def test_what_pythia_refuses_is_said(setting: str, message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        start_pythia(("HardQCD:all = on", setting), 1)


def test_missing_generators_say_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    monkeypatch.setitem(sys.modules, "fastjet", None)
    for load in (import_pythia, import_fastjet):
        with pytest.raises(MissingDependencyError, match=r"pip install 'fivesigma\[sim\]'"):
            load()
