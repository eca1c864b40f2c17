"""Faults of a conversion: counts at the edges (15), disks (23), damaged output (25), changed code (26), -O and C (30)."""

# ruff: noqa: F811  fixtures of another folder are imported by name
from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from tests.dataset.conftest import jets, write_jets  # noqa: F401
from tests.dataset.test_convert import changed, folder_bytes, with_files
from tests.faults.conversion_killed import arm, forked

from fivesigma.core.errors import DatasetError, NoEventsError, OutputError, ResumeError
from fivesigma.dataset import Conversion, Sample, convert, shards
from fivesigma.dataset.code import code_digests
from fivesigma.read import open_events, write_manifest

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


def test_a_full_disk_ends_in_words(jets: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own full device takes the bytes of the second shard."""
    opened = []

    def on_a_full_disk(path: Any, mode: str = "r") -> Any:
        opened.append(Path(path))
        Path(path).touch()
        return open("/dev/full" if len(opened) == 2 else path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "open", on_a_full_disk, raising=False)
        with pytest.raises(OutputError, match=r"cannot write .*000001.bin: No space left on device; choose another"):
            convert(jets, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.glob(".out.partial/**/*.bin")] == ["000000.bin"]
    assert folder_bytes(convert(jets, tmp_path / "out").path) == folder_bytes(convert(jets, tmp_path / "whole").path)


@pytest.mark.parametrize(
    ("operation", "number", "words"),
    [
        ("fsync", errno.EDQUOT, "Disk quota exceeded"),
        ("fsync", errno.EIO, "Input/output error"),
        ("replace", errno.EROFS, "Read-only file system"),
    ],
)
def test_a_disk_that_takes_no_more_ends_in_words(
    jets: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, number: int, words: str
) -> None:
    """At each such operation of a conversion, the last of which gives the dataset its name."""
    real, calls = getattr(os, operation), iter(range(100))

    def failing(*paths: Any) -> Any:
        if next(calls) == after:
            raise OSError(number, os.strerror(number))
        return real(*paths)

    for after in range(0, 100, 3):
        calls = iter(range(100))
        output = tmp_path / f"{after}"
        with monkeypatch.context() as patch:
            patch.setattr(os, operation, failing)
            try:
                convert(jets, output)
                break
            except OutputError as error:
                assert words in str(error)  # noqa: PT017
        assert not output.exists()
        assert not list(tmp_path.glob(f".{after}.partial/**/.*.partial"))
        convert(jets, output)
    assert after > 9
    assert len({str(folder_bytes(tmp_path / f"{i}")) for i in range(0, after, 3)}) == 1


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


def test_code_that_changed_halfway_is_refused(
    jets: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conversion that was killed is not gone on with by another version."""

    def die() -> None:
        arm("replace", 4)
        convert(jets, tmp_path / "out")

    assert forked(die) == -signal.SIGKILL
    before = code_digests()
    with monkeypatch.context() as patch:
        patch.setattr("fivesigma.dataset.inputs.code_digests", lambda: {**before, "read/basket.py": "0"})
        with pytest.raises(ResumeError, match=r"code.read/basket.py: '[0-9a-f]{16}' there, '0' now(.|\n)*Delete it"):
            convert(jets, tmp_path / "out")
    assert len(convert(jets, tmp_path / "out")) > 150


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


NAMES = """
import json
import sys
from fivesigma.dataset import Conversion, convert
from fivesigma.read import open_events, write_manifest
from fivesigma.core.errors import FivesigmaError

conversion, output = Conversion.model_validate(json.loads(sys.argv[1])), sys.argv[2]
convert(conversion, output)
write_manifest(conversion.samples[0].files, output + ".json")
try:
    open_events(conversion.samples[0].files[0]).files[0].branch("caf")
except FivesigmaError as error:
    print(error)
"""


@pytest.mark.parametrize("options", [(), ("-O",)], ids=["python", "python -O"])
def test_names_that_are_not_utf8_are_converted_in_the_c_locale(tmp_path: Path, options: tuple[str, ...]) -> None:
    """A branch called b"caf\\xe9", as Latin-1 has it: column, manifest, and what an error says of it."""
    path = tmp_path / "a.root"
    with uproot.recreate(path, compression=None) as file:
        file.mktree("t", {"cafX": np.float64, "event": np.int64}).extend(
            {"cafX": np.arange(50.0), "event": np.arange(50)}
        )
    path.write_bytes(path.read_bytes().replace(b"cafX", b"caf\xe9"))
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    sample = Sample(name="a", files=(str(path),), label="event % 2")
    conversion = Conversion(samples=(sample,), columns=(name,), identity=("event",), step=20)
    whole = convert(conversion, tmp_path / "whole")
    np.testing.assert_array_equal(whole.column(name), np.arange(50.0))
    write_manifest(path, tmp_path / "whole.json")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, *options, "-c", NAMES, json.dumps(conversion.model_dump()), str(tmp_path / "out")],
        capture_output=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"did you mean caf" in done.stdout
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "whole")
    assert (tmp_path / "out.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    open_events(path, manifest=tmp_path / "out.json")
