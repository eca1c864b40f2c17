"""The figure of the domain-adaptation page: what the other shower changes, and what each training gains or loses.

``python docs/figures/domain_adaptation.py`` reads the samples that ship with the package and the kept results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import uproot
from matplotlib.axes import Axes

from fivesigma.studies import input_files, load_study

STUDY, BASELINE = "domain-adaptation", "simulation"
DOCS = Path(__file__).resolve().parents[1]
COLOURS = {"simulation": "#0072b2", "data": "#d55e00"}


def main() -> None:
    """Write ``domain-adaptation.svg`` beside this file."""
    results = json.loads((DOCS / "results" / f"{STUDY}.json").read_text(encoding="utf-8"))
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    draw_towers(axes[0])
    draw_differences(axes[1], results["restricted"])
    figure.savefig(Path(__file__).with_name(f"{STUDY}.svg"), metadata={"Date": None})


def draw_towers(axes: Axes) -> None:
    """Towers of a jet, by class and shower, with statistical uncertainties."""
    edges = np.arange(0, 81, 4)
    for domain, words in load_study(STUDY).samples.items():
        (file,) = input_files(words)
        with uproot.open(file) as opened:
            columns = opened["jets"].arrays(["nconstituent", "label"], library="np")
        for label, (title, style) in {1: ("W jets", "-"), 0: ("QCD jets", "--")}.items():
            towers = columns["nconstituent"][columns["label"] == label]
            content, _ = np.histogram(towers, edges)
            scale = 1 / (len(towers) * np.diff(edges))
            axes.stairs(content * scale, edges, color=COLOURS[domain], ls=style, label=f"{title}, {domain}")
            middle = edges[:-1] + 2
            axes.errorbar(middle, content * scale, np.sqrt(content) * scale, fmt="none", color=COLOURS[domain], lw=0.8)
    axes.set(xlabel="calorimeter towers of a jet", ylabel="density", xlim=(0, 80))
    axes.legend(frameon=False, fontsize=9)


def draw_differences(axes: Axes, restricted: Mapping[str, Mapping[str, Any]]) -> None:
    """ΔAUC of each model from the plain training, paired on the same jets."""
    for offset, domain in ((0.12, "simulation"), (-0.12, "data")):
        rows = [row for row in restricted[domain]["differences"] if row["metric"] == "auc" and row["first"] == BASELINE]
        names = [row["second"] for row in rows]
        at = len(names) - 1 - np.arange(len(names))
        values, errors = [-1e3 * row["value"] for row in rows], [1e3 * row["uncertainty"] for row in rows]
        axes.errorbar(values, at + offset, xerr=errors, fmt="o", ms=4, color=COLOURS[domain], label=f"on {domain}")
        axes.set_yticks(at, names)
    axes.axvline(0, color="grey", lw=0.8)
    axes.set(xlabel=f"10³ × (AUC − AUC of “{BASELINE}”), paired")
    axes.legend(frameon=False, fontsize=9)


if __name__ == "__main__":
    main()
