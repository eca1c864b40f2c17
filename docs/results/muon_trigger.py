"""The tables of docs/studies/muon-trigger.md, from the kept results: ``python docs/results/muon_trigger.py``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fivesigma.evaluate import Measurement

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parent / "studies" / "muon-trigger.md"

RATES = {
    "rate_at_10": "rate at 10 GeV",
    "rate_at_22": "at 22 GeV",
    "rate_at_25": "at 25 GeV",
    "rate_reduction_at_10": "reduction at 10 GeV",
    "rate_reduction_at_22": "at 22 GeV",
    "rate_reduction_at_25": "at 25 GeV",
}
POWERS = {
    "rate_reduction_at_22_power_4": "pT⁻⁴",
    "rate_reduction_at_22": "pT⁻⁵",
    "rate_reduction_at_22_power_6": "pT⁻⁶",
    "plateau_efficiency_22": "plateau above 44 GeV, all muons",
    "plateau_efficiency_of_tracks_22": "with a track",
}
WIDTHS = {
    "resolution_4_7": "4–7 GeV",
    "resolution_10_15": "10–15 GeV",
    "resolution_20_30": "20–30 GeV",
    "resolution_50_100": "50–100 GeV",
    "charge_misidentification_4_7": "wrong charge, 4–7 GeV",
    "charge_misidentification_20_30": "20–30 GeV",
    "charge_misidentification_50_100": "50–100 GeV",
}
AGAINST_TREES = {f"rate_reduction_at_{threshold}": f"{threshold} GeV" for threshold in (10, 22, 25)}
PRUNED = {
    "rate_at_22": "rate at 22 GeV",
    "rate_reduction_at_22": "reduction against analytic",
    "share_of_rate_below_10": "share of rate below 10 GeV",
    "mean_squared_error": "mean (Δ ln pT)²",
    "resolution_20_30": "resolution, 20–30 GeV",
}


def main() -> None:
    """Rewrite the tables between their markers."""
    kept = json.loads((FOLDER / "muon-trigger.json").read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    for name, text in tables(kept).items():
        pattern = re.compile(rf"(<!-- muons: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page = pattern.sub(lambda match, text=text: match[1] + text + match[2], page)  # type: ignore[misc]
    PAGE.write_text(page, encoding="utf-8")


def tables(kept: dict[str, Any]) -> dict[str, str]:
    """All tables of the page, by their names there."""
    models = list(dict.fromkeys(row["model"] for row in kept["results"]))
    pruned = [model for model in models if model.startswith("without ")]
    others = [model for model in models if model not in pruned]
    return {
        "rates": of_models(kept, others, RATES),
        "against trees": of_models(kept, others, AGAINST_TREES, against="trees"),
        "powers": of_models(kept, others, POWERS),
        "widths": of_models(kept, others, WIDTHS),
        "pruned": of_models(kept, ["analytic", "trees", *pruned], PRUNED),
        "bits": bits(kept["tables"]),
    }


def of_models(
    kept: Mapping[str, Any], models: Sequence[str], columns: Mapping[str, str], *, against: str | None = None
) -> str:
    """A row a model: its results, or its paired differences from another."""
    if against:
        found = {(row["first"], row["metric"]): row for row in kept["differences"] if row["second"] == against}
    else:
        found = {(row["model"], row["metric"]): row for row in kept["results"]}
    lines = [f"| model | {' | '.join(columns.values())} |", "|---" * (len(columns) + 1) + "|"]
    for model in models:
        cells = " | ".join(cell(found.get((model, metric))) for metric in columns)
        lines.append(f"| `{model}` | {cells} |")
    return "\n".join(lines) + "\n"


def bits(costs: Mapping[str, Mapping[str, Any]]) -> str:
    """Bits of each input, and what each table took."""
    inputs = list(next(iter(costs.values()))["bits"])
    titles = [f"`{name}`" for name in inputs]
    lines = [f"| table | {' | '.join(titles)} | bytes | CPU-s | addresses compared |", "|---" * (len(inputs) + 4) + "|"]
    for name, cost in costs.items():
        spent = " | ".join(str(cost["bits"][field]) for field in inputs)
        lines.append(
            f"| `{name}` | {spent} | {cost['bytes']:,} | {cost['cpu_seconds']:.0f} | {cost['cells_compared']:,} |"
        )
    return "\n".join(lines) + "\n"


def cell(row: dict[str, Any] | None) -> str:
    """Value ± uncertainty, a dash where a model has no such number."""
    if row is None:
        return "–"
    return str(Measurement(row["value"], row["uncertainty"], row["how"])).replace("-", "−")


if __name__ == "__main__":
    main()
