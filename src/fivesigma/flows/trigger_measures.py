"""What the flow ``topological-trigger`` measures: scores of events, flatness, table sizes, stability, cost, drift."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.deploy.binning import Axis, make_axes
from fivesigma.deploy.lookup_table import n_cells
from fivesigma.deploy.table_loss import prune, table_score
from fivesigma.evaluate.binomial import clopper_pearson
from fivesigma.evaluate.bootstrap import N_REPLICAS, bootstrap_measurement, poisson_counts
from fivesigma.evaluate.drift import Drift, Exposure, Slice, watch
from fivesigma.evaluate.flatness import TARGETS, Bins
from fivesigma.evaluate.measurement import Measurement
from fivesigma.evaluate.trigger_rate import TriggerInput, TriggerScores, compare_at_rates, threshold_at_rate
from fivesigma.flows.trigger_events import TriggerCandidates, TriggerSample, best_of_events
from fivesigma.flows.trigger_models import TriggerModel
from fivesigma.physics.n_body import CANDIDATE_COLUMNS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class TestEvents:
    """Events that no model has seen, and the trigger's input.

    Of all stored events, (event,): ``signal``; ``background``, collisions without beauty; ``collisions``, all of them.
    """

    __test__ = False  # no class of pytest's

    sample: TriggerSample
    signal: Bools
    background: Bools
    collisions: Bools
    given: TriggerInput

    def scores(self, score: Floats, candidates: TriggerCandidates) -> TriggerScores:
        """Of each event the best candidate; in signal events only those whose tracks are all of the signal's decay."""
        own, _ = best_of_events(score, candidates, candidates.own, self.sample.n_events)
        return TriggerScores(own[self.signal], self.best(score, candidates)[self.background])

    def best(self, score: Floats, candidates: TriggerCandidates) -> Floats:
        """The score of the best candidate of each stored event, (event,)."""
        return best_of_events(score, candidates, np.ones(len(score), np.bool_), self.sample.n_events)[0]


@dataclass(frozen=True)
class FlatSignal:
    """Signal events of the test with a candidate: true decay time (event,), corrected mass of the best, scores by model."""

    decay_time: Floats
    corrected_mass: Mapping[str, Floats]
    score: Mapping[str, Floats]


def unevenness(
    flat: FlatSignal, first: str, second: str, variable: str, *, bins: int = 8, seed: int = 0
) -> dict[str, Measurement]:
    """The Cramér–von Mises measure of both models and first minus second, paired, in bins of equally many events."""
    n = len(flat.decay_time)
    drawn: dict[str, list[float]] = {first: [], second: []}
    measured = {}
    event = np.arange(n, dtype=np.uint64)
    for model in (first, second):
        values = flat.decay_time if variable == "decay_time" else flat.corrected_mass[model]
        position = np.argsort(np.argsort(values, kind="stable"), kind="stable") / n
        groups = Bins.of(position[:, None], np.ones(n), bins)
        _, rank = np.unique(flat.score[model], return_inverse=True)

        def cvm(counts: NDArray[Any], groups: Bins = groups, rank: NDArray[np.intp] = rank) -> float:
            return float(groups.measures(rank, counts.astype(np.float64), np.array(TARGETS))[2])

        drawn[model] = [cvm(poisson_counts(event, replica, seed)) for replica in range(N_REPLICAS)]
        measured[model] = bootstrap_measurement(cvm(np.ones(n)), np.array(drawn[model]))
    both = np.array(drawn[first]) - np.array(drawn[second])
    measured["difference"] = bootstrap_measurement(measured[first].value - measured[second].value, both)
    return measured


def efficiency_in_bins(passed: Bools, values: Floats, edges: Floats) -> dict[str, list[float]]:
    """Efficiency with its Clopper–Pearson interval in bins of ``values``: lists ``value``, ``low``, ``high``."""
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    total = np.bincount(place, minlength=len(edges) - 1)
    kept = np.bincount(place[passed], minlength=len(edges) - 1)
    limits = [clopper_pearson(k, n) for k, n in zip(kept.tolist(), total.tolist(), strict=True)]
    value = np.divide(kept, total, out=np.full(len(total), np.nan), where=total > 0)
    return {"value": value.tolist(), "low": [low for low, _ in limits], "high": [high for _, high in limits]}


