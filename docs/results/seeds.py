"""The spread between trainings: mean and standard deviation over runs of one study with different seeds.

``make seeds`` runs the study and calls this with the run directories; it writes ``w-tagging-seeds.json`` beside itself.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

METRICS = ("auc", "rejection_at_0.5")


def main(runs: list[Path]) -> None:
    """Collect the metrics of the runs, model by model."""
    kept = [json.loads((run / "metrics.json").read_text(encoding="utf-8")) for run in runs]
    tables = [{(row["model"], row["metric"]): row["value"] for row in content["results"]} for content in kept]
    rows = []
    for model, metric in tables[0]:
        if metric in METRICS:
            values = [table[model, metric] for table in tables]
            rows.append(
                {
                    "model": model,
                    "metric": metric,
                    "values": values,
                    "value": statistics.mean(values),
                    "uncertainty": statistics.stdev(values),
                    "how": f"mean and standard deviation of {len(values)} trainings on the same folds",
                    "reference": None,
                }
            )
    content = {
        "study": kept[0]["study"],
        **{name: [k[name] for k in kept] for name in ("command", "seed", "commit")},
        "versions": kept[0]["versions"],
        "sample": kept[0]["sample"],
        "cpu_seconds": sum(k["cpu_seconds"] for k in kept),
        "results": rows,
    }
    path = Path(__file__).with_name("w-tagging-seeds.json")
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
