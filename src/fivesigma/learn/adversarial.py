"""What pivot and gradient reversal share: a network of ours that is trained plainly, then goes on against an adversary."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError, ModelError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.learn.distributed import Ranks
from fivesigma.learn.network_classifier import NetworkClassifier
from fivesigma.models.binary_classifier import BinaryClassifier
from fivesigma.models.model_folder import read_model, write_model
from fivesigma.models.training_inputs import prediction_inputs

_CLASSIFIER = "classifier"  # subfolder of the network itself


class AdversarialClassifier(BinaryClassifier):
    """A network classifier trained plainly or taken from a folder, which an adversary then trains on.

    Subclasses have at least the parameters ``network``, ``network_options``, ``warm_start``, ``seed``, ``threads`` and
    ``checkpoint``, and the module ``adversary_`` once they are fitted.
    """

    accepts_negative_weight = True

    network: str
    network_options: Mapping[str, Any] | None
    warm_start: Path | str | None
    seed: int
    threads: int | None
    checkpoint: Path | str | None

    classifier_: NetworkClassifier
    adversary_: nn.Module
    history_: list[dict[str, float]]
    """Of the training against the adversary; that of the plain one is ``classifier_.history_``."""
    training_: dict[str, Any]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of background and signal, shape (event, 2)."""
        X = prediction_inputs(self, X, images=True, dtype=np.float32)
        return self.classifier_.predict_proba(X)

    @property
    def history(self) -> list[dict[str, float]]:
        """``history_``, the convergence of the training."""
        return self.history_

    @property
    def n_parameters(self) -> int:
        """Trained numbers of the classifier; the adversary is not needed again."""
        return self.classifier_.n_parameters

    @property
    def network_(self) -> nn.Sequential:
        """The classifier's network."""
        return self.classifier_.network_

    def save(self, folder: Path) -> None:
        """Write the classifier into ``folder/classifier``, options and adversary beside it."""
        self.classifier_.save(Path(folder) / _CLASSIFIER)
        arrays = {name: tensor.cpu().numpy() for name, tensor in self.adversary_.state_dict().items()}
        fitted = {"history": self.history_, "training": self.training_, **self._adversary_shape()}
        write_model(folder, self.estimator_name, {**self._description(), **fitted}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; predictions are identical.

        Raises
        ------
        ModelError
            if the folder is incomplete, damaged or holds another estimator.
        """
        content, arrays = read_model(folder, cls.estimator_name)
        model = cls._described(content)
        model.history_, model.training_ = content["history"], content["training"]
        model.classifier_ = _network_class(model.network).load(Path(folder) / _CLASSIFIER)
        model.adversary_ = model._adversary(content)
        model.adversary_.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        return model

    @abstractmethod
    def _adversary_shape(self) -> dict[str, Any]:
        """What ``_adversary`` needs to know to build it again; JSON."""

    @abstractmethod
    def _adversary(self, shape: Mapping[str, Any]) -> nn.Module:
        """Build the adversary, not yet trained."""

    def _trained_plainly(
        self, X: NDArray[np.float32], y: NDArray[np.int8], weight: NDArray[np.float64], validation: Labelled | None
    ) -> NetworkClassifier:
        """The classifier that the adversary meets: from the folder ``warm_start``, or trained on these events."""
        if not Ranks.current().alone:
            raise ConfigError(f"{self.estimator_name} trains in one process: run it without torchrun")
        kind = _network_class(self.network)
        if self.warm_start:  # scikit-learn's tools say False
            found = load_network(Path(self.warm_start), kind)
            if found.shape_ != X.shape[1:]:
                raise ConfigError(
                    f"warm_start: the network in {self.warm_start} takes events of shape {found.shape_}, got {X.shape[1:]}"
                )
            return found
        options: dict[str, Any] = {"seed": self.seed, "threads": self.threads, **(self.network_options or {})}
        if self.checkpoint is not None:
            options["checkpoint"] = Path(self.checkpoint) / _CLASSIFIER
        if validation is not None:
            labels = (np.asarray(validation.y) == self.classes_[1]).astype(np.int8)
            validation = Labelled(validation.X, labels, validation.weight)
        return kind(**options).fit(X, y, weight, validation=validation)


def load_network(folder: Path, kind: type[NetworkClassifier]) -> NetworkClassifier:
    """A trained network of a class: that of the estimator in ``folder``, or of the adversarial one there.

    Raises
    ------
    ModelError
        if the folder is incomplete or damaged, or holds another kind of network.
    """
    inner = folder / _CLASSIFIER
    if not (inner if inner.is_dir() else folder).joinpath("model.json").is_file():
        raise ModelError(f"warm_start: expected the folder of a saved network, found no model.json in {folder}")
    return kind.load(inner if inner.is_dir() else folder)


def _network_class(name: str) -> type[NetworkClassifier]:
    found = ESTIMATORS[name]
    if not issubclass(found, NetworkClassifier):
        known = [other for other in ESTIMATORS if issubclass(ESTIMATORS[other], NetworkClassifier)]
        raise ConfigError(f"network: expected one of {', '.join(known)}; the estimator {name!r} is no network")
    return found


def cuts_off_logit(network: nn.Sequential) -> tuple[nn.Module, nn.Module]:
    """A network's layers up to its last features, (batch, feature), and the layer that makes the logit of them."""
    return network[:-1], network[-1]


def state_of(*modules: nn.Module) -> list[dict[str, Tensor]]:
    """Copies of the modules' weights and buffers, to go back to."""
    return [{name: tensor.detach().clone() for name, tensor in m.state_dict().items()} for m in modules]