@dataclass(frozen=True)
class TableChoice:
    """One size of table: how it was made, its bins by input, cells, and efficiency at the rate less that of the model."""

    how: str
    bins: Mapping[str, int]
    cells: int
    loss: Measurement


def scan_sizes(
    model: TriggerModel,
    exact: TriggerScores,
    score: Callable[[tuple[Axis, ...]], TriggerScores],
    ways: Sequence[tuple[str, str | int]],
    given: TriggerInput,
    rate: float,
) -> list[TableChoice]:
    """Tables of one model: binned in some ways, or with its own axes pruned to at most so many cells, fewer and fewer."""
    found = []
    axes = model.axes or ()
    for how, way in ways:
        axes = prune(model.trained, axes, way) if isinstance(way, int) else make_axes(model.trained, way, {})
        pair = {"table": score(axes), "model": exact}
        everything = {"all": np.ones(len(exact.signal), np.bool_)}
        compared = compare_at_rates(pair, given, (rate,), everything, n_replicas=100)
        loss = compared.difference("model", "table", "all", rate)
        found.append(TableChoice(how, {axis.name: axis.bins for axis in axes}, n_cells(axes), loss))
    return found


def table_scores_of(
    model: TriggerModel, test: TestEvents, candidates: TriggerCandidates
) -> Callable[[tuple[Axis, ...]], TriggerScores]:
    """The scores of events by a table of other axes, without building it."""
    return lambda axes: test.scores(table_score(model.trained, axes, candidates.X), candidates)


@dataclass(frozen=True)
class Stability:
    """One model under one variation, its threshold left where it was: relative change of rate, change of efficiency."""

    model: str
    variation: str
    rate: Measurement
    efficiency: Measurement
    replicas: tuple[Floats, Floats]  # of both


def stability(
    model: str, variation: str, nominal: TriggerScores, varied: TriggerScores, given: TriggerInput, rate: float
) -> Stability:
    """Rate after over rate before, minus 1, and efficiency after minus before; the same events in both."""
    cut = threshold_at_rate(nominal.background, given, rate)
    n_signal, n = len(nominal.signal), len(nominal.signal) + len(nominal.background)
    passed = [np.concatenate([one.signal, one.background]) >= cut for one in (nominal, varied)]

    def changes(counts: NDArray[Any]) -> tuple[float, float]:
        before, after = (counts * p for p in passed)
        kept, made = after[:n_signal].sum() - before[:n_signal].sum(), after[n_signal:].sum()
        return made / max(before[n_signal:].sum(), 1.0) - 1.0, kept / counts[:n_signal].sum()

    event = np.arange(n, dtype=np.uint64)
    drawn = np.array([changes(poisson_counts(event, r).astype(np.float64)) for r in range(N_REPLICAS)])
    value = changes(np.ones(n))
    return Stability(
        model,
        variation,
        bootstrap_measurement(value[0], drawn[:, 0]),
        bootstrap_measurement(value[1], drawn[:, 1]),
        (drawn[:, 0], drawn[:, 1]),
    )


def time_per_candidate(work: Callable[[], Any], candidates: int, *, repeats: int = 5) -> Measurement:
    """Nanoseconds of processor time, the mean of some repeats and the standard deviation of that mean."""
    work()
    seconds = []
    for _ in range(repeats):
        started, done = time.process_time(), 0
        while time.process_time() - started < 0.05:
            work()
            done += 1
        seconds.append((time.process_time() - started) / done)
    times = np.array(seconds) / candidates * 1e9
    how = f"mean of {repeats} repeats over {candidates:,} candidates, one thread; standard deviation / √{repeats}"
    return Measurement(float(times.mean()), float(times.std(ddof=1) / np.sqrt(repeats)), how)


