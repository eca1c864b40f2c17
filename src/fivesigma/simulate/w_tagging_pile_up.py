"""``simulate w-tagging-pileup``: the jets of ``w-tagging``, half of them with pile-up (arXiv:1611.01046, section 5.2).

Parts with an even index have no pile-up, those with an odd index a Poisson number of further collisions, added before
the calorimeter. SoftKiller (arXiv:1407.0408) removes soft towers of all events, as an experiment would; jet finding,
trimming and windows are those of ``w_tagging``. ``n_pile_up`` is the nuisance: zero, or about its mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fivesigma.core.errors import ConfigError
from fivesigma.simulate import soft_killer, w_tagging
from fivesigma.simulate.jet_finding import import_fastjet
from fivesigma.simulate.pile_up import DEFAULT_MEAN, DEFAULT_POOL, POOL_SETTINGS, PileUp, soft_qcd_pool
from fivesigma.simulate.production import Part, Task
from fivesigma.simulate.pythia import import_pythia, pythia_seed
from fivesigma.simulate.root_file import FileFormat
from fivesigma.simulate.sample import SamplePlan, check_request, cut_into_tasks, default_command, make_sample
from fivesigma.simulate.simulation import SIMULATIONS, SimulationResult
from fivesigma.simulate.w_tagging import LABELS, generate_jets, jet_processes

RECIPE = 1
"""Raised whenever the content of a part changes, so that old parts are not mixed with new ones."""
JETS_PER_PART = 250


@SIMULATIONS.register("w-tagging-pileup")
def simulate_w_tagging_pile_up(
    output: Path,
    *,
    n_signal: int = 3_000,
    n_background: int = 3_000,
    seed: int = 1,
    workers: int | None = None,
    file_format: FileFormat = "ttree",
    multiparton: bool = True,
    pile_up: float = DEFAULT_MEAN,
    pool: int = DEFAULT_POOL,
    keep_parts: bool = False,
    command: str | None = None,
) -> SimulationResult:
    """Simulate W jets and QCD jets with and without pile-up, and write them into one ROOT file.

    The tree ``jets`` is that of ``simulate_w_tagging`` with one more branch, ``n_pile_up``, the number of further
    collisions. So are resuming, the other options and the errors.

    Parameters
    ----------
    pile_up
        mean number of further collisions in the half that has them
    pool
        how many soft-QCD events the collisions are taken from

    Raises
    ------
    ConfigError
        for numbers that cannot be meant; the rest as ``simulate_w_tagging``.
    """
    output, entries = Path(output), {"signal": n_signal, "background": n_background}
    check_request(output, entries, JETS_PER_PART, seed, file_format)
    if not 0 < pile_up <= pool:
        raise ConfigError(f"expected a mean pile-up above 0 and at most the pool's {pool:,} events, got {pile_up}")
    import_pythia()
    import_fastjet()
    sample = SamplePlan(
        simulation="w-tagging-pileup",
        tree="jets",
        entry="jets",
        labels=LABELS,
        entries=entries,
        tasks=cut_into_tasks(
            entries, JETS_PER_PART, lambda name, index, n: PileUpTask(name, index, n, seed, multiparton, pile_up, pool)
        ),
        config=configuration(seed, multiparton, pile_up, pool),
        seed=seed,
        file_format=file_format,
    )
    command = command or default_command(sample, output, multiparton, f"--pile-up {pile_up:g}", f"--pool {pool}")
    return make_sample(sample, output, command=command, workers=workers, keep_parts=keep_parts)


@dataclass(frozen=True)
class PileUpTask(Task):
    """A fixed number of jets of one class, with pile-up where the index is odd."""

    seed: int
    multiparton: bool
    pile_up: float
    pool: int

    def generate(self) -> Part:
        """The jets of this task; they depend on nothing but the task."""
        process = jet_processes(self.multiparton)[self.process]
        number = pythia_seed(self.seed, f"pile-up/{self.process}", self.index)
        mean = self.pile_up if self.index % 2 else 0.0
        mixer = PileUp(soft_qcd_pool(self.seed, self.pool), mean, np.random.default_rng(number))
        return generate_jets(process, self, number, mixer)


def configuration(seed: int, multiparton: bool, pile_up: float, pool: int) -> dict[str, Any]:
    """All that the parts of a sample depend on, JSON-like."""
    return w_tagging.configuration(seed, multiparton) | {
        "simulation": "w-tagging-pileup",
        "recipe": [w_tagging.RECIPE, RECIPE],
        "jets_per_task": JETS_PER_PART,
        "pile_up": {"mean": pile_up, "pool": pool, "pythia": list(POOL_SETTINGS)},
        "soft_killer": {"eta_max": soft_killer.ETA_MAX, "patches": [soft_killer.N_ETA, soft_killer.N_PHI]},
    }
