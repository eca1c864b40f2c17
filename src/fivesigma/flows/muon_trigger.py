"""The flow ``muon-trigger``: momentum of muons from bending angles, regressed, put into integer tables, and cut on.

Everything is trained on one sample, cuts and allocations of bits are chosen on a second, and all numbers are measured on a
third; differences between models are paired: the same muons, the same bootstrap replicas.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from fivesigma.core.progress import progress, say
from fivesigma.core.provenance import provenance
from fivesigma.core.registry import unknown_name
from fivesigma.core.run_directory import RunDirectory
from fivesigma.evaluate.measurement import Measurement
from fivesigma.evaluate.results import ResultRow, results_rows
from fivesigma.flows.analytic_momentum import AnalyticMomentum
from fivesigma.flows.compressed_inputs import Compression
from fivesigma.flows.flow import FlowResult, FlowWords
from fivesigma.flows.muon_measurements import Measured, measure_models
from fivesigma.flows.muon_momentum import FULL, Analytic, Momentum, MomentumWords, Muons, Regressed, fit_momentum
from fivesigma.flows.muon_tables import MomentumTable, Removal, build_table, scan_bits
from fivesigma.flows.muon_trigger_report import write_muon_trigger_report
from fivesigma.studies.definition import accept_options
from fivesigma.studies.words import Words

BASELINE = "analytic"


class ScanWords(Words):
    """How bits are taken from inputs."""

    start: dict[str, int] = Field(description="bits of each input to begin with")
    train_muons: int = Field(default=60_000, ge=1000)
    held_out_muons: int = Field(default=60_000, ge=1000)
    options: dict[str, Any] = Field(default_factory=dict, description="of the quick trainings, over the model's own")


class ChargeWords(Words):
    """A classifier that tells whether the first bending angle has the charge's side."""

    estimator: str
    options: dict[str, Any] = Field(default_factory=dict)


class MuonTriggerWords(FlowWords):
    """What a study of this flow says."""

    train_muons: int = Field(default=400_000, ge=1000)
    held_out_muons: int = Field(default=200_000, ge=1000, description="for cuts and the allocation of bits")
    test_muons: int = Field(default=600_000, ge=1000)
    power: float = Field(default=5.0, ge=2, le=10, description="the spectrum falls as pT to minus this")
    other_powers: tuple[float, ...] = Field(default=(), description="for which rate reductions are also given")
    thresholds: tuple[float, ...] = Field(default=(10, 22, 25), description="GeV")
    efficiency: float = Field(default=0.9, gt=0, lt=1, description="of muons with a track, at the threshold")
    models: dict[str, MomentumWords] = Field(description="regressors of pT")
    charge: ChargeWords
    tables_of: str = Field(description="the model that tables are made of")
    tables: tuple[int, ...] = Field(description="bits of each table's address")
    value_bits: int = Field(default=8, ge=4, le=16, description="of what tables hold: ln pT")
    scan: ScanWords
    replicas: int = Field(default=200, ge=20, description="of the bootstrap")

    @model_validator(mode="after")
    def _names_are_known(self) -> MuonTriggerWords:
        if self.tables_of not in self.models:
            raise ValueError(f"tables_of: {unknown_name('model', self.tables_of, self.models)}")
        if self.models[self.tables_of].target != "log-pt":
            raise ValueError("tables hold ln pT: the model of tables_of needs the target log-pt")
        if most := [bits for bits in self.tables if bits > sum(self.scan.start.values())]:
            raise ValueError(f"tables: {most[0]} bits are more than scan.start has, {sum(self.scan.start.values())}")
        return self


class MuonTriggerFlow:
    """Draw, fit, compress, judge; see the module."""

    words = MuonTriggerWords

    def run(self, words: MuonTriggerWords, run: RunDirectory, *, workers: int) -> FlowResult:  # noqa: ARG002 one process
        """Do the study and write the report.

        Raises
        ------
        FivesigmaError
            whatever learners and tables have to say.
        """
        _check_models(words)
        train, held_out, test = _samples(words)
        models: dict[str, Momentum] = {BASELINE: Analytic(AnalyticMomentum().calibrate(train.inputs, train.pt))}
        models |= _fit(words, train)
        scan = _scan(words, train, held_out)
        tables = _tables(words, scan, train, held_out, run)
        pruned = _pruned(words, train)
        measured = measure_models(words, {**models, **tables}, pruned, held_out, test, BASELINE)
        rows = [row for name, metrics in measured.metrics.items() for row in results_rows(name, metrics)]
        rows += _cost_rows(models, tables)
        more = {
            "curves": measured.curves,
            "scan": [{"bits": step.bits, "removed": step.removed, "loss": step.loss} for step in scan],
            "tables": {name: table.cost for name, table in tables.items()},
        }
        made = provenance(seed=words.seed, command=None)
        report = write_muon_trigger_report(run.path / "report.html", words, measured, more, made)
        return FlowResult(_sample(words, test), rows, measured.differences, report, more)


