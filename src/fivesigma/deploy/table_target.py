"""The target ``table``: a model as a flat table in shared memory, with a C99 header that reads it."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError, ParityError
from fivesigma.deploy.binning import Axis, BinWord, make_axes
from fivesigma.deploy.c_source import array, bits_of, comment, identifiers, number, quoted, render
from fivesigma.deploy.compiler import shared_library
from fivesigma.deploy.correction import CORRECTIONLIB, READING, Correction, write_correction
from fivesigma.deploy.fast_answer import EVERY_CELL, Judge, table_answer
from fivesigma.deploy.lookup_table import (
    CellType,
    Code,
    Table,
    choose_code,
    identity,
    n_cells,
    open_table,
    points_of,
    steps,
    strides,
    write_table,
)
from fivesigma.deploy.parity import Proof, proof_inputs
from fivesigma.deploy.table_loss import loss_of, prune
from fivesigma.deploy.target import TARGETS, Answers, Written, check_options, estimators_of_numbers
from fivesigma.deploy.trained_model import Float64, TrainedModel

LINEAR = 32
"""The most edges that are compared one after another, which vector instructions do at once; more are bisected."""
BLOCK = 64
ANSWERS = ("code", "code in C", "batch in C", "score")


@TARGETS.register("table")
@dataclass(frozen=True)
class LookupTable:
    """A table for any estimator of one number an event and variable; see ``docs/deploy/tables.md``.

    Parameters
    ----------
    bins
        of all inputs or of each by name: a number of equal bins, "quantiles:N", "thresholds" (the trees' own: the table
        is then the model itself), "thresholds:N", or edges.
    resolution
        by input, what the detector resolves; no bin is narrower.
    cell
        uint8, uint16, float32, float64, or "auto": the smallest that keeps ``working_points`` and ``precision``.
    working_points
        cuts on the score that no event may cross by rounding.
    precision
        the largest difference between a cell's stored and exact score.
    limits
        lowest and highest score, for what is not a probability.
    most_cells
        prune bins, then whole inputs, those that cost least, until the table has no more cells.
    correctionlib
        also write it as correctionlib's JSON.
    """

    kind: ClassVar[str] = "table"
    takes_jagged: ClassVar[bool] = False
    bins: BinWord | Mapping[str, BinWord] = "thresholds"
    resolution: Mapping[str, float] = field(default_factory=dict)
    cell: CellType | Literal["auto"] = "auto"
    working_points: Sequence[float] = ()
    precision: float = 0.01
    limits: tuple[float, float] = (0.0, 1.0)
    most_cells: int = 1 << 26
    correctionlib: bool = False

    def write(self, model: TrainedModel, folder: Path, name: str, seed: int) -> Written:
        """Write ``NAME.table``, ``NAME.h``, ``NAME_map.h`` and, if asked for, ``NAME.correction.json``."""
        wanted = make_axes(model, self.bins, self.resolution)
        axes = prune(model, wanted, self.most_cells)
        low, high = (float(limit) for limit in self.limits)
        code = choose_code(self.cell, self.working_points, (low, high), self.precision)
        path = folder / f"{name}.table"
        write_table(path, axes, code, table_answer(model, n_cells(axes)))
        (folder / f"{name}.h").write_text(table_header(model, axes, code, name), encoding="utf-8")
        (folder / f"{name}_map.h").write_text(
            render("table_map.h.jinja", name=name, guard=name.upper()), encoding="utf-8"
        )
        table = open_table(path, axes, code)
        last_place = READING * max(1.0, abs(low), abs(high))  # trees in C and the library have different exponentials
        exact = code.is_integer or n_cells(axes) <= EVERY_CELL
        tolerances: dict[str, float] = dict.fromkeys(ANSWERS, 0.0 if exact else last_place)
        libraries: list[str] = []
        if self.correctionlib:
            write_correction(folder / f"{name}.correction.json", table, name, model.source)
            tolerances["correctionlib"], libraries = last_place, [CORRECTIONLIB]

        def expected(inputs: Float64) -> Answers:
            points = np.stack([axis.points[axis.bin(x)] for axis, x in zip(axes, inputs.T, strict=True)], axis=1)
            stored = code.encode(model.probability(points))
            score = code.decode(stored)
            return {name: score if name in {"score", "correctionlib"} else stored for name in tolerances}

        loss = loss_of(model, axes, code)
        details = {
            "axes": [axis.to_json() for axis in axes],
            "bins_before_pruning": {axis.name: axis.bins for axis in wanted},
            "cells": n_cells(axes),
            "bytes": path.stat().st_size,
            "code": {
                "cell": code.cell,
                "low": code.low,
                "step": code.step,
                "working_points": list(code.working_points),
            },
            "loss": loss,
            "correctionlib": self.correctionlib,
        }
        say = (
            f"{n_cells(axes):,} cells of {code.cell}, {path.stat().st_size:,} bytes; {loss['words']}",
            f"compile with: cc -std=c99 -D_POSIX_C_SOURCE=200809L -O3 -march=native yours.c (for {name}_map.h)",
        )
        inputs = proof_inputs(model, [axis.edges for axis in axes], seed=seed)
        return Written(inputs, expected, tolerances, details, say, libraries)

    def write_test(self, model: TrainedModel, folder: Path, name: str, proof: Proof) -> None:
        """Write ``test_NAME.c``, which maps the table and compares codes."""
        chosen = np.unique(np.linspace(0, len(proof.inputs) - 1, 500).astype(np.int64))
        text = render(
            "table_test.c.jinja",
            name=name,
            members=identifiers(model.inputs),
            vectors=len(chosen),
            inputs=array("uint64_t", "inputs", bits_of(proof.inputs[chosen])),
            expected=array("uint64_t", "expected", bits_of(proof.expected["score"][chosen])),
        )
        (folder / f"test_{name}.c").write_text(text, encoding="utf-8")

    @classmethod
    def estimators(cls) -> Collection[str]:
        """All of one number an event and column."""
        return estimators_of_numbers()

    @classmethod
    def open(cls, folder: Path, name: str, details: Mapping[str, Any]) -> TableReader:
        """Map the table."""
        axes = tuple(Axis.from_json(axis) for axis in details["axes"])
        code = Code(**{**details["code"], "working_points": tuple(details["code"]["working_points"])})
        table = open_table(folder / f"{name}.table", axes, code)
        return TableReader(table, folder, name, correction=bool(details["correctionlib"]))

    def check_all(self, model: TrainedModel, folder: Path, name: str, details: Mapping[str, Any]) -> dict[str, Any]:
        """Every cell: the file against the model, and the C functions against the file."""
        reader = self.open(folder, name, details)
        table, compiled = reader.table, CompiledTable(folder, name, reader.table.code)
        judge = Judge(model, n_cells(table.axes))
        for begin, end in steps(n_cells(table.axes), "comparing cells"):
            points = points_of(table.axes, begin, end)
            wanted = table.code.encode(judge(points))
            for way, got in (("file", table.cells[begin:end]), ("C", compiled.codes(table.cells, points))):
                if len(wrong := np.flatnonzero(wanted != got)):
                    at = ", ".join(f"{n} = {x!r}" for n, x in zip(table.inputs, points[wrong[0]].tolist(), strict=True))
                    raise ParityError(
                        f"cell {begin + wrong[0]:,} ({at}) is {got[wrong[0]]} in the {way}, the model says {wanted[wrong[0]]}; "
                        f"{len(wrong):,} of cells {begin:,} to {end:,} differ"
                    )
        return judge.to_json()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> LookupTable:
        """By name."""
        check_options(cls, options)
        table = cls(**options)
        if len(list(table.limits)) != 2 or table.precision <= 0 or table.most_cells < 1:
            raise ConfigError(
                f"expected two limits, a positive precision and at least one cell, got limits {table.limits}, precision "
                f"{table.precision}, most_cells {table.most_cells}"
            )
        return table


def table_header(model: TrainedModel, axes: Sequence[Axis], code: Code, name: str) -> str:
    """The text of ``NAME.h``."""
    units = {feature["name"]: feature["unit"] for feature in model.described()}
    members = identifiers([axis.name for axis in axes])
    described = [
        {
            "member": member,
            "quoted": quoted(axis.name),
            "comment": comment(f"[{units[axis.name]}]") if units.get(axis.name) else "",
            "edges": len(axis.edges),
            "edge_name": f"{name}_edge_{member}",
            "array": array("double", f"{name}_edge_{member}", axis.edges, number) if len(axis.edges) else "",
            "stride": stride,
        }
        for member, axis, stride in zip(members, axes, strides(axes), strict=True)
    ]
    cell = {"uint8": "uint8_t", "uint16": "uint16_t", "uint32": "uint32_t", "float32": "float", "float64": "double"}[
        code.cell
    ]
    points = [
        {"score": number(p), "code": code.first_passing(p) if code.is_integer else number(p)}
        for p in code.working_points
    ]
    return render(
        "table.h.jinja",
        title=comment(f"{model.name}: a table of {n_cells(axes):,} cells ({code.cell})."),
        version=metadata.version("fivesigma"),
        source=comment(model.source),
        digest=model.digest,
        guard=name.upper(),
        name=name,
        axes=described,
        cell=cell,
        cells=n_cells(axes),
        identity=identity(axes, code),
        linear=LINEAR,
        block=BLOCK,
        working_points=points,
        decode=f"{number(code.low)} + {number(code.step)} * (double)code" if code.is_integer else "(double)code",
    )


class TableReader:
    """A mapped table; ``answers`` also asks the C functions and, if it was written, correctionlib."""

    def __init__(self, table: Table, folder: Path, name: str, *, correction: bool) -> None:
        self.table, self.inputs = table, table.inputs
        self._folder, self._name, self._correction = folder, name, correction

    def predict(self, values: NDArray[Any]) -> Float64:
        """Scores, of shape (event,)."""
        return self.table.predict(values)

    def answers(self, values: NDArray[Any]) -> Answers:
        """The stored code by NumPy and by both C functions, and the score it stands for."""
        compiled = CompiledTable(self._folder, self._name, self.table.code)
        found = {
            "code": self.table.codes(values),
            "code in C": compiled.code(self.table.cells, values),
            "batch in C": compiled.codes(self.table.cells, values),
            "score": self.table.predict(values),
        }
        if self._correction:
            written = Correction(self._folder / f"{self._name}.correction.json", self._name)
            found["correctionlib"] = written(self.table, values)
        return found


class CompiledTable:
    """The generated header, compiled and called through ctypes."""

    def __init__(self, folder: Path, name: str, code: Code, *options: str) -> None:
        source = f"""
