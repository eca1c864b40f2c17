"""The report of the flow ``muon-trigger``: rates and efficiencies, momentum and charge, what bits and inputs are worth."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fivesigma.flows.muon_measurements import IN_ETA, PLATEAU, PT_BINS, Measured, main_threshold
from fivesigma.report.blocks import Cell, Gallery, Section, Table, Text
from fivesigma.report.figures.trigger import accepted_spectra, bits_of_inputs, curves_against
from fivesigma.report.page import write_report

if TYPE_CHECKING:
    from fivesigma.flows.muon_trigger import MuonTriggerWords

INTRODUCTION = """Muons in a toy of an end-cap spectrometer: solenoid and radial return field, multiple scattering, energy \
loss, chamber resolution, inefficiency and showers. A trigger gets integers (bending angles between the stations hit, a bend \
in the first, η, the pattern of stations) and accepts a muon if its assigned pT is above a cut. Low momenta are many: a rare \
mistake there fills the rate."""
EQUAL = (
    "Cuts are set for each model, on muons held out, so that {efficiency:.0%} of the muons with a track pass at the threshold. "
    "Rates in the table are at exactly this efficiency (interpolated); uncertainties and the paired reductions by a Poisson "
    "bootstrap over the same test muons ({replicas} replicas). Rates are per million muons above 2 GeV."
)
MEASURED_ONCE = "CPU time was measured once, on a shared machine; memory is the peak of the whole process."


def write_muon_trigger_report(
    path: Path, words: MuonTriggerWords, measured: Measured, more: Mapping[str, Any], provenance: Mapping[str, Any]
) -> Path:
    """Write the page with its figures."""
    models = [name for name in measured.metrics if not name.startswith("without ")]
    pruned = [name for name in measured.metrics if name.startswith("without ")]
    sections = [
        _rates(words, measured, models),
        _momentum(measured, models),
        _bits(words, measured, models, more),
        _inputs(words, measured, pruned),
    ]
    made = {**provenance, "study": words.model_dump(mode="json")}
    return write_report(path, words.title, sections, made, subtitle=words.reference or "")


def _rates(words: MuonTriggerWords, measured: Measured, models: Sequence[str]) -> Section:
    note = EQUAL.format(efficiency=words.efficiency, replicas=words.replicas)
    thresholds = [f"{threshold:g}" for threshold in words.thresholds]
    main = f"{main_threshold(words):g}"
    powers = [f"rate_reduction_at_{main}_power_{power:g}" for power in words.other_powers]
    columns = [f"rate_at_{t}" for t in thresholds] + [f"rate_reduction_at_{t}" for t in thresholds] + powers
    titles = [f"rate, {t} GeV" for t in thresholds] + [f"reduction, {t} GeV" for t in thresholds]
    titles += [f"reduction, {main} GeV, pT^−{power:g}" for power in words.other_powers]
    plateau = [f"{what}_{t}" for t in thresholds for what in ("plateau_efficiency", "plateau_efficiency_of_tracks")]
    plateau_titles = [f"{t} GeV, {of}" for t in thresholds for of in ("all muons", "with a track")]
    curves = [
        curves_against(
            _only(measured.curves[f"turn_on_{t}"], models),
            name=f"turn-on-{t}",
            title=f"Turn-on at {t} GeV",
            caption=f"Efficiency of the cut for {t} GeV, of all muons, against true pT. Bars: Clopper–Pearson, 68 %.",
            x="true pT [GeV]",
            y="efficiency",
            line=words.efficiency,
            vertical=float(t),
        )
        for t in thresholds
    ]
    rate = curves_against(
        _only(measured.curves["rate"], models),
        name="rate-against-threshold",
        title="Rate against threshold",
        caption=f"Muons accepted per million above 2 GeV, spectrum pT^−{words.power:g}, each model cut at the efficiency of "
        f"{words.efficiency:.0%} at its threshold. Bars: √Σw².",
        x="threshold [GeV]",
        y="rate per million muons",
        log=("x", "y"),
    )
    return Section(
        "Rates and efficiencies",
        "rates",
        (
            Text(INTRODUCTION),
            _table("Rate at equal efficiency", measured, models, columns, titles, (note,)),
            _table(
                f"Plateau: efficiency above {PLATEAU:g} thresholds",
                measured, models, plateau, plateau_titles, ("Clopper–Pearson.",),
            ),
            Gallery((*curves, rate)),
        ),
    )  # fmt: skip


def _momentum(measured: Measured, models: Sequence[str]) -> Section:
    bins = [f"{low:g}_{high:g}" for low, high in itertools.pairwise(PT_BINS)]
    titles = [f"{b.replace('_', '–')} GeV" for b in bins]
    width = "Half of the central 68 % of pT(true)/pT(assigned), over its median"
    looks = {model: number for number, model in enumerate(models)}
    plots = []
    for curve, title, caption, y in (
        ("resolution", "Resolution of 1/pT", f"{width}. Bars: bootstrap.", "relative resolution of 1/pT"),
        (
            "charge_misidentification",
            "Charge misidentification",
            "Share of muons with the wrong charge. One line is for all that take the sign of the first bending angle.",
            "wrong charge",
        ),
    ):
        log = ("x", "y") if curve == "charge_misidentification" else ("x",)
        some = _distinct(_only(measured.curves[curve], models))
        name = curve.replace("_", "-")
        plots.append(
            curves_against(some, name=name, title=title, caption=caption, x="true pT [GeV]", y=y, log=log, first=looks)
        )
        in_eta = _distinct(_only(measured.curves[f"{curve}_in_eta"], models))
        where = f"{title} in η, {IN_ETA[0]:g}–{IN_ETA[1]:g} GeV"
        plots.append(
            curves_against(
                in_eta, name=f"{name}-in-eta", title=where, caption=caption, x="true η", y=y, log=(), first=looks
            )
        )
    return Section(
        "Momentum and charge",
        "momentum",
        (
            _table("Resolution of 1/pT", measured, models, [f"resolution_{b}" for b in bins], titles, (f"{width}.",)),
            _table(
                "Charge misidentification",
                measured, models, [f"charge_misidentification_{b}" for b in bins], titles, ("Clopper–Pearson.",),
            ),
            Gallery(tuple(plots)),
        ),
    )  # fmt: skip


def _bits(words: MuonTriggerWords, measured: Measured, models: Sequence[str], more: Mapping[str, Any]) -> Section:
    main = f"{main_threshold(words):g}"
    inputs = list(words.scan.start)
    allocation: tuple[tuple[Cell, ...], ...] = tuple(
        (name, *(cost["bits"][field] for field in inputs)) for name, cost in more["tables"].items()
    )
    costs: tuple[tuple[Cell, ...], ...] = tuple(
        (
            name,
            cost["bytes"],
            round(cost["cpu_seconds"], 1),
            round(cost["seconds"], 1),
            round(cost["peak_memory_mb"]),
            cost["cells_compared"],
            cost["cells_compared_with_the_library"],
        )
        for name, cost in more["tables"].items()
    )
    tables = [name for name in models if name in (words.tables_of, *more["tables"])]
    columns = [f"rate_at_{main}", f"rate_reduction_at_{main}", "mean_squared_error", "resolution_20_30"]
    titles = [f"rate, {main} GeV", "reduction against analytic", "mean (Δ ln pT)²", "resolution, 20–30 GeV"]
    return Section(
        "Tables",
        "tables",
        (
            Text(
                "Large bends share codes, small ones keep single strips. From the first allocation, one bit after the other is "
                "taken from the input that needs it least: every candidate is trained anew on its codes and judged by the mean "
                "squared error of ln pT on held-out muons. Each table is then filled with the model trained on its codes, and "
                "every address is compared with it: a table loses nothing against its own model but the rounding of its value."
            ),
            _table("What tables do", measured, tables, columns, titles, ()),
            Table("Bits of each input", ("table", *inputs), allocation),
            Table(
                "What tables cost",
                ("table", "bytes", "CPU s", "seconds", "peak memory, MB", "addresses compared", "with the library"),
                costs,
                (MEASURED_ONCE,),
            ),
            bits_of_inputs(
                more["scan"],
                name="bits-of-inputs",
                title="Which bits are spent on which input",
                caption="From left to right, one bit less each: bits of every input, and the error of ln pT on held-out muons.",
            ),
        ),
    )


def _inputs(words: MuonTriggerWords, measured: Measured, pruned: Sequence[str]) -> Section:
    main = f"{main_threshold(words):g}"
    names = ["analytic", words.tables_of, *pruned]
    columns = [
        f"rate_at_{main}",
        f"rate_reduction_at_{main}",
        "share_of_rate_below_10",
        "mean_squared_error",
        "resolution_20_30",
    ]
    titles = [f"rate, {main} GeV", "reduction against analytic", "share of rate below 10 GeV", "mean (Δ ln pT)²",
              "resolution, 20–30 GeV"]  # fmt: skip
    worst = sorted(pruned, key=lambda name: -measured.metrics[name][f"rate_at_{main}"].value)[:3]
    spectra = _only(measured.curves["accepted_spectrum"], ["analytic", words.tables_of, *worst])
    return Section(
        "Inputs left out",
        "inputs",
        (
            _table("Without one input", measured, names, columns, titles, ("Trained anew without it.",)),
            accepted_spectra(
                spectra,
                name="accepted-spectrum",
                title=f"What a cut for {main} GeV accepts",
                caption="True spectrum of accepted muons; of the inputs, the three are shown whose loss costs most. "
                "What is left of the line are low momenta taken for high ones.",
                threshold=float(main),
            ),
        ),
    )


def _table(
    caption: str,
    measured: Measured,
    models: Sequence[str],
    columns: Sequence[str],
    titles: Sequence[str],
    notes: tuple[str, ...],
) -> Table:
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, *(measured.metrics[name].get(column) for column in columns)) for name in models
    )
    return Table(caption, ("model", *titles), rows, notes)


def _only(curves: Mapping[str, Any], models: Sequence[str]) -> dict[str, Any]:
    return {name: curves[name] for name in models if name in curves}


def _distinct(curves: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that lie exactly on an earlier one."""
    kept: dict[str, Any] = {}
    for name, curve in curves.items():
        if all(curve["y"] != other["y"] for other in kept.values()):
            kept[name] = curve
    return kept
