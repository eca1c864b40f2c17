import json
import math
from pathlib import Path

import pytest

from fivesigma.core.errors import ConfigError
from fivesigma.evaluate import Measurement, Reference, results_rows, write_results

MEASURED = {
    "auc": Measurement(0.874, 0.002, "bootstrap, 200 replicas"),
    "rejection_at_0.2": Measurement(math.inf, math.nan, "bootstrap, 200 replicas", (34.2, math.inf)),
}
HEADER = {
    "study": "w-tagging",
    "command": "fivesigma run w-tagging",
    "seed": 1,
    "commit": "abc",
    "versions": {},
    "sample": {"file": "w.root", "events": 3, "xxh3": "00"},
    "cpu_seconds": 2.0,
}


def test_rows_are_what_the_design_says() -> None:
    reference = Reference(value=0.985, source="arXiv:1902.09914, table 1")
    first, second = results_rows("cnn", MEASURED, {"auc": reference})
    assert first == {
        "model": "cnn",
        "metric": "auc",
        "value": 0.874,
        "uncertainty": 0.002,
        "how": "bootstrap, 200 replicas",
        "reference": reference,
    }
    assert (second["value"], second["uncertainty"], second["reference"]) == (None, None, None)
    assert second["how"].endswith("above 34.2 at 84 % confidence")


def test_a_reference_for_nothing_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"cnn: references for \['acu'\]"):
        results_rows("cnn", MEASURED, {"acu": Reference(value=1, source="nowhere")})


def test_the_file_has_header_and_rows_and_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_results(path, HEADER, results_rows("cnn", MEASURED))
    content = json.loads(path.read_text())
    assert content["study"] == "w-tagging"
    assert [row["metric"] for row in content["results"]] == ["auc", "rejection_at_0.2"]


def test_missing_header_and_double_rows_are_refused(tmp_path: Path) -> None:
    rows = results_rows("cnn", MEASURED)
    with pytest.raises(ConfigError, match=r"missing \['seed'\]"):
        write_results(tmp_path / "m.json", {k: v for k, v in HEADER.items() if k != "seed"}, rows)
    with pytest.raises(ConfigError, match=r"more than one row for \[\('cnn', 'auc'\)"):
        write_results(tmp_path / "m.json", HEADER, rows + rows)
