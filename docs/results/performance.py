"""The tables on the page of speed, written from ``benchmarks/results.json`` between their markers.

``python docs/results/performance.py``, after ``make bench``. Markers: ``<!-- benchmarks: WORDS -->`` … ``<!-- end -->``;
a table has the records whose names begin with one of the words, separated by ``|``; that of ``*`` has the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "performance.md"
RECORDS = ROOT / "benchmarks" / "results.json"


def main() -> None:
    """Rewrite all tables."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), read()), encoding="utf-8")


def read() -> list[dict[str, Any]]:
    """The kept records."""
    records: list[dict[str, Any]] = json.loads(RECORDS.read_text(encoding="utf-8"))
    return records


def with_tables(text: str, records: Sequence[Mapping[str, Any]]) -> str:
    """The page with a fresh table between each pair of markers."""
    pattern = re.compile(r"(<!-- benchmarks: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
    beginnings = {words: tuple(words.split("|")) for _, words, _ in pattern.findall(text)}

    def rows(words: str) -> list[Mapping[str, Any]]:
        if words != "*":
            return [record for record in records if record["name"].startswith(beginnings[words])]
        others = tuple(word for words in beginnings.values() for word in words)
        return [record for record in records if not record["name"].startswith(others)]

    return pattern.sub(lambda m: f"{m[1]}{table(rows(m[2]))}\n{m[3]}", text)


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """One line a record, and the machines that they were taken on.

    >>> row = {"name": "padding", "ours": 1.2e6, "peer": 1e5, "peer_name": "NumPy", "peer_version": "2.4", "unit": "events/s"}
    >>> print(table([row | {"ratio": 12.0, "goal": 10.0, "machine": "one core"}]))
    | job | fivesigma | peer | ratio | asked for |
    |---|---|---|---|---|
    | padding | 1,200,000 events/s | NumPy 2.4: 100,000 events/s | 12 | 10 |
    <BLANKLINE>
    Taken on: one core.
    """
    lines = ["| job | fivesigma | peer | ratio | asked for |", "|---|---|---|---|---|"]
    for r in records:
        peer = f"{r['peer_name']} {r['peer_version']}".strip()
        goal = "–" if r["goal"] is None else _short(r["goal"])
        numbers = [f"{_short(r['ours'])} {r['unit']}", f"{peer}: {_short(r['peer'])} {r['unit']}", _short(r["ratio"])]
        lines.append(f"| {r['name']} | {' | '.join(numbers)} | {goal} |")
    machines = "; ".join(sorted({str(r["machine"]) for r in records}))
    return "\n".join([*lines, "", f"Taken on: {machines}."])


def _short(value: float) -> str:
    """Three digits, without an exponent.

    >>> _short(1234567.0), _short(12.345), _short(0.5)
    ('1,230,000', '12.3', '0.5')
    """
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


if __name__ == "__main__":
    main()
