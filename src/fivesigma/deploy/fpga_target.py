"""The target ``fpga``: trees through conifer, networks through hls4ml, in fixed point; nothing is synthesised."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ModelError
from fivesigma.deploy.c_features import kinks, seen_by_network
from fivesigma.deploy.c_network import network_header
from fivesigma.deploy.c_source import comment, quoted, render
from fivesigma.deploy.feed_forward import Affine
from fivesigma.deploy.fixed_loss import SCANNED, choose_bits, fewest_bits, loss_of, measured_loss
from fivesigma.deploy.fixed_point import FixedNetwork, quantised
from fivesigma.deploy.fixed_trees import FixedTrees, quantised_trees
from fivesigma.deploy.fpga_project import (
    Emulation,
    cpp_compiler,
    refuse_others,
    write_network,
    write_test_vectors,
    write_trees,
)
from fivesigma.deploy.network_steps import NETWORK_LEARNERS, feed_forward, network_learner
from fivesigma.deploy.parity import ADVERSARIAL, Proof, proof_inputs
from fivesigma.deploy.target import TARGETS, Answers, Written, check_options
from fivesigma.deploy.trained_model import Float64, TrainedModel
from fivesigma.deploy.tree_ensemble import TreeEnsemble, ensemble_on_inputs, events_at_cuts
from fivesigma.deploy.tree_learners import TREE_LEARNERS

TEST_VECTORS = 200
"""Events that the project's own test bench reads."""
EMULATION = "emulation.cpp"
NOT_SYNTHESISED = "nothing was synthesised: latency and resources are for your synthesiser to say"


