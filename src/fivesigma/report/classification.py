"""The report of a classification study: results and what was learned, in the sections that physicists look for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.progress import say
from fivesigma.dataset import Dataset, Reweighting, train_validation_test
from fivesigma.evaluate import METRICS, Assessment, Comparison, DataComparison, Expectation, Measurement
from fivesigma.explain import Insight
from fivesigma.report import figures
from fivesigma.report.blocks import Block, Cell, Facts, Gallery, Number, Table, Text, WorkingPoints, section
from fivesigma.report.insight import jet_image_blocks, learned_blocks
from fivesigma.report.page import write_report
from fivesigma.report.plot import Plot
from fivesigma.report.robustness import data_blocks, robustness_blocks, significance_blocks

_TITLE = re.compile(r"(?P<name>.*?)\s*\[(?P<unit>[^\]]*)\]\s*")
DETAILED = 4
"""Models shown in figures of one model each: the best by AUC; tables show all."""


@dataclass(frozen=True)
class ModelFacts:
    """What the report says of one model beside its scores."""

    estimator: str
    inputs: str
    weight_policy: str
    parameters: int
    training_cpu_seconds: Measurement
    microseconds_per_event: Measurement
    histories: Sequence[Sequence[Mapping[str, float]]] = ()  # by fold, one entry an epoch
    statements: Sequence[str] = ()  # by fold, such as which precision was used


@dataclass(frozen=True)
class StudyFacts:
    """What the report says of the study beside its results."""

    title: str
    reference: str | None
    baseline: str
    n_folds: int
    models: Mapping[str, ModelFacts]
    expectation: Expectation
    provenance: Mapping[str, Any]
    titles: Mapping[str, str] = field(default_factory=dict)  # column → "name [unit]"
    image_extent: float = 1.25  # half-width of jet images in η and φ
    image_intensity: str = "pt [GeV]"

    def label(self, column: str) -> tuple[str, str | None]:
        """A column's name on axes, and its unit."""
        title = self.titles.get(column, column)
        match = _TITLE.fullmatch(title)
        return (match["name"], match["unit"]) if match else (title, None)


def write_classification_report(
    path: Path,
    facts: StudyFacts,
    dataset: Dataset,
    weight: NDArray[np.float64],
    reweighting: Reweighting | None,
    assessment: Assessment,
    insight: Insight,
    workers: int = 1,
    compared: DataComparison | None = None,
) -> Path:
    """Write ``report.html`` with all sections, and every figure with its data beside it.

    Raises
    ------
    OutputError
        if a file cannot be written.
    """
    say("writing the report")
    shown = assessment.comparison.ranking("auc")[:DETAILED]
    sections = [
        section("summary", *_summary(facts, assessment)),
        section("inputs", *_inputs(facts, dataset, weight, assessment)),
        section("correlations", _correlations(dataset, weight)),
        section("reweighting", *_reweighting(facts, reweighting)),
        section("overtraining", *_overtraining(assessment, shown)),
        section("rejection", *_rejection(facts, assessment)),
        section("cuts", *_cuts(facts, assessment, shown)),
        section("bins", *_bins(facts, assessment, shown)),
        section("restricted", *_restricted(facts, assessment)),
        section("calibration", *_calibration(assessment, shown)),
        section("significance", *significance_blocks(facts.expectation, assessment, shown)),
        section("robustness", *robustness_blocks(assessment, shown, facts.label)),
        section("data-simulation", *data_blocks(compared, facts.label)),
        section("convergence", *_convergence(facts)),
        section("jet-images", *jet_image_blocks(insight, facts.image_extent, facts.image_intensity)),
        section("learned", *learned_blocks(insight, facts.image_extent, facts.label)),
        section("ledger", *_ledger(facts, dataset)),
        section("cost", *_cost(facts, assessment)),
        section("provenance", Facts(facts.provenance)),
    ]
    subtitle = f"{facts.reference}" if facts.reference else ""
    return write_report(path, facts.title, [s for s in sections if s.blocks], subtitle=subtitle, workers=workers)


