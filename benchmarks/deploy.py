"""Exported trees, networks and tables against LightGBM, tl2cgen, onnxruntime and NumPy.

``python -m benchmarks.deploy`` from the root of the repository; a C compiler is needed, and the network once for tl2cgen,
which gets an environment of its own. One thread, ``-O3 -march=native``; contestants take turns in one process (tl2cgen's and
LightGBM's C too), timed by its processor time; ratios are medians over neighbouring pairs.
"""

from __future__ import annotations

import ctypes
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.peers import peer_python
from benchmarks.record import Record, record
from benchmarks.single_events import network_in_c, one_by_one, onnx_network, onnx_trees, trained_network
from fivesigma.deploy import TrainedModel
from fivesigma.deploy.binning import Axis
from fivesigma.deploy.c_trees import header
from fivesigma.deploy.compiler import shared_library
from fivesigma.deploy.lookup_table import Code, map_cells, n_cells, write_table
from fivesigma.deploy.lookup_table import identity as table_identity
from fivesigma.deploy.network_steps import feed_forward
from fivesigma.deploy.table_target import CompiledTable, table_header
from fivesigma.deploy.tree_ensemble import ensemble_on_inputs
from fivesigma.trees import BoostedTrees

FEATURES, TREES, LEAVES = 28, 100, 31
EVENTS = 20_480
ONE_BY_ONE = 2_000
ONNX = "onnxruntime, called from Python on one event"
REPEATS = 9
OPTIONS = ("-std=c99", "-O3", "-march=native")
TL2CGEN = ("tl2cgen==1.0.0", "treelite==4.4.1", "numpy", "scipy", "setuptools")
TABLE_INPUTS, TABLE_BINS = 6, 15  # 15⁶ = 11.4 million cells of 4 bytes: 46 MB

TL2CGEN_PROGRAM = """
import sys, treelite, tl2cgen
model = treelite.frontend.load_lightgbm_model(sys.argv[1])
tl2cgen.generate_c_code(model, dirpath=sys.argv[2], params={})
print(tl2cgen.__version__)
"""
LOOPS = """
#include "trees.h"
void batch(const trees_features *x, size_t n, double *s);
void single(const trees_features *x, size_t n, double *s);
void batch(const trees_features *x, size_t n, double *s) { trees_scores(x, n, s); }
void single(const trees_features *x, size_t n, double *s) { size_t i; for (i = 0; i < n; ++i) s[i] = trees_score(x + i); }
"""
FAST_LIGHTGBM = """
#include <stddef.h>
#include <stdint.h>
int LGBM_BoosterCreateFromModelfile(const char *, int *, void **);
int LGBM_BoosterPredictForMatSingleRowFastInit(void *, int, int, int, int, int32_t, const char *, void **);
int LGBM_BoosterPredictForMatSingleRowFast(void *, const void *, int64_t *, double *);
static void *fast;
int prepare(const char *path, int32_t columns);
void single(const double *x, size_t n, double *s);
int prepare(const char *path, int32_t columns)
{
    void *booster;
    int trees;
    return LGBM_BoosterCreateFromModelfile(path, &trees, &booster)
        || LGBM_BoosterPredictForMatSingleRowFastInit(booster, 1, 0, -1, 1, columns, "num_threads=1", &fast);
}
void single(const double *x, size_t n, double *s)
{
    int64_t length;
    size_t i;
    for (i = 0; i < n; ++i) LGBM_BoosterPredictForMatSingleRowFast(fast, x + 28 * i, &length, s + i);
}
"""
GATHER = """
#include "table.h"
void bare(const table_cell_type *cells, const uint64_t *place, size_t n, table_cell_type *found);
void chained(const table_cell_type *cells, const table_features *x, size_t n, table_cell_type *found);
void chained_bare(const table_cell_type *cells, const uint64_t *place, size_t n, table_cell_type *found);
void bare(const table_cell_type *cells, const uint64_t *place, size_t n, table_cell_type *found)
{ size_t i; for (i = 0; i < n; ++i) found[i] = cells[place[i]]; }
/* One call after another: where the next event is taken from depends, in value 0, on the last answer. */
void chained(const table_cell_type *cells, const table_features *x, size_t n, table_cell_type *found)
{ size_t i, none = 0; for (i = 0; i < n; ++i) { found[i] = table_code(cells, x + i + none); none = found[i] < -1e30f; } }
void chained_bare(const table_cell_type *cells, const uint64_t *place, size_t n, table_cell_type *found)
{ size_t i, none = 0; for (i = 0; i < n; ++i) { found[i] = cells[place[i + none]]; none = found[i] < -1e30f; } }
"""

Job = Callable[[], Any]


def main() -> list[Record]:
    """Measure and record all."""
    model, X = trained()
    with tempfile.TemporaryDirectory() as made:
        return [*trees(model, X, Path(made)), *network(X, Path(made)), *table(model, Path(made))]


