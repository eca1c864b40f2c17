"""A network as a study declares it: inputs, blocks of layers, heads; a graph that is written down, not programmed.

::

    blocks:
      tower: {from: images, layers: [{conv: 16, size: 5, activation: relu}, {max-pool: 2}, flatten]}
      trunk: {from: [tower, substructure], layers: [{dense: 64, activation: relu}, {dropout: 0.2}]}
    heads:
      signal: {from: trunk, loss: bce}
      mass: {from: trunk, loss: huber, target: jet_mass, weight: 0.1}
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError
from fivesigma.core.registry import unknown_name
from fivesigma.models.layers import Kernel, Layer, build_layers
from fivesigma.models.losses import LOSSES, HeadLoss
from fivesigma.models.networks import InputScale, Shape

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*")
HEAD_INIT = "glorot"


@dataclass(frozen=True)
class HeadWords:
    """One head: where its inputs come from, what it learns, and how much it counts beside the others.

    ``target`` names a column; the one head without learns the labels (or, of a regressor, its y).
    """

    name: str
    sources: tuple[str, ...]
    loss: str
    target: str | None = None
    weight: float = 1.0
    classes: int | None = None  # of a head with a target and the loss "cross-entropy"
    options: Mapping[str, Any] = field(default_factory=dict)  # of the loss

    @classmethod
    def parse(cls, name: str, words: Any) -> HeadWords:
        """From ``{from: trunk, loss: huber, target: jet_mass, weight: 0.1, delta: 2}``."""
        if not isinstance(words, Mapping) or "from" not in words or "loss" not in words:
            raise ConfigError(f"head {name!r}: expected a mapping with at least `from` and `loss`, got {words!r}")
        rest = {
            key: value for key, value in words.items() if key not in {"from", "loss", "target", "weight", "classes"}
        }
        target, weight, classes = words.get("target"), words.get("weight", 1.0), words.get("classes")
        if not weight > 0:
            raise ConfigError(f"head {name!r}: expected weight > 0, got {weight}")
        return cls(name, _sources(words["from"]), str(words["loss"]), target, float(weight), classes, rest)

    def build_loss(self, classes: int) -> HeadLoss:
        """The loss, for so many classes of the labels."""
        try:
            return LOSSES[self.loss].build(self.classes or (2 if self.target else classes), **self.options)
        except (ConfigError, TypeError) as error:
            raise ConfigError(f"head {self.name!r}, loss {self.loss!r}: {error}") from error


class Head(nn.Module):
    """The last, linear layer; numbers come out in units of the target's spread around its mean, both kept here."""

    centre: Tensor
    width: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("width", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, feature) → (batch, output)."""
        out: Tensor = self.linear(x)
        return out


class DeclaredNetwork(nn.Module):
    """Named inputs → blocks → heads.

    Takes one input as it is, (batch, …); several as one row of numbers an event, (batch, all), one after another in the
    order of ``shapes``. Gives the outputs of all heads, (batch, output), in their order. Each input is divided by its
    root mean square.

    Parameters
    ----------
    shapes
        name → shape of one event of each input.
    blocks
        name → ``{from: an input, a block before it, or a list of flat ones, layers: […]}``.
    heads
        name → see `HeadWords`.
    classes
        of the labels.

    Raises
    ------
    ConfigError
        unknown names, with the nearest; shapes that do not fit, naming block and layer; blocks that lead nowhere.
    """

    def __init__(
        self, shapes: Mapping[str, Shape], blocks: Mapping[str, Any], heads: Mapping[str, Any], classes: int = 2
    ) -> None:
        super().__init__()
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.scales = nn.ModuleDict({_checked("input", name): InputScale() for name in shapes})
        self.blocks, self.sources = nn.ModuleDict(), {}
        self.kernels: list[Kernel] = []
        known = dict(self.shapes)
        for name, words in blocks.items():
            self.sources[name], layer = _block(_checked("block", name), words, known)
            self.blocks[name] = layer.module
            self.kernels.extend(layer.kernels)
            known[name] = layer.shape
        self.heads, self.words, self.losses = nn.ModuleDict(), {}, {}
        for name, words in heads.items():
            head = HeadWords.parse(_checked("head", name), words)
            width = _joined_shape(f"head {name!r}", head.sources, known)
            if len(width) != 1:
                raise ConfigError(
                    f"head {name!r}: expected (feature,), got {width}: put `flatten` at the end of the block"
                )
            self.words[name], self.losses[name] = head, head.build_loss(classes)
            module = Head(width[0], self.losses[name].outputs)
            self.heads[name] = module
            self.kernels.append(Kernel(module.linear, HEAD_INIT, width[0], self.losses[name].outputs))
        self._refuse_idle()

    def _refuse_idle(self) -> None:
        if not self.heads:
            raise ConfigError("a network needs at least one head")
        used = {source for sources in self.sources.values() for source in sources}
        used |= {source for words in self.words.values() for source in words.sources}
        for kind, names in (("input", self.shapes), ("block", self.blocks)):
            for name in names:
                if name not in used:
                    raise ConfigError(f"the {kind} {name!r} leads to no head: name it in a `from`, or leave it out")

    def initialise(self) -> None:
        """Draw all kernels, by the layers' ``init``; heads by Glorot's."""
        for kernel in self.kernels:
            kernel.initialise()

    def inputs(self, x: Tensor) -> dict[str, Tensor]:
        """Each input in its own shape: (batch, …)."""
        if len(self.shapes) == 1:
            return {name: x.reshape(len(x), *shape) for name, shape in self.shapes.items()}
        parts = x.split([math.prod(shape) for shape in self.shapes.values()], dim=1)
        return {name: part.reshape(len(x), *self.shapes[name]) for name, part in zip(self.shapes, parts, strict=True)}

    def fit_scales(self, x: Tensor) -> None:
        """Take the scale of each input from events."""
        for name, part in self.inputs(x).items():
            scale = self.scales[name]
            assert isinstance(scale, InputScale)
            scale.fit(part)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, …) → (batch, output)."""
        found = {name: self.scales[name](part) for name, part in self.inputs(x).items()}
        for name, block in self.blocks.items():
            found[name] = block(_joined(found, self.sources[name]))
        return torch.cat([head(_joined(found, self.words[name].sources)) for name, head in self.heads.items()], dim=1)

    def split(self, output: Tensor) -> dict[str, Tensor]:
        """What each head puts out, from (batch, output)."""
        sizes = [loss.outputs for loss in self.losses.values()]
        return dict(zip(self.losses, output.split(sizes, dim=1), strict=True))

    def head(self, name: str) -> Head:
        """The last layer of one head."""
        head = self.heads[name]
        assert isinstance(head, Head)
        return head

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """Σ over heads of head weight · loss, shape (batch,); ``y`` (batch,) or (batch, head)."""
        targets = y.reshape(len(y), -1)
        total = torch.zeros(len(y), device=output.device)
        for i, (name, values) in enumerate(self.split(output).items()):
            head, target = self.head(name), targets[:, i]
            if self.losses[name].kind == "number":
                target = (target - head.centre) / head.width
            total = total + self.words[name].weight * self.losses[name].of(values, target)
        return total

    def predicted(self, output: Tensor) -> dict[str, Tensor]:
        """Probabilities, or numbers in the target's unit, by head: (batch, output)."""
        found = {}
        for name, values in self.split(output).items():
            head, loss = self.head(name), self.losses[name]
            linked = loss.link(values)
            found[name] = linked * head.width + head.centre if loss.kind == "number" else linked
        return found

    def link(self, output: Tensor) -> Tensor:
        """Probabilities and standardised numbers of all heads, (batch, output)."""
        return torch.cat([self.losses[name].link(values) for name, values in self.split(output).items()], dim=1)


