"""Jet images: our full chain (pixelate … flip, normalised) against energyflow, which only pixelates.

``python -m benchmarks.jet_images`` from the root of the repository. energyflow 1.4.0 needs NumPy < 2 and gets an
environment of its own, made on the first run in ``$XDG_CACHE_HOME/fivesigma-benchmarks`` (network needed once).
Both take the same jets, 50 constituents each, in turn, one thread each, timed by the processor time of their process
(others may be busy on the machine); ratios are medians over interleaved repeats.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks.peers import peer_python
from benchmarks.record import Record, record
from fivesigma.core.jagged import Jagged
from fivesigma.features import JetImages
from fivesigma.physics import delta_phi

PEER = ("energyflow==1.4.0", "numpy<2")
N_JETS = 2000
N_CONSTITUENTS = 50
REPEATS = 9
EXTENT = 1.25
GOAL = 40.0

PEER_PROGRAM = """
import json, sys, time
import energyflow, numpy as np
jets = np.load(sys.argv[1])
size, width = int(sys.argv[2]), float(sys.argv[3])
print(json.dumps(energyflow.__version__), flush=True)
for line in sys.stdin:
    start = time.process_time()
    for jet in jets:
        energyflow.utils.pixelate(jet, npix=size, img_width=width)
    print(json.dumps((time.process_time() - start) / len(jets) * 1e6), flush=True)
"""


def main() -> list[Record]:
    """Measure and record: cubic at 25×25 (the default) and at 33×33, and exact area-weighted at 25×25."""
    python = peer_python("energyflow", PEER)
    columns = jets(np.random.default_rng(20161119))
    return [
        against_peer(
            python, columns, JetImages(), f"jet images 25×25 of {N_CONSTITUENTS} constituents, full chain", GOAL
        ),
        against_peer(
            python, columns, JetImages(size=33), f"jet images 33×33 of {N_CONSTITUENTS} constituents, full chain", GOAL
        ),
        against_peer(
            python,
            columns,
            JetImages(regrid="area"),
            f"jet images 25×25 of {N_CONSTITUENTS} constituents, exact area",
            None,
        ),
    ]


def against_peer(python: Path, columns: Mapping[str, Jagged], ours: JetImages, name: str, goal: float | None) -> Record:
    """Time both in turn, in µs a jet."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "jets.npy", peer_jets(columns))
        arguments = [str(python), "-c", PEER_PROGRAM, f"{folder}/jets.npy", str(ours.size), str(2 * EXTENT)]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            version = answer(peer.stdout)
            pairs = []
            for _ in range(REPEATS + 1):
                print(file=peer.stdin, flush=True)
                theirs = answer(peer.stdout)
                pairs.append((time_per_jet(lambda: ours.transform(columns)), theirs))
            peer.communicate()
    del pairs[0]  # compilation, caches
    return record(
        name,
        ours=statistics.median(a for a, _ in pairs),
        peer=statistics.median(b for _, b in pairs),
        peer_name="energyflow.pixelate (pixelates only)",
        peer_version=str(version),
        unit="µs/jet",
        goal=goal,
        ratio=statistics.median(b / a for a, b in pairs),
    )


def time_per_jet(images: Callable[[], Any], passes: int = 20) -> float:
    """Median time of several passes, µs a jet: one pass alone would be too short to time."""
    times = []
    for _ in range(passes):
        start = time.process_time()
        images()
        times.append(time.process_time() - start)
    return statistics.median(times) / N_JETS * 1e6


def answer(stream: IO[str] | None) -> Any:
    """One line of JSON from the peer."""
    line = stream.readline() if stream else ""
    if not line:
        raise RuntimeError("the peer ended early: see its error message above")
    return json.loads(line)


def jets(rng: np.random.Generator) -> dict[str, Jagged]:
    """Two-pronged jets, float32, columns as in our samples."""
    prong = rng.random((N_JETS, N_CONSTITUENTS)) < 0.35
    eta0, phi0 = rng.uniform(-2, 2, (N_JETS, 1)), rng.uniform(-np.pi, np.pi, (N_JETS, 1))
    distance, angle = rng.uniform(0.3, 0.8, (N_JETS, 1)), rng.uniform(-np.pi, np.pi, (N_JETS, 1))
    prong_eta, prong_phi = eta0 + distance * np.cos(angle), phi0 + distance * np.sin(angle)
    pt = rng.exponential(6.0, prong.shape)
    eta = np.where(prong, prong_eta, eta0) + rng.normal(0, 0.12, prong.shape)
    phi = np.where(prong, prong_phi, phi0) + rng.normal(0, 0.12, prong.shape)
    subjet_pt = np.stack([np.sum(pt * ~prong, axis=1), np.sum(pt * prong, axis=1)], axis=1)
    arrays = {
        "constituent_pt": pt,
        "constituent_eta": eta,
        "constituent_phi": (phi + np.pi) % (2 * np.pi) - np.pi,
        "subjet_pt": subjet_pt,
        "subjet_eta": np.hstack([eta0, prong_eta]),
        "subjet_phi": (np.hstack([phi0, prong_phi]) + np.pi) % (2 * np.pi) - np.pi,
    }
    return {
        name: Jagged(a.astype(np.float32).ravel(), np.arange(N_JETS + 1, dtype=np.int64) * a.shape[1])
        for name, a in arrays.items()
    }


def peer_jets(columns: Mapping[str, Jagged]) -> np.ndarray[Any, Any]:
    """The same jets as energyflow takes them: (jet, constituent, (pt, y, phi)), float64.

    It does not know that φ is periodic, so φ is given relative to the leading subjet (outside the timing).
    """
    names = ("constituent_pt", "constituent_eta", "constituent_phi")
    pt, eta, phi = (columns[name].values.reshape(N_JETS, N_CONSTITUENTS) for name in names)
    leading_phi = columns["subjet_phi"].values.reshape(N_JETS, 2)[:, :1]
    return np.stack([pt, eta, delta_phi(phi, leading_phi)], axis=-1).astype(np.float64)


if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = "1"
    os.environ["OMP_WAIT_POLICY"] = "passive"
    main()
