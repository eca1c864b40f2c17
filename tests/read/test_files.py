"""Lists of files and filesets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fivesigma.core.errors import ConfigError, FileFormatError, UnknownNameError
from fivesigma.read import open_events
from fivesigma.read.files import Location, find_files

Writer = Callable[..., Path]


def test_a_list_of_files_is_relative_to_itself(write_tree: Writer, tmp_path: Path) -> None:
    a, b = write_tree("data/a.root", seed=1), write_tree("data/more/b2.root", seed=2)
    listed = tmp_path / "data" / "files.txt"
    listed.write_text("# two files\na.root\n\nmore/b*.root  # by glob\n")
    assert [location.path for location in find_files(listed)] == [a, b]


def test_an_empty_list_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "files.txt").write_text("# nothing\n")
    with pytest.raises(ConfigError, match="names no files"):
        find_files(tmp_path / "files.txt")


def test_a_fileset_names_files_and_trees(write_tree: Writer, tmp_path: Path) -> None:
    write_tree("a.root", n=3, tree="Events")
    write_tree("b.root", n=5, tree="other", seed=2)
    plain = {"files": {"a.root": "Events", str(tmp_path / "b.root"): "other"}, "metadata": {"xsec": 1.0}}
    preprocessed = {"files": {"a.root": {"object_path": "Events", "steps": [[0, 3]], "uuid": "x"}}}
    fileset = tmp_path / "fileset.json"
    fileset.write_text(json.dumps({"TTbar": plain, "DY": preprocessed, "W": ["a.root"]}))
    events = open_events(f"{fileset}#TTbar")
    assert [(f.path.name, f.tree, f.entries) for f in events.files] == [("a.root", "Events", 3), ("b.root", "other", 5)]
    assert find_files(f"{fileset}#DY") == [Location(tmp_path / "a.root", "Events")]
    assert find_files(f"{fileset}#W") == [Location(tmp_path / "a.root", None)]


def test_the_only_dataset_needs_no_name(write_tree: Writer, tmp_path: Path) -> None:
    write_tree("a.root")
    (tmp_path / "one.json").write_text(json.dumps({"TTbar": {"files": {"a.root": "jets"}}}))
    assert find_files(tmp_path / "one.json") == [Location(tmp_path / "a.root", "jets")]


@pytest.mark.parametrize(
    ("content", "dataset", "error", "message"),
    [
        ("{", "", ConfigError, "is not JSON"),
        ("[]", "", ConfigError, "expected a fileset"),
        ('{"a": ["x"], "b": ["y"]}', "", ConfigError, "has 2 datasets: name one as .*fileset.json#a"),
        ('{"TTbar": ["x"]}', "#TTber", UnknownNameError, "did you mean 'TTbar'"),
        ('{"TTbar": {"metadata": {}}}', "", ConfigError, "expected `files`"),
        ('{"TTbar": {"files": {"a.rooot": "t"}}}', "", FileFormatError, "no such file"),
    ],
)
def test_mistakes_in_filesets(
    write_tree: Writer, tmp_path: Path, content: str, dataset: str, error: type[Exception], message: str
) -> None:
    write_tree("a.root")
    (tmp_path / "fileset.json").write_text(content)
    with pytest.raises(error, match=message):
        find_files(f"{tmp_path / 'fileset.json'}{dataset}")


def test_a_fileset_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no such file"):
        find_files(f"{tmp_path / 'fileset.json'}#TTbar")
