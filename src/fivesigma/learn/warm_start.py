"""Going on from a trained network: its weights copied into a new one, parameter by parameter, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fivesigma.core.errors import ModelError
from fivesigma.core.registry import nearest_names
from fivesigma.models.model_folder import read_any_model


@dataclass(frozen=True)
class CopiedWeights:
    """What was copied, and what was left: the new network's own (``kept``), the trained one's (``unused``)."""

    source: str
    copied: tuple[str, ...]
    kept: tuple[str, ...]
    unused: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def copy_weights(network: nn.Module, folder: Path | str, names: Mapping[str, str] | None = None) -> CopiedWeights:
    """Copy into ``network``, in place, every parameter and buffer that a saved network has under the same name.

    A name that only one of the two has stays as it is, and is told in the result; a name that both have with other
    shapes is an error, for a network that is trained further in part and anew in part, unseen, is a mistake.

    Parameters
    ----------
    network
        built and initialised.
    folder
        what ``save`` of a network wrote.
    names
        beginnings of names in the folder → beginnings of names in ``network``, such as ``{"": "classifier."}``, where
        the trained network has become a part of the new one.

    Raises
    ------
    ModelError
        if the folder cannot be read, holds no network, nothing fits, or shapes differ.
    """
    content, arrays = read_any_model(Path(folder))
    own = network.state_dict()
    trained = {_renamed(name, names or {}): torch.from_numpy(array) for name, array in arrays.items()}
    shared = [name for name in own if name in trained]
    if not any(own[name].dim() > 1 for name in shared):
        first = next(iter(trained), "")
        near = nearest_names(first, own, n=1)
        raise ModelError(
            f"{folder} holds a model {content['estimator']!r}, no weights of which have a name in the new network "
            f"({first!r} there, {near[0] if near else next(iter(own), '')!r} here): warm starts need the same layers"
        )
    for name in shared:
        if own[name].dim() == 0 and trained[name].numel() == 1:  # files hold no numbers without a dimension
            trained[name] = trained[name].reshape(())
        if trained[name].shape != own[name].shape:
            raise ModelError(
                f"warm start from {folder}: {name!r} has the shape {tuple(trained[name].shape)} there, expected "
                f"{tuple(own[name].shape)}: the layers up to there must be the same, others may have other names"
            )
    with torch.no_grad():
        for name in shared:
            own[name].copy_(trained[name])
    return CopiedWeights(
        str(folder),
        tuple(shared),
        tuple(name for name in own if name not in trained),
        tuple(name for name in trained if name not in own),
    )


def _renamed(name: str, beginnings: Mapping[str, str]) -> str:
    for old, new in sorted(beginnings.items(), key=lambda pair: -len(pair[0])):  # the longest first
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