def _block(name: str, words: Any, known: Mapping[str, Shape]) -> tuple[tuple[str, ...], Layer]:
    if name in known:
        raise ConfigError(f"two inputs or blocks are called {name!r}")
    if not isinstance(words, Mapping) or set(words) != {"from", "layers"}:
        raise ConfigError(f"block {name!r}: expected a mapping of `from` and `layers`, got {words!r}")
    sources = _sources(words["from"])
    shape = _joined_shape(f"block {name!r}", sources, known)
    try:
        return sources, build_layers(shape, words["layers"])
    except ConfigError as error:
        raise ConfigError(f"block {name!r}, {error}") from error


def _sources(words: Any) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else tuple(str(word) for word in words)


def _joined_shape(where: str, sources: Sequence[str], known: Mapping[str, Shape]) -> Shape:
    if not sources:
        raise ConfigError(f"{where}: `from` names nothing")
    for source in sources:
        if source not in known:
            raise ConfigError(f"{where}: {unknown_name('input or block before it', source, known)}")
    if len(sources) == 1:
        return known[sources[0]]
    for source in sources:
        if len(known[source]) != 1:
            raise ConfigError(
                f"{where}: several inputs are joined where they are flat; expected (feature,) from {source!r}, got "
                f"{known[source]}: put `flatten` at the end of a block"
            )
    return (sum(known[source][0] for source in sources),)


def _joined(found: Mapping[str, Tensor], sources: Sequence[str]) -> Tensor:
    return found[sources[0]] if len(sources) == 1 else torch.cat([found[source] for source in sources], dim=1)


def _checked(kind: str, name: str) -> str:
    if not _NAME.fullmatch(name) or hasattr(nn.ModuleDict, name):
        raise ConfigError(f"{name!r} cannot name the {kind}: use a letter, then letters, digits, - and _")
    return name
