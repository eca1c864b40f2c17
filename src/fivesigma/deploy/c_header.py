"""The target ``c``: any model that can be written in plain C, in one C99 header."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from fivesigma.core.errors import ConfigError
from fivesigma.deploy.c_target import CTrees
from fivesigma.deploy.c_trees import Layout
from fivesigma.deploy.network_steps import NETWORK_LEARNERS, network_learner
from fivesigma.deploy.network_target import CNetwork, Number
from fivesigma.deploy.parity import Proof
from fivesigma.deploy.target import TARGETS, Predictor, Written, check_options
from fivesigma.deploy.trained_model import TrainedModel
from fivesigma.deploy.tree_learners import TREE_LEARNERS


@TARGETS.register("c")
@dataclass(frozen=True)
class CHeader:
    """`CTrees` or `CNetwork`, whichever the model is; each option is of one of them."""

    kind: ClassVar[str] = "c"
    takes_jagged: ClassVar[bool] = False
    layout: Layout = CTrees.layout
    number: Number = CNetwork.number
    bits: int | None = CNetwork.bits
    fraction: int | None = CNetwork.fraction
    loss: float = CNetwork.loss
    tolerance: float = CNetwork.tolerance

    def __post_init__(self) -> None:
        CTrees(self.layout)
        CNetwork(**self._of(CNetwork))

    def chosen(self, model: TrainedModel) -> CTrees | CNetwork:
        """The one for this model.

        Raises
        ------
        ConfigError
            if an option of the other one is set.
        """
        is_network = network_learner(model) is not None
        kind, other = (CNetwork, CTrees) if is_network else (CTrees, CNetwork)
        mine, others = self._of(kind), self._of(other)
        for option, value in others.items():
            if value != getattr(CHeader, option):
                words = "a network" if is_network else "no network"
                raise ConfigError(
                    f"{option}={value}: model {model.name!r} is {words}; its options are {', '.join(mine)}"
                )
        return kind(**mine)

    @classmethod
    def estimators(cls) -> Collection[str]:
        """Trees, and networks of layers."""
        return (*TREE_LEARNERS, *NETWORK_LEARNERS)

    def write(self, model: TrainedModel, folder: Path, name: str, seed: int) -> Written:
        """Write ``NAME.h``."""
        return self.chosen(model).write(model, folder, name, seed)

    def write_test(self, model: TrainedModel, folder: Path, name: str, proof: Proof) -> None:
        """Write ``test_NAME.c`` and ``fuzz_NAME.c``."""
        self.chosen(model).write_test(model, folder, name, proof)

    @classmethod
    def open(cls, folder: Path, name: str, details: Mapping[str, Any]) -> Predictor:
        """Compile and load the header."""
        return (CNetwork if "network" in details else CTrees).open(folder, name, details)

    def check_all(self, model: TrainedModel, folder: Path, name: str, details: Mapping[str, Any]) -> dict[str, Any]:
        """As the one of them does."""
        return self.chosen(model).check_all(model, folder, name, details)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> CHeader:
        """From options of either."""
        check_options(cls, options)
        return cls(**options)

    def _of(self, kind: type[CTrees | CNetwork]) -> dict[str, Any]:
        return {option: value for option, value in asdict(self).items() if option in kind.__dataclass_fields__}
