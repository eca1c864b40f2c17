"""Report sections of significance, of robustness under systematics, and of data against simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from fivesigma.evaluate import DEPENDENCES, FLATNESS, Assessment, DataComparison, Expectation
from fivesigma.report import figures
from fivesigma.report.blocks import Block, Cell, Gallery, Number, Table, Text
from fivesigma.report.figures.systematics import KINDS

Label: TypeAlias = Callable[[str], tuple[str, str | None]]
"""A column's name on axes, and its unit."""

FEWEST_PANELS = 3
"""Models beside each other in a profile: the best by AUC."""


def significance_blocks(expectation: Expectation, assessment: Assessment, shown: Sequence[str]) -> list[Block]:
    """Scan over the cut, and the three numbers of each model."""
    scans = {name: model.systematics.significance for name, model in assessment.models.items()}
    kind = KINDS[next(iter(scans.values())).kind]
    rows = tuple((name, s.at_chosen_cut, s.largest, s.binned) for name, s in scans.items())
    note = (
        f"Expected before the cut: S = {expectation.signal:g}, B = {expectation.background:g} ± "
        f"{100 * expectation.background_uncertainty:g} %. The cut of each half of the events is chosen on the other half; "
        "the maximum on the events that it is measured on is biased upwards. Bins of the output share one uncertainty of "
        "the background's rate."
    )
    columns = ("model", f"{kind}, cut chosen on other events", "largest of the scan", "bins of the output together")
    return [figures.significance_scan({n: scans[n] for n in shown}), Table("Significance", columns, rows, (note,))]


def robustness_blocks(assessment: Assessment, shown: Sequence[str], label: Label) -> list[Block]:
    """Variations, nuisances, flatness and sculpting: whatever the study asks for."""
    parts = (_variations(assessment, shown), _nuisances(assessment, shown, label), _flatness(assessment, label))
    return [block for part in (*parts, _sculpting(assessment, shown, label)) for block in part]


def _variations(assessment: Assessment, shown: Sequence[str]) -> Iterable[Block]:
    models = {name: model for name, model in assessment.models.items() if model.systematics.robustness.shifts}
    if not models:
        return
    yield Gallery(
        tuple(figures.shifted_roc(n, models[n].roc, models[n].systematics.robustness) for n in shown if n in models)
    )
    rows: list[tuple[Cell, ...]] = []
    for name, model in models.items():
        for shift in model.systematics.robustness.shifts:
            changes = [cell for c in shift.changes for cell in (c.signal, c.background_ratio)]
            rows.append((name, f"{shift.nuisance} {shift.direction}", shift.delta_auc, *changes))
    first = next(iter(models.values())).systematics.robustness.shifts[0]
    titles = [t for c in first.changes for t in (f"Δε_S at ε_S = {c.target:g}", f"ε_B/nominal at ε_S = {c.target:g}")]
    note = (
        "Cuts are chosen on the nominal events and stay where they are. Uncertainties are those of the change: an event "
        "that is in both samples has the same count in each bootstrap replica."
    )
    yield Table("What variations change", ("model", "variation", "ΔAUC", *titles), tuple(rows), (note,))


def _nuisances(assessment: Assessment, shown: Sequence[str], label: Label) -> Iterable[Block]:
    nuisances = dict.fromkeys(n for model in assessment.models.values() for n in model.systematics.dependence)
    for nuisance in nuisances:
        found = {name: model.systematics.dependence[nuisance] for name, model in assessment.models.items()}
        name, unit = label(nuisance)
        chosen = {model: found[model] for model in shown[:FEWEST_PANELS]}
        yield figures.nuisance_profile(chosen, nuisance=nuisance, label=name, unit=unit)
        rows = []
        for model, by_class in found.items():
            for kind, answer in by_class.items():
                measures = [answer.measures[m] for m in DEPENDENCES]
                cells = [cell for m in measures for cell in (m.value, Number(m.if_independent), Number(m.p_value))]
                rows.append((model, kind, *cells))
        titles = ("KS", "CvM", "mutual information [nat]", "distance correlation")
        columns = tuple(c for t in titles for c in (t, "if independent", "p"))
        note = "p: share of permutations of the nuisance with at least this value; 1/201 is the smallest possible."
        yield Table(f"Dependence of the score on {name}", ("model", "class", *columns), tuple(rows), (note,))


def _flatness(assessment: Assessment, label: Label) -> Iterable[Block]:
    found = {n: m.systematics.flatness for n, m in assessment.models.items() if m.systematics.flatness is not None}
    if not found:
        return
    first = next(iter(found.values()))
    yield figures.flatness_summary(found, labels=[label(v)[0] for v in first.variables])
    rows = []
    for model, flat in found.items():
        cells = [c for m in FLATNESS for c in (getattr(flat, m), Number(flat.if_flat[m]), Number(flat.p_value[m]))]
        rows.append((model, *cells))
    columns = tuple(c for t in ("SDE", "Theil", "CvM") for c in (t, "if flat", "p"))
    note = f"arXiv:1410.4140, {first.where}; p: share of permutations of the scores that are at least as uneven."
    yield Table("Flatness of the background efficiency", ("model", *columns), tuple(rows), (note,))


def _sculpting(assessment: Assessment, shown: Sequence[str], label: Label) -> Iterable[Block]:
    variables = dict.fromkeys(v for model in assessment.models.values() for v in model.systematics.sculpting)
    for variable in variables:
        found = {name: model.systematics.sculpting[variable] for name, model in assessment.models.items()}
        name, unit = label(variable)
        yield figures.mass_sculpting({model: found[model] for model in shown}, label=name, unit=unit)
        rows = tuple(
            (model, f"{p.signal_efficiency:g}", Number(p.rejection), p.divergence, Number(p.if_not_sculpted))
            for model, s in found.items()
            for p in s.working_points
        )
        columns = ("model", "ε_S", "1/ε_B", "JSD before/after [bits]", "random cut")
        yield Table(f"Sculpting of {name}", columns, rows)


def data_blocks(compared: DataComparison | None, label: Label) -> list[Block]:
    """Histograms with ratio panels, their tests, and the classifier two-sample test."""
    if compared is None:
        return []
    plots, rows = [], []
    for name, histogram in compared.histograms.items():
        shown, unit = label(name)
        plots.append(figures.data_simulation(histogram, label=shown, unit=unit))
        h = histogram
        rows.append(
            (shown, f"{h.chi2:.1f}/{h.ndf}", Number(h.chi2_p_value), Number(h.ks_distance), Number(h.ks_p_value))
        )
    test = compared.two_sample
    words = (
        f"A classifier trained to tell data from simulation by the variables shown reaches an AUC of {test.auc} on events "
        f"that it has not seen (p = {test.p_value:.2g} for no difference, AUC 0.5)."
    )
    columns = ("variable", "χ²/ndf", "p (χ²)", "KS distance", "p (KS)")
    return [Text(words), Gallery(tuple(plots)), Table("Data and simulation", columns, tuple(rows))]
