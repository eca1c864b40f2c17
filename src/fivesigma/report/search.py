"""The page of a search for hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fivesigma.report.blocks import Block, Facts, Gallery, Number, Section, Table, Text
from fivesigma.report.figures.search import importance_of_parameters, progress_of_search, values_by_parameter
from fivesigma.report.page import write_report

_PROVENANCE = ("command", "seed", "commit", "versions", "machine", "time")


def write_search_report(path: Path, content: Mapping[str, Any]) -> Path:
    """Write the page of what ``search.json`` holds (see `fivesigma.search.search_study`)."""
    trials, metric = content["all_trials"][1:], content["metric"]
    figures: list[Block] = [progress_of_search(trials, content["declared"], metric=metric)]
    if content["importance"]:
        figures.append(importance_of_parameters(content["importance"]))
    figures.append(
        Gallery(tuple(values_by_parameter(n, words, trials, metric=metric) for n, words in content["space"].items()))
    )
    sections = [
        Section("Summary", "summary", (_statement(content), _summary(content), _best(content))),
        Section("Trials", "trials", tuple(figures)),
        Section("All trials", "all-trials", (_all(content),)),
    ]
    made = {name: content[name] for name in _PROVENANCE}
    title = f"Hyper-parameters of {content['model']}"
    return write_report(path, title, sections, made, subtitle=f"study {content['study']}, judged by {metric}")


def _statement(content: Mapping[str, Any]) -> Text:
    unseen = content["gain_on_unseen_fold"]
    last = (
        "No trial was better than the model as declared."
        if unseen is None
        else "The gain on the judged folds is flattered, for the best trial was chosen on them; that on the unseen fold is not."
    )
    return Text(
        f"{content['trials']} trials by the tree-structured Parzen estimator, {content['failed']} of them failed, each "
        f"judged on {content['judged_folds']} folds that it was not trained on. {last}",
        references=(("Akiba et al., arXiv:1907.10902", "https://arxiv.org/abs/1907.10902"),),
    )


def _summary(content: Mapping[str, Any]) -> Table:
    gain, unseen, spread = content["gain"], content["gain_on_unseen_fold"], content["spread"]
    rows: list[tuple[str, Any]] = [
        (f"{content['metric']} as declared", content["declared"]),
        (f"{content['metric']} of the best trial", content["best"]["value"]),
        ("gain on the judged folds", Number(gain["value"], gain["uncertainty"])),
    ]
    if unseen is not None:
        rows += [
            ("gain on the unseen fold", Number(unseen["difference"]["value"], unseen["difference"]["uncertainty"])),
        ]
    rows += [
        ("processor hours", content["cpu_hours"]),
        ("gain per processor hour", content["gain_per_cpu_hour"]),
    ]
    if spread is not None:
        rows += [(f"{name.replace('_', ' ')} of the trials", value) for name, value in spread.items()]
    note = (
        "Uncertainties: on judged folds, the standard error of the paired differences by fold; on the unseen fold, paired "
        "bootstrap over events."
    )
    return Table("What the search brought", ("", "value"), tuple(rows), (note,))


def _best(content: Mapping[str, Any]) -> Block:
    best = content["best"]
    return Facts(best["parameters"] or {"parameters": "as declared"}, caption=f"Best: trial {best['number']}")


def _all(content: Mapping[str, Any]) -> Table:
    rows = [
        {
            "trial": str(trial["number"]),
            content["metric"]: trial["value"],
            **{name: _cell(trial["parameters"].get(name)) for name in content["space"]},
            "CPU seconds": round(trial["cpu_seconds"], 1),
            "failure": trial["failure"] or "",
        }
        for trial in content["all_trials"]
    ]
    return Table.of_rows("All trials; number 0 is the model as declared", rows)


def _cell(value: Any) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