def _results_table(caption: str, comparison: Comparison, baseline: str) -> Table:
    """One model a row: each metric, then the paired difference of AUC from the baseline."""
    metrics = list(next(iter(comparison.measurements.values())))
    rows = []
    for model in reversed(comparison.ranking("auc")):
        values = comparison.measurements[model]
        difference = None if model == baseline else comparison.difference(model, baseline, "auc").difference
        rows.append((model, *(values[name] for name in metrics), difference))
    titles = (*(METRICS[name].title for name in metrics), f"ΔAUC from {baseline}")
    how = next(iter(comparison.measurements.values()))[metrics[0]].how
    note = (
        f"{comparison.n_signal:,} signal and {comparison.n_background:,} background rows. Uncertainties: {how}, over events; "
        "differences are paired, on the same replicas. They hold the size of the test sample, not the spread of trainings."
    )
    return Table(caption, ("model", *titles), tuple(rows), (note,))


def _pairs_table(comparison: Comparison, models: Sequence[str], metric: str) -> Table:
    """Paired differences between all of some models."""
    rows = tuple(
        (
            first,
            *(
                None if first == second else comparison.difference(first, second, metric).difference
                for second in models
            ),
        )
        for first in models
    )
    caption = f"Paired differences in {METRICS[metric].title}: row minus column"
    return Table(caption, ("model", *models), rows)


def _summary(facts: StudyFacts, assessment: Assessment) -> list[Block]:
    comparison = assessment.comparison
    best = comparison.ranking("auc")
    words = (
        f"{len(best)} models, each event scored by the model of its own fold ({facts.n_folds} folds), which has not seen it. "
        f"The largest AUC is that of {best[0]}: {comparison.measurement(best[0], 'auc')}, "
        f"{comparison.difference(best[0], facts.baseline, 'auc').difference} more than {facts.baseline}."
        if best[0] != facts.baseline
        else f"No model has a larger AUC than {facts.baseline}."
    )
    rejections = {name: m["rejection_at_0.5"] for name, m in comparison.measurements.items() if "rejection_at_0.5" in m}
    blocks: list[Block] = [Text(words, _references(facts)), _results_table("Results", comparison, facts.baseline)]
    if rejections:
        blocks.append(figures.rejection_summary(rejections))
    blocks.append(_pairs_table(comparison, best[:6], "auc"))
    return blocks


def _references(facts: StudyFacts) -> tuple[tuple[str, str], ...]:
    if facts.reference is None or not facts.reference.startswith("arXiv:"):
        return ()
    return ((facts.reference, f"https://arxiv.org/abs/{facts.reference.removeprefix('arXiv:')}"),)


def _inputs(facts: StudyFacts, dataset: Dataset, weight: NDArray[Any], assessment: Assessment) -> list[Block]:
    plots = []
    for name in _flat_inputs(dataset):
        label, unit = facts.label(name)
        plots.append(
            figures.input_variable(name, np.asarray(dataset.column(name)), dataset.y, weight, label=label, unit=unit)
        )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (facts.label(p.variable)[0], p.direction, p.one_sided["auc"], *p.likelihood_ratio.values())
        for p in assessment.variables
    )
    blocks: list[Block] = [Gallery(tuple(plots))]
    if rows:
        metrics = tuple(METRICS[name].title for name in assessment.variables[0].likelihood_ratio)
        note = "One cut in the direction stated; then the binned likelihood ratio, cross-fitted in halves, which finds peaks."
        blocks.append(
            Table("What each variable alone can do", ("variable", "one cut", "AUC of one cut", *metrics), rows, (note,))
        )
    return blocks


def _flat_inputs(dataset: Dataset) -> list[str]:
    return [
        name
        for name, column in dataset.schema.items()
        if column.role != "identity" and not column.jagged and column.dtype.startswith("float")
    ]


def _correlations(dataset: Dataset, weight: NDArray[Any]) -> Plot:
    return figures.linear_correlations(
        {n: np.asarray(dataset.column(n)) for n in _flat_inputs(dataset)}, dataset.y, weight
    )


def _reweighting(facts: StudyFacts, reweighting: Reweighting | None) -> list[Block]:
    if reweighting is None:
        return []
    closure, blocks = reweighting.closure, []
    for v in closure.variables:
        label, unit = facts.label(v.name)
        moved = int(closure.effective_after[1] != closure.effective_before[1])  # the class whose weights changed
        note = f"χ²/ndf {v.chi2_before:.0f}/{v.ndf} before, {v.chi2_after:.1f}/{v.ndf} after"
        plot = figures.reweighting_closure(
            v.name,
            v.edges,
            v.before[1 - moved].content,
            v.before[moved].content,
            v.after[moved].content,
            target_error=v.before[1 - moved].error,
            before_error=v.before[moved].error,
            after_error=v.after[moved].error,
            target_label=("background", "signal")[1 - moved],
            moved_label=("background", "signal")[moved],
            label=label,
            unit=unit,
            note=note,
        )
        blocks.append(plot)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, before, after, lost, uncovered)
        for name, before, after, lost, uncovered in zip(
            ("background", "signal"),
            closure.effective_before,
            closure.effective_after,
            closure.without_counterpart,
            closure.uncovered,
            strict=True,
        )
    )
    columns = (
        "class",
        "effective events before",
        "after",
        "share without counterpart",
        "share of the target not covered",
    )
    return [*blocks, Table("Effective sample sizes (Σw)²/Σw²", columns, rows), *_separation(reweighting)]


