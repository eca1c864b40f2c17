"""What a person sees before writing a study."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import uproot

from fivesigma.core.errors import FileFormatError
from fivesigma.read import inspect

Writer = Callable[..., Path]


@pytest.mark.parametrize("rntuple", [False, True], ids=["TTree", "RNTuple"])
def test_branches_types_and_first_values(write_tree: Writer, rntuple: bool) -> None:
    path = write_tree(n=4, rntuple=rntuple, weight=np.array([1.0, np.nan, -np.inf, 2.0]))
    inspection = inspect(path)
    rows = {row["branch"]: row for row in inspection.rows() if not row["branch"].startswith("nconst")}
    assert rows.keys() == {"event_number", "pt", "flag", "constituent_pt", "weight"}
    assert rows["event_number"]["type"] == "int64"
    assert rows["event_number"]["first"] == "0, 1, 2"
    assert rows["constituent_pt"]["type"] == "jagged float32"
    assert rows["weight"]["first"] == "1.0, nan, -inf"
    assert all(row["entries"] == "4" and row["tree"] == "jets" and row["codec"] for row in rows.values())
    content = json.loads(json.dumps(inspection.to_json(), allow_nan=False))
    assert content["files"][0]["container"] == ("RNTuple" if rntuple else "TTree")
    assert content["files"][0]["size"] == path.stat().st_size
    assert len(content["files"][0]["xxh3"]) == 32


def test_an_empty_tree_is_listed(write_tree: Writer) -> None:
    rows = inspect(write_tree(n=0)).rows()
    assert {row["entries"] for row in rows} == {"0"}
    assert {row["first"] for row in rows} == {""}


def test_an_unknown_tree_is_refused(write_tree: Writer) -> None:
    with pytest.raises(FileFormatError, match="unknown tree 'jet'; did you mean 'jets'"):
        inspect(write_tree(), tree="jet")


def test_a_damaged_branch_says_so_in_its_place(write_tree: Writer) -> None:
    path = write_tree(n=2000)
    with uproot.open(path) as file:
        offset = file["jets"]["pt"].member("fBasketSeek")[0]
    content = bytearray(path.read_bytes())
    content[offset + 120] ^= 0xFF
    path.write_bytes(bytes(content))
    rows = {row["branch"]: row["first"] for row in inspect(path).rows()}
    assert rows["pt"].startswith("cannot read entries 0 to ")
    assert rows["event_number"] == "0, 1, 2"
