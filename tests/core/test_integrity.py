"""Files appear complete or not at all, and digests see every byte."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivesigma.core.errors import OutputError
from fivesigma.core.integrity import atomic_path, content_hash, file_digest, write_json


def interrupt_while_writing(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"auc": 0.9})
    with pytest.raises(KeyboardInterrupt):
        interrupt_while_writing(path)
    assert json.loads(path.read_text()) == {"auc": 0.9}
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match=r"cannot write .*file/result\.json"),
        atomic_path(tmp_path / "file" / "result.json"),
    ):
        pass


def test_nan_is_refused_in_results(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "result.json", {"auc": math.nan})
    assert list(tmp_path.iterdir()) == []


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_flipped_bit_changes_the_digest(content: bytes, data: st.DataObject) -> None:
    import tempfile

    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << (bit % 8)
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "a", Path(folder) / "b"
        first.write_bytes(content)
        second.write_bytes(bytes(flipped))
        assert file_digest(first) != file_digest(second)


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.floats(allow_nan=False))))
def test_content_hash_ignores_the_order_of_keys(content: dict[str, object]) -> None:
    assert content_hash(content) == content_hash(dict(reversed(content.items())))
