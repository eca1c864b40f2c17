"""Networks as one C99 header, in float32 or in fixed point."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any

from fivesigma.deploy.c_features import features_in_c, single
from fivesigma.deploy.c_source import array, comment, identifiers, quoted, render
from fivesigma.deploy.feed_forward import Affine, FeedForward, Joined, Normalised, Scaled, Step, sources
from fivesigma.deploy.fixed_point import FixedNetwork, FixedStep
from fivesigma.deploy.trained_model import TrainedModel


def network_header(model: TrainedModel, network: FeedForward | FixedNetwork, name: str) -> str:
    """The header's text."""
    body = float_body(model, network, name) if isinstance(network, FeedForward) else fixed_body(model, network, name)
    plain = network if isinstance(network, FeedForward) else network.network
    kind = "float32" if isinstance(network, FeedForward) else network.words
    widths = "–".join(str(width) for width in _shape(plain))
    return render(
        "header.h.jinja",
        title=comment(f"{model.name}: a network, {widths} ({kind})."),
        version=metadata.version("fivesigma"),
        source=comment(model.source),
        digest=model.digest,
        guard=name.upper(),
        name=name,
        features=[
            {
                "member": member,
                "quoted": quoted(feature["name"]),
                "comment": comment(feature["unit"] and f"[{feature['unit']}]"),
            }
            for member, feature in zip(identifiers(model.inputs), model.described(), strict=True)
        ],
        body=body,
        output="signal's probability" if plain.is_probability else "value",
        link=plain.link,
        slope="1.0",
    )


def float_body(model: TrainedModel, network: FeedForward, name: str) -> str:
    """The network in float32."""
    described = [_described(step, place, network.widths, name) for place, step in enumerate(network.steps, 1)]
    return render(
        "network_float.jinja",
        name=name,
        n_features=len(model.inputs),
        inputs=features_in_c(model, name, network.shift, network.scale),
        arrays=[text for place, step in enumerate(network.steps, 1) for text in _arrays(step, place, name)],
        steps=described,
        uses_j=any(step["kind"] in {"Affine", "Largest"} for step in described),
        output=len(network.steps),
        output_word=output_word(network),
        multiplications=f"{network.multiplications:,}",
        stack=f"{4 * sum(network.widths):,}",
    )


def fixed_body(model: TrainedModel, fixed: FixedNetwork, name: str) -> str:
    """The network in integers."""
    network = fixed.network
    steps = [
        {**_described(step, place, network.widths, name), **_of_fixed(exact, fixed)}
        for place, (step, exact) in enumerate(zip(network.steps, fixed.steps, strict=True), 1)
    ]
    return render(
        "network_fixed.jinja",
        name=name,
        n_features=len(model.inputs),
        inputs=features_in_c(model, name, network.shift, network.scale),
        arrays=[
            array(kind, f"{name}_{what}_{place}", values)
            for place, exact in enumerate(fixed.steps, 1)
            for what, kind, values in exact.arrays()
        ],
        steps=steps,
        uses_j=any(step["kind"] in {"Affine", "Largest"} for step in steps),
        uses_64=fixed.needs_64_bits,
        output=len(steps),
        output_word=output_word(network),
        low=fixed.low,
        high=fixed.high,
        bits=fixed.bits,
        input_unit=single_power(fixed.fractions[0]),
        input_fraction=fixed.fractions[0],
        output_unit=single_power(-fixed.fractions[-1]),
        output_fraction=fixed.fractions[-1],
        multiplications=f"{network.multiplications:,}",
        stack=f"{sum((8 if step.wide else 4) * width for step, width in zip(fixed.steps, network.widths[1:], strict=True)):,}",
    )


def output_word(network: FeedForward) -> str:
    """What the score is."""
    if network.link == "logistic":
        return "logit of signal's probability"
    return "signal's probability" if network.is_probability else "value"


def single_power(exponent: int) -> str:
    """A power of two as a double of C.

    >>> single_power(10), single_power(-2)
    ('1024.0', '0.25')
    """
    return repr(2.0**exponent)


def _shape(network: FeedForward) -> list[int]:
    """Widths of the input and of the affine steps (the largest of pieces, where they are compared)."""
    steps = zip(network.steps, network.widths[1:], strict=True)
    return [network.widths[0], *(width for step, width in steps if isinstance(step, Affine))]


def _described(step: Step, place: int, widths: Sequence[int], name: str) -> dict[str, Any]:
    """What templates ask of a step."""
    kind = type(step).__name__
    found: dict[str, Any] = {
        "kind": kind,
        "to": place,
        "width": widths[place],
        "inputs": widths[sources(step)[0]],
        "sources": sources(step),
        "function": getattr(step, "function", None),
        "slope": single(getattr(step, "slope", 0.0)),
        "pieces": getattr(step, "pieces", 0),
        "begin": getattr(step, "begin", 0),
        "epsilon": single(getattr(step, "epsilon", 0.0)),
        **{word: f"{name}_{word}_{place}" for word in ("weight", "bias", "factor", "shift", "table")},
    }
    found["what"] = f"{found['function'] or kind.lower()} of {', '.join(f'v{source}' for source in found['sources'])}"
    if isinstance(step, Joined):
        begin, parts = 0, []
        for source in step.sources:
            parts.append({"source": source, "begin": begin, "end": begin + widths[source]})
            begin += widths[source]
        found["parts"] = parts
    return found


def _of_fixed(exact: FixedStep, fixed: FixedNetwork) -> dict[str, Any]:
    return {
        "round": exact.round,
        "wide": exact.wide,
        "sum": "int64_t" if exact.wide else "int32_t",
        **exact.words(fixed),
    }


def _arrays(step: Step, place: int, name: str) -> list[str]:
    """Its numbers; weights by input, then output, as the loops take them."""
    match step:
        case Affine(_, weight, bias):
            parts = {"weight": weight.T.ravel(), "bias": bias}
        case Scaled(_, factor, shift) | Normalised(_, factor, shift, _):
            parts = {"factor": factor, "shift": shift}
        case _:
            return []
    return [array("float", f"{name}_{what}_{place}", values, single) for what, values in parts.items()]
