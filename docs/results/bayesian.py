"""The tables of docs/studies/bayesian.md, from the kept results: ``python docs/results/bayesian.py``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fivesigma.evaluate import Measurement

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parent / "studies" / "bayesian.md"

TABLES: dict[str, dict[str, str]] = {
    "classification": {
        "auc": "AUC",
        "divergence_from_truth": "KL from truth, nats",
        "coverage_68": "coverage of 68 %",
        "coverage_95": "of 95 %",
        "width_68": "width of 68 %",
        "training_cpu_seconds": "training, CPU-s",
        "microseconds_per_event": "prediction, µs/event",
        "gain_per_cpu_second": "gain per CPU-s, nats",
    },
    "regression": {
        "nll_above_truth": "−log likelihood above truth, nats",
        "crps": "CRPS",
        "coverage_68": "coverage of 68 %, response",
        "coverage_of_mean_68": "coverage of 68 %, mean",
        "coverage_of_mean_95": "of 95 %, mean",
        "width_of_mean_68": "width of 68 %, mean",
        "training_cpu_seconds": "training, CPU-s",
        "microseconds_per_event": "prediction, µs/event",
        "gain_per_cpu_second": "gain per CPU-s, nats",
    },
}


def main() -> None:
    """Rewrite the tables between their markers."""
    kept = json.loads((FOLDER / "bayesian.json").read_text(encoding="utf-8"))
    pattern = re.compile(r"(<!-- results: bayesian -->\n).*?(<!-- end -->)", re.DOTALL)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(pattern.sub(lambda match: match[1] + tables(kept) + match[2], page), encoding="utf-8")


def tables(kept: dict[str, Any]) -> str:
    """One table for the classes, one for the response."""
    sample = kept["sample"]
    events = f"{sample['train_events']:,} training and {sample['test_events']:,} test events"
    made = f"seed {kept['seed']}, {kept['cpu_seconds']:.0f} CPU-seconds in all"
    lines = [f"{sample['experiments']} experiments of {events}, {made}:"]
    for task, columns in TABLES.items():
        methods = dict.fromkeys(row["model"] for row in kept["results"] if row["model"].endswith(f"({task})"))
        found = {(row["model"], row["metric"]): row for row in kept["results"]}
        lines += ["", f"| {task} | {' | '.join(columns.values())} |", "|---" * (len(columns) + 1) + "|"]
        for method in methods:
            cells = " | ".join(cell(found.get((method, metric))) for metric in columns)
            lines.append(f"| `{method.removesuffix(f' ({task})')}` | {cells} |")
    return "\n".join(lines) + "\n"


def cell(row: dict[str, Any] | None) -> str:
    """Value ± uncertainty, a dash where a method has no such number."""
    if row is None:
        return "–"
    return str(Measurement(row["value"], row["uncertainty"], row["how"])).replace("-", "−")


if __name__ == "__main__":
    main()
