"""The target ``integer-table``: integers in, an address, an integer out; C without one floating-point operation."""

from __future__ import annotations

import ctypes
import re
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ConfigError, MissingDependencyError, ParityError
from fivesigma.deploy.c_source import array, comment, identifiers, quoted, render
from fivesigma.deploy.compiler import Compiler, shared_library
from fivesigma.deploy.fast_answer import Judge, table_answer
from fivesigma.deploy.integer_table import (
    LARGEST,
    AddressSpace,
    Packing,
    fields_of,
    read_memory,
    write_integer_table,
    write_memory,
)
from fivesigma.deploy.lookup_table import CellType, Code, map_cells, steps
from fivesigma.deploy.parity import RANDOM, Proof
from fivesigma.deploy.target import TARGETS, Answers, Written, check_options, estimators_of_numbers
from fivesigma.deploy.trained_model import Float64, TrainedModel
from fivesigma.deploy.tree_grid import integers_in_order, tree_grid

FLOATING = re.compile(r"%(?:[xyz]mm|st\b|mm[0-7])|%[kK]\d")
"""Registers of floating-point and vector units in objdump's text for x86."""


@TARGETS.register("integer-table")
@dataclass(frozen=True)
class IntegerTable:
    """An integer table for any estimator of one number an event and variable; see ``docs/deploy/tables.md``.

    Parameters
    ----------
    fields
        for each input ``{bits, signed, step, offset, values}``, in the order of the address, highest bits first.
    packing
        "concatenated" (bits side by side) or "packed" (no unused address).
    bits
        of the value, 1 … 32; it is stored in the smallest of 8, 16 or 32 bits.
    limits
        the score of value 0 and of the largest value; what lies beyond is clipped.
    memory
        also write these memory-initialisation files: "coe", "mem".
    """

    kind: ClassVar[str] = "integer-table"
    takes_jagged: ClassVar[bool] = False
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    packing: Packing = "concatenated"
    bits: int = 8
    limits: tuple[float, float] = (0.0, 1.0)
    memory: Sequence[str] = ()

    def write(self, model: TrainedModel, folder: Path, name: str, seed: int) -> Written:
        """Write ``NAME.table``, ``NAME.h``, ``NAME_map.h`` and memory files.

        Raises
        ------
        ConfigError
            if the table would be larger than 2 GiB.
        """
        space, code = AddressSpace(fields_of(self.fields, model.inputs), self.packing), self._code()
        if (size := space.addresses * code.dtype.itemsize) > LARGEST:
            raise ConfigError(f"the table would take {size:,} bytes, more than 2 GiB; take fewer bits or inputs")
        order = [model.inputs.index(one.name) for one in space.fields]
        largest = (1 << self.bits) - 1
        answer, grid = table_answer(model, space.addresses), tree_grid(model, space, order)

        def limited(score: Float64) -> Float64:
            return np.asarray(np.clip(score, code.low, code.low + code.step * largest))

        def stored(values: Float64, ask: Any) -> Float64:
            ordered = np.empty_like(values)
            ordered[:, order] = values
            return limited(ask(ordered))

        path = folder / f"{name}.table"
        rows = None if grid is None else lambda begin, end: limited(grid(begin, end))
        write_integer_table(path, space, code, lambda values: stored(values, answer), rows)
        (folder / f"{name}.h").write_text(_header(model, space, code, name), encoding="utf-8")
        mapping = render("table_map.h.jinja", name=name, guard=name.upper())
        (folder / f"{name}_map.h").write_text(mapping, encoding="utf-8")
        refuse_floating_point(folder, name)
        cells = map_cells(path, code, space.addresses, space.identity(code))
        for kind in self.memory:
            write_memory(folder / f"{name}.{kind}", cells, self.bits)

        def expected(inputs: Float64) -> Answers:
            integers = space.integers(space.address(inputs[:, order]))
            codes = code.encode(stored(space.values(integers), model.probability))
            return {"code": codes, "code in C": codes, "value": code.decode(codes)}

        details = {
            "space": space.to_json(),
            "addresses": space.addresses,
            "bytes": path.stat().st_size,
            "code": {"cell": code.cell, "low": code.low, "step": code.step},
            "bits": self.bits,
            "memory": list(self.memory),
            "inputs": list(model.inputs),
        }
        say = (
            f"{space.addresses:,} addresses of {self.bits} bits, {path.stat().st_size:,} bytes; no floating point in its C",
            f"compile with: cc -std=c99 -D_POSIX_C_SOURCE=200809L -O3 yours.c (for {name}_map.h)",
        )
        return Written(
            _inputs(model, space, order, seed),
            expected,
            dict.fromkeys(("code", "code in C", "value"), 0.0),
            details,
            say,
        )

    def _code(self) -> Code:
        if not 1 <= self.bits <= 32:
            raise ConfigError(f"bits: expected 1 to 32, got {self.bits}")
        low, high = (float(limit) for limit in self.limits)
        if not low < high:
            raise ConfigError(f"limits: expected the lower first, got {low}, {high}")
        cell: CellType = "uint8" if self.bits <= 8 else "uint16" if self.bits <= 16 else "uint32"
        return Code(cell, low, (high - low) / ((1 << self.bits) - 1))

    def write_test(self, model: TrainedModel, folder: Path, name: str, proof: Proof) -> None:
        """Write ``test_NAME.c``, which maps the table and compares codes, in integers."""
        chosen = np.unique(np.linspace(0, len(proof.inputs) - 1, 500).astype(np.int64))
        text = render(
            "integer_test.c.jinja",
            name=name,
            members=identifiers(model.inputs),
            vectors=len(chosen),
            inputs=array("int32_t", "inputs", proof.inputs[chosen].astype(np.int64).ravel()),
            expected=array("uint32_t", "expected", proof.expected["code"][chosen].astype(np.int64), lambda x: f"{x}u"),
        )
        (folder / f"test_{name}.c").write_text(text, encoding="utf-8")

    @classmethod
    def estimators(cls) -> Collection[str]:
        """All of one number an event and column."""
        return estimators_of_numbers()

    @classmethod
    def open(cls, folder: Path, name: str, details: Mapping[str, Any]) -> IntegerTableReader:
        """Map the table."""
        space, code = AddressSpace.from_json(details["space"]), Code(**details["code"])
        cells = map_cells(folder / f"{name}.table", code, space.addresses, space.identity(code))
        return IntegerTableReader(space, code, cells, tuple(details["inputs"]), folder, name)

    def check_all(self, model: TrainedModel, folder: Path, name: str, details: Mapping[str, Any]) -> dict[str, Any]:
        """Every address: the file against the model, the C function and the memory files against the file."""
        reader = self.open(folder, name, details)
        largest = reader.code.low + reader.code.step * ((1 << self.bits) - 1)
        judge = Judge(model, reader.space.addresses)
        grid = None if judge.by_library else tree_grid(model, reader.space, reader.order)
        for begin, end in steps(reader.space.addresses, "comparing addresses"):
            in_order = integers_in_order(reader.space, reader.order, begin, end)
            integers = in_order[:, reader.order]
            if grid is None:
                answer = judge(self._values(reader, integers))
            else:
                some = self._values(reader, integers[:: judge.stride])
                answer = judge.confirm(grid(begin, end), some, "on the grid")
            wanted = reader.code.encode(np.clip(answer, reader.code.low, largest))
            place = reader.space.address(integers) if reader.space.unused else slice(begin, end)
            for way, got in (("file", reader.cells[begin:end]), ("C", reader.compiled(in_order))):
                want = wanted if way == "file" else reader.cells[place]
                if len(wrong := np.flatnonzero(want != got)):
                    raise ParityError(
                        f"address {begin + wrong[0]:,} holds {got[wrong[0]]} in the {way}, expected {want[wrong[0]]}; "
                        f"{len(wrong):,} of addresses {begin:,} to {end:,} differ"
                    )
        for kind in self.memory:
            if not np.array_equal(read_memory(folder / f"{name}.{kind}"), reader.cells):
                raise ParityError(f"{folder / f'{name}.{kind}'} does not hold what the table does")
        return judge.to_json()

    @staticmethod
    def _values(reader: IntegerTableReader, integers: NDArray[Any]) -> Float64:
        """What the model sees, in the order of its inputs."""
        values = np.empty(integers.shape)
        values[:, reader.order] = reader.space.values(integers)
        return values

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> IntegerTable:
        """By name."""
        check_options(cls, options)
        table = cls(**options)
        if table.packing not in get_args(Packing) or any(kind not in ("coe", "mem") for kind in table.memory):
            raise ConfigError(
                f"expected packing concatenated or packed and memory coe or mem, got {table.packing!r}, {list(table.memory)}"
            )
        return table


