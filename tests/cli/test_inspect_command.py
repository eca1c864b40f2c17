"""``fivesigma inspect``: protection, wide files, comparisons and manifests at the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import uproot
from typer.testing import CliRunner

from fivesigma.cli.command import app
from fivesigma.read import inspect


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes columns to a TTree ``t`` under a codec."""

    def written(name: str, compression: object, **columns: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Path:
        path = tmp_path / name
        with uproot.recreate(path, compression=compression) as file:
            file.mktree("t", {key: column.dtype for key, column in columns.items()}).extend(columns)
        return path

    return written


def run(*words: str | Path) -> tuple[int, str]:
    answer = CliRunner().invoke(app, ["inspect", *map(str, words)])
    return answer.exit_code, answer.output


def test_the_table_says_what_protects_each_branch(write: Callable[..., Path]) -> None:
    zeros = np.zeros(1000)
    status, text = run(write("a.root", uproot.LZ4(4), x=zeros), write("b.root", None, x=zeros))
    assert status == 0
    lines = [line for line in text.splitlines() if line.startswith("x ")]
    assert [("LZ4 xxh64" in line, "nothing" in line) for line in lines] == [(True, False), (False, True)]
    assert "a.root: t, 1,000 entries" in text


def test_a_comparison_shows_only_what_differs(write: Callable[..., Path]) -> None:
    n = np.arange(3.0)
    a = write("a.root", None, x=n, y=n, z=n)
    b = write("b.root", None, x=n, y=n.astype(np.float32))
    inspection = inspect([a, b], values=0)
    assert inspection.comparison().differences == [
        {"tree": "t", "branch": "y", "type": "float64", "files": "a.root"},
        {"tree": "t", "branch": "y", "type": "float32", "files": "b.root"},
        {"tree": "t", "branch": "z", "type": "float64", "files": "a.root"},
        {"tree": "t", "branch": "z", "type": "missing", "files": "b.root"},
    ]
    assert [(row["entries"], row["branches"]) for row in inspection.comparison().files] == [("3", "3"), ("3", "2")]
    status, text = run(a, a.with_name("b.root"), "--compare", "--json")
    assert status == 0
    assert len(json.loads(text)["differences"]) == 4
    same = write("c.root", None, x=n, y=n, z=n)
    assert "All branches are the same." in run(a, same, "--compare")[1]


@pytest.mark.shared_data
def test_a_wide_file_shows_its_collections(shared_data: Path) -> None:
    """200 real dimuon events with 1,601 branches: a page, not a novel; a glob shows the members of one collection."""
    path = shared_data / "cms-atlas-events" / "nano_dimuon.root"
    inspection = inspect(path, "Events", branches="Muon_*", values=3)
    rows = {row["branch"]: row for row in inspection.rows()}
    assert len(rows) < 120
    assert "branches)" in rows["HLT_*"]["first"]
    muons = inspection.rows("Muon_*")
    assert all(row["branch"].startswith("Muon_") and row["type"].startswith("jagged") for row in muons)
    assert rows["Muon_*"]["first"] == f"({len(muons)} branches)"


def test_manifests(write: Callable[..., Path], tmp_path: Path) -> None:
    paths = [write(f"{name}.root", None, x=np.arange(100.0) + i) for i, name in enumerate("abc")]
    manifest = tmp_path / "manifest.json"
    status, text = run(*paths, "--write-manifest", manifest)
    assert status == 0
    assert all(path.name in text for path in paths)
    assert run(*paths, "--manifest", manifest)[0] == 0
    status, text = run(*paths[:2], "--manifest", manifest, "--json")
    assert status == 1
    assert [row["outcome"] for row in json.loads(text)["files"]] == ["agrees", "agrees", "not given"]
    content = bytearray(paths[1].read_bytes())
    with uproot.open(paths[1]) as file:
        content[file["t"]["x"].member("fBasketSeek")[0] + 200] ^= 1
    paths[1].write_bytes(bytes(content))
    status, text = run(*paths, "--manifest", manifest)
    assert status == 1
    assert "damaged: x (tree t, entries 0 to 100)" in text
