"""What ``network`` and ``network-regressor`` share: inputs by name, heads with targets, a network that is declared."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError
from fivesigma.core.estimator import Labelled
from fivesigma.dataset import BatchLoader
from fivesigma.features import Features
from fivesigma.learn.distributed import Ranks
from fivesigma.learn.loop import Loss, outputs
from fivesigma.learn.network_training import NetworkTraining, limited_threads
from fivesigma.learn.pretraining import pretrain
from fivesigma.learn.training_events import EventsInMemory, EventsOfLoader, events_of
from fivesigma.models.declared import DeclaredNetwork, HeadWords
from fivesigma.models.networks import Shape
from fivesigma.models.training_inputs import InvalidInputsError, check_weight, prediction_inputs

ONE_INPUT = "x"
"""What the only input is called in a study's ``from``, unless ``inputs`` says otherwise."""
_HIDDEN = ({"dense": 64, "activation": "relu"}, {"dense": 64, "activation": "relu"})


class DeclaredTraining(NetworkTraining):
    """A network of `fivesigma.models.declared`.

    Parameters
    ----------
    blocks, heads
        as a study writes them, see `fivesigma.models.declared`. None: two dense layers of 64, and one head: "bce" for
        two classes, "cross-entropy" for more, "mse" for numbers. One head has no ``target``: it learns y.
    inputs
        name → shape of one event of each input, of an X that holds them one after another, (event, all). None: X is
        a mapping from names to arrays, or one array, called "x".
    pretraining_epochs
        of layers with ``init: autoencoder``.

    The others are those of `fivesigma.learn.NetworkClassifier`. Where heads have targets, y is (event, 1 + targets):
    what the head without one learns, then the targets in the order of their heads. Numbers are learnt in units of their
    standard deviation from their mean (with absolute weights).
    """

    blocks: Mapping[str, Any] | None
    heads: Mapping[str, Any] | None
    inputs: Mapping[str, Sequence[int]] | None
    pretraining_epochs: int

    accepts_negative_weight: ClassVar[bool] = True
    network_: DeclaredNetwork
    shapes_: dict[str, Shape]
    """Name → shape of one event of each input."""

    def _classes(self) -> int:
        """Classes of the head that learns y."""
        return 2

    @abstractmethod
    def _own_loss(self) -> str:
        """The loss of the head that learns y, where no heads are declared."""

    @abstractmethod
    def _encoded(self, y: NDArray[Any]) -> NDArray[np.float64]:
        """What is learnt of y: class numbers, or numbers as they are."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that heads learn beside y."""
        words = [] if self.heads is None else self._head_words()
        return tuple(head.target for head in words if head.target is not None)

    def predict_heads(self, X: Any) -> dict[str, NDArray[np.float64]]:
        """What every head says: probabilities (event, 1) or (event, class), numbers (event, 1), quantiles."""
        X = self._prediction_inputs(X)
        with limited_threads(self.threads):
            found = self.network_.predicted(outputs(self.network_, X, torch.device("cpu")).double())
        return {name: values.numpy() for name, values in found.items()}

    def _own_head(self) -> str:
        return next(words.name for words in self._head_words() if words.target is None)

    def _head_words(self) -> list[HeadWords]:
        parsed = [HeadWords.parse(name, words) for name, words in self._declared_heads().items()]
        own = [words.name for words in parsed if words.target is None]
        if len(own) != 1:
            raise ConfigError(f"one head has no `target`, it learns the labels; here: {', '.join(own) or 'none'}")
        return parsed

    def _declared_blocks(self) -> Mapping[str, Any]:
        if self.blocks is not None:
            return self.blocks
        return {"trunk": {"from": list(self.shapes_), "layers": list(_HIDDEN)}}

    def _declared_heads(self) -> Mapping[str, Any]:
        if self.heads is not None:
            return self.heads
        last = list(self._declared_blocks())[-1:] or list(self.shapes_)
        return {"y": {"from": last, "loss": self._own_loss()}}

    def _build(self) -> DeclaredNetwork:
        return DeclaredNetwork(self.shapes_, self._declared_blocks(), self._declared_heads(), self._classes())

    def _initialise(self, network: nn.Module, sample: Tensor) -> None:
        assert isinstance(network, DeclaredNetwork)
        network.initialise()
        network.fit_scales(sample)
        for name, (centre, width) in self._spread.items():
            head = network.head(name)
            head.centre.fill_(centre)
            head.width.fill_(width)
        pretrain(network, sample, self.pretraining_epochs)

    def _loss(self) -> Loss:
        return self.network_.loss

    def _link(self, output: Tensor) -> Tensor:
        return self.network_.link(output)

    def _packed(self, X: Any, known: Mapping[str, Sequence[int]] | None) -> Any:
        """A mapping of inputs as one array (event, all), in the order of the ``known`` shapes; anything else as it is."""
        if not _is_named(X):
            return X
        names = list(known or X)
        if set(names) != set(X):
            raise InvalidInputsError(f"expected the inputs {', '.join(names)}; got {', '.join(map(str, X))}")
        arrays = {name: np.asarray(X[name], dtype=np.float32) for name in names}
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise InvalidInputsError(f"expected inputs of equally many events, got {lengths}")
        for name, array in arrays.items():
            expected = array.shape[1:] if known is None else tuple(known[name])
            if array.shape[1:] != expected:
                raise InvalidInputsError(f"input {name!r}: expected events of shape {expected}, got {array.shape[1:]}")
            if not np.isfinite(array).all():
                raise InvalidInputsError(f"input {name!r} contains NaN or infinity")
        return np.concatenate([array.reshape(len(array), -1) for array in arrays.values()], axis=1)

    def _known_shapes(self) -> Mapping[str, Shape] | None:
        return getattr(self, "shapes_", None)

    def _shapes_of(self, X: Any, packed: NDArray[np.float32]) -> dict[str, Shape]:
        if _is_named(X):
            return {name: tuple(np.shape(X[name])[1:]) for name in (self.inputs or X)}
        if self.inputs is None:
            return {ONE_INPUT: tuple(packed.shape[1:])}
        shapes = {name: tuple(int(side) for side in shape) for name, shape in self.inputs.items()}
        total = sum(int(np.prod(shape)) for shape in shapes.values())
        if int(np.prod(packed.shape[1:])) != total:
            raise InvalidInputsError(
                f"expected {total} numbers an event, for the inputs {shapes}, got {packed.shape[1:]}"
            )
        return shapes

    def _prediction_inputs(self, X: Any) -> Tensor:
        checked = prediction_inputs(self, self._packed(X, self._known_shapes()), images=True, dtype=np.float32)
        if checked.shape[1:] != self.shape_:
            raise InvalidInputsError(f"expected events of shape {self.shape_}, got {checked.shape[1:]}")
        return torch.from_numpy(np.ascontiguousarray(checked))

    def _own_and_targets(self, y: Any) -> tuple[Any, NDArray[np.float64]]:
        """What the own head learns, (event,) as given, and the other heads' targets, (event, target)."""
        n = len(self.targets)
        if n == 0:
            return y, np.empty((len(y) if hasattr(y, "__len__") else 0, 0))
        table = np.asarray(y)
        if table.ndim != 2 or table.shape[1] != 1 + n:
            raise InvalidInputsError(
                f"heads learn {', '.join(self.targets)} beside y: expected y of shape (event, {1 + n}), got {table.shape}"
            )
        targets = table[:, 1:].astype(np.float64)
        for name, values in zip(self.targets, targets.T, strict=True):
            if not np.isfinite(values).all():
                raise InvalidInputsError(
                    f"target {name!r}: {values[~np.isfinite(values)][0]} in entry {int(np.argmin(np.isfinite(values)))}"
                )
        return table[:, 0], targets

    def _by_head(self, own: NDArray[Any], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Targets in the order of the heads, (event, head)."""
        others = iter(targets.T)
        return np.stack([own if words.target is None else next(others) for words in self._head_words()], axis=1)

    def _take_spread(self, y: NDArray[np.float64], weight: NDArray[np.float64]) -> None:
        """Mean and standard deviation of what each head learns, kept for heads of numbers."""
        share = np.abs(weight) / np.abs(weight).sum()
        self._spread = {}
        for words, values in zip(self._head_words(), y.T, strict=True):
            loss = words.build_loss(self._classes())
            if loss.kind == "number":
                centre = float(share @ values)
                width = float(np.sqrt(share @ (values - centre) ** 2))
                self._spread[words.name] = (centre, width if width > 1e-12 * abs(centre) else 1.0)
            elif (
                words.target is not None
                and not np.isin(values, np.arange(loss.outputs if loss.outputs > 1 else 2)).all()
            ):
                raise InvalidInputsError(f"target {words.target!r} of head {words.name!r}: expected classes 0, 1, …")

    def _fit_arrays(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float64],
        weight: NDArray[np.float64],
        validation: Labelled | None,
    ) -> Self:
        """Train on checked arrays, ``y`` of shape (event, head)."""
        self.shape_ = tuple(X.shape[1:])
        self._take_spread(y, weight)
        ranks, batch_size = Ranks.current(), self._options(bfloat16=False).batch_size
        held_out = None
        if validation is not None:
            own, targets = self._own_and_targets(validation.y)
            held_out = EventsInMemory(
                events_of(
                    self._prediction_inputs(validation.X).numpy(),
                    self._by_head(self._encoded(np.asarray(own)), targets),
                    check_weight(self, validation.weight, len(own)),
                ),
                batch_size,
                ranks,
            )
        return self._fit(EventsInMemory(events_of(X, y, weight), batch_size, ranks), held_out)

    def _fit_loader(
        self, loader: BatchLoader, validation: BatchLoader | None, features: Features | None, target: str | None
    ) -> Self:
        """Train on a loader; ``target`` is the column that the own head learns, None: the labels."""
        if self.batch_size not in {None, loader.batch_size}:
            raise ConfigError(f"batch_size is {self.batch_size}, but the loader's is {loader.batch_size}: leave it out")
        heads = [] if self.heads is None else self._head_words()  # by default, the own head alone
        columns = tuple(target if head.target is None else head.target for head in heads) or (target,)
        ranks, mean = Ranks.current(), loader.chosen.mean_absolute_weight
        events = EventsOfLoader(loader, features, ranks, mean, columns)
        held_out = None if validation is None else EventsOfLoader(validation, features, ranks, mean, columns)
        sample = events.sample_events()
        X, y, weight = (tensor.numpy() for tensor in sample)
        self.shapes_ = self._shapes_of(X, X)
        self._take_spread(y.reshape(len(y), -1).astype(np.float64), weight.astype(np.float64))
        return self._fit(events, held_out)

    def _description(self) -> dict[str, Any]:
        described = super()._description()
        shapes = {name: list(shape) for name, shape in self.shapes_.items()}
        return {**described, "shapes": shapes}

    @classmethod
    def _described(cls, content: dict[str, Any]) -> Self:
        model = super()._described(content)
        model.shapes_ = {name: tuple(shape) for name, shape in content["shapes"].items()}
        return model

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; predictions are identical.

        Raises
        ------
        ModelError
            if the folder is incomplete, damaged or holds another estimator.
        """
        return cls._load(folder, cls.estimator_name)

    def _saved_as(self) -> str:
        return self.estimator_name


def _is_named(X: Any) -> bool:
    """Whether X is a mapping from names to arrays; some sparse matrices are mappings too."""
    return isinstance(X, Mapping) and not hasattr(X, "shape")
