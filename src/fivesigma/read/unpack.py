"""The compressed blocks of a record, unpacked, with the checksums that they carry.

uproot unpacks them too, but copies once more for each block, and ZLIB with the standard library's slow decoder.
Layout: https://root.cern/doc/master/RZip_8cxx_source.html.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterator
from typing import Any, Final

import cramjam
import deflate
import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

_HEAD_BYTES = 9  # two letters of the codec, its method, compressed and uncompressed length of 3 bytes each
_LZ4_CHECKSUM = 8  # bytes between head and content: xxh64 of the content, big-endian

Bytes = NDArray[np.uint8]


class Room:
    """Memory for one record after another: it stays in the processor's cache, and is asked for once."""

    def __init__(self) -> None:
        self._bytes: Bytes = np.empty(0, dtype=np.uint8)

    def of(self, size: int) -> Bytes:
        """So many bytes, which are those of the last time."""
        if size > len(self._bytes):
            self._bytes = np.empty(size, dtype=np.uint8)
        return self._bytes[:size]


def unpacked(content: Bytes, size: int, room: Room | None = None) -> Bytes:
    """The ``size`` bytes that the compressed blocks in ``content`` unpack to; they may stand in ``room``.

    Raises
    ------
    ValueError
        if a checksum differs, a block cannot be decoded, or the lengths contradict each other.
    """
    blocks = list(_blocks(content, size))
    whole = (room or Room()).of(size)
    if len(blocks) == 1:
        return _unpacked_block(*blocks[0][:2], whole)
    begin = 0
    for codec, packed, length in blocks:
        place = whole[begin : begin + length]
        place[:] = _unpacked_block(codec, packed, place)
        begin += length
    return whole


def _blocks(content: Bytes, size: int) -> Iterator[tuple[bytes, Bytes, int]]:
    """Codec, compressed bytes and length unpacked of each block; they fill the record."""
    begin = total = 0
    while begin < len(content):
        head = content[begin : begin + _HEAD_BYTES].tobytes()
        stored, length = int.from_bytes(head[3:6], "little"), int.from_bytes(head[6:9], "little")
        begin, total = begin + _HEAD_BYTES + stored, total + length
        if begin > len(content):
            raise ValueError(f"a compressed block of {stored:,} bytes is longer than its record")
        yield head[:2], content[begin - stored : begin], length
    if total != size:
        raise ValueError(f"the compressed blocks unpack to {total:,} bytes, expected {size:,}")


def _unpacked_block(codec: bytes, content: Bytes, place: Bytes) -> Bytes:
    """A block that fills ``place`` unpacked; it is there, or elsewhere."""
    try:
        if codec not in _CODECS:
            raise ValueError(f"no codec begins with {codec!r}")
        found: Bytes = np.frombuffer(_CODECS[codec](content, place), dtype=np.uint8)
    except (cramjam.DecompressionError, deflate.DeflateError, lzma.LZMAError, OSError) as error:
        raise ValueError(f"a compressed block cannot be decoded: {error}") from error
    if len(found) != len(place):
        raise ValueError(f"a compressed block has {len(found):,} bytes unpacked, its head says {len(place):,}")
    return found


def _lz4(content: Bytes, place: Bytes) -> Any:
    checksum, content = content[:_LZ4_CHECKSUM], content[_LZ4_CHECKSUM:]
    if xxhash.xxh64_intdigest(content.data) != int.from_bytes(checksum.tobytes(), "big"):
        raise ValueError("the xxh64 checksum of an LZ4 block differs")
    return place[: cramjam.lz4.decompress_block_into(content.data, place.data)]


_ZSTD: Final = pa.Codec("zstd")
_MEMORY: Final = pa.system_memory_pool()  # Arrow's own gives memory back between blocks, to be asked for page by page
_CODECS: Final[dict[bytes, Callable[[Bytes, Bytes], Any]]] = {
    b"L4": _lz4,
    b"ZL": lambda content, place: deflate.zlib_decompress(content.data, len(place)),
    # Arrow hands the whole block to libzstd at once, which takes a tenth less than cramjam's stream.
    b"ZS": lambda content, place: _ZSTD.decompress(content, decompressed_size=len(place), memory_pool=_MEMORY),
    b"XZ": lambda content, place: lzma.LZMADecompressor().decompress(content.data, max_length=len(place) + 1),
}
