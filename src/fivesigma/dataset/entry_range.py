"""``EntryRange``: the unit of work of a conversion, from some entries of one file to one shard with its marker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fivesigma.core.engine import Place, Task
from fivesigma.core.errors import ConfigError
from fivesigma.dataset.code import code_digests
from fivesigma.dataset.ledger import FileLedger, Stage
from fivesigma.dataset.rows import select, together
from fivesigma.dataset.samples import Conversion
from fivesigma.dataset.shards import Shard, fault_of, read_done, write_done, write_shard
from fivesigma.read.events import Events, Partition

Marker = dict[str, Any]
"""What is known of a finished shard: its description, its ledger, its stages; the file beside it."""

_FEWER = 4  # times as many pieces after memory ran out
_MIN_PIECE = 100  # entries below which a piece is not cut again


@dataclass(frozen=True)
class EntryRange(Task[Marker]):
    """Entries of one input file, to be read, selected and written as one shard.

    ``file`` is the position of the input file among all, ``name`` how it was given; ``events`` and ``path`` have
    absolute paths and only the branches that are needed, as other machines may do the work. The bytes of the shard, and
    every number of the ledger, depend neither on who makes it nor in how many ``pieces`` the entries are read.
    """

    conversion: Conversion
    sample: int
    file: int
    name: str
    events: Events
    start: int
    stop: int
    path: Path
    config_hash: str
    code: str
    pieces: int = 1

    @property
    def place(self) -> Place:
        """File, tree and entries."""
        return Place(f"entries {self.start:,} to {self.stop:,}", self.name, self.events.files[0].tree)

    def __len__(self) -> int:
        return self.stop - self.start

    def smaller(self) -> EntryRange | None:
        """The same entries, fewer at a time."""
        pieces = self.pieces * _FEWER
        return replace(self, pieces=pieces) if len(self) >= _MIN_PIECE * pieces else None

    def run(self) -> Marker:
        """Make the shard, or find it made: then its bytes are compared with its digest."""
        if self.code != code_of_worker():
            raise ConfigError("a worker runs another version of fivesigma: install the same one everywhere")
        return self.finished() or self._make()

    def finished(self) -> Marker | None:
        """The marker of a shard that is complete, and whose bytes are as they were written."""
        done = read_done(self.path.with_suffix(".json"), self.config_hash)
        if done is None or fault_of(self.path.parent, Shard.from_json(done["shard"])) is not None:
            return None
        return done

    def _make(self) -> Marker:
        sample, whole = self.conversion.samples[self.sample], Partition(self.events.files[0], self.start, self.stop)
        branches = self.conversion.branches_of(sample)
        step = -(-len(self) // self.pieces)
        pieces = []
        for start in range(self.start, self.stop, step):
            piece = replace(whole, start=start, stop=min(start + step, self.stop))
            pieces.append(select(self.conversion, sample, piece, self.events.read(piece, branches)))
        rows, ledger = together(self.conversion, sample, whole, pieces)
        del pieces
        n = len(rows["y"])
        rows["sample"] = np.full(n, self.sample, dtype=np.int16)
        rows["file"] = np.full(n, self.file, dtype=np.int32)
        shard = write_shard(self.path, rows)
        y, weight, fold = (np.asarray(rows[name]) for name in ("y", "weight", "fold"))
        stages = (
            Stage.of("sample", {sample.name: np.ones(n, np.bool_)}, y, weight),
            Stage.of("fold", {f"fold {k}": fold == k for k in range(self.conversion.n_folds)}, y, weight),
        )
        content = {
            "ledger": replace(ledger, file=self.name).to_json(),
            "stages": [stage.to_json() for stage in stages],
        }
        write_done(self.path.with_suffix(".json"), shard, self.config_hash, content)
        return {"config_hash": self.config_hash, "shard": shard.to_json(), **content}


def code_of_worker() -> str:
    """One digest of the code that makes shards, as this process has it."""
    return "-".join(code_digests().values())


def ledger_of(marker: Marker) -> FileLedger:
    """What became of the entries."""
    return FileLedger.from_json(marker["ledger"])
