"""Everything that a declared network and its training may say, in one list: ``fivesigma studies layers``."""

from __future__ import annotations

import inspect

from fivesigma.learn.optimisers import OPTIMISERS
from fivesigma.learn.schedules import SCHEDULES
from fivesigma.models.initialisations import INITIALISATIONS
from fivesigma.models.layers import ACTIVATIONS, LAYERS
from fivesigma.models.losses import LOSSES


def vocabulary() -> list[dict[str, str]]:
    """Rows of kind, name, shapes taken and given, options with defaults, meaning."""
    rows = []
    for name, layer in LAYERS.items():
        options = _options(layer.build, skip="shape")
        kind = "activation" if name in ACTIVATIONS else "layer"
        rows.append(_row(kind, name, layer.what, takes=layer.takes, gives=layer.gives, options=options))
    rows.sort(key=lambda row: (row["kind"] != "layer", row["name"]))
    rows += [_row("initialisation", name, init.variance) for name, init in INITIALISATIONS.items()]
    for name, loss in LOSSES.items():
        options = _options(loss.build, skip="classes")
        rows.append(_row("loss", name, loss.formula, gives=loss.outputs, options=options))
    rows += [_row("optimiser", name, what) for name, (_, what) in OPTIMISERS.items()]
    rows += [_row("schedule", name, what) for name, what in SCHEDULES.items()]
    rows += [
        _row("penalty", "weight_decay", "L2, on kernels only: adds d·w to the gradient, or, with adamw, to the step"),
        _row("penalty", "l1", "L1, on kernels only: adds l1 · Σ |w| to the loss"),
    ]
    return rows


def _row(kind: str, name: str, what: str, *, takes: str = "", gives: str = "", options: str = "") -> dict[str, str]:
    return {"kind": kind, "name": name, "takes": takes, "gives": gives, "options": options, "meaning": what}


def _options(build: object, skip: str) -> str:
    assert callable(build)
    parameters = [p for p in inspect.signature(build).parameters.values() if p.name != skip]
    return ", ".join(p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters)
