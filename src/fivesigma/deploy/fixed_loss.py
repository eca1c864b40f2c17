"""What networks and trees in fixed point lose, and the fewest bits with which they lose little."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from fivesigma.core.errors import ConfigError
from fivesigma.deploy.feed_forward import FeedForward, Float32
from fivesigma.deploy.fixed_point import MOST_BITS, FixedNetwork, quantised
from fivesigma.deploy.table_loss import auc_of_both
from fivesigma.deploy.trained_model import Float64, TrainedModel

Fixed = TypeVar("Fixed")

SCANNED = (6, 8, 10, 12, 14, 16, 18, 20, 22, MOST_BITS)
"""Bits that are tried, fewest first."""


def choose_bits(
    model: TrainedModel,
    network: FeedForward,
    seen: Float32 | None,
    fraction: int | None,
    most_loss: float,
    seed: int,
    *,
    as_hls4ml: bool = False,
) -> tuple[FixedNetwork, list[dict[str, Any]]]:
    """The fewest bits of a network that lose at most ``most_loss``, see `fewest_bits` and `quantised`."""

    def attempt(bits: int) -> tuple[FixedNetwork, dict[str, Any]]:
        fixed = quantised(network, bits, seen, fraction, as_hls4ml=as_hls4ml)
        return fixed, measured_loss(model, fixed, seen, seed)

    return fewest_bits(attempt, (bits for bits in SCANNED if fraction is None or fraction < bits), most_loss)


def fewest_bits(
    attempt: Callable[[int], tuple[Fixed, dict[str, Any]]], tried: Iterable[int], most_loss: float
) -> tuple[Fixed, list[dict[str, Any]]]:
    """The first number of bits that loses at most ``most_loss``, and the loss of each that was tried.

    Raises
    ------
    ConfigError
        if there is nothing to measure the loss on, or no number of bits is enough.
    """
    scan: list[dict[str, Any]] = []
    for bits in tried:
        fixed, found = attempt(bits)
        if found["loss"] is None:
            raise ConfigError(f"fixed point: {found['words']}; declare the bits (--set bits=16)")
        scan.append({"bits": bits, "loss": found["loss"], "uncertainty": found["uncertainty"]})
        if found["loss"] <= most_loss:
            return fixed, scan
    words = ", ".join(f"{row['bits']} bits: {row['loss']:.2g}" for row in scan)
    raise ConfigError(f"fixed point: no number of bits loses at most {most_loss:g} ({words})")


def measured_loss(model: TrainedModel, fixed: FixedNetwork, seen: Float32 | None, seed: int) -> dict[str, Any]:
    """Of a network for what it sees of recorded events, (event, input); see `loss_of`."""
    if seen is None:
        return loss_of(model, None, None, is_probability=True, seed=seed)
    network = fixed.network
    exact = network.probability(network.score(seen.astype(np.float64)))
    return loss_of(
        model, exact, network.probability(fixed.score(seen)), is_probability=network.is_probability, seed=seed
    )


def loss_of(
    model: TrainedModel, exact: Float64 | None, rounded: Float64 | None, *, is_probability: bool, seed: int
) -> dict[str, Any]:
    """Of the AUC for classifiers; for regressors the root mean square change, over the spread of the predictions.

    ``exact`` and ``rounded`` are the answers for all recorded events, (event,), None if there are none.
    """
    nothing = {"loss": None, "uncertainty": None, "events": 0}
    if exact is None or rounded is None:
        return {**nothing, "words": "no recorded events to measure its loss on"}
    difference = rounded - exact
    found = {
        "events": len(exact),
        "mean_difference": float(np.abs(difference).mean()),
        "largest_difference": float(np.abs(difference).max()),
    }
    words = f"answers of {len(exact):,} recorded events change by {found['mean_difference']:.2g} on average"
    if not is_probability:
        spread = float(exact.std()) or 1.0
        loss = float(np.sqrt((difference**2).mean())) / spread
        words += f", by {loss:.2g} of their spread (root mean square)"
        return {**found, "loss": loss, "uncertainty": loss / np.sqrt(2 * len(exact)), "words": words}
    if len(np.unique(model.labels)) < 2:
        return {**nothing, **found, "words": f"{words}; no labels to measure a loss of AUC with"}
    first, second, uncertainty = auc_of_both(model, exact, rounded, seed=seed)
    words += f", AUC {first:.5f} → {second:.5f} (loss {first - second:.6f} ± {uncertainty:.6f})"
    return {
        **found,
        "auc_model": first,
        "auc_fixed": second,
        "loss": first - second,
        "uncertainty": uncertainty,
        "words": words,
    }
