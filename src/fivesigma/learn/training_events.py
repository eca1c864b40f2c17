"""Where a training's events come from, batch by batch: memory, or a loader of a dataset that may be larger."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor

from fivesigma.core.errors import ConfigError, ModelError, WeightError
from fivesigma.dataset import Batch, BatchLoader
from fivesigma.dataset.padding import Padded
from fivesigma.features import Features
from fivesigma.learn.distributed import Ranks

if TYPE_CHECKING:
    from fivesigma.learn.checkpoint import TrainingState

SCALE_EVENTS = 100_000  # of a loader's first epoch, from which the scale of the inputs is taken


class Events(NamedTuple):
    """Events in memory, on the CPU: one batch at a time goes to the device."""

    X: Tensor  # (event, …), float32
    y: Tensor  # (event,), float32, 0 or 1; or (event, target), what each head of a network learns
    weight: Tensor  # (event,), float32, mean |weight| = 1


def events_of(X: NDArray[np.float32], y: NDArray[Any], weight: NDArray[np.float64]) -> Events:
    """Events from checked arrays; weights are divided by their mean absolute value."""
    normalised = (weight / np.abs(weight).mean()).astype(np.float32)
    return Events(
        torch.from_numpy(np.ascontiguousarray(X)), torch.from_numpy(y.astype(np.float32)), torch.from_numpy(normalised)
    )


class Part(NamedTuple):
    """A batch's events on this rank, and how many it has on all ranks together."""

    events: Events
    size: int


class TrainingEvents(Protocol):
    """What a training needs of its events; all ranks together see each once an epoch."""

    n_batches: int
    """In an epoch, the same on every rank."""
    names: tuple[str, ...]
    """Of the inputs along their last axis, as far as they are known."""

    def __len__(self) -> int:
        """Events in an epoch, on all ranks together."""

    def epoch(self, state: TrainingState) -> Iterator[Part]:
        """The batches of epoch ``state.epoch`` from ``state.batch`` on, in an order that the state alone decides."""

    def parts(self) -> Iterator[Events]:
        """Events of this rank in a fixed order, a part at a time (to validate on)."""

    def sample(self) -> Tensor:
        """Inputs of many of the events, the same on all ranks (to scale by)."""

    def fingerprint(self) -> str:
        """A digest of the events and of what their order depends on beside the state."""


class EventsInMemory:
    """All events in memory on every rank; of each batch, a rank takes every ``world_size``-th event."""

    def __init__(self, events: Events, batch_size: int, ranks: Ranks) -> None:
        self.events, self.ranks = events, ranks
        self.n_batches = number_of_batches(len(events.y), batch_size)
        self.names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.events.y)

    def epoch(self, state: TrainingState) -> Iterator[Part]:
        """See `TrainingEvents`; the order is drawn from the state's generator, which is kept as it was before."""
        state.permutation_before = state.permutation.get_state()
        own = slice(None) if self.ranks.alone else slice(self.ranks.rank, None, self.ranks.world_size)
        for size, batch in batches(self.events, self.n_batches, state.permutation, state.batch, own):
            yield Part(batch, size)

    def parts(self) -> Iterator[Events]:
        """See `TrainingEvents`."""
        if self.ranks.alone:
            yield self.events
        else:
            yield Events(*(tensor[self.ranks.rank :: self.ranks.world_size] for tensor in self.events))

    def sample(self) -> Tensor:
        """All of them."""
        return self.events.X

    def fingerprint(self) -> str:
        """See `TrainingEvents`."""
        digest = xxhash.xxh3_128()
        for tensor in self.events:
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


def number_of_batches(events: int, batch_size: int) -> int:
    """So many that none is larger than ``batch_size``; their sizes differ by one at most, so that none is tiny."""
    return math.ceil(events / batch_size)


def batches(
    events: Events, n_batches: int, permutation: torch.Generator, first: int = 0, own: slice = slice(None)
) -> Iterator[tuple[int, Events]]:
    """All events once, in a random order; one gather a batch, where a DataLoader collates event by event.

    The size of each batch from number ``first`` on, and of its events those that ``own`` takes.
    """
    order = torch.randperm(len(events.y), generator=permutation)
    for whole in order.tensor_split(n_batches)[first:]:
        index = whole[own]
        yield len(whole), Events(events.X[index], events.y[index], events.weight[index])