def trained() -> tuple[TrainedModel, NDArray[np.float64]]:
    """100 trees of 31 leaves on 28 variables of which all matter, and other events."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(2 * EVENTS, FEATURES))
    y = X[:, 0] * X[:, 1] + X[:, 2] + 0.5 * X[:, 3] * X[:, 4] + 0.2 * X[:, 5:].sum(axis=1) > rng.normal(size=len(X))
    estimator = BoostedTrees(trees=TREES, leaves=LEAVES, learning_rate=0.1).fit(X[:EVENTS], y[:EVENTS])
    return TrainedModel("trees", estimator, tuple(f"x{i}" for i in range(FEATURES))), np.ascontiguousarray(X[EVENTS:])


def trees(model: TrainedModel, X: NDArray[np.float64], folder: Path) -> list[Record]:
    """In batch against LightGBM and tl2cgen; one event at a time against both called from C."""
    (folder / "trees.h").write_text(header(model, ensemble_on_inputs(model), "trees", "bitvectors"), encoding="utf-8")
    ours = shared_library(LOOPS, folder, options=OPTIONS)
    booster: lightgbm.Booster = model.estimator.booster_
    path = folder / "model.txt"
    booster.save_model(path)
    score = np.empty(len(X))
    batch, single = (calling(function, X, score) for function in (ours.batch, ours.single))
    batch()
    assert np.array_equal(score, booster.predict(X, raw_score=True, num_threads=1))
    lightgbm_fast = lightgbm_from_c(path, X, score)
    peer, version = tl2cgen_from_c(path, folder, X)
    predict = timed(lambda: booster.predict(X, raw_score=True, num_threads=1))
    session, some = onnx_trees(ensemble_on_inputs(model), FEATURES), X[:ONE_BY_ONE].astype(np.float32)
    assert np.median(np.abs(np.ravel(one_by_one(session, some)) - score[:ONE_BY_ONE])) < 1e-5
    by_onnx = timed(lambda: one_by_one(session, some))
    job = f"{TREES} boosted trees of {LEAVES} leaves"
    return [
        against(f"{job}, batch", batch, predict, len(X), "LightGBM.predict", lightgbm.__version__, 10.0),
        against(f"{job}, batch, generated C", batch, peer, len(X), "tl2cgen", version, 3.0),
        against(
            f"{job}, one event, from C",
            single,
            lightgbm_fast,
            len(X),
            "LightGBM SingleRowFast",
            lightgbm.__version__,
            1 / 1.2,
        ),
        against(f"{job}, one event, generated C", single, peer, len(X), "tl2cgen", version, 1 / 1.2),
        against(f"{job}, one event", single, by_onnx, (len(X), ONE_BY_ONE), ONNX, onnxruntime.__version__, 1 / 1.2),
    ]


def network(X: NDArray[np.float64], folder: Path) -> list[Record]:
    """A network of 28–64–32–1, one event at a time, in float32 and in integers of 8 and 16 bits."""
    small = trained_network(X)
    steps = feed_forward(small)
    session, some = onnx_network(steps), X[:ONE_BY_ONE].astype(np.float32)
    by_onnx = timed(lambda: one_by_one(session, some))
    score = np.empty(len(X))
    rows = []
    for bits, words in ((None, "float32"), (16, "fixed point, 16 bits"), (8, "fixed point, 8 bits")):
        function = network_in_c(small, folder / f"network-{bits}", OPTIONS, bits, X)
        ours = calling(function, X, score)
        ours()
        if bits is None:
            assert np.abs(np.ravel(one_by_one(session, some)) - score[:ONE_BY_ONE]).max() < 1e-4
        goal = 8.0 if bits is None else None
        name = f"network 28–64–32–1, one event, {words}"
        rows.append(against(name, ours, by_onnx, (len(X), ONE_BY_ONE), ONNX, onnxruntime.__version__, goal))
    return rows


def table(model: TrainedModel, folder: Path) -> list[Record]:
    """A table of 46 MB on six variables, random events: the time is that of finding bins and of missing the caches."""
    rng = np.random.default_rng(2)
    edges = np.linspace(-1.5, 1.5, TABLE_BINS - 1)
    axes = tuple(Axis(f"x{i}", edges, np.append(edges - 0.05, 2.0)) for i in range(TABLE_INPUTS))
    code = Code("float32")
    path = folder / "table.table"
    write_table(path, axes, code, lambda points: np.tanh(points).sum(axis=1))
    small = TrainedModel("table", model.estimator, tuple(axis.name for axis in axes))
    (folder / "table.h").write_text(table_header(small, axes, code, "table"), encoding="utf-8")
    (folder / "table_map.h").write_text('#include "table.h"\n', encoding="utf-8")
    cells = map_cells(path, code, n_cells(axes), table_identity(axes, code))
    X = rng.normal(size=(200_000, TABLE_INPUTS))
    compiled = CompiledTable(folder, "table", code, *OPTIONS)
    loops = shared_library(GATHER, folder, options=OPTIONS)
    strides = [TABLE_BINS ** (TABLE_INPUTS - 1 - i) for i in range(TABLE_INPUTS)]

    def numpy_form() -> NDArray[Any]:
        place = np.zeros(len(X), np.int64)
        for i, stride in enumerate(strides):
            place += stride * np.searchsorted(edges, X[:, i])
        return np.asarray(cells[place])

    assert np.array_equal(compiled.codes(cells, X), numpy_form())
    place = np.zeros(len(X), np.uint64)
    for i, stride in enumerate(strides):
        place += np.uint64(stride) * np.searchsorted(edges, X[:, i]).astype(np.uint64)
    found = np.empty(len(X), np.float32)

    def loop(function: Any, values: NDArray[Any]) -> Job:
        arguments = (pointer(cells), pointer(values), ctypes.c_size_t(len(X)), pointer(found))
        return timed(lambda: function(*arguments))

    ours = loop(compiled._library.codes, X)
    booster = lightgbm_on(X)
    predict = timed(lambda: booster.predict(X[:EVENTS], raw_score=True, num_threads=1))
    gather = timed(numpy_form)
    chained, bare = loop(loops.chained, X), loop(loops.chained_bare, place)
    name = f"table of {cells.nbytes / 1e6:.0f} MB"
    return [
        against(f"{name}, batch", ours, predict, (len(X), EVENTS), "LightGBM.predict", lightgbm.__version__, 80.0),
        against(f"{name}, batch, same table", ours, gather, len(X), "NumPy searchsorted + gather", np.__version__, 3.0),
        against(f"{name}, one call after another", chained, bare, len(X), "bare access to the same cells", "C", 1 / 3),
    ]  # fmt: skip


def lightgbm_on(X: NDArray[np.float64]) -> lightgbm.Booster:
    """100 trees of 31 leaves on the table's variables."""
    y = (np.tanh(X).sum(axis=1) > 0)[:EVENTS]
    return BoostedTrees(trees=TREES, leaves=LEAVES).fit(X[:EVENTS], y).booster_


