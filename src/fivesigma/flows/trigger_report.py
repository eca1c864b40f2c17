"""The report of the flow ``topological-trigger``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.evaluate.binomial import clopper_pearson
from fivesigma.evaluate.drift import Drift, Slice
from fivesigma.evaluate.trigger_rate import EfficiencyAtRate, threshold_at_rate
from fivesigma.flows import trigger_figures as figures
from fivesigma.flows.topological_trigger import ALL, TriggerStudy, middle_rate, training_rows
from fivesigma.flows.trigger_measures import efficiency_in_bins
from fivesigma.flows.trigger_results import composition, parity
from fivesigma.physics.n_body import CANDIDATE_COLUMNS
from fivesigma.report.blocks import Cell, Gallery, Section, Table, Text
from fivesigma.report.page import write_report
from fivesigma.report.plot import Plot
from fivesigma.simulate.heavy_flavour_decays import MODES

DECAY_TIME_EDGES = (0.2, 0.5, 0.8, 1.2, 1.6, 2.2, 3.0, 4.5, 8.0)  # ps
CORRECTED_MASS_EDGES = (2.0, 3.0, 4.0, 4.5, 5.0, 5.3, 5.6, 6.0, 7.0, 9.0)  # GeV
FLAT_MODELS = ("bdt", "bonsai", "uniform-bdt", "uniform-bonsai")
LABELS = {
    "n_tracks": "tracks", "sum_pt": "Σ pT [GeV]", "min_pt": "least pT [GeV]", "mass": "mass of kaons [GeV]",
    "corrected_mass": "corrected mass [GeV]", "doca": "closest approach [mm]",
    "ip_chi2": "χ² of impact", "fd_chi2": "χ² of flight",
}  # fmt: skip
_RANGES = {
    "n_tracks": (1.5, 4.5, False), "sum_pt": (1, 30, True), "min_pt": (0.5, 10, True), "mass": (0.9, 7, False),
    "corrected_mass": (1, 10, False), "doca": (0, 0.2, False), "ip_chi2": (0.01, 1e4, True), "fd_chi2": (25, 1e6, True),
}  # fmt: skip
TITLES = {mode.name: mode.title for mode in MODES} | {ALL: ALL}


def write_trigger_report(path: Path, study: TriggerStudy, made: Mapping[str, Any], workers: int) -> Path:
    """Write the page with its figures."""
    sections = [
        _rates(study),
        _inputs(study),
        _flatness(study),
        _tables(study),
        _stability(study),
        _monitoring(study),
    ]
    words = study.words
    return write_report(path, words.title, sections, made, subtitle=words.reference or "", workers=workers)


def _rates(study: TriggerStudy) -> Section:
    compared, given, words = study.comparison, study.test.given, study.words
    grid = np.geomspace(min(compared.rates) / 2, max(compared.rates) * 2, 60)
    curves, points = {}, {}
    for name, scores in study.scores.items():
        efficiency = EfficiencyAtRate(scores, given)(grid)
        curves[name] = {"rate": grid, "efficiency": efficiency}
        at = [compared.efficiency(name, ALL, rate) for rate in compared.rates]
        points[name] = {
            "rate": compared.rates,
            "value": [m.value for m in at],
            "uncertainty": [m.uncertainty for m in at],
        }
    rate = middle_rate(words)
    by_decay = {n: [compared.efficiency(n, part, rate) for part in compared.parts] for n in study.models}
    tables = [_efficiency_table(study, part) for part in compared.parts]
    return Section(
        "Efficiency at a given rate",
        "efficiency",
        (
            Text(_setting(study)),
            Gallery(
                (
                    figures.efficiency_against_rate(curves, points),
                    figures.efficiency_by_decay(
                        by_decay, [TITLES[p] for p in compared.parts], rate, [TITLES[u] for u in words.unseen]
                    ),
                )
            ),
            *tables,
            _composition_table(study),
        ),
    )


def _setting(study: TriggerStudy) -> str:
    words, given, sample = study.words, study.test.given, study.sample.file
    with_one = int(np.isfinite(next(iter(study.scores.values())).background).sum())
    return (
        f"{given.collisions:,} simulated collisions stand for an input of {given.rate:,.0f} kHz; {with_one:,} without beauty "
        f"have a candidate, {given.output(with_one).value:.1f} kHz. {int(study.test.signal.sum()):,} decays in acceptance "
        f"test the efficiency. The sample has {sample['signal']:,} decays and {sample['background']:,} stored collisions; "
        f"{1 - words.test_fraction:.0%} of them were for training.\n\n"
        "A decay is kept if a candidate made of its own tracks alone passes; a collision passes with any candidate. Thresholds "
        "are set by the rate of collisions without beauty; those with beauty, which the trigger is for, come on top."
    )


def _efficiency_table(study: TriggerStudy, part: str) -> Table:
    compared = study.comparison
    rows: list[tuple[Cell, ...]] = []
    for name in study.models:
        values = [compared.efficiency(name, part, rate) for rate in compared.rates]
        more = [compared.difference(name, "bdt", part, middle_rate(study.words)) if name != "bdt" else None]
        rows.append((name, *values, *more))
    note = "Bootstrap over signal and background events; differences are paired."
    columns = ("model", *(f"at {r:g} kHz" for r in compared.rates), f"less bdt at {middle_rate(study.words):g} kHz")
    return Table(f"Efficiency, {TITLES[part]}", columns, tuple(rows), (note,))


def _composition_table(study: TriggerStudy) -> Table:
    rate = middle_rate(study.words)
    rows: list[tuple[Cell, ...]] = [(name, *composition(study, name, rate).values()) for name in study.models]
    note = "Clopper–Pearson. Equal scores can keep the rate of tables and cuts below what is asked for."
    columns = ("model", "light [kHz]", "charm", "beauty", "all")
    return Table(f"What passes at {rate:g} kHz without beauty", columns, tuple(rows), (note,))


def _inputs(study: TriggerStudy) -> Section:
    rows = training_rows(study.sample, study.seen["nominal"].candidates, study.words)
    panels = []
    for i, name in enumerate(CANDIDATE_COLUMNS):
        low, high, log = _RANGES[name]
        edges = np.geomspace(low, high, 31) if log else np.linspace(low, high, 4 if name == "n_tracks" else 31)
        panel: dict[str, Any] = {"name": LABELS[name], "edges": edges, "log": log, "cuts": study.words.bins[name]}
        for label, word in ((1, "signal"), (0, "background")):
            own = rows.y == label
            content = np.histogram(rows.X[own, i], edges, weights=rows.weight[own])[0]
            panel[word] = content / rows.weight[own].sum()
        panels.append(panel)
    return Section("Inputs", "inputs", (figures.inputs_of(panels),))


def _flatness(study: TriggerStudy) -> Section:
    rate = middle_rate(study.words)
    models = [name for name in FLAT_MODELS if name in study.models]
    passed = {
        name: study.flat.score[name] >= threshold_at_rate(study.scores[name].background, study.test.given, rate)
        for name in models
    }
    time_edges, mass_edges = np.array(DECAY_TIME_EDGES), np.array(CORRECTED_MASS_EDGES)

    def inside(values: NDArray[np.float64], edges: NDArray[np.float64], name: str) -> dict[str, list[float]]:
        chosen = (values >= edges[0]) & (values < edges[-1])
        return efficiency_in_bins(passed[name][chosen], values[chosen], edges)

    in_time = {name: inside(study.flat.decay_time, time_edges, name) for name in models}
    in_mass = {name: inside(study.flat.corrected_mass[name], mass_edges, name) for name in models}
    rows: list[tuple[Cell, ...]] = []
    for (uniform, variable), found in study.uneven.items():
        plainly = uniform.removeprefix("uniform-")
        rows.append((f"{plainly}, {variable}", found[plainly], found[uniform], found["difference"]))
    note = (
        "Cramér–von Mises measure of arXiv:1410.4140 in eight bins of equally many signal events, of all thresholds together; "
        "0 is flat. Bootstrap; differences are paired."
    )
    columns = ("model", "plain", "uniform", "difference")
    return Section(
        "Flat in decay time and corrected mass",
        "flatness",
        (
            Gallery(
                (
                    figures.efficiency_in(
                        "flatness-decay-time",
                        "Efficiency against decay time",
                        "true decay time [ps]",
                        DECAY_TIME_EDGES,
                        in_time,
                        rate,
                    ),
                    figures.efficiency_in(
                        "flatness-corrected-mass",
                        "Efficiency against corrected mass",
                        "corrected mass of the best candidate [GeV]",
                        CORRECTED_MASS_EDGES,
                        in_mass,
                        rate,
                    ),
                )
            ),
            Table("Unevenness of the score of signal", columns, tuple(rows), (note,)),
        ),
    )  # fmt: skip


def _tables(study: TriggerStudy) -> Section:
    rate = middle_rate(study.words)
    series = {
        way: {
            "cells": [choice.cells for choice in chosen],
            "loss": [choice.loss.value for choice in chosen],
            "uncertainty": [choice.loss.uncertainty for choice in chosen],
        }
        for way, chosen in (("bonsai, its bins pruned", study.sizes), ("bdt, put into bins", study.tabulated))
    }
    rows: list[tuple[Cell, ...]] = []
    for choice in (*study.sizes, *study.tabulated):
        bins = " × ".join(str(choice.bins[name]) for name in CANDIDATE_COLUMNS)
        rows.append((choice.how, bins, choice.cells, choice.loss))
    proofs: list[tuple[Cell, ...]] = []
    for name, artifact in study.deployed.items():
        found = parity(study, name, artifact)
        proofs.append(
            (
                name,
                found["largest_difference_of_scores"].value,
                *(found[key].value if key in found else None for key in ("decisions_that_differ", "cells", "bytes")),
            )
        )
    cost: list[tuple[Cell, ...]] = [(name, taken) for name, taken in study.times.items()]
    memory = study.memory
    shared = (
        f"{memory['processes']} processes that map the table of {memory['file']:,} bytes and read every page of it hold "
        f"{memory['together']:,} bytes together (proportional set sizes); copies would take {memory['copies']:,}."
    )
    return Section(
        "Tables and C",
        "tables",
        (
            Text(shared),
            Table(
                "What is deployed is what was trained",
                ("deployed as", "largest difference of scores", "decisions that differ", "cells", "bytes"),
                tuple(proofs),
                ("All candidates of the study; decisions of the test's events at all output rates.",),
            ),
            Table("Time", ("evaluated by", "ns per candidate"), tuple(cost)),
            figures.loss_against_size(series, rate),
            Table(
                "Sizes of tables",
                ("made by", "bins of " + ", ".join(CANDIDATE_COLUMNS), "cells", f"loss of efficiency at {rate:g} kHz"),
                tuple(rows),
            ),
        ),
    )


def _stability(study: TriggerStudy) -> Section:
    rows = [
        {
            "model": one.model,
            "variation": one.variation,
            "rate": one.rate.value,
            "rate_uncertainty": one.rate.uncertainty,
            "efficiency": one.efficiency.value,
            "efficiency_uncertainty": one.efficiency.uncertainty,
        }
        for one in study.stable
    ]
    table: list[tuple[Cell, ...]] = [(f"{o.model}, {o.variation}", o.rate, o.efficiency) for o in study.stable]
    return Section(
        "Stability",
        "stability",
        (
            figures.stability_of(rows, middle_rate(study.words)),
            Table(
                "Changes at fixed thresholds", ("model, variation", "relative, of rate", "of efficiency"), tuple(table)
            ),
        ),
    )


def _monitoring(study: TriggerStudy) -> Section:
    words = study.words.monitoring
    plots: list[Plot] = []
    text = []
    for i, (name, (slices, drift)) in enumerate(study.watched.items()):
        change = None if name == "nominal" else words.from_slice
        anchor = "stable" if change is None else f"changed-{i}"
        title = "stable detector" if change is None else f"{name} from slice {words.from_slice + 1} on"
        plots += [
            figures.p_values(f"monitoring-alarms-{anchor}", f"Comparisons: {title}", drift.to_json(), change),
            figures.rates_in_time(
                f"monitoring-rates-{anchor}", f"Rates: {title}", _rates_in_time(slices, drift), change
            ),
        ]
        before = sum(alarm.slice < words.from_slice for alarm in drift.alarms)
        text.append(
            f"{title[0].upper()}{title[1:]}: {len(drift.alarms)} alarms in {drift.p_value.size} comparisons, {before} of them "
            f"in the first {words.from_slice} slices."
        )
    return Section(
        "Monitoring",
        "monitoring",
        (
            Text(
                "Half of the test's collisions are the reference, the others slices of time. "
                "One candidate an event, that of largest Σ pT, enters the distributions, and one track, the hardest that is "
                "displaced: its impact parameter in x, on its own side of the beam.\n\n" + "\n\n".join(text)
            ),
            Gallery(tuple(plots)),
            *(_alarm_table(name, drift) for name, (_, drift) in study.watched.items() if drift.alarms),
        ),
    )


def _rates_in_time(slices: list[Slice], drift: Drift) -> dict[str, Any]:
    found = {}
    for name in slices[0].exposure.passed:
        counts = [(one.exposure.passed[name], one.exposure.collisions) for one in slices]
        limits = [clopper_pearson(k, n) for k, n in counts]
        found[name] = {
            "value": [k / n for k, n in counts],
            "low": [low for low, _ in limits],
            "high": [high for _, high in limits],
            "reference": drift.reference.passed[name] / drift.reference.collisions,
        }
    return found


def _alarm_table(name: str, drift: Drift) -> Table:
    rows: list[tuple[Cell, ...]] = [(a.quantity, a.slice + 1, f"{a.p_value:.1e}") for a in drift.alarms]
    return Table(f"Alarms, {name}", ("quantity", "slice", "p-value"), tuple(rows))