class EventsOfLoader:
    """Events as a loader gives them; in memory are its buffers and a few batches.

    Parameters
    ----------
    loader
        its rank and world size must be those of this process.
    features
        fitted; applied to the loader's ``columns`` of each batch. None: the loader's flat columns, or its one padded
        collection, as they are.
    mean_weight
        what weights are divided by: the mean of |weight| over the training events.
    targets
        columns to learn, None among them for the labels; if left out, the labels alone.

    Raises
    ------
    ConfigError
        if it is not clear what the inputs are, or the loader has another rank.
    """

    def __init__(
        self,
        loader: BatchLoader,
        features: Features | None,
        ranks: Ranks,
        mean_weight: float,
        targets: tuple[str | None, ...] = (),
    ) -> None:
        if (loader.rank, loader.world_size) != (ranks.rank, ranks.world_size):
            raise ConfigError(
                f"the loader is for rank {loader.rank} of {loader.world_size}, this process is {ranks.rank} "
                f"of {ranks.world_size}: give the loader rank and world_size of Ranks.current()"
            )
        missing = [name for name in targets if name is not None and name not in loader.columns]
        if missing:
            raise ConfigError(f"the network learns {', '.join(missing)}: give them to the loader (`columns`)")
        self.loader, self.features, self.mean_weight, self.targets = loader, features, mean_weight, targets
        self.n_batches = loader.n_batches
        self._inputs, self.names = _inputs_of(loader, features)

    def __len__(self) -> int:
        return self.loader.n_events

    def epoch(self, state: TrainingState) -> Iterator[Part]:
        """See `TrainingEvents`; the order is the loader's for this epoch, by its own seed."""
        for batch in self.loader.batches(state.epoch, state.batch):
            yield Part(self._events(batch, f"batch {batch.number + 1} of epoch {state.epoch + 1}"), batch.size)

    def parts(self) -> Iterator[Events]:
        """See `TrainingEvents`."""
        for batch in self.loader.batches(0):
            yield self._events(batch, f"batch {batch.number + 1} of the validation events")

    def sample(self) -> Tensor:
        """Those of the first batches, of all ranks."""
        return self.sample_events().X

    def sample_events(self) -> Events:
        """The events of the first batches, of all ranks, with targets and weights."""
        found, events = [], 0
        for batch in self.loader.of_all_ranks().batches(0):
            found.append(self._events(batch, f"batch {batch.number + 1}"))
            events += len(batch)
            if events >= SCALE_EVENTS:
                break
        return Events(*(torch.cat(tensors) for tensors in zip(*found, strict=True)))

    def fingerprint(self) -> str:
        """See `TrainingEvents`."""
        how = "" if self.features is None else repr(self.features.to_json())
        what = f" {self.targets}" if self.targets else ""
        return xxhash.xxh3_128_hexdigest(f"{self.loader.fingerprint} {how}{what}".encode())

    def _events(self, batch: Batch, where: str) -> Events:
        X = self._inputs(batch)
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(X.sum())  # cheap; where the sum only overflows, nothing is found
        if not finite:
            self._refuse_not_finite(X, batch, where)
        weight = (batch.weight / self.mean_weight).astype(np.float32)
        y = batch.y if not self.targets else self._learnt(batch, where)
        return Events(torch.from_numpy(X), torch.from_numpy(y.astype(np.float32)), torch.from_numpy(weight))

    def _learnt(self, batch: Batch, where: str) -> NDArray[Any]:
        """Labels and target columns, (event, target)."""
        table = np.stack([batch.y if n is None else np.asarray(batch.columns[n]) for n in self.targets], axis=1)
        wrong = np.argwhere(~np.isfinite(table))
        if len(wrong):
            event, target = (int(i) for i in wrong[0])
            raise ModelError(
                f"target {self.targets[target]!r} is {table[event, target]} in row {int(batch.row[event])} of the dataset "
                f"({where})"
            )
        return table

    def _refuse_not_finite(self, X: NDArray[np.float32], batch: Batch, where: str) -> None:
        wrong = np.argwhere(~np.isfinite(X))
        if len(wrong):
            event, *_, column = (int(i) for i in wrong[0])
            name = self.names[column] if self.names else f"feature {column}"
            raise ModelError(
                f"{name!r} is {X[tuple(wrong[0])]} in row {int(batch.row[event])} of the dataset ({where}, "
                f"{len(wrong):,} such values in the batch); say `nan: drop` in the conversion, or cut such rows away"
            )


def _inputs_of(
    loader: BatchLoader, features: Features | None
) -> tuple[Callable[[Batch], NDArray[np.float32]], tuple[str, ...]]:
    """What makes the inputs of a batch, and the names of their last axis."""
    if features is not None:
        missing = [name for name in features.inputs if name not in loader.columns]
        if missing:
            raise ConfigError(
                f"the features need the columns {', '.join(missing)}: give them to the loader (`columns`)"
            )
        transform = features.transform
        return lambda batch: np.ascontiguousarray(transform(batch.columns)), ()
    if loader.flat and not loader.collections:
        return lambda batch: batch.flat, loader.flat
    if len(loader.collections) == 1 and not loader.flat:
        name, collection = next(iter(loader.collections.items()))
        if collection.length is not None:
            return lambda batch: _padded(batch, name), collection.columns
    raise ConfigError(
        "what are the inputs? Give the loader `flat` columns, or one padded collection, or `columns` and `features`"
    )


def _padded(batch: Batch, name: str) -> NDArray[np.float32]:
    found = batch.collections[name]
    assert isinstance(found, Padded)
    return found.values


def require_both_classes(loader: BatchLoader) -> None:
    """Refuse a training sample in which a class has no positive sum of weights.

    Raises
    ------
    WeightError
        naming the class.
    """
    for label, signed in enumerate(loader.chosen.signed):
        if signed <= 0:
            raise WeightError(f"expected a positive sum of weights in class {label}, got {signed:g}")
