"""Faults of a conversion: counts at the edges (15), disks (23), damaged output (25), changed code (26), -O and C (30)."""

# ruff: noqa: F811  fixtures of another folder are imported by name
from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.dataset.conftest import jets, write_jets  # noqa: F401
from tests.dataset.test_convert import changed, folder_bytes, with_files
from tests.faults.conversion_killed import forked

from fivesigma.core.errors import DatasetError, NoEventsError, OutputError, ResumeError
from fivesigma.dataset import Conversion, convert
from fivesigma.dataset.code import code_digests

JetWriter = Callable[..., Path]

REFUSING = """
import sys
from fivesigma.dataset import Conversion, Dataset, convert
from fivesigma.core.errors import FivesigmaError

conversion, output = Conversion.model_validate_json(sys.argv[1]), sys.argv[2]
convert(conversion, output)
bad = Conversion.model_validate({**conversion.model_dump(), "row": ["jet_index"]})
for refused in (lambda: convert(bad, output + "-row"), lambda: convert(bad, output), lambda: Dataset.open(sys.argv[3])):
    try:
        refused()
    except FivesigmaError as error:
        print(type(error).__name__)
"""


@pytest.mark.parametrize(("n", "step"), [(1, 40), (39, 40), (40, 40), (41, 40), (81, 40), (201, 200)])
def test_every_entry_is_counted_once(
    jets: Conversion,
    write_jets: JetWriter,
    tmp_path: Path,
    n: int,
    step: int,
) -> None:
    path = write_jets("n.root", n, seed=8, jet_mass=np.full(n, 85, np.float32))
    dataset = convert(changed(with_files(jets, QCD=path), selection={}, step=step), tmp_path / "out")
    ledger = dataset.ledger.files[-1]
    assert (ledger.entries, ledger.read.events, ledger.selected.events) == (n, n, n)
    assert sum(shard.rows for shard in dataset.shards) == len(dataset) == 300 + n
    np.testing.assert_array_equal(np.asarray(dataset.column("event_number"))[-n:], np.arange(n))


def test_an_empty_tree(jets: Conversion, write_jets: JetWriter, tmp_path: Path) -> None:
    with pytest.raises(NoEventsError, match="the tree has no entries"):
        convert(with_files(jets, QCD=write_jets("empty.root", 0)), tmp_path / "out")


def test_a_quota_ends_in_words_and_leaves_no_final_name(jets: Conversion, tmp_path: Path) -> None:
    def with_quota() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
        with pytest.raises(OutputError, match=r"cannot write .*000000.bin: File too large; choose another output"):
            convert(jets, tmp_path / "out")

    assert forked(with_quota) == 0
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out.partial/**/*.bin"))
    convert(jets, tmp_path / "out")
    convert(jets, tmp_path / "whole")
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "whole")


def test_a_place_that_cannot_be_written(jets: Conversion) -> None:
    with pytest.raises(OutputError, match="cannot write /proc/"):
        convert(jets, "/proc/fivesigma/out")


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damage_to_any_shard_is_found_before_it_is_used(
    jets: Conversion,
    tmp_path: Path,
    damage: str,
) -> None:
    convert(jets, tmp_path / "out")
    for shard in sorted((tmp_path / "out" / "shards").iterdir()):
        content = shard.read_bytes()
        if damage == "delete":
            shard.unlink()
        else:
            middle = len(content) // 2
            end = content[middle + 1 :] if damage == "flip" else b""
            shard.write_bytes(content[:middle] + bytes([content[middle] ^ 8]) + end)
        with pytest.raises(DatasetError, match=f"{shard.name} (is damaged|is missing|has)"):
            convert(jets, tmp_path / "out")
        shard.write_bytes(content)
    convert(jets, tmp_path / "out")


def test_changed_code_is_refused_with_the_module(
    jets: Conversion,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    convert(jets, tmp_path / "out")
    before = code_digests()
    assert {"dataset/rows.py", "dataset/shards.py", "read/root.py", "core/jagged.py"} <= before.keys()
    monkeypatch.setattr("fivesigma.dataset.inputs.code_digests", lambda: {**before, "dataset/rows.py": "0"})
    with pytest.raises(ResumeError, match=r"code.dataset/rows.py: '[0-9a-f]{16}' there, '0' now") as caught:
        convert(jets, tmp_path / "out")
    assert str(caught.value).count(" there, ") == 1


def test_optimised_python_and_the_c_locale_do_the_same(
    jets: Conversion,
    write_jets: JetWriter,
    tmp_path: Path,
) -> None:
    def muons(start: float) -> dict[str, Any]:  # as a keyword, Python would make another letter of it
        return {"pt_µ": np.linspace(start, start + 1, 200, dtype=np.float32)}

    path = write_jets("qcd2.root", 200, seed=3, **muons(0))  # Python cannot spell other names of files in this locale
    one = write_jets("w.root", 200, seed=1, **muons(1))
    conversion = changed(with_files(jets, W=one, QCD=path), observers=["pt_µ"])
    convert(conversion, tmp_path / "whole")
    convert(conversion, tmp_path / "damaged")
    shard = next((tmp_path / "damaged" / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1])
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-O", "-c", REFUSING, json.dumps(conversion.model_dump(mode="json"))]
    done = subprocess.run(
        [*command, str(tmp_path / "out"), str(tmp_path / "damaged")],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.stdout.split() == ["SplitError", "ResumeError", "DatasetError"], done.stderr
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "whole")