def _separation(reweighting: Reweighting) -> list[Block]:
    """What Kolmogorov and Smirnov, and a classifier, still see of the reweighted variables."""
    if (tested := reweighting.closure.separation) is None:
        return []
    before, after = tested
    rows: list[tuple[Cell, ...]] = [
        (f"KS distance in {name}", before.ks[name], after.ks[name], after.p_value[name]) for name in after.ks
    ]
    if before.auc is not None and after.auc is not None:
        spread = (before.auc_uncertainty, after.auc_uncertainty)
        rows.append(("AUC of a classifier", Number(before.auc, spread[0]), Number(after.auc, spread[1]), None))
    note = (
        "The classifier sees all reweighted variables together and is tried on events that it was not fitted on: an AUC of "
        "½ says that it cannot tell the classes apart. Its uncertainty is that of an AUC of ½."
    )
    return [Table("Closure", ("test", "before", "after", "p-value after"), tuple(rows), (note,))]


def _overtraining(assessment: Assessment, shown: Sequence[str]) -> list[Block]:
    rows = []
    for name, model in assessment.models.items():
        s, b = model.overtraining.signal, model.overtraining.background
        rows.append((name, s.ks_p_value, s.chi2_p_value, b.ks_p_value, b.chi2_p_value))
    columns = ("model", "signal p (KS)", "signal p (χ²)", "background p (KS)", "background p (χ²)")
    note = (
        "The model of the first fold: events it was trained on against events it has never seen. A small p-value says that "
        "the output differs between them; results are of unseen events, so that they are not flattered by it."
    )
    plots = tuple(figures.overtraining_check(name, assessment.models[name].overtraining) for name in shown)
    return [Gallery(plots), Table("Overtraining check: p-values", columns, tuple(rows), (note,))]


def _rejection(facts: StudyFacts, assessment: Assessment) -> list[Block]:
    curves = {name: model.roc for name, model in assessment.models.items()}
    best = assessment.comparison.ranking("auc")
    chosen = {name: curves[name] for name in dict.fromkeys([*best[:7], facts.baseline])}
    yields = facts.expectation
    slider = WorkingPoints(curves, yields.signal, yields.background, yields.background_uncertainty)
    return [
        figures.background_rejection(chosen, reference=facts.baseline),
        figures.significance_improvement(chosen),
        slider,
    ]


def _cuts(facts: StudyFacts, assessment: Assessment, shown: Sequence[str]) -> list[Block]:
    y = facts.expectation
    rows = []
    for name, model in assessment.models.items():
        cut = model.optimal_cut
        rows.append((name, cut.threshold, cut.signal_efficiency, cut.background_efficiency, cut.significance))
    sigma = 100 * y.background_uncertainty
    note = f"Expected yields before the cut: S = {y.signal:g}, B = {y.background:g}, σ_B = {sigma:g} %."
    best = shown[0]
    points = tuple(
        (p.threshold, p.signal_efficiency, p.background_efficiency, p.rejection, p.s_over_sqrt_b, p.significance)
        for p in assessment.models[best].working_points
    )
    columns = ("threshold", "ε_S", "ε_B", "1/ε_B", "S/√B", "S/√(B + σ_B²B²)")
    plots = tuple(
        figures.cut_efficiencies(
            name,
            assessment.models[name].roc,
            signal=y.signal,
            background=y.background,
            background_uncertainty=y.background_uncertainty,
        )
        for name in shown
    )
    return [
        Table("Optimal cut", ("model", "threshold", "ε_S", "ε_B", "S/√(B + σ_B²B²)"), tuple(rows), (note,)),
        Gallery(plots),
        Table(f"Working points of {best}", columns, points, (note,)),
    ]


