"""Jets with and without pile-up: which parts have it, what it leaves alone, and what is refused."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import uproot

from fivesigma.core.errors import ConfigError
from fivesigma.simulate import SIMULATIONS, simulate_w_tagging_pile_up
from fivesigma.simulate.w_tagging_pile_up import PileUpTask, configuration


@pytest.mark.sim
def test_parts_of_odd_index_have_pile_up() -> None:
    without, with_ = (PileUpTask("signal", index, 8, 3, False, 30.0, 60).generate() for index in (0, 1))
    assert np.asarray(without.columns["n_pile_up"]).tolist() == [0] * 8
    extra = np.asarray(with_.columns["n_pile_up"])
    assert 30 - 5 * np.sqrt(30) < extra.min() <= extra.max() < 30 + 5 * np.sqrt(30)
    again = PileUpTask("signal", 1, 8, 3, False, 30.0, 60).generate()
    for name in ("n_pile_up", "jet_mass", "tau21"):
        np.testing.assert_array_equal(again.columns[name], with_.columns[name])


def test_pile_up_makes_up_a_second_prong_and_adds_mass_in_the_embedded_sample() -> None:
    path = Path(str(resources.files("fivesigma.studies"))) / "data" / "w-tagging-pileup.root"
    with uproot.open(path) as file:
        jets = file["jets"].arrays(["label", "n_pile_up", "tau21", "jet_mass"], library="np")
    pile_up, signal = jets["n_pile_up"] > 0, jets["label"] == 1
    assert [int(np.sum(signal & pile_up)), int(np.sum(~signal & pile_up)), len(signal)] == [2000, 2000, 8000]
    extra = jets["n_pile_up"][pile_up]
    assert extra.mean() == pytest.approx(50.0, abs=1.0)  # what is selected leans little on it
    assert extra.var() == pytest.approx(50.0, rel=0.15)
    for name, chosen in (("tau21", ~signal), ("jet_mass", signal)):
        a, b = (jets[name][chosen & z] for z in (pile_up, ~pile_up))
        assert a.mean() - b.mean() > 5 * np.hypot(a.std() / np.sqrt(len(a)), b.std() / np.sqrt(len(b)))


@pytest.mark.parametrize("pile_up", [0.0, -1.0, 51.0])
def test_a_mean_that_the_pool_cannot_give_is_refused(pile_up: float, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a mean pile-up above 0 and at most the pool's 50 events"):
        simulate_w_tagging_pile_up(tmp_path / "jets.root", pile_up=pile_up, pool=50)


def test_pile_up_and_pool_are_part_of_the_configuration() -> None:
    assert SIMULATIONS["w-tagging-pileup"] is simulate_w_tagging_pile_up
    config = configuration(1, False, 50.0, 1000)
    assert config["pile_up"]["mean"] == 50.0
    assert config != configuration(1, False, 50.0, 2000)
    assert config["jets"]["pt_window"] == [250.0, 300.0]
