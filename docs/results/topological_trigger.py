"""Tables and figures of docs/studies/topological-trigger.md: ``python docs/results/topological_trigger.py [RUN]``.

Tables come from the kept results; figures are copied from the run directory, if one is given.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fivesigma.evaluate import Measurement
from fivesigma.simulate.heavy_flavour_decays import MODES

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parent / "studies" / "topological-trigger.md"
FIGURES = (
    "efficiency-against-rate",
    "efficiency-by-decay",
    "flatness-decay-time",
    "flatness-corrected-mass",
    "loss-against-size",
    "stability",
    "monitoring-alarms-changed-3",
    "inputs",
)
MODELS = ("cuts", "bdt", "bonsai", "uniform-bdt", "uniform-bonsai")

Rows = Mapping[tuple[str, str], dict[str, Any]]


def main(run: Path | None) -> None:
    """Rewrite the tables between their markers."""
    kept = json.loads((FOLDER / "topological-trigger.json").read_text(encoding="utf-8"))
    rows = {(row["model"], row["metric"]): row for row in kept["results"]}
    page = PAGE.read_text(encoding="utf-8")
    tables = {
        "rates": by_rate(rows),
        "decays": by_decay(rows),
        "differences": differences(kept),
        "flatness": flatness(kept, rows),
        "stability": stability(rows),
        "sizes": sizes(kept),
        "cost": cost(rows),
        "monitoring": monitoring(kept),
    }
    for name, table in tables.items():
        pattern = re.compile(rf"(<!-- trigger: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        lines = "\n".join(table) + "\n"
        page = pattern.sub(lambda match, lines=lines: match[1] + lines + match[2], page)  # type: ignore[misc]
    PAGE.write_text(page, encoding="utf-8")
    if run is not None:
        for name in FIGURES:
            shutil.copyfile(run / "figures" / f"{name}.png", FOLDER.parent / "figures" / f"trigger-{name}.png")


def by_decay(rows: Rows) -> list[str]:
    """Each model's efficiency for each decay, at the middle rate."""
    lines = [f"| at 0.5 kHz | {' | '.join(f'`{m}`' for m in MODELS)} |", "|---" * (len(MODELS) + 1) + "|"]
    for title, word in [("all", ""), *((f"{m.title}, {m.kind}", f"_of_{m.name}") for m in MODES)]:
        cells = [cell(rows[model, f"efficiency{word}_at_0.5_khz"]) for model in MODELS]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def by_rate(rows: Rows) -> list[str]:
    """Efficiency at each rate, and what passes at the middle one."""
    lines = [
        "| model | at 0.2 kHz | at 0.5 kHz | at 1.5 kHz | kHz light, at 0.5 kHz | charm | beauty |",
        "|---|---|---|---|---|---|---|",
    ]
    for model in MODELS:
        cells = [cell(rows[model, f"efficiency_at_{rate}_khz"]) for rate in ("0.2", "0.5", "1.5")]
        cells += [cell(rows[model, f"rate_khz_of_{kind}_at_0.5_khz"]) for kind in ("light", "charm", "beauty")]
        lines.append(f"| `{model}` | {' | '.join(cells)} |")
    return lines


def differences(kept: dict[str, Any]) -> list[str]:
    """Paired differences of the efficiency of all decays and of unevenness."""
    lines = ["| paired difference | at 0.2 kHz | at 0.5 kHz | at 1.5 kHz |", "|---|---|---|---|"]
    found = {(d["first"], d["second"], d["metric"]): d for d in kept["differences"]}
    for first, second in dict.fromkeys((d["first"], d["second"]) for d in kept["differences"]):
        cells = [signed(found[first, second, f"efficiency_at_{rate}_khz"]) for rate in ("0.2", "0.5", "1.5")]
        lines.append(f"| `{first}` − `{second}` | {' | '.join(cells)} |")
    return lines


def flatness(kept: dict[str, Any], rows: Rows) -> list[str]:
    """Unevenness with and without the uniform loss."""
    lines = ["| 10⁻³ | plain | uniform | difference, paired |", "|---|---|---|---|"]
    for row in kept["differences"]:
        if row["metric"].startswith("flatness"):
            variable = row["metric"].removeprefix("flatness_cvm_in_").replace("_", " ")
            both = [cell(rows[row[which], row["metric"]], 1e3) for which in ("second", "first")]
            lines.append(f"| `{row['second']}`, {variable} | {' | '.join(both)} | {signed(row, 1e3)} |")
    return lines


def stability(rows: Rows) -> list[str]:
    """Changes under each variation."""
    variations = [m.removeprefix("efficiency_change, ") for model, m in rows if model == "bdt" and "efficiency_ch" in m]
    lines = [
        "| model | " + " | ".join(f"{v}: rate, % | efficiency, %" for v in variations) + " |",
        "|---" * (1 + 2 * len(variations)) + "|",
    ]
    for model in MODELS:
        cells = []
        for variation in variations:
            changes = ("relative_rate_change", "efficiency_change")
            cells += [signed(rows[model, f"{change}, {variation}"], 100) for change in changes]
        lines.append(f"| `{model}` | {' | '.join(cells)} |")
    return lines


def sizes(kept: dict[str, Any]) -> list[str]:
    """Tables by size, with their loss."""
    lines = [
        "| table | bins (tracks, Σ pT, least pT, mass, corrected mass, closest approach, impact, flight) | cells | loss, % |",
        "|---|---|---|---|",
    ]
    for way, chosen in kept["table_sizes"].items():
        for size in chosen:
            bins = " × ".join(str(n) for n in size["bins"].values())
            lines.append(
                f"| {way.split(',')[0]}, {size['how']} | {bins} | {size['cells']:,} | {signed(size['loss'], 100)} |"
            )
    return lines


def cost(rows: Rows) -> list[str]:
    """Time per candidate."""
    lines = ["| evaluated by | ns per candidate |", "|---|---|"]
    for (model, metric), row in rows.items():
        if metric == "nanoseconds_per_candidate":
            lines.append(f"| {model} | {cell(row)} |")
    return lines


def monitoring(kept: dict[str, Any]) -> list[str]:
    """Alarms by run and quantity."""
    lines = [
        "| eight slices of time, the last four with | comparisons | alarms before | after | raised by |",
        "|---|---|---|---|---|",
    ]
    for name, drift in kept["monitoring"].items():
        before = sum(alarm["slice"] < 4 for alarm in drift["alarms"])
        raised: dict[str, int] = {}
        for alarm in drift["alarms"]:
            raised[alarm["quantity"]] = raised.get(alarm["quantity"], 0) + 1
        said = ", ".join(f"{quantity} ({n})" for quantity, n in raised.items()) or "–"
        number = len(drift["p_value"]) * len(drift["quantities"])
        title = "nothing changed" if name == "nominal" else name
        lines.append(f"| {title} | {number} | {before} | {len(drift['alarms']) - before} | {said} |")
    return lines


def cell(row: Mapping[str, Any], factor: float = 1.0) -> str:
    """Value ± uncertainty."""
    return str(Measurement(factor * row["value"], factor * row["uncertainty"], row["how"])).replace("-", "−")


def signed(row: Mapping[str, Any], factor: float = 1.0) -> str:
    """The same with its sign."""
    shown = cell(row, factor)
    return shown if shown.startswith("−") else f"+{shown}"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