def slices_of(
    test: TestEvents,
    candidates: Sequence[TriggerCandidates],
    scores: Sequence[Mapping[str, Floats]],
    cuts: Mapping[str, float],
    order: NDArray[np.int64],
    collisions: Sequence[int],
) -> list[Slice]:
    """Slices of time of the collisions: slice i has the events of ``order`` i, seen as ``candidates[i]`` and ``scores[i]``.

    One candidate an event enters the distributions, that of largest sum of pT, and one track, the hardest displaced one.
    """
    found = []
    for i, seen in enumerate(candidates):
        inside = test.collisions & (order == i)
        everything = np.ones(len(seen.X), np.bool_)
        _, row = best_of_events(seen.X[:, CANDIDATE_COLUMNS.index("sum_pt")], seen, everything, len(inside))
        rows = row[inside & (row >= 0)]
        passed = {
            "rate of two displaced tracks": int((inside & (seen.n_tracks >= 2)).sum()),
            "rate of candidates": len(rows),
        }
        for model, score in scores[i].items():
            passed[f"rate of {model}"] = int((test.best(score, seen)[inside] >= cuts[model]).sum())
        impact = seen.impact[inside & np.isfinite(seen.impact)]
        values = {"impact on its own side": impact} | dict(zip(CANDIDATE_COLUMNS, seen.X[rows].T, strict=True))
        found.append(Slice(values, Exposure(collisions[i], passed)))
    return found


def monitor(
    test: TestEvents,
    nominal: tuple[TriggerCandidates, Mapping[str, Floats]],
    changed: tuple[TriggerCandidates, Mapping[str, Floats]],
    cuts: Mapping[str, float],
    *,
    slices: int,
    from_slice: int,
    false_alarm_rate: float,
) -> tuple[list[Slice], Drift]:
    """Half of the test's collisions as reference, the other half as slices in time, changed after ``from_slice`` of them."""
    rng = np.random.default_rng(1)
    n = test.sample.n_events
    order = np.where(rng.random(n) < 0.5, 0, rng.integers(1, slices + 1, n))
    collisions = [test.given.collisions // 2, *[test.given.collisions // (2 * slices)] * slices]
    seen = [nominal if i <= from_slice else changed for i in range(slices + 1)]
    reference, *taken = slices_of(test, [c for c, _ in seen], [s for _, s in seen], cuts, order, collisions)
    return taken, watch(reference, taken, false_alarm_rate=false_alarm_rate)


def shared_memory(path: Path, processes: int) -> dict[str, Any]:
    """Bytes of a mapped file in memory, all processes that read every page of it together, and what copies would take."""
    size = path.stat().st_size
    program = (
        "import sys, numpy as np; cells = np.memmap(sys.argv[1], np.uint8, 'r'); cells.sum(); print('ready', flush=True); "
        "sys.stdin.readline(); lines = open('/proc/self/smaps').read().splitlines(); "
        "begin = next(i for i, line in enumerate(lines) if line.endswith(sys.argv[1])); "
        "print(next(line for line in lines[begin:] if line.startswith('Pss:')).split()[1], flush=True); sys.stdin.readline()"
    )
    pipe, shares = subprocess.PIPE, []
    with tempfile.TemporaryDirectory(prefix="fivesigma-") as folder:  # a file that nobody else has mapped
        shared = Path(folder).resolve() / path.name
        shutil.copyfile(path, shared)
        running = [
            subprocess.Popen([sys.executable, "-c", program, str(shared)], stdin=pipe, stdout=pipe, text=True)
            for _ in range(processes)
        ]
        try:
            for process in running:
                assert process.stdout is not None
                process.stdout.readline()
            for process in running:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("\n")
                process.stdin.flush()
                shares.append(1024 * int(process.stdout.readline()))
        finally:
            for process in running:
                process.communicate("\n")
    return {"processes": processes, "file": size, "together": sum(shares), "copies": processes * size}
