"""``RangedFile``: a seekable file over a function that gives ranges of bytes, with a bounded memory of what came last."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

BLOCK = 1 << 18  # bytes of a block, the least that is asked for
MAX_REQUEST = 1 << 23  # bytes asked for at a time: at 60 s a request, a line of 140 kB/s is enough
_MAX_AHEAD = 16  # blocks asked for at a time in a file that is read from start to end
_MEMORY = 1 << 26  # bytes of blocks kept in a process


class Blocks:
    """The blocks of remote files that were used last, of all files together; from any thread."""

    def __init__(self, limit: int = _MEMORY) -> None:
        self._limit = limit
        self._blocks: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> bytes | None:
        """A block, None if it is not kept."""
        with self._lock:
            block = self._blocks.get(key)
            if block is not None:
                self._blocks.move_to_end(key)
            return block

    def put(self, key: Hashable, block: bytes) -> None:
        """Keep a block, and let those go that were not used for longest."""
        with self._lock:
            self._bytes += len(block) - len(self._blocks.pop(key, b""))
            self._blocks[key] = block
            while self._bytes > self._limit:
                self._bytes -= len(self._blocks.popitem(last=False)[1])


KEPT = Blocks()
"""Of this process: what the scan fetched (header, keys, description of the tree) is there when entries are read."""


class RangedFile(io.RawIOBase):
    """A file for reading only; not to be shared between threads.

    Parameters
    ----------
    name
        what to call it in messages.
    size
        bytes in it; nothing beyond is ever asked for.
    read_range
        gives the bytes from one place to another, exactly.
    identity
        under which its blocks are kept; the same only for the same content. None keeps nothing.
    on_close
        called once at the end.
    """

    def __init__(
        self,
        name: str,
        size: int,
        read_range: Callable[[int, int], bytes],
        identity: Hashable | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self.name, self.size = name, size
        self._read_range, self._identity, self._on_close = read_range, identity, on_close
        self._position, self._next_block, self._ahead = 0, -1, 1

    def __repr__(self) -> str:
        return self.name

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as `io.IOBase.seek`."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError(f"{self.name}: cannot seek to byte {start + offset}")
        self._position = start + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """``size`` bytes, fewer only at the end of the file; all that are left if it is negative or None."""
        if self.closed:
            raise ValueError(f"{self.name}: read of a closed file")
        left = max(self.size - self._position, 0)
        length = left if size is None or size < 0 else min(size, left)
        content = self._bytes(self._position, self._position + length)
        self._position += length
        return content

    def readall(self) -> bytes:
        """All bytes from here to the end."""
        return self.read()

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; the number of bytes that were left to fill it with."""
        view = memoryview(buffer).cast("B")
        content = self.read(len(view))
        view[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Close it, once."""
        if not self.closed and self._on_close is not None:
            self._on_close()
        super().close()

    def _bytes(self, start: int, stop: int) -> bytes:
        if self._identity is None or stop - start >= MAX_REQUEST:
            pieces = range(start, stop, MAX_REQUEST)
            return b"".join(self._read_range(piece, min(piece + MAX_REQUEST, stop)) for piece in pieces)
        if start == stop:
            return b""
        first, last = start // BLOCK, (stop - 1) // BLOCK
        content = b"".join(self._needed(first, last))
        return content[start - first * BLOCK : stop - first * BLOCK]

    def _needed(self, first: int, last: int) -> list[bytes]:
        """Blocks ``first`` to ``last``; those not kept are asked for, neighbours together."""
        blocks: dict[int, bytes] = {}
        for number in range(first, last + 1):
            if (kept := KEPT.get((self._identity, number))) is not None:
                blocks[number] = kept
        for number in range(first, last + 1):
            if number not in blocks:
                stop = next((n for n in range(number, last + 1) if n in blocks), last + 1)
                blocks |= self._fetch(number, stop)
        return [blocks[number] for number in range(first, last + 1)]

    def _fetch(self, begin: int, stop: int) -> dict[int, bytes]:
        """Ask for blocks ``begin`` to ``stop`` (excluded), and for more the longer the file is read in order."""
        self._ahead = min(2 * self._ahead, _MAX_AHEAD) if begin == self._next_block else 1
        stop = min(max(stop, begin + self._ahead), -(-self.size // BLOCK))
        self._next_block = stop
        content = self._read_range(begin * BLOCK, min(stop * BLOCK, self.size))
        blocks = {}
        for number in range(begin, stop):
            place = (number - begin) * BLOCK
            blocks[number] = content[place : place + BLOCK]
            KEPT.put((self._identity, number), blocks[number])
        return blocks
