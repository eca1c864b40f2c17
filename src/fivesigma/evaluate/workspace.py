"""Histograms handed over to a statistical model: a HistFactory workspace in JSON, as pyhf reads it.

HistFactory: CERN-OPEN-2012-016; the JSON schema: ATL-PHYS-PUB-2019-029, https://pyhf.github.io/pyhf/likelihood.html.
Nothing of pyhf is needed to write it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fivesigma.core.errors import ConfigError, WeightError
from fivesigma.evaluate.scored_events import FloatVector
from fivesigma.evaluate.template import Template

SCHEMA_VERSION = "1.0.0"
SMALLEST_YIELD = 1e-6
"""Events that stand in a bin whose up or down variation is empty or negative: HistFactory needs positive rates."""


@dataclass(frozen=True)
class WorkspaceSample:
    """One process: its nominal yields, and how nuisances move them.

    ``variations`` maps a nuisance to its templates at +1σ and −1σ. ``normalisation`` maps a nuisance to a relative
    Gaussian uncertainty of all bins together. Nuisances of equal name are one parameter, in all samples and channels.
    """

    nominal: Template
    variations: Mapping[str, tuple[Template, Template]] = field(default_factory=dict)
    normalisation: Mapping[str, float] = field(default_factory=dict)


def pyhf_workspace(
    channels: Mapping[str, Mapping[str, WorkspaceSample]],
    *,
    signal: str = "signal",
    observed: Mapping[str, ArrayLike] | None = None,
    simulation_statistics: Literal["staterror", "shapesys", "none"] = "staterror",
    shape_and_rate: bool = True,
    measurement: str = "discovery",
) -> dict[str, Any]:
    """A workspace with the parameter of interest ``mu``, the signal strength, as plain JSON content.

    Parameters
    ----------
    channels : channel → sample → yields; every channel has the same bins in all its samples.
    signal : the sample that ``mu`` scales; it must be in at least one channel.
    observed : channel → counts (bin,); signal plus background (the Asimov data of ``mu`` = 1) if left out.
    simulation_statistics : ``staterror``, one parameter a bin for all samples together, Gaussian (Barlow–Beeston light);
        ``shapesys``, one a bin and sample, Poisson; or none.
    shape_and_rate : split each variation into its change of rate (``normsys``, log-normal between its ends) and of
        shape (``histosys``, linear); otherwise ``histosys`` carries both.

    Raises
    ------
    WeightError
        a bin of negative nominal yield, which no Poisson rate can be: merge bins.
    ConfigError
        no sample of the signal's name, bins that differ, or observed counts that do not fit.
    """
    if not any(signal in samples for samples in channels.values()):
        known = sorted({name for samples in channels.values() for name in samples})
        raise ConfigError(f"no channel has the signal sample {signal!r}; samples: {', '.join(known)}")
    observations = []
    for channel, samples in channels.items():
        _check(channel, samples)
        expected = np.sum([sample.nominal.content for sample in samples.values()], axis=0)
        counts = expected if observed is None else _counts(channel, observed, len(expected))
        observations.append({"name": channel, "data": counts.tolist()})
    return {
        "version": SCHEMA_VERSION,
        "channels": [
            {
                "name": channel,
                "samples": [
                    {
                        "name": name,
                        "data": sample.nominal.content.tolist(),
                        "modifiers": _modifiers(
                            channel, name, sample, name == signal, simulation_statistics, shape_and_rate
                        ),
                    }
                    for name, sample in samples.items()
                ],
            }
            for channel, samples in channels.items()
        ],
        "observations": observations,
        "measurements": [{"name": measurement, "config": {"poi": "mu", "parameters": []}}],
    }


def _modifiers(
    channel: str, name: str, sample: WorkspaceSample, is_signal: bool, statistics: str, split: bool
) -> list[dict[str, Any]]:
    nominal = sample.nominal
    modifiers: list[dict[str, Any]] = [{"name": "mu", "type": "normfactor", "data": None}] if is_signal else []
    for nuisance, sigma in sample.normalisation.items():
        # Linear in the parameter, as a Gaussian σ_B is; normsys would be log-normal.
        up, down = (nominal.content * (1 + sign * sigma) for sign in (1, -1))
        modifiers.append(_histosys(nuisance, up, down))
    for nuisance, (up_template, down_template) in sample.variations.items():
        up, down = _positive(up_template.content), _positive(down_template.content)
        total = float(nominal.content.sum())
        if split and total > 0:
            rates = {"hi": float(up.sum()) / total, "lo": float(down.sum()) / total}
            modifiers.append({"name": nuisance, "type": "normsys", "data": rates})
            up, down = up / rates["hi"], down / rates["lo"]
        modifiers.append(_histosys(nuisance, up, down))
    if statistics == "staterror":
        modifiers.append({"name": f"statistics_{channel}", "type": "staterror", "data": nominal.error.tolist()})
    elif statistics == "shapesys":
        modifiers.append({"name": f"statistics_{channel}_{name}", "type": "shapesys", "data": nominal.error.tolist()})
    return modifiers


def _histosys(nuisance: str, up: FloatVector, down: FloatVector) -> dict[str, Any]:
    return {"name": nuisance, "type": "histosys", "data": {"hi_data": up.tolist(), "lo_data": down.tolist()}}


def _positive(content: FloatVector) -> FloatVector:
    return np.maximum(content, SMALLEST_YIELD)


def _check(channel: str, samples: Mapping[str, WorkspaceSample]) -> None:
    first = next(iter(samples.values())).nominal
    for name, sample in samples.items():
        first.check_bins_of(sample.nominal, f"channel {channel!r}, sample {name!r}")
        for nuisance, pair in sample.variations.items():
            for template in pair:
                first.check_bins_of(template, f"channel {channel!r}, sample {name!r}, {nuisance}")
        lowest = int(sample.nominal.content.argmin())
        if sample.nominal.content[lowest] < 0:
            raise WeightError(
                f"channel {channel!r}, sample {name!r}: bin {lowest} has the yield {sample.nominal.content[lowest]:.4g}; "
                "a Poisson rate is not negative: merge bins until signed weights sum to more"
            )


def _counts(channel: str, observed: Mapping[str, ArrayLike], bins: int) -> FloatVector:
    if channel not in observed:
        raise ConfigError(f"observed: no counts for channel {channel!r}; given: {', '.join(observed)}")
    counts = np.asarray(observed[channel], dtype=np.float64)
    if counts.shape != (bins,) or not (counts >= 0).all():
        raise ConfigError(f"observed {channel!r}: expected {bins} counts of at least 0, got {counts.tolist()}")
    return counts


def signal_and_background(
    signal: Template,
    background: Template,
    *,
    background_uncertainty: float = 0.0,
    names: Sequence[str] = ("signal", "background"),
) -> dict[str, WorkspaceSample]:
    """The two samples of a channel, the background with a relative Gaussian uncertainty σ_B."""
    uncertainty = {"background_rate": background_uncertainty} if background_uncertainty > 0 else {}
    return {
        names[0]: WorkspaceSample(signal),
        names[1]: WorkspaceSample(background, normalisation=uncertainty),
    }