def _check_models(words: MuonTriggerWords) -> None:
    from fivesigma.learn import ESTIMATORS

    for name, model in words.models.items():
        accept_options("models", name, ESTIMATORS[model.estimator], model.options)
    accept_options("charge", words.charge.estimator, ESTIMATORS[words.charge.estimator], words.charge.options)


def _samples(words: MuonTriggerWords) -> tuple[Muons, Muons, Muons]:
    sizes = (words.train_muons, words.held_out_muons, words.test_muons)
    with progress(sum(sizes), "drawing muons", unit="muons") as advance:
        drawn = []
        for number, n in enumerate(sizes):
            drawn.append(Muons.draw(n, 3 * words.seed + number, words.power))
            advance(n)
    return drawn[0], drawn[1], drawn[2]


def _fit(words: MuonTriggerWords, train: Muons) -> dict[str, Momentum]:
    from fivesigma.learn import ESTIMATORS

    fitted: dict[str, Momentum] = {}
    with progress(len(words.models) + 1, "training", unit="models") as advance:
        sides = ESTIMATORS[words.charge.estimator](**{"seed": words.seed, **words.charge.options})
        sides.fit(FULL.codes(train.inputs), train.turned)
        advance(1)
        for name, model in words.models.items():
            fitted[name] = fit_momentum(model, train, words.seed, sides=sides if name == words.tables_of else None)
            advance(1)
    return fitted


def _scan(words: MuonTriggerWords, train: Muons, held_out: Muons) -> list[Removal]:
    model = words.models[words.tables_of]
    quick = model.model_copy(update={"options": model.options | words.scan.options})
    return scan_bits(
        quick,
        words.scan.start,
        min(words.tables),
        train.some(words.scan.train_muons),
        held_out.some(words.scan.held_out_muons),
        words.seed,
    )


def _tables(
    words: MuonTriggerWords, scan: list[Removal], train: Muons, held_out: Muons, run: RunDirectory
) -> dict[str, MomentumTable]:
    """Of each size, with the bits of the scan; those of an earlier run are removed."""
    tables = {}
    folder = run.path / "tables"
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    for size in words.tables:
        step = next(step for step in scan if sum(step.bits.values()) == size)
        model = fit_momentum(words.models[words.tables_of], train, words.seed, Compression(step.bits))
        say(f"table of 2^{size}: " + ", ".join(f"{name} {bits}" for name, bits in step.bits.items() if bits))
        tables[f"table 2^{size}"] = build_table(
            model, folder / f"address-{size}", words.value_bits, held_out, words.seed
        )
    return tables


def _pruned(words: MuonTriggerWords, train: Muons) -> dict[str, Regressed]:
    """The model without each of its inputs."""
    pruned = {}
    with progress(len(FULL.bits), "leaving inputs out", unit="inputs") as advance:
        for name in FULL.bits:
            compression = replace(FULL, bits={**FULL.bits, name: 0})
            pruned[f"without {name}"] = fit_momentum(words.models[words.tables_of], train, words.seed, compression)
            advance(1)
    return pruned


def _cost_rows(models: Mapping[str, Momentum], tables: Mapping[str, MomentumTable]) -> list[ResultRow]:
    rows = []
    once = "measured once"
    for name, model in models.items():
        if isinstance(model, Regressed):
            rows += results_rows(name, {"training_cpu_seconds": Measurement(model.cpu_seconds, 0.0, once)})
    for name, table in tables.items():
        costs = {
            "table_bytes": Measurement(table.cost["bytes"], 0.0, "size of the file"),
            "table_cpu_seconds": Measurement(table.cost["cpu_seconds"], 0.0, f"filled and compared; {once}"),
            "cells_compared": Measurement(table.cost["cells_compared"], 0.0, "every address"),
        }
        rows += results_rows(name, costs)
    return rows


def _sample(words: MuonTriggerWords, test: Muons) -> dict[str, Any]:
    return {
        "generated": "fivesigma.simulate.muons",
        "train_muons": words.train_muons,
        "held_out_muons": words.held_out_muons,
        "test_muons": words.test_muons,
        "test_tracks": int(np.count_nonzero(test.all.found)),
    }


__all__ = ["Measured", "MuonTriggerFlow", "MuonTriggerWords"]
