"""``Flow``: how a study runs that does not fit the classification flow of `fivesigma.study`.

A study's YAML names it (``flow: error-bars``); its remaining words are checked by the flow's own class. A flow hands back
rows of results, and `fivesigma.study.run_study` writes them into ``metrics.json`` with everything that made them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from fivesigma.core.errors import UnknownNameError
from fivesigma.core.registry import unknown_name
from fivesigma.core.run_directory import RunDirectory
from fivesigma.evaluate.results import ResultRow
from fivesigma.studies.definition import FlowWords

__all__ = ["FLOWS", "Flow", "FlowResult", "FlowWords", "find_flow"]

FLOWS: Mapping[str, str] = {
    "signed-weights": "fivesigma.flows.signed_weights:SignedWeightsFlow",
    "error-bars": "fivesigma.flows.error_bars:ErrorBarsFlow",
    "grid-inference": "fivesigma.grid_inference:GridInferenceFlow",
    "topological-trigger": "fivesigma.flows.topological_trigger:TopologicalTriggerFlow",
    "muon-trigger": "fivesigma.flows.muon_trigger:MuonTriggerFlow",
}
"""Name of a flow → module and class; imported when a study asks for it."""


@dataclass(frozen=True)
class FlowResult:
    """What a flow measured."""

    sample: Mapping[str, Any]  # what it ran on: files with their digests, or how it was generated; numbers of events
    results: list[ResultRow]
    differences: list[dict[str, Any]] = field(default_factory=list)  # paired: first, second, metric, value, uncertainty
    report: Path | None = None  # report.html, if it wrote one
    more: Mapping[str, Any] = field(default_factory=dict)  # curves and tables that its page needs; JSON


class Flow(Protocol):
    """The steps of one kind of study."""

    words: type[FlowWords]
    """What its YAML may say beside study, title, reference, seed and flow."""

    def run(self, words: Any, run: RunDirectory, *, workers: int) -> FlowResult:
        """Do the study; long parts show progress (`fivesigma.core.progress`); figures and report go into ``run.path``."""


def find_flow(name: str) -> Flow:
    """The flow of this name.

    Raises
    ------
    UnknownNameError
        with the nearest known name.
    """
    if name not in FLOWS:
        raise UnknownNameError(unknown_name("flow", name, ["classification", *FLOWS]))
    module, _, attribute = FLOWS[name].partition(":")
    flow: Flow = getattr(import_module(module), attribute)()
    return flow