#define _POSIX_C_SOURCE 200809L
#include "{name}_map.h"
void codes(const {name}_cell_type *cells, const {name}_features *event, size_t events, {name}_cell_type *code);
void single(const {name}_cell_type *cells, const {name}_features *event, size_t events, {name}_cell_type *code);
void codes(const {name}_cell_type *cells, const {name}_features *event, size_t events, {name}_cell_type *code)
{{ {name}_codes(cells, event, events, code); }}
void single(const {name}_cell_type *cells, const {name}_features *event, size_t events, {name}_cell_type *code)
{{
    size_t i;
    for (i = 0; i < events; ++i) {{
        code[i] = {name}_code(cells, event + i);
    }}
}}
"""
        self._library = shared_library(source, folder, options=options or ("-std=c99", "-O2"))
        self._dtype = code.dtype

    def codes(self, cells: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
        """By the function of many events."""
        return self._call(self._library.codes, cells, values)

    def code(self, cells: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
        """By the function of one event."""
        return self._call(self._library.single, cells, values)

    def _call(self, function: Any, cells: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
        events = np.ascontiguousarray(values, dtype=np.float64)
        found = np.empty(len(events), dtype=self._dtype)
        function(
            cells.ctypes.data_as(ctypes.c_void_p),
            events.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_size_t(len(events)),
            found.ctypes.data_as(ctypes.c_void_p),
        )
        return found
