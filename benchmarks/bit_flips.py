"""What a flipped bit does: refused, harmless, or silently other values; with and without a manifest, beside peers.

``python -m benchmarks.bit_flips FOLDER`` flips one bit at 100 random places of each file, reads every number in it, and
writes docs/results/bit-flips.json. FOLDER holds scikit-hep-testdata's HZZ files in five codecs and RNTuple files; files
of our own (uproot's writer) in every codec and container join them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from benchmarks.peers import WEAVER, Peer, peer_python, running
from fivesigma.core.integrity import write_json
from fivesigma.core.jagged import Column, Jagged
from fivesigma.read.manifest import write_manifest
from fivesigma.read.root import read_range, scan, trees_in

PLACES = 100
SEED = 20
CODECS: Mapping[str, Any] = {
    "uncompressed": None,
    "zlib": uproot.ZLIB(4),
    "lzma": uproot.LZMA(4),
    "lz4": uproot.LZ4(4),
    "zstd": uproot.ZSTD(4),
}
THIRD_PARTY = (
    *(f"uproot-HZZ-{codec}.root" for codec in CODECS),
    "Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root",
    "test_multiple_cluster_groups_rntuple_v1-0-0-0.root",
    "test_multiple_representations_rntuple_v1-0-0-0.root",
)
RESULT = Path(__file__).resolve().parents[1] / "docs" / "results" / "bit-flips.json"

WEAVER_PROGRAM = """
import importlib.metadata, json, logging, os, sys
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what weaver prints is not an answer
logging.disable(logging.CRITICAL)
import awkward as ak
from weaver.utils.data.fileio import _read_files

copy, whole, tree = sys.argv[1:4]
branches = sys.argv[4:]

def bytes_of(array):
    return [bytes(memoryview(b)) for b in ak.to_buffers(ak.to_packed(array))[2].values()]

def read(*paths):
    return _read_files(paths, branches, treename=tree)

n = len(read(whole))
expected = bytes_of(read(whole, whole)[:n])
print(json.dumps(importlib.metadata.version("weaver-core")), file=out, flush=True)
for _ in sys.stdin:
    try:
        got = read(copy, whole)  # a job reads many files; this one is damaged
        answer = 3 if len(got) == n else 1 if len(got) == 2 * n and bytes_of(got[:n]) == expected else 2
    except Exception:
        answer = 0
    print(answer, file=out, flush=True)
"""
WEAVER_OUTCOMES = ("refused", "same", "silent", "dropped")

Content = dict[str, tuple[bytes, bytes]]
"""By branch: lengths of the lists, and values, as bytes (so that NaN equals NaN)."""
Reader = Callable[[Path], Content]


def flipped_copies(path: Path, folder: Path, n: int) -> Iterator[Path]:
    """``n`` copies of a file with one bit flipped each, one after the other under its name in ``folder``."""
    content = path.read_bytes()
    copy = folder / path.name
    rng = np.random.default_rng(SEED)
    for place in rng.integers(0, len(content), n).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        copy.write_bytes(bytes(damaged))
        yield copy


def outcome_of(reader: Reader, copy: Path, expected: Content) -> str:
    """What became of a copy: "refused", "same" content, or "silent" change."""
    try:
        got = reader(copy)
    except Exception:  # noqa: BLE001  uproot raises whatever its parser stumbles over
        return "refused"
    return "same" if got == expected else "silent"


def read_all(path: Path) -> Content:
    """Every readable branch of every tree, by fivesigma."""
    content: Content = {}
    for tree in trees_in(path):
        file = scan(path, tree)
        names = [branch.name for branch in file.branches.values() if branch.dtype is not None]
        content |= {f"{tree}/{n}": _as_bytes(c) for n, c in read_range(file, 0, file.entries, names).items()}
    return content


def _as_bytes(column: Column) -> tuple[bytes, bytes]:
    if isinstance(column, Jagged):
        return column.counts.tobytes(), column.values.tobytes()
    return b"", column.tobytes()


def plain_uproot(path: Path) -> Content:
    """Every number of every tree, by uproot alone."""
    content: Content = {}
    with uproot.open(path) as file:
        for name, kind in file.classnames(recursive=True, cycle=False).items():
            if kind not in ("TTree", "ROOT::RNTuple"):
                continue
            tree = file[name]
            for key in tree.keys():  # noqa: SIM118  not a dictionary
                branch = tree[key]
                if kind == "TTree" and not isinstance(branch.interpretation, uproot.AsDtype | uproot.AsJagged):
                    continue
                array = branch.array()
                form, _, buffers = ak.to_buffers(ak.to_packed(array))
                content[f"{name}/{key}"] = (str(form.type).encode(), b"".join(map(bytes, buffers.values())))
    return content


def study(path: Path, folder: Path, n: int = PLACES) -> dict[str, Any]:
    """Counts for one file: with a manifest, without one, by uproot alone, and by weaver beside an undamaged file."""
    manifest = write_manifest(path, folder / "manifest.json")
    copies = folder / "copies"
    copies.mkdir(exist_ok=True)

    def with_manifest(copy: Path) -> Content:
        manifest.check(copy)
        return {}

    readers: dict[str, tuple[Reader, Content]] = {
        "manifest": (with_manifest, {}),
        "fivesigma": (read_all, read_all(path)),
        "uproot": (plain_uproot, plain_uproot(path)),
    }
    counts = {name: dict.fromkeys(("refused", "same", "silent"), 0) for name in readers}
    counts["weaver"] = dict.fromkeys(WEAVER_OUTCOMES, 0)
    with weaver_on(path, copies / path.name) as weaver:
        for copy in flipped_copies(path, copies, n):
            for name, (reader, expected) in readers.items():
                counts[name][outcome_of(reader, copy, expected)] += 1
            counts["weaver"][WEAVER_OUTCOMES[int(weaver())]] += 1
    return {"file": path.name, "flips": n, **counts, "weaver_version": weaver.version}


def weaver_on(path: Path, copy: Path) -> AbstractContextManager[Peer]:
    """weaver-core's reader, which reads the first tree of ``copy`` and of ``path`` as one job."""
    tree = next(iter(trees_in(path)))
    names = [branch.name for branch in scan(path, tree).branches.values() if branch.dtype is not None]
    names = [name for name in names if "." not in name]  # members of records have other names there
    return running(peer_python("weaver-core", WEAVER), WEAVER_PROGRAM, str(copy), str(path), tree, *names)


