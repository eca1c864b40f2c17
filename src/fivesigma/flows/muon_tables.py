"""Momentum assignment in integer tables: which bits are spent on which input, and the tables themselves."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.integrity import write_json
from fivesigma.core.progress import progress
from fivesigma.deploy import Artifact, IntegerTable, TrainedModel, export
from fivesigma.flows.compressed_inputs import Compression
from fivesigma.flows.muon_momentum import MomentumWords, Muons, Regressed, fit_momentum
from fivesigma.simulate.muons import PT

Float64 = NDArray[np.float64]

KEPT = ("pattern",)
"""Inputs whose bits the scan leaves alone: the others mean nothing without it."""


@dataclass(frozen=True)
class Removal:
    """One step of the scan: the bits that are left, and the mean squared error of ln pT on held-out muons with them."""

    bits: dict[str, int]
    removed: str
    loss: float


def scan_bits(
    words: MomentumWords, start: Mapping[str, int], down_to: int, train: Muons, held_out: Muons, seed: int
) -> list[Removal]:
    """Take away one bit after the other, each time the one without which held-out muons are assigned best.

    Every candidate is trained anew on its own codes: a table is then its model, and only the codes lose.
    """
    bits = dict(start)
    found = [Removal(bits, "", _loss(words, bits, train, held_out, seed))]
    with progress(sum(bits.values()) - down_to, "removing bits", unit="bits") as advance:
        while sum(bits.values()) > down_to:
            tried = []
            for name in bits:
                if bits[name] > 0 and name not in KEPT:
                    fewer = bits | {name: bits[name] - 1}
                    tried.append(Removal(fewer, name, _loss(words, fewer, train, held_out, seed)))
            best = min(tried, key=lambda removal: removal.loss)
            advance(1)
            bits = best.bits
            found.append(best)
    return found


def _loss(words: MomentumWords, bits: Mapping[str, int], train: Muons, held_out: Muons, seed: int) -> float:
    model = fit_momentum(words, train, seed, Compression(bits))
    return float(np.mean((model.log_pt(held_out) - np.log(held_out.pt)) ** 2))


@dataclass(frozen=True)
class MomentumTable:
    """A table, proved equal to its model at every address, as a model of the study."""

    artifact: Artifact
    compression: Compression
    cost: dict[str, Any]

    def log_pt(self, muons: Muons) -> Float64:
        """What the table holds, decoded."""
        codes = self.compression.codes(muons.inputs).astype(np.int32)
        return np.asarray(self.artifact.predictor.predict(codes))

    def charge(self, muons: Muons) -> NDArray[np.int64]:
        """By the first bending angle alone."""
        return -muons.inputs["side"].astype(np.int64)


def build_table(model: Regressed, folder: Path, value_bits: int, recorded: Muons, seed: int) -> MomentumTable:
    """Export the model, compare every address, and note what it took; the maps of the inputs are written beside it.

    ``folder`` must not be there. The last field of the address is the one with most values, and needs no order otherwise.
    """
    compression = model.compression
    fields = dict(sorted(compression.fields.items(), key=lambda item: item[1]["bits"]))
    named = TrainedModel(
        "muon-pt", model.estimator, compression.inputs, recorded=compression.codes(recorded.some(20_000).inputs)
    )
    limits = (float(np.log(PT[0])), float(np.log(PT[1])))
    started, cpu = time.monotonic(), time.process_time()
    artifact = export(named, IntegerTable(fields, bits=value_bits, limits=limits), folder, seed=seed)
    write_json(folder.with_name(f"{folder.name}-inputs.json"), compression.maps)
    proof = artifact.manifest["proof"]
    cost = {
        "address_bits": compression.total,
        "bits": dict(compression.bits),
        "bytes": artifact.manifest["details"]["bytes"],
        "seconds": time.monotonic() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "cells_compared": proof["cells_compared"],
        "cells_compared_with_the_library": proof["cells_compared_with_the_library"],
    }
    return MomentumTable(artifact, compression, cost)
