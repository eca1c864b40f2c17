"""``simulate other-shower``: the jets of ``w-tagging`` with another parton shower, to stand for data.

Final-state radiation at half the renormalisation scale (μ² × 1/4, so that α_S is larger): the customary variation of a
shower's uncertainty (arXiv:1605.08352), here its upper end. Everything else is as in `w_tagging`, so that a classifier
trained there meets jets of another domain here, and the labels tell how well it does. Substructure only: constituents
are counted, not kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fivesigma.core.jagged import Jagged
from fivesigma.simulate.jet_finding import import_fastjet
from fivesigma.simulate.production import Part
from fivesigma.simulate.pythia import import_pythia, pythia_seed
from fivesigma.simulate.root_file import FileFormat
from fivesigma.simulate.sample import SamplePlan, check_request, cut_into_tasks, make_sample
from fivesigma.simulate.simulation import SIMULATIONS, SimulationResult
from fivesigma.simulate.w_tagging import JETS_PER_TASK, WTaggingTask, configuration, generate_jets, jet_processes

SHOWER_SETTINGS = ("TimeShower:renormMultFac = 0.25",)
"""Factor on the squared renormalisation scale of final-state radiation."""

_MULTIPLICITY = "nconstituent"  # as w-tagging's TTree calls the counter of its towers


@SIMULATIONS.register("other-shower")
def simulate_other_shower(
    output: Path,
    *,
    n_signal: int = 4_000,
    n_background: int = 4_000,
    seed: int = 2,
    workers: int | None = None,
    file_format: FileFormat = "ttree",
    multiparton: bool = True,
    command: str | None = None,
) -> SimulationResult:
    """Simulate W jets and QCD jets as ``simulate_w_tagging`` does, with more final-state radiation.

    The tree ``jets`` has the flat columns of that sample and ``nconstituent``, the number of towers of the trimmed jet.
    Options, resumption and errors are those of ``simulate_w_tagging``; the seed should be another than its own, for
    ``run_number`` (the seed) tells the two samples apart.
    """
    output, entries = Path(output), {"signal": n_signal, "background": n_background}
    check_request(output, entries, JETS_PER_TASK, seed, file_format)
    import_pythia()
    import_fastjet()
    plan = SamplePlan(
        simulation="other-shower",
        tree="jets",
        entry="jets",
        labels={"signal": 1, "background": 0},
        entries=entries,
        tasks=cut_into_tasks(
            entries, JETS_PER_TASK, lambda name, index, n: OtherShowerTask(name, index, n, seed, multiparton)
        ),
        config={**configuration(seed, multiparton), "simulation": "other-shower", "shower": list(SHOWER_SETTINGS)},
        seed=seed,
        file_format=file_format,
    )
    words = f"--n-signal {n_signal} --n-background {n_background} --seed {seed}"
    words += "" if multiparton else " --no-multiparton"
    command = command or f"fivesigma simulate other-shower --output {output.name} {words}"
    return make_sample(plan, output, command=command, workers=workers)


@dataclass(frozen=True)
class OtherShowerTask(WTaggingTask):
    """A part of ``w-tagging`` with ``SHOWER_SETTINGS``, without its constituents."""

    def generate(self) -> Part:
        """The jets of this task; they depend on nothing but the task."""
        process = jet_processes(self.multiparton)[self.process]
        process = replace(process, settings=(*process.settings, *SHOWER_SETTINGS))
        part = generate_jets(process, self, pythia_seed(self.seed, self.process, self.index))
        flat = {name: column for name, column in part.columns.items() if not isinstance(column, Jagged)}
        towers = part.columns["constituent_pt"]
        assert isinstance(towers, Jagged)
        return Part({**flat, _MULTIPLICITY: np.diff(towers.offsets).astype(np.int32)}, part.summary)
