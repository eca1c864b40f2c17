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


def unpacked(content: Bytes, size: int) -> Bytes:
    """The ``size`` bytes that the compressed blocks in ``content`` unpack to.

    Raises
    ------
    ValueError
        if a checksum differs, a block cannot be decoded, or the lengths contradict each other.
    """
    blocks = list(_blocks(content, size))
    if len(blocks) == 1:
        return _unpacked_block(*blocks[0])
    return np.concatenate([_unpacked_block(*block) for block in blocks]) if blocks else np.empty(0, np.uint8)


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


def _unpacked_block(codec: bytes, content: Bytes, size: int) -> Bytes:
    try:
        if codec not in _CODECS:
            raise ValueError(f"no codec begins with {codec!r}")
        found: Bytes = np.frombuffer(_CODECS[codec](content, size), dtype=np.uint8)
    except (cramjam.DecompressionError, deflate.DeflateError, lzma.LZMAError, OSError) as error:
        raise ValueError(f"a compressed block cannot be decoded: {error}") from error
    if len(found) != size:
        raise ValueError(f"a compressed block has {len(found):,} bytes unpacked, its head says {size:,}")
    return found


def _lz4(content: Bytes, size: int) -> Any:
    checksum, content = content[:_LZ4_CHECKSUM], content[_LZ4_CHECKSUM:]
    if xxhash.xxh64_intdigest(content.data) != int.from_bytes(checksum.tobytes(), "big"):
        raise ValueError("the xxh64 checksum of an LZ4 block differs")
    out = np.empty(size, dtype=np.uint8)
    return out[: cramjam.lz4.decompress_block_into(content.data, out.data)]


_ZSTD: Final = pa.Codec("zstd")
_CODECS: Final[dict[bytes, Callable[[Bytes, int], Any]]] = {
    b"L4": _lz4,
    b"ZL": lambda content, size: deflate.zlib_decompress(content.data, size),
    # Arrow hands the whole block to libzstd at once, which takes a tenth less than cramjam's stream.
    b"ZS": lambda content, size: _ZSTD.decompress(content, decompressed_size=size),
    b"XZ": lambda content, size: lzma.LZMADecompressor().decompress(content.data, max_length=size + 1),
}
