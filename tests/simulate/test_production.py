from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.simulate.example_tasks import DyingTask, FailingTask, RandomTask

from fivesigma.core.errors import ConfigError, DatasetError, OutputError, ResumeError, SimulationError
from fivesigma.core.jagged import Jagged
from fivesigma.simulate.production import Part, Task, differences, produce, read_part, read_parts, write_part

CONFIG = {"seed": 1, "cuts": {"pt": [250.0, 300.0]}}
TASKS = [RandomTask("signal", index, 50) for index in range(5)]


def content(folder: Path, tasks: list[RandomTask]) -> list[dict[str, list[float]]]:
    return [
        {n: (c.values if isinstance(c, Jagged) else c).tolist() for n, c in part.columns.items()}
        for part in read_parts(tasks, folder)
    ]


def test_a_part_is_read_back_as_written(tmp_path: Path) -> None:
    part = RandomTask("signal", 3, 20).generate()
    write_part(tmp_path / "part.npz", part)
    back = read_part(tmp_path / "part.npz")
    assert back.summary == part.summary
    for name, column in part.columns.items():
        found = back.columns[name]
        assert found.dtype == column.dtype
        if isinstance(column, Jagged):
            assert isinstance(found, Jagged)
            np.testing.assert_array_equal(found.offsets, column.offsets)
            found, column = found.values, column.values
        np.testing.assert_array_equal(found, column)


def test_content_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    assert produce(TASKS, tmp_path / "one", CONFIG, workers=1, description="one") == 0
    assert produce(TASKS, tmp_path / "two", CONFIG, workers=2, description="two") == 0
    assert content(tmp_path / "one", TASKS) == content(tmp_path / "two", TASKS)
    assert read_part(tmp_path / "two" / TASKS[0].file_name).summary["threads"] == "1"


def test_a_rerun_makes_only_what_is_missing(tmp_path: Path) -> None:
    produce(TASKS, tmp_path, CONFIG, workers=1, description="first")
    whole = content(tmp_path, TASKS)
    (tmp_path / TASKS[1].file_name).unlink()
    (tmp_path / TASKS[4].file_name).unlink()
    kept = (tmp_path / TASKS[0].file_name).stat().st_mtime_ns
    assert produce(TASKS, tmp_path, CONFIG, workers=1, description="second") == 3
    assert content(tmp_path, TASKS) == whole
    assert (tmp_path / TASKS[0].file_name).stat().st_mtime_ns == kept
    assert not list(tmp_path.glob("*.partial"))


def test_a_changed_configuration_is_refused(tmp_path: Path) -> None:
    produce(TASKS[:1], tmp_path, CONFIG, workers=1, description="first")
    with pytest.raises(ResumeError, match=r"cuts\.pt: found \[250\.0, 300\.0\], asked for \[350, 400\]"):
        produce(TASKS, tmp_path, {"seed": 1, "cuts": {"pt": [350, 400]}}, workers=1, description="second")


def test_parts_without_a_configuration_are_refused(tmp_path: Path) -> None:
    produce(TASKS[:1], tmp_path, CONFIG, workers=1, description="first")
    (tmp_path / "config.json").unlink()
    with pytest.raises(ResumeError, match=r"no config\.json"):
        produce(TASKS, tmp_path, CONFIG, workers=1, description="second")


def test_a_damaged_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"seed": 1', encoding="utf-8")
    with pytest.raises(ResumeError, match="damaged"):
        produce(TASKS, tmp_path, CONFIG, workers=1, description="second")


def test_differences_name_what_only_one_side_has() -> None:
    assert differences({"a": 1, "b": 2}, {"a": 1, "c": 3}) == [
        "b: found 2, asked for null",
        "c: found null, asked for 3",
    ]


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_part_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / TASKS[0].file_name
    write_part(path, TASKS[0].generate())
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 3] ^= 4
        path.write_bytes(data)
    elif damage == "truncate":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.unlink()
    with pytest.raises(DatasetError, match=r"signal-00000-50\.npz is missing or damaged"):
        list(read_parts(TASKS[:1], tmp_path))


def test_a_part_of_another_length_is_refused(tmp_path: Path) -> None:
    write_part(tmp_path / TASKS[0].file_name, RandomTask("signal", 0, 49).generate())
    with pytest.raises(DatasetError, match="expected 50 entries, column 'jet_pt' has 49"):
        list(read_parts(TASKS[:1], tmp_path))


def test_nothing_in_a_part_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "part.npz", allow_pickle=True, summary=np.array(json.dumps({})), x=np.array([{}], dtype=object))
    with pytest.raises(DatasetError, match="allow_pickle"):
        read_part(tmp_path / "part.npz")


def test_a_failing_task_stops_the_production(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="no jet in part 7"):
        produce([FailingTask("signal", 7, 1)], tmp_path, CONFIG, workers=1, description="fails")


def test_a_killed_process_is_reported_and_the_rest_is_kept(tmp_path: Path) -> None:
    tasks: list[Task] = [TASKS[0], DyingTask("signal", 1, 1), TASKS[2]]
    with pytest.raises(SimulationError, match="a generator process died"):
        produce(tasks, tmp_path, CONFIG, workers=1, description="dies")
    assert (tmp_path / TASKS[0].file_name).exists()
    assert produce([TASKS[0], TASKS[2]], tmp_path, CONFIG, workers=1, description="again") == 1


def test_no_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one worker, got 0"):
        produce(TASKS, tmp_path, CONFIG, workers=0, description="none")


def test_a_file_in_the_way_of_the_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "parts").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot write"):
        produce(TASKS, tmp_path / "parts", CONFIG, workers=1, description="unwritable")


def test_a_task_must_say_how_it_is_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Task("signal", 0, 1)  # type: ignore[abstract]
    assert Part({}, {}).columns == {}
