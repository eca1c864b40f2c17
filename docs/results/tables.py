"""The tables of results in the README and on the studies' pages, written from the kept results between their markers.

``python docs/results/tables.py``; ``make studies`` calls it. Markers: ``<!-- results: STUDY -->`` … ``<!-- end -->``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fivesigma.evaluate import Measurement

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]


@dataclass(frozen=True)
class Study:
    """What the tables of a study say besides its numbers."""

    title: str
    headlines: Mapping[str, tuple[str, tuple[str, ...]]]  # in the README: title → metric, and models
    baseline: str | None = None  # of its page's table of AUCs, if this program writes it
    columns: Mapping[str, str] | None = (
        None  # of its page's table of metrics, if this program writes it: metric → title
    )


HIGGS_MODELS = ("trees-low", "trees-high", "trees-all", "shallow-all", "deep-low", "deep-high", "deep-all")
STUDIES = {
    "w-tagging": Study(
        "W jets against QCD jets",
        {
            "AUC": ("auc", ("mass+tau21", "fisher", "substructure-bdt", "cnn", "cnn+mass")),
            "1/ε_B at ε_S = 50 %": (
                "rejection_at_0.5",
                ("mass+tau21", "fisher", "substructure-bdt", "cnn", "cnn+mass"),
            ),
        },
        baseline="mass+tau21",
    ),
    "higgs": Study(
        "heavy Higgs boson against top pairs",
        {
            "AUC": ("auc", HIGGS_MODELS),
            "Asimov significance, σ": ("asimov_significance", HIGGS_MODELS[2:]),
        },
        columns={
            "auc": "AUC",
            "asimov_significance": "significance, 100 above 1,000 ± 50",
            "binned_significance": "in bins of the output",
            "training_cpu_seconds": "CPU-seconds, five trainings",
        },
    ),
    "pivot-toy": Study(
        "learning to pivot, two Gaussians",
        {
            "AUC": ("auc", ("plain", "pivot 50")),
            "distance correlation with Z in signal": (
                "distance_correlation_of_z_in_signal",
                ("plain", "pivot 50"),
            ),
        },
    ),
    "w-tagging-pileup": Study(
        "W jets with and without pile-up",
        {
            "AUC": ("auc", ("mixed", "flatness-boosting", "gradient-reversal", "pivot 100")),
            "distance correlation with pile-up in background": (
                "distance_correlation_of_pile_up_in_background",
                ("mixed", "flatness-boosting", "gradient-reversal", "pivot 100"),
            ),
        },
    ),
    "domain-adaptation": Study(
        "gradient reversal between two parton showers",
        {"AUC": ("auc", ("simulation", "reversal", "reversal, little signal"))},
    ),
    "signed-weights": Study(
        "20 % negative weights, known densities",
        {"bias²": ("bias_squared", ("dense, keep", "dense, absolute-rescaled", "boosted-trees, keep"))},
    ),
    "bayesian": Study(
        "classifiers with error bars, known posterior",
        {
            "coverage of 68 % intervals": (
                "coverage_68",
                tuple(f"{m} (classification)" for m in ("laplace", "mc-dropout", "bootstrap-ensemble", "variational")),
            )
        },
    ),
    "grid-inference": Study(
        "scores on one core, from ROOT to ROOT",
        {
            "events per CPU-second": (
                "events_per_cpu_second",
                (
                    "higgs trees-all, run",
                    "higgs trees-all, c",
                    "higgs deep-all, onnx",
                    "w-tagging cnn, run",
                    "w-tagging cnn, onnx",
                ),
            )
        },
        columns={
            "microseconds_per_event": "reading, scoring, writing, µs/event",
            "events_per_cpu_second": "events per CPU-second",
            "start_cpu_seconds": "before the first event, CPU-s",
            "peak_memory_mb": "peak memory, large file, MB",
            "memory_growth_mb": "− that of the small file, MB",
            "largest_difference": "largest difference of scores",
        },
    ),
    "topological-trigger": Study(
        "decays of b hadrons in a software trigger",
        {
            "efficiency at 0.5 kHz without beauty": (
                "efficiency_at_0.5_khz",
                ("cuts", "bdt", "bonsai", "uniform-bonsai"),
            ),
            "unevenness (CvM) in decay time": ("flatness_cvm_in_decay_time", ("bonsai", "uniform-bonsai")),
        },
    ),
    "muon-trigger": Study(
        "momentum of muons in integer tables",
        {
            "rate of the analytic fit over the model's at 22 GeV, 90 % efficiency": (
                "rate_reduction_at_22",
                ("trees", "network", "table 2^20", "table 2^24", "table 2^28", "table 2^30"),
            )
        },
    ),
}


def main() -> None:
    """Rewrite all tables."""
    write(ROOT / "README.md", lambda _: readme_table())
    for study, words in STUDIES.items():
        if words.baseline is not None:
            write(ROOT / "docs" / "studies" / f"{study}.md", page_table)
        elif words.columns is not None:
            write(ROOT / "docs" / "studies" / f"{study}.md", metrics_table)


def write(page: Path, table: Callable[[str], str]) -> None:
    """Put a fresh table between each pair of markers of a page."""
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(r"(<!-- results: ([a-z0-9-]+) -->\n).*?(\n<!-- end -->)", re.DOTALL)
    page.write_text(pattern.sub(lambda m: m[1] + table(m[2]) + m[3], text), encoding="utf-8")


def readme_table() -> str:
    """Headline results of every study."""
    lines = ["| study | result | paper |", "|---|---|---|"]
    for study, words in STUDIES.items():
        kept, found = read(study)
        sample = kept["sample"]
        events = f", {sample['signal']:,} + {sample['background']:,} events" if "signal" in sample else ""
        results = [
            f"{title}: " + ", ".join(f"`{model}` {found[model, metric]}" for model in models)
            for title, (metric, models) in words.headlines.items()
        ]
        paper = link(kept["reference"])
        page = f"[`{study}`](docs/studies/{study}.md): {words.title}{events}"
        lines.append(f"| {page} | {'<br>'.join(results)} | {paper} |")
    return "\n".join(lines)


def link(reference: str) -> str:
    """To a paper on arXiv or by its DOI.

    >>> link("arXiv:1511.05190")
    '[arXiv:1511.05190](https://arxiv.org/abs/1511.05190)'
    """
    if not reference:
        return "–"
    archive, _, number = reference.partition(":")
    return f"[{reference}]({'https://doi.org/' if archive == 'doi' else 'https://arxiv.org/abs/'}{number})"


def page_table(study: str) -> str:
    """All models of one study, by AUC, with their paired differences from the baseline."""
    kept, found = read(study)
    baseline = STUDIES[study].baseline
    differences = {
        (d["first"] if d["second"] == baseline else d["second"]): signed(
            d["value"] if d["second"] == baseline else -d["value"], d["uncertainty"]
        )
        for d in kept["differences"]
        if baseline in (d["first"], d["second"]) and d["metric"] == "auc"
    }
    models = sorted({row["model"] for row in kept["results"]}, key=lambda model: found[model, "auc"].value)
    sample = f"{kept['sample']['signal']:,} signal and {kept['sample']['background']:,} background events"
    lines = [
        f"{sample}, `{kept['command']}`, seed {kept['seed']}:",
        "",
        f"| model | AUC | 1/ε_B at ε_S = 50 % | 1/ε_B at ε_S = 20 % | ΔAUC from `{baseline}`, paired | training, CPU-seconds |",
        "|---|---|---|---|---|---|",
    ]
    for model in models:
        cells = [found[model, metric] for metric in ("auc", "rejection_at_0.5", "rejection_at_0.2")]
        seconds = found[model, "training_cpu_seconds"]
        shown = [*map(str, cells), differences.get(model, "–"), f"{seconds.value:.1f} ± {seconds.uncertainty:.1f}"]
        lines.append(f"| `{model}` | {' | '.join(shown)} |")
    return "\n".join(lines)


def metrics_table(study: str) -> str:
    """All models of one study in the order of its results, a column a metric, with the paper's number where it has one."""
    kept, found = read(study)
    columns = STUDIES[study].columns
    assert columns is not None
    paper = {(r["model"], r["metric"]): r["reference"]["value"] for r in kept["results"] if r.get("reference")}
    printed = {metric for _, metric in paper}
    titles = [
        cell for metric, title in columns.items() for cell in ([title, "paper"] if metric in printed else [title])
    ]
    lines = [f"`{kept['command']}`, seed {kept['seed']}:", "", f"| model | {' | '.join(titles)} |"]
    lines.append("|---" * (len(titles) + 1) + "|")
    for model in dict.fromkeys(row["model"] for row in kept["results"]):
        cells = []
        for metric in columns:
            cells.append(str(found.get((model, metric), "–")).replace("-", "−"))
            if metric in printed:
                cells.append(str(paper.get((model, metric), "–")))
        lines.append(f"| `{model}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def signed(value: float, uncertainty: float) -> str:
    """A difference of two AUCs.

    >>> signed(-0.0123, 0.001)
    '−0.0123 ± 0.0010'
    """
    return f"{value:+.4f} ± {uncertainty:.4f}".replace("-", "−")


def read(study: str) -> tuple[dict[str, Any], Mapping[tuple[str, str], Measurement]]:
    """The kept results of a study, and its measurements by model and metric."""
    kept = json.loads((FOLDER / f"{study}.json").read_text(encoding="utf-8"))
    rows = kept["results"]
    return kept, {(r["model"], r["metric"]): Measurement(r["value"], r["uncertainty"], r["how"]) for r in rows}


if __name__ == "__main__":
    main()
