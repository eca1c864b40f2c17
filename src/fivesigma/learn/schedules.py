"""Learning rates: a function of how far the training is, and for "plateau" of the losses so far. Nothing is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fivesigma.learn.training_options import TrainingOptions

SCHEDULES: Mapping[str, str] = {
    "constant": "η",
    "step": "η · factor^⌊epoch / epochs⌋",
    "exponential": "η · factor^(epoch / epochs), falling with every batch",
    "cosine": "η · (1 + cos πf) / 2 after the fraction f of all batches",
    "one-cycle": "rises from 0.04 η to η in the first 30 % of the batches, then falls to 0 as a cosine (arXiv:1708.07120)",
    "plateau": "η · factor^k, with k how often `epochs` epochs in a row brought no better loss",
}
"""Schedules by name; ``factor`` is ``schedule_factor``, ``epochs`` is ``schedule_epochs``."""

_WARM_UP = 0.3  # fraction of the steps in which "one-cycle" rises
_START = 0.04  # its first learning rate, as a fraction of the highest


def learning_rate(progress: float, options: TrainingOptions, losses: Sequence[float] = ()) -> float:
    """The learning rate after a fraction ``progress`` of all steps; ``losses`` of the epochs so far, for "plateau".

    >>> options = TrainingOptions(learning_rate=1.0, schedule="cosine")
    >>> [round(learning_rate(f, options), 2) for f in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """
    epochs = progress * options.epochs / options.schedule_epochs
    match options.schedule:
        case "constant":
            scale = 1.0
        case "step":
            scale = options.schedule_factor ** math.floor(epochs + 1e-9)  # the first batch of an epoch is in it
        case "exponential":
            scale = options.schedule_factor**epochs
        case "cosine":
            scale = 0.5 * (1 + math.cos(math.pi * progress))
        case "plateau":
            scale = options.schedule_factor ** plateaus(losses, options.schedule_epochs)
        case "one-cycle" if progress < _WARM_UP:
            scale = _START + (1 - _START) * progress / _WARM_UP
        case _:
            scale = 0.5 * (1 + math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP)))
    return options.learning_rate * scale


def plateaus(losses: Sequence[float], epochs: int) -> int:
    """How often ``epochs`` losses in a row were not better than the best before them; each time counts anew.

    >>> plateaus([1.0, 0.8, 0.9, 0.9, 0.9, 0.7, 0.7], epochs=2)
    1
    """
    best, worse, found = math.inf, 0, 0
    for loss in losses:
        if loss < best:
            best, worse = loss, 0
        else:
            worse += 1
        if worse == epochs:
            found, worse = found + 1, 0
    return found
