"""What a network in fixed point loses, and the fewest bits with which it loses little."""

from __future__ import annotations

from typing import Any

import numpy as np

from fivesigma.core.errors import ConfigError
from fivesigma.deploy.feed_forward import FeedForward, Float32
from fivesigma.deploy.fixed_point import MOST_BITS, FixedNetwork, quantised
from fivesigma.deploy.table_loss import auc_of_both
from fivesigma.deploy.trained_model import TrainedModel

SCANNED = (6, 8, 10, 12, 14, 16, 18, 20, 22, MOST_BITS)
"""Bits that are tried, fewest first."""


def choose_bits(
    model: TrainedModel, network: FeedForward, seen: Float32 | None, fraction: int | None, most_loss: float, seed: int
) -> tuple[FixedNetwork, list[dict[str, Any]]]:
    """The fewest bits that lose at most ``most_loss``, and the loss of each number of bits that was tried.

    Raises
    ------
    ConfigError
        if there is nothing to measure the loss on, or no number of bits is enough.
    """
    scan: list[dict[str, Any]] = []
    for bits in SCANNED:
        if fraction is not None and fraction >= bits:
            continue
        fixed = quantised(network, bits, seen, fraction)
        found = measured_loss(model, fixed, seen, seed)
        if found["loss"] is None:
            raise ConfigError(f"fixed point: {found['words']}; declare the bits (--set bits=16)")
        scan.append({"bits": bits, "loss": found["loss"], "uncertainty": found["uncertainty"]})
        if found["loss"] <= most_loss:
            return fixed, scan
    tried = ", ".join(f"{row['bits']} bits: {row['loss']:.2g}" for row in scan)
    raise ConfigError(f"fixed point: no number of bits loses at most {most_loss:g} ({tried})")


def measured_loss(model: TrainedModel, fixed: FixedNetwork, seen: Float32 | None, seed: int) -> dict[str, Any]:
    """Of the AUC for classifiers; for regressors the root mean square change, over the spread of the predictions."""
    nothing = {"loss": None, "uncertainty": None, "events": 0}
    if seen is None:
        return {**nothing, "words": "no recorded events to measure its loss on"}
    network = fixed.network
    exact = network.probability(network.score(seen.astype(np.float64)))
    rounded = network.probability(fixed.score(seen))
    difference = rounded - exact
    found = {
        "events": len(exact),
        "mean_difference": float(np.abs(difference).mean()),
        "largest_difference": float(np.abs(difference).max()),
    }
    words = f"answers of {len(exact):,} recorded events change by {found['mean_difference']:.2g} on average"
    if not network.is_probability:
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
