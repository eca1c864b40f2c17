"""From ROOT files to a deployed, physics-validated classifier, with every event accounted for.

The stages, in the order data flows: ``simulate``, ``read``, ``dataset``, ``features``, ``models`` and ``trees``, ``learn``,
``evaluate`` and ``explain``, ``report``; ``study`` is the whole flow on one page.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fivesigma.core.run_directory import RunDirectory
    from fivesigma.predict import predict_study
    from fivesigma.study import (
        StudyResult,
        convert_study,
        evaluate_study,
        explain_study,
        fit_study,
        resolve_study,
        run_study,
    )

__all__ = [
    "RunDirectory",
    "StudyResult",
    "convert_study",
    "evaluate_study",
    "explain_study",
    "fit_study",
    "predict_study",
    "resolve_study",
    "run_study",
]

_HOME = {"RunDirectory": "fivesigma.core.run_directory", "predict_study": "fivesigma.predict"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import fivesigma`` and ``fivesigma --help`` cost nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'fivesigma' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME.get(name, "fivesigma.study")), name)
