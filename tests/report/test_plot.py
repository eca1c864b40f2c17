"""A plot's files: the data that are drawn, and the same bytes from the same data."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from fivesigma.core.errors import ConfigError, OutputError
from fivesigma.report import Plot, file_stem, save_plot
from fivesigma.report.plot import json_able, picture


def draw_points(figure: Figure, data: Mapping[str, Any]) -> None:
    axes = figure.add_subplot()
    axes.plot(data["x"], data["y"], "o", label="toy")
    axes.legend()


def points(**changes: Any) -> Plot:
    content: dict[str, Any] = {
        "name": "points", "title": "Points", "caption": "Two.",
        "data": {"x": np.array([1.0, 2.0]), "y": [3, np.nan]}, "draw": draw_points, "size": (2.0, 2.0),
    }  # fmt: skip
    return Plot(**(content | changes))


def test_saved_data_are_the_drawn_data(tmp_path: Path) -> None:
    drawn: list[Mapping[str, Any]] = []

    def draw(figure: Figure, data: Mapping[str, Any]) -> None:
        drawn.append(data)

    files = save_plot(points(draw=draw), tmp_path)
    saved = json.loads(files.json.read_text())
    assert saved == {"name": "points", "title": "Points", "caption": "Two.", "data": {"x": [1.0, 2.0], "y": [3, None]}}
    assert drawn == [saved["data"]]


def test_files_are_what_their_names_say(tmp_path: Path) -> None:
    files = save_plot(points(), tmp_path)
    assert files.svg.read_bytes().startswith(b"<?xml")
    assert files.pdf.read_bytes().startswith(b"%PDF")
    assert files.png.read_bytes().startswith(b"\x89PNG")


def test_the_same_data_give_the_same_bytes() -> None:
    first, second = picture(points()), picture(points())
    assert first == second
    assert b"<dc:date>" not in first["svg"]
    assert b"CreationDate" not in first["pdf"]
    assert picture(points(data={"x": [1.0], "y": [2.0]}))["png"] != first["png"]


@pytest.mark.parametrize("name", ["", "../up", "a/b", "A", ".hidden", "a" * 200, "a b"])
def test_names_that_are_no_file_stems_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a figure's file"):
        points(name=name)


@settings(deadline=None, max_examples=200)
@given(st.text(), st.text())
def test_any_two_texts_make_two_valid_file_stems(first: str, second: str) -> None:
    assert points(name=f"x-{file_stem(first)}").name
    assert points(name=file_stem(first)).name
    assert (file_stem(first) == file_stem(second)) == (first == second)


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot write a object into a figure's data"):
        json_able({"x": object()})


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        save_plot(points(), tmp_path / "file" / "figures")


def test_the_text_alternative_is_never_empty() -> None:
    assert points().text_alternative == "Points. Two."
    assert points(alt="Two points.").text_alternative == "Two points."
