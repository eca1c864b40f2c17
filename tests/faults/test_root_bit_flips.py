"""The documentation's table of what a flipped bit does is the one that was measured, and says what it must."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.bit_flips import RESULT, table

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "integrity.md"


def test_the_table_is_what_was_measured() -> None:
    results = json.loads(RESULT.read_text(encoding="utf-8"))["results"]
    assert table(results) in DOCUMENT.read_text(encoding="utf-8")
    for result in results:
        assert result["flips"] >= 100
        assert result["manifest"]["silent"] == result["manifest"]["same"] == 0, result["file"]
        assert result["fivesigma"]["silent"] <= result["uproot"]["silent"], result["file"]
        checked = any(word in result["file"] for word in ("zlib", "lzma", "rntuple_v1"))
        assert not (checked and result["fivesigma"]["silent"]), result["file"]
