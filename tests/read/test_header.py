"""Files that are not whole ROOT files are refused before uproot sees them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from fivesigma.core.errors import FileFormatError
from fivesigma.read.header import check_header


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it has zero bytes"),
        (b"\0" * 500, "it begins with zero bytes"),
        (b"<!DOCTYPE html><html><body>404", "an HTML page: b'<!DOCTYPE html>"),
        (b"\n<html>", "an HTML page"),
        (b"PAR1\x15\x04", r"it begins with b'PAR1\\x15\\x04'"),
        (b"root", "truncated in its header: 4 bytes"),
        (b"root" + b"\0" * 30, "truncated in its header: 34 bytes"),
    ],
)
def test_what_is_not_root_is_shown(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.root"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=message) as caught:
        check_header(path)
    assert caught.value.file == path


def test_every_truncation_is_noticed(write_tree: Callable[..., Path]) -> None:
    """Also in uproot's own layout, where the missing end holds nothing that reading some branch would need."""
    path = write_tree()
    content = path.read_bytes()
    (end,) = struct.unpack(">i", content[12:16])
    check_header(path)
    for size in (end - 1, end // 2, 101, 100):
        path.write_bytes(content[:size])
        with pytest.raises(FileFormatError, match=r"truncated.* are missing"):
            check_header(path)


@pytest.mark.parametrize("size", [1000, 3_000_000_000])
def test_large_files_have_64_bit_pointers(tmp_path: Path, size: int) -> None:
    path = tmp_path / "large.root"
    path.write_bytes(b"root" + struct.pack(">iiq", 1_062_400, 100, size) + b"\0" * 480)
    with pytest.raises(FileFormatError, match=f"500 bytes, but its header says {size:,}"):
        check_header(path)
