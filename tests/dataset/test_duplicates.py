"""The same event twice, under its own or another name."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.dataset.test_convert import changed, with_files

from fivesigma.core.errors import OutputError, SplitError
from fivesigma.dataset import Conversion, convert, duplicates

JetWriter = Callable[..., Path]


def copied(n: int, **changed: Any) -> dict[str, Any]:
    """Columns of which the first 20 rows can be written twice."""
    rng = np.random.default_rng(11)
    return {
        "jet_pt": rng.uniform(255, 295, n).astype(np.float32),
        "jet_mass": rng.uniform(75, 90, n).astype(np.float32),
        "tau21": rng.random(n).astype(np.float32),
        **changed,
    }


def test_the_same_row_in_two_files_names_both(jets: Conversion, write_jets: JetWriter, tmp_path: Path) -> None:
    a = write_jets("a.root", 50, seed=1, **copied(50))
    b = write_jets("b.root", 50, seed=2, event_number=np.arange(30, 80))
    samples = (jets.samples[0].model_copy(update={"files": (str(a), str(b))}), jets.samples[1])
    with pytest.raises(
        SplitError, match=r"(?s)the same row occurs twice \(sample=0, event_number=\d+, jet_index=0\)"
    ) as caught:
        convert(changed(jets.model_copy(update={"samples": samples}), selection={}), tmp_path / "out")
    assert str(a) in str(caught.value)
    assert str(b) in str(caught.value)


def test_copied_events_under_other_numbers(jets: Conversion, write_jets: JetWriter, tmp_path: Path) -> None:
    content = {name: np.concatenate([v, v[:5]]) for name, v in copied(100).items()}
    path = write_jets("w.root", 105, seed=1, **content)
    conversion = changed(with_files(jets, W=path), selection={})
    with pytest.raises(
        SplitError, match=r"(?s)5 rows repeat the values of another event.*entry 0.*entry 100"
    ) as caught:
        convert(conversion, tmp_path / "out")
    assert "duplicates: allow" in str(caught.value)
    assert len(convert(changed(conversion, duplicates="allow"), tmp_path / "out")) == 305


def test_defaults_coarse_values_and_jets_of_one_event_are_no_copies(
    jets: Conversion, write_jets: JetWriter, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    content = copied(300)
    for column in content.values():
        column[:20] = -999  # reconstruction failed
    defaults = write_jets("defaults.root", 300, seed=1, **content)
    convert(changed(with_files(jets, W=defaults), selection={}, observers=["jet_pt"]), tmp_path / "a")
    coarse = {name: rng.integers(1, 9, 300).astype(np.float32) for name in ("jet_pt", "jet_mass", "tau21")}
    coarse_file = write_jets("coarse.root", 300, seed=1, **coarse)
    convert(changed(with_files(jets, W=coarse_file), selection={}, observers=["jet_pt"]), tmp_path / "b")
    two = {name: np.repeat(v, 2) for name, v in copied(100).items()}
    pairs = {"event_number": np.repeat(np.arange(100), 2), "jet_index": np.tile([0, 1], 100).astype(np.int32)}
    pair_file = write_jets("pairs.root", 200, seed=1, **two, **pairs)
    convert(changed(with_files(jets, W=pair_file), selection={}, observers=["jet_pt"]), tmp_path / "c")


@pytest.mark.parametrize("at_a_time", [7, 64, 10_000])
def test_in_parts_on_disk_nothing_is_missed(at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "KEYS_AT_A_TIME", at_a_time)
    rng = np.random.default_rng(5)
    keys = rng.integers(0, 1 << 63, 1_000, dtype=np.uint64) * np.uint64(2)
    keys[-1] = keys[0]
    parts = list(duplicates._in_parts(iter(np.array_split(keys, 9)), len(keys)))
    assert len(parts) == min(-(-len(keys) // at_a_time), 512)
    assert sorted(np.concatenate(parts)) == sorted(keys)
    assert sum(int(duplicates._repeats(part).sum()) for part in parts) == 1  # equal keys are in one part
    pairs = np.stack([keys, np.arange(len(keys), dtype=np.uint64)])
    chunks = iter(np.array_split(pairs, 9, axis=1))
    found = np.concatenate(list(duplicates._in_parts(chunks, len(keys))), axis=1)
    np.testing.assert_array_equal(found[:, np.argsort(found[1])], pairs)


def test_no_room_for_the_hashes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(duplicates, "KEYS_AT_A_TIME", 10)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    keys = np.arange(100, dtype=np.uint64)
    with pytest.raises(OutputError, match=r"100 rows cannot be kept in .*gone: No such file.*set TMPDIR"):
        list(duplicates._in_parts(iter([keys]), len(keys)))