def lightgbm_from_c(path: Path, X: NDArray[np.float64], score: NDArray[np.float64]) -> Job:
    """LightGBM's API for single rows, in a loop of C."""
    library = Path(lightgbm.__file__).parent / "lib" / "lib_lightgbm.so"
    source = path.with_name("fast.c")
    source.write_text(FAST_LIGHTGBM, encoding="utf-8")
    output = path.with_name("fast.so")
    subprocess.run(
        ["cc", "-O3", "-shared", "-fPIC", str(source), "-o", str(output), str(library), f"-Wl,-rpath,{library.parent}"],
        check=True,
    )
    loaded = ctypes.CDLL(str(output))
    assert loaded.prepare(str(path).encode(), ctypes.c_int32(FEATURES)) == 0
    return calling(loaded.single, X, score)


def tl2cgen_from_c(path: Path, folder: Path, X: NDArray[np.float64]) -> tuple[Job, str]:
    """tl2cgen's C in a loop over its entries, compiled with the same options; its input array is made beforehand."""
    generated = folder / "tl2cgen"
    answer = subprocess.run(
        [str(peer_python("tl2cgen", TL2CGEN)), "-c", TL2CGEN_PROGRAM, str(path), str(generated)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    loop = generated / "loop.c"
    loop.write_text(
        '#include <stddef.h>\n#include "header.h"\nvoid single(union Entry *x, size_t n, double *s);\n'
        "void single(union Entry *x, size_t n, double *s)\n"
        f"{{ size_t i; for (i = 0; i < n; ++i) predict(x + {FEATURES} * i, 1, s + i); }}\n",
        encoding="utf-8",
    )
    output = generated / "tl2cgen.so"
    subprocess.run(
        ["cc", "-O3", "-march=native", "-shared", "-fPIC", *map(str, generated.glob("*.c")), "-o", str(output), "-lm"],
        check=True,
    )
    score = np.empty(len(X))
    return calling(ctypes.CDLL(str(output)).single, X.copy(), score), answer.stdout.split()[-1]


def calling(function: Any, X: NDArray[np.float64], score: NDArray[np.float64]) -> Job:
    """A C function of events, count and scores."""
    return timed(lambda: function(pointer(X), ctypes.c_size_t(len(X)), pointer(score)))


def pointer(values: NDArray[Any]) -> ctypes.c_void_p:
    """Address of an array."""
    return values.ctypes.data_as(ctypes.c_void_p)


def timed(job: Job) -> Job:
    """The job, returning the processor time it took, in seconds."""

    def run() -> float:
        start = time.process_time()
        job()
        return time.process_time() - start

    return run


def against(
    name: str, ours: Job, peer: Job, events: int | tuple[int, int], peer_name: str, version: str, goal: float | None
) -> Record:
    """Nanoseconds an event of both, in turns; ``events`` of ours and of the peer's, if they differ."""
    first, second = events if isinstance(events, tuple) else (events, events)
    ours()
    peer()
    pairs = [(1e9 * ours() / first, 1e9 * peer() / second) for _ in range(REPEATS)]
    return record(
        name,
        ours=statistics.median(a for a, _ in pairs),
        peer=statistics.median(b for _, b in pairs),
        ratio=statistics.median(b / a for a, b in pairs),
        peer_name=peer_name,
        peer_version=version,
        unit="ns/event",
        goal=goal,
    )


if __name__ == "__main__":
    print(metadata.version("fivesigma"), file=sys.stderr)
    main()