def _inputs(
    model: TrainedModel, space: AddressSpace, order: Sequence[int], seed: int
) -> tuple[Float64, dict[str, int]]:
    """Recorded events as hardware would round them, random integers, and every combination of limits and beyond them."""
    rng = np.random.default_rng(seed)
    limits = np.array([one.limits for one in space.fields])
    random = rng.integers(limits[:, 0], limits[:, 1] + 1, (RANDOM, len(limits)))
    edges = np.array([[low, high, low - 1, high + 1, 0, -1, 1, -(2**31), 2**31 - 1] for low, high in limits])
    edges = np.clip(edges, -(2**31), 2**31 - 1)
    adversarial = np.stack([rng.choice(row, RANDOM) for row in edges], axis=1)
    parts = {"random": random, "adversarial": adversarial}
    if len(model.recorded):
        recorded = model.recorded[:: max(1, len(model.recorded) // RANDOM)][:, order]
        rounded = [np.rint((x - f.offset) / f.step) for f, x in zip(space.fields, recorded.T, strict=True)]
        parts = {"recorded": np.clip(np.stack(rounded, axis=1), limits[:, 0], limits[:, 1]).astype(np.int64), **parts}
    together = np.concatenate(list(parts.values()))
    inputs = np.empty(together.shape)
    inputs[:, order] = together
    return inputs, {kind: len(part) for kind, part in parts.items()}


def _header(model: TrainedModel, space: AddressSpace, code: Code, name: str) -> str:
    by_name = {one.name: (one, width) for one, width in zip(space.fields, space.widths, strict=True)}
    members = dict(zip(model.inputs, identifiers(model.inputs), strict=True))

    def described(field_name: str) -> dict[str, Any]:
        one, width = by_name[field_name]
        low, high = one.limits
        return {
            "member": members[field_name],
            "quoted": quoted(field_name),
            "low": low,
            "high": high,
            "bits": one.bits,
            "width": width,
        }

    return render(
        "integer_table.h.jinja",
        title=comment(f"{model.name}: an integer table of {space.addresses:,} addresses."),
        version=metadata.version("fivesigma"),
        source=comment(model.source),
        digest=model.digest,
        guard=name.upper(),
        name=name,
        fields=[described(one) for one in model.inputs],
        by_address=[described(one.name) for one in space.fields],
        packed=space.packing == "packed",
        cell=f"{code.cell}_t",
        cells=space.addresses,
        identity=space.identity(code),
    )


WRAPPER = """
#include "{name}.h"
void codes(const {name}_cell_type *cells, const {name}_features *event, size_t events, {name}_cell_type *code);
void codes(const {name}_cell_type *cells, const {name}_features *event, size_t events, {name}_cell_type *code)
{{ {name}_codes(cells, event, events, code); }}
"""


def refuse_floating_point(folder: Path, name: str) -> None:
    """Compile the header's functions and look at every instruction for a floating-point or vector register.

    Compiled without vectorisation, so that no integer passes through a vector register either. On other processors than
    x86 the registers have other names: there this raises rather than looks in vain.

    Raises
    ------
    ParityError
        with the first such instruction.
    """
    with tempfile.TemporaryDirectory(prefix="fivesigma-") as made:
        source = Path(made) / "integers.c"
        source.write_text(WRAPPER.format(name=name), encoding="utf-8")
        options = ("-std=c99", "-O2", "-fno-tree-vectorize", "-fno-tree-slp-vectorize", "-c", f"-I{folder.resolve()}")
        compiled = Compiler.find()(source, Path(made) / "integers.o", *options, link=())
        try:
            answer = subprocess.run(["objdump", "-d", str(compiled)], capture_output=True, text=True, check=True)
        except FileNotFoundError as error:
            raise MissingDependencyError(
                "objdump is needed to prove that there is no floating point; install binutils"
            ) from error
    if "x86-64" not in answer.stdout:
        raise MissingDependencyError(
            "the look for floating-point instructions knows x86-64 only; export on such a machine"
        )
    if found := [line.strip() for line in answer.stdout.splitlines() if FLOATING.search(line)]:
        raise ParityError(f"the integer table's C has {len(found)} floating-point instructions, the first: {found[0]}")


class IntegerTableReader:
    """A mapped integer table."""

    def __init__(
        self, space: AddressSpace, code: Code, cells: NDArray[Any], inputs: tuple[str, ...], folder: Path, name: str
    ) -> None:
        self.space, self.code, self.cells, self.inputs = space, code, cells, inputs
        self.order = [inputs.index(one.name) for one in space.fields]
        self._folder, self._name = folder, name
        self._library: Any = None

    def predict(self, values: NDArray[Any]) -> Float64:
        """Decoded values of events given as integers (event, input), of shape (event,)."""
        return self.code.decode(self._codes(values))

    def answers(self, values: NDArray[Any]) -> Answers:
        """The stored integer by NumPy and by C, and what it stands for."""
        codes = self._codes(values)
        return {"code": codes, "code in C": self.compiled(values), "value": self.code.decode(codes)}

    def _codes(self, values: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self.cells[self.space.address(np.asarray(values)[:, self.order])])

    def compiled(self, values: NDArray[Any]) -> NDArray[Any]:
        """By the generated function, called through ctypes."""
        if self._library is None:
            self._library = shared_library(WRAPPER.format(name=self._name), self._folder)
        events = np.ascontiguousarray(values, dtype=np.int32)
        found = np.empty(len(events), dtype=self.code.dtype)
        self._library.codes(
            self.cells.ctypes.data_as(ctypes.c_void_p),
            events.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_size_t(len(events)),
            found.ctypes.data_as(ctypes.c_void_p),
        )
        return found