def write_own(folder: Path) -> list[Path]:
    """3,000 events in three baskets or two clusters, in each codec, as TTree and as RNTuple."""
    n, rng = 3000, np.random.default_rng(SEED)
    counts = rng.integers(0, 6, n)
    columns: dict[str, Any] = {
        "event": np.arange(n),
        "pt": rng.exponential(50.0, n).astype(np.float32),
        "jet_pt": ak.unflatten(rng.exponential(50.0, int(counts.sum())).astype(np.float32), counts),
    }
    paths = []
    for codec, compression in CODECS.items():
        for container in ("ttree", "rntuple"):
            path = folder / f"own-{container}-{codec}.root"
            with uproot.recreate(path, compression=compression) as file:
                types = {k: "var * float32" if k == "jet_pt" else v.dtype for k, v in columns.items()}
                first = {k: v[:1000] for k, v in columns.items()}
                tree = file.mktree("events", types) if container == "ttree" else file.mkrntuple("events", first)
                for start in range(0 if container == "ttree" else 1000, n, 1000):
                    tree.extend({k: v[start : start + 1000] for k, v in columns.items()})
            paths.append(path)
    return paths


def table(results: list[dict[str, Any]]) -> str:
    """The table of docs/integrity.md: refused / harmless / silent, of all flips; of weaver also files left out."""
    readers = {
        "uproot": ("refused", "same", "silent"),
        "weaver": ("refused", "same", "silent", "dropped"),
        "fivesigma": ("refused", "same", "silent"),
        "manifest": ("refused", "same", "silent"),
    }
    lines = ["| file | uproot alone | weaver | fivesigma | with a manifest |", "|---|---|---|---|---|"]
    for result in results:
        counts = [" / ".join(str(result[reader][word]) for word in words) for reader, words in readers.items()]
        lines.append(f"| `{result['file'].removesuffix('.root')}` | {' | '.join(counts)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the study and write its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="scikit-hep-testdata's files")
    parser.add_argument("--places", type=int, default=PLACES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [*(options.folder / file for file in THIRD_PARTY), *write_own(folder)]
        results = []
        for path in files:
            results.append(study(path, folder, options.places))
            print(results[-1], flush=True)
    print(table(results))
    versions = {"uproot": uproot.__version__, "weaver-core": results[0].pop("weaver_version")}
    for result in results[1:]:
        del result["weaver_version"]
    write_json(RESULT, {"command": "python -m benchmarks.bit_flips FOLDER", "versions": versions, "results": results})


if __name__ == "__main__":
    main()