def _bins(facts: StudyFacts, assessment: Assessment, shown: Sequence[str]) -> list[Block]:
    blocks: list[Block] = []
    for variable in assessment.models[shown[0]].bins:
        label, unit = facts.label(variable)
        chosen = dict.fromkeys([*shown, facts.baseline])
        binned = {name: assessment.models[name].bins[variable] for name in chosen}
        blocks.append(figures.rejection_in_bins(binned, label=label, unit=unit))
        rows = tuple(
            (name, f"{b.low:g} – {b.high:g}", b.own_cut, b.inclusive_cut, b.inclusive_signal_efficiency)
            for name, result in binned.items()
            for b in result.bins
        )
        columns = (
            "model",
            label + (f" [{unit}]" if unit else ""),
            "1/ε_B, cut of the bin",
            "1/ε_B, inclusive cut",
            "ε_S, inclusive cut",
        )
        blocks.append(Table(f"Rejection at 50 % signal efficiency in bins of {label}", columns, rows))
    return blocks


def _restricted(facts: StudyFacts, assessment: Assessment) -> list[Block]:
    words = "The same scores among the events of a selection, compared anew."
    tables = [_results_table(name, comparison, facts.baseline) for name, comparison in assessment.restricted.items()]
    return [Text(words), *tables] if tables else []


def _calibration(assessment: Assessment, shown: Sequence[str]) -> list[Block]:
    rows = tuple(
        (name, m.calibration.expected_calibration_error, Number(m.calibration.error_if_calibrated), m.calibration.brier)
        for name, m in assessment.models.items()
    )
    columns = ("model", "expected calibration error", "if calibrated perfectly", "Brier score")
    plot = figures.reliability({name: assessment.models[name].calibration for name in shown})
    return [plot, Table("Calibration", columns, rows)]


def _convergence(facts: StudyFacts) -> list[Block]:
    folds = {
        name: [
            {
                kind: [epoch[f"{kind}_loss"] for epoch in history if f"{kind}_loss" in epoch]
                for kind in ("train", "validation")
            }
            for history in model.histories
            if history
        ]
        for name, model in facts.models.items()
    }
    folds = {name: histories for name, histories in folds.items() if histories and histories[0]["validation"]}
    blocks: list[Block] = [figures.convergence(folds, loss="binary cross-entropy")] if folds else []
    rows = tuple((name, statement) for name, m in facts.models.items() for statement in m.statements)
    return [*blocks, Table("Precision of training, by fold", ("model", "precision"), rows)] if rows else blocks


def _ledger(facts: StudyFacts, dataset: Dataset) -> list[Block]:
    ledger = dataset.ledger
    for k in range(facts.n_folds):
        train, validation, test = train_validation_test(dataset.fold, k, facts.n_folds)
        masks = {"train": train, "validation": validation, "test": test}
        ledger = ledger.with_stage(f"model of fold {k}", masks, dataset.y, dataset.weight)
    ledger.check()
    words = "Every event is rejected by one cut, dropped or selected; a selected one is in one fold. Counts balance exactly."
    blocks: list[Block] = [Text(words), Table.of_rows("Ledger", ledger.rows())]
    broken = ledger.not_finite_rows()
    blocks.append(
        Table.of_rows("Values that are not finite", broken) if broken else Text("All values kept are finite.")
    )
    policies = tuple((name, model.weight_policy) for name, model in facts.models.items())
    return [*blocks, Table("Weight policy", ("model", "negative weights"), policies)]


def _cost(facts: StudyFacts, assessment: Assessment) -> list[Block]:
    comparison, points, rows = assessment.comparison, [], []
    for name, model in facts.models.items():
        gain = comparison.measurements[name].get("rejection_at_0.5")
        rows.append(
            (
                name,
                model.estimator,
                model.inputs,
                model.parameters,
                model.training_cpu_seconds,
                model.microseconds_per_event,
                gain,
            )
        )
        if gain is not None:
            points.append(
                figures.CostPoint(
                    name,
                    gain.value,
                    gain.uncertainty,
                    model.training_cpu_seconds.value,
                    model.microseconds_per_event.value,
                )
            )
    columns = (
        "model",
        "estimator",
        "inputs",
        "parameters",
        "training [CPU s]",
        "inference [µs]",
        METRICS["rejection_at_0.5"].title,
    )
    note = "Training is summed over folds; inference is predict_proba on one thread. Combinations include what they combine."
    table = Table("Cost beside gain", columns, tuple(rows), (note,))
    return [figures.gain_against_cost(points), table] if points else [table]
