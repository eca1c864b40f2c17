"""Hyper-parameters by the tree-structured Parzen estimator of Optuna (Bergstra et al. 2011; arXiv:1907.10902).

Every trial that is finished is written down at once, and trial n draws from a generator seeded by n: a search that was
killed goes on to the trials that it would have had, and asking for more trials later only adds some.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fivesigma.core.errors import FivesigmaError, MissingDependencyError, ModelError
from fivesigma.core.integrity import content_hash, write_json
from fivesigma.core.progress import progress, say
from fivesigma.learn.search_space import Range

Judge = Callable[[Mapping[str, Any]], list[float]]
"""From parameters to a figure of merit on each judged fold; larger is better."""


@dataclass(frozen=True)
class Trial:
    """One set of parameters that was tried; number 0 has none: it is the model as its study declares it."""

    number: int
    parameters: dict[str, Any]
    values: tuple[float, ...]  # by judged fold; none if it failed
    cpu_seconds: float
    failure: str | None = None

    @property
    def value(self) -> float:
        """The mean over folds; NaN if it failed."""
        return float(np.mean(self.values)) if self.values else float("nan")


@dataclass(frozen=True)
class Search:
    """What was tried, in order, and which parameters mattered."""

    declared: Trial
    trials: tuple[Trial, ...]
    importance: dict[str, float]  # sums to 1; empty where nothing can be said
    importance_method: str

    @property
    def finished(self) -> tuple[Trial, ...]:
        """The trials that did not fail."""
        return tuple(trial for trial in self.trials if trial.failure is None)

    @property
    def best(self) -> Trial:
        """The trial of the largest value, or the declared one."""
        return max((self.declared, *self.finished), key=lambda trial: trial.value)

    @property
    def cpu_hours(self) -> float:
        """What all trials cost, the declared one not counted: it is had anyway."""
        return sum(trial.cpu_seconds for trial in self.trials) / 3600.0

    @property
    def gain(self) -> tuple[float, float]:
        """Best minus declared, mean over folds, and its standard error from the paired differences by fold.

        The best of many trials is flattered by having been chosen on these folds: judge it on events that it has not
        been chosen on.
        """
        difference = np.subtract(self.best.values, self.declared.values)
        spread = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else float("nan")
        return float(difference.mean()), float(spread)

    @property
    def gain_per_cpu_hour(self) -> float:
        """How much better for an hour of one processor."""
        return self.gain[0] / self.cpu_hours if self.cpu_hours > 0 else 0.0


def search(judge: Judge, space: Mapping[str, Range], folder: Path, *, trials: int, seed: int, key: str) -> Search:
    """Try ``trials`` sets of parameters after the declared one; those that ``folder`` has already are not tried again.

    Parameters
    ----------
    judge
        called with parameters by name; {} for the model as declared. One that raises a `FivesigmaError` (a loss that is
        not finite, say) has failed; it is kept and counted.
    folder
        trials are kept in ``<folder>/<key>/trials.json``.
    key
        a digest of everything that decides a trial's value: another key, another search.

    Raises
    ------
    MissingDependencyError
        without Optuna.
    ModelError
        if the declared model fails, or all trials.
    """
    optuna = _optuna()
    path = folder / key / "trials.json"
    done = _read(path)
    with progress(trials + 1, "searching", unit="trials") as advance:
        advance(min(len(done), trials + 1))
        while len(done) <= trials:
            number = len(done)
            parameters = {} if number == 0 else _suggested(optuna, done, space, seed)
            done.append(_tried(judge, number, parameters))
            write_json(path, [asdict(trial) for trial in done])
            advance(1)
    declared, *tried = done[: trials + 1]
    if declared.failure is not None:
        raise ModelError(f"the model as declared fails: {declared.failure}")
    if tried and all(trial.failure for trial in tried):
        raise ModelError(f"all {len(tried)} trials failed, the first with: {tried[0].failure}")
    return Search(declared, tuple(tried), *_importance(optuna, tried, space, seed))


def _tried(judge: Judge, number: int, parameters: dict[str, Any]) -> Trial:
    start = time.process_time()
    try:
        values, failure = tuple(judge(parameters)), None
    except FivesigmaError as error:
        values, failure = (), f"{type(error).__name__}: {error}"
        say(f"trial {number} failed: {failure}")
    return Trial(number, parameters, values, time.process_time() - start, failure)


def _suggested(optuna: Any, done: list[Trial], space: Mapping[str, Range], seed: int) -> dict[str, Any]:
    """Parameters of the next trial: they depend on the trials so far, the seed and the number alone."""
    study = _study(optuna, done[1:], space, int(content_hash([seed, len(done)])[:8], 16))
    drawn = study.ask({name: found.distribution() for name, found in space.items()}).params
    return {name: space[name].value(drawn[name]) for name in space}


def _study(optuna: Any, tried: list[Trial], space: Mapping[str, Range], seed: int) -> Any:
    """Optuna's study, in memory, with the trials so far."""
    distributions = {name: found.distribution() for name, found in space.items()}
    with _quiet(optuna):
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for trial in tried:
        encoded = {n: json.dumps(v) if space[n].choices else v for n, v in trial.parameters.items()}
        state = optuna.trial.TrialState.FAIL if trial.failure else optuna.trial.TrialState.COMPLETE
        value = None if trial.failure else trial.value
        study.add_trial(
            optuna.trial.create_trial(state=state, value=value, params=encoded, distributions=distributions)
        )
    return study


def _importance(optuna: Any, tried: list[Trial], space: Mapping[str, Range], seed: int) -> tuple[dict[str, float], str]:
    """Shares of the variance of the values that the parameters explain (fANOVA, Hutter et al. 2014)."""
    values = [trial.value for trial in tried if trial.failure is None]
    if len(values) < 4 or np.ptp(values) == 0:
        return {}, "too few different trials to tell"
    study = _study(optuna, tried, space, seed)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}, "fANOVA: share of the variance explained"


def _read(path: Path) -> list[Trial]:
    if not path.is_file():
        return []
    try:
        words = json.loads(path.read_text(encoding="utf-8"))
        return [Trial(**{**trial, "values": tuple(trial["values"])}) for trial in words]
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"the trials in {path} are damaged ({error}); delete the file to search anew") from error


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingDependencyError(
            "searching hyper-parameters needs Optuna: pip install 'fivesigma[search]'"
        ) from error
    return optuna


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Without Optuna's notes about studies in memory."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