@TARGETS.register("fpga")
@dataclass(frozen=True)
class Fpga:
    """A project for a synthesiser, and its bit-accurate emulation; see ``docs/deploy/fpga.md``.

    Parameters
    ----------
    bits
        of each input, cut, weight, leaf and result, sign included; None: the fewest whose loss of AUC (regressors: of
        resolution) on recorded events is at most ``loss``.
    loss
        see ``bits``.
    part, clock_ns
        the device and the period of the clock, in nanoseconds, that the project asks the synthesiser for.
    """

    kind: ClassVar[str] = "fpga"
    takes_jagged: ClassVar[bool] = False
    bits: int | None = None
    loss: float = 0.001
    part: str = "xcvu9p-flgb2104-2L-e"
    clock_ns: float = 5.0

    def write(self, model: TrainedModel, folder: Path, name: str, seed: int) -> Written:
        """Write the project ``NAME_hls``, and for networks ``NAME.h``, which makes its inputs."""
        if model.kind not in self.estimators():
            raise ModelError(
                f"model {model.name!r}: {model.kind} is neither trees nor a network of layers one after the other; an FPGA "
                f"takes {', '.join(sorted(self.estimators()))}"
            )
        project = folder / project_of(name)
        if network_learner(model) is not None:
            return self._network(model, project, name, seed)
        return self._trees(model, project, seed)

    def _trees(self, model: TrainedModel, project: Path, seed: int) -> Written:
        ensemble, inputs = ensemble_on_inputs(model), len(model.inputs)
        fixed, loss, scan = self._trees_in_integers(model, ensemble, seed)
        write_trees(fixed, inputs, project, project.name, self.part, self.clock_ns)
        text = render(
            "fpga_trees.cpp.jinja",
            title=comment(f"{model.name}: {len(ensemble.trees)} trees ({fixed.words})."),
            project=project.name,
            names=[quoted(feature) for feature in model.inputs],
            fractions=fixed.fractions,
            bits=fixed.bits,
            low=fixed.low,
            high=fixed.high,
        )
        (project / EMULATION).write_text(text, encoding="utf-8")
        proof = proof_inputs(
            model,
            [_cuts(fixed, i) for i in range(inputs)],
            seed=seed,
            at_cuts=lambda low, high: events_at_cuts(ensemble, low, high, seed=seed, most=ADVERSARIAL),
        )
        few = proof[0][:TEST_VECTORS]
        write_test_vectors(project, fixed.codes(few), fixed.score(few))
        title = comment(f"{model.name}: {len(few)} events.")
        bench = render("fpga_trees_test.cpp.jinja", title=title, project=project.name, events=len(few))
        # in place of conifer's, which compares nothing, cannot be linked, and is GPL
        (project / f"{project.name}_test.cpp").write_text(bench, encoding="utf-8")

        def expected(values: Float64) -> Answers:
            score = fixed.score(values)
            return {"score": score, "ours": score, "probability": ensemble.probability(score)}

        details = {
            "tool": _version("conifer"),
            "link": ensemble.link,
            "slope": ensemble.slope,
            "trees": len(ensemble.trees),
            "bits": fixed.bits,
            "fractions": list(fixed.fractions),
            "score_bits": fixed.score_bits,
            "score_fraction": fixed.leaf_fraction,
        }
        return self._written(proof, expected, details, fixed.words, loss, scan)

    def _trees_in_integers(
        self, model: TrainedModel, ensemble: TreeEnsemble, seed: int
    ) -> tuple[FixedTrees, dict[str, Any], list[dict[str, Any]]]:
        recorded = model.recorded if len(model.recorded) else None
        exact = None if recorded is None else ensemble.probability(ensemble.score(recorded))

        def attempt(bits: int) -> tuple[FixedTrees, dict[str, Any]]:
            fixed = quantised_trees(ensemble, len(model.inputs), bits)
            rounded = None if recorded is None else ensemble.probability(fixed.score(recorded))
            is_probability = hasattr(model.estimator, "predict_proba")
            return fixed, loss_of(model, exact, rounded, is_probability=is_probability, seed=seed)

        if self.bits is not None:
            return *attempt(self.bits), []
        fixed, scan = fewest_bits(attempt, SCANNED, self.loss)
        return fixed, attempt(fixed.bits)[1], scan

    def _network(self, model: TrainedModel, project: Path, name: str, seed: int) -> Written:
        network = feed_forward(model)
        refuse_others(network)
        seen = seen_by_network(model, model.recorded) if len(model.recorded) else None
        scan: list[dict[str, Any]] = []
        if self.bits is None:
            fixed, scan = choose_bits(model, network, seen, None, self.loss, seed, as_hls4ml=True)
        else:
            fixed = quantised(network, self.bits, seen, as_hls4ml=True)
        write_network(fixed, project, project.name, self.part, self.clock_ns)
        (project.parent / f"{name}.h").write_text(network_header(model, fixed, name), encoding="utf-8")
        text = render(
            "fpga_network.cpp.jinja",
            title=comment(f"{model.name}: a network ({fixed.words})."),
            project=project.name,
            name=name,
            inputs=len(model.inputs),
            fraction=fixed.input_fraction,
        )
        (project / EMULATION).write_text(text, encoding="utf-8")
        proof = proof_inputs(model, kinks(model, fixed), seed=seed)
        few = seen_by_network(model, proof[0][:TEST_VECTORS])
        few = few[~np.isnan(few).any(axis=1)]
        write_test_vectors(project, fixed.codes(few) * 2.0**-fixed.input_fraction, fixed.score(few))

        details = {
            "tool": _version("hls4ml"),
            "link": network.link,
            "slope": 1.0,
            "layers": sum(isinstance(step, Affine) for step in network.steps),
            "multiplications": network.multiplications,
            "bits": fixed.bits,
            "fractions": list(fixed.fractions),
        }
        loss = measured_loss(model, fixed, seen, seed)
        return self._written(proof, _network_answers(model, fixed), details, fixed.words, loss, scan)

    def _written(
        self,
        inputs: tuple[Float64, dict[str, int]],
        expected: Callable[[Float64], Answers],
        details: dict[str, Any],
        words: str,
        loss: dict[str, Any],
        scan: list[dict[str, Any]],
    ) -> Written:
        tolerances = {"score": 0.0, "ours": 0.0, "probability": 0.0}
        details |= {"loss": loss, "scan": scan, "emulation": cpp_compiler().version}
        return Written(inputs, expected, tolerances, details, (f"{words}; {loss['words']}", NOT_SYNTHESISED))

    def write_test(self, model: TrainedModel, folder: Path, name: str, proof: Proof) -> None:
        """Nothing: the project has its tool's own test bench, and ``tb_data`` for it."""

    @classmethod
    def estimators(cls) -> Collection[str]:
        """Trees, and networks that can be dense layers one after the other."""
        return (*TREE_LEARNERS, *(name for name in NETWORK_LEARNERS if name not in NOT_DENSE))

    @classmethod
    def open(cls, folder: Path, name: str, details: Mapping[str, Any]) -> Emulated:
        """Compile and load the emulation."""
        return Emulated(folder, name, details)

    def check_all(self, model: TrainedModel, folder: Path, name: str, details: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 contract
        """Nothing that the proof's inputs do not cover."""
        return {}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Fpga:
        """From its options by name."""
        check_options(cls, options)
        return cls(**options)


NOT_DENSE = ("maxout", "deep-ensemble", "deep-ensemble-regressor")
"""Networks that compare values, or join several networks, which are not one dense layer after the other."""


def project_of(name: str) -> str:
    """The folder of the project, and its name for the tools."""
    return f"{name}_hls"


class Emulated:
    """An exported project, used by its emulation."""

    def __init__(self, folder: Path, name: str, details: Mapping[str, Any]) -> None:
        project = folder / project_of(name)
        self._emulation = Emulation(project, project / EMULATION)
        self._answer = TreeEnsemble((), link=details["link"], slope=details["slope"]).probability
        self.inputs = self._emulation.inputs

    def predict(self, values: NDArray[Any]) -> Float64:
        """Probabilities, or what a regressor predicts, of shape (event,)."""
        return self._answer(self._emulation.scores(values)[0])

    def answers(self, values: NDArray[Any]) -> Answers:
        """Score of the tool's C++, that of our integers in C (trees: the same again), and the answer."""
        theirs, ours = self._emulation.scores(values)
        return {"score": theirs, "ours": ours, "probability": self._answer(theirs)}


def _network_answers(model: TrainedModel, fixed: FixedNetwork) -> Callable[[Float64], Answers]:
    """By the same integers in NumPy; NaN where an input is."""

    def expected(inputs: Float64) -> Answers:
        seen = seen_by_network(model, inputs)
        nan = np.isnan(seen).any(axis=1)
        score = fixed.score(np.where(np.isnan(seen), np.float32(0), seen))
        score[nan] = np.nan
        return {"score": score, "ours": score, "probability": fixed.network.probability(score)}

    return expected


def _cuts(fixed: FixedTrees, feature: int) -> Float64:
    """Inputs at which a comparison changes: the smallest number of the code above each cut; (cut,)."""
    codes = [tree.threshold[tree.feature == feature] for tree in fixed.trees.trees]
    found: Float64 = np.ldexp(np.unique(np.concatenate(codes)) + 1, -fixed.fractions[feature])
    return found


def _version(package: str) -> str:
    return f"{package} {metadata.version(package)}"
