"""``Graph``: an ONNX graph written as arithmetic on named values; the package onnx is only needed to save it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import MissingDependencyError

OPSET, TREE_OPSET, IR = 20, 5, 10
"""Of ONNX, of ai.onnx.ml, and of the file: onnxruntime reads these from 1.20 on."""
TREES = "ai.onnx.ml"


class Value:
    """A tensor in a graph; arithmetic on it adds nodes."""

    __array_ufunc__ = None  # NumPy's numbers leave arithmetic with a value to it

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def __add__(self, other: Operand) -> Value:
        return self.graph.op("Add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return self.graph.op("Add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return self.graph.op("Sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self.graph.op("Sub", other, self)

    def __mul__(self, other: Operand) -> Value:
        return self.graph.op("Mul", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return self.graph.op("Mul", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return self.graph.op("Div", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self.graph.op("Div", other, self)

    def __neg__(self) -> Value:
        return self.graph.op("Neg", self)

    def __lt__(self, other: Operand) -> Value:
        return self.graph.op("Less", self, other)

    def __le__(self, other: Operand) -> Value:
        return self.graph.op("LessOrEqual", self, other)

    def __gt__(self, other: Operand) -> Value:
        return self.graph.op("Greater", self, other)

    def __ge__(self, other: Operand) -> Value:
        return self.graph.op("GreaterOrEqual", self, other)

    def __and__(self, other: Operand) -> Value:
        return self.graph.op("And", self, other)

    def __or__(self, other: Operand) -> Value:
        return self.graph.op("Or", self, other)

    def __invert__(self) -> Value:
        return self.graph.op("Not", self)

    def equals(self, other: Operand) -> Value:
        """Where both are the same."""
        return self.graph.op("Equal", self, other)

    def function(self, name: str) -> Value:
        """ONNX's function of that name: "Exp", "Abs", …."""
        return self.graph.op(name, self)

    def sum(self, *axes: int, keep: bool = True) -> Value:
        """Over axes."""
        return self.graph.op("ReduceSum", self, np.array(axes), keepdims=int(keep))

    def largest(self, *axes: int, keep: bool = True) -> Value:
        """Over axes; of truth values: whether any is true."""
        return self.graph.op("ReduceMax", self, np.array(axes), keepdims=int(keep))

    def cast(self, dtype: Any) -> Value:
        """As another type."""
        return self.graph.op("Cast", self, to=np.dtype(dtype))

    def unsqueeze(self, *axes: int) -> Value:
        """With new axes of length one."""
        return self.graph.op("Unsqueeze", self, np.array(axes))

    def reshape(self, *shape: int) -> Value:
        """Of another shape; 0 keeps a length, −1 takes what is left."""
        return self.graph.op("Reshape", self, np.array(shape))

    def transpose(self, *order: int) -> Value:
        """With its axes in another order."""
        return self.graph.op("Transpose", self, perm=list(order))

    def slice(self, start: int, stop: int, axis: int) -> Value:
        """A part of it along one axis."""
        return self.graph.op("Slice", self, np.array([start]), np.array([stop]), np.array([axis]))

    def not_finite(self) -> Value:
        """Where it is NaN or infinite."""
        return self.function("IsNaN") | self.function("IsInf")


Operand: TypeAlias = Value | NDArray[Any] | np.generic | float
"""What can stand in arithmetic: a constant is float64 or int64 if it is no array."""


@dataclass
class Graph:
    """Inputs, nodes and outputs in order; names of nodes' outputs are numbers, so that inputs may be called anything."""

    inputs: dict[str, tuple[Any, tuple[str, ...]]] = field(default_factory=dict)
    """Type and names of the dimensions."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """Types; all of shape (event,)."""
    nodes: list[tuple[str, list[str], str, str, dict[str, Any]]] = field(default_factory=list)
    constants: dict[tuple[str, tuple[int, ...], bytes], tuple[str, NDArray[Any]]] = field(default_factory=dict)

    def input(self, name: str, dtype: Any, *dimensions: str) -> Value:
        """A new input."""
        self.inputs[name] = np.dtype(dtype), dimensions
        return Value(self, name)

    def output(self, name: str, value: Value) -> None:
        """Call a value, float64 of shape (event,), an output."""
        self.nodes.append(("Identity", [value.name], name, "", {}))
        self.outputs[name] = np.dtype(np.float64)

    def constant(self, array: NDArray[Any] | np.generic | float) -> Value:
        """A constant; the same one is kept once."""
        array = np.ascontiguousarray(array).reshape(np.shape(array))  # the former makes (1,) of ()
        key = array.dtype.str, array.shape, array.tobytes()
        name, _ = self.constants.setdefault(key, (f"c/{len(self.constants)}", array))
        return Value(self, name)

    def op(self, kind: str, *operands: Operand, domain: str = "", **attributes: Any) -> Value:
        """The one output of a new node."""
        names = [(x if isinstance(x, Value) else self.constant(x)).name for x in operands]
        name = f"v/{len(self.nodes)}"
        self.nodes.append((kind, names, name, domain, attributes))
        return Value(self, name)

    def where(self, condition: Value, true: Operand, false: Operand) -> Value:
        """One or the other."""
        return self.op("Where", condition, true, false)

    def concat(self, values: Sequence[Operand], axis: int) -> Value:
        """One after another."""
        return self.op("Concat", *values, axis=axis)

    def save(self, path: Path, name: str, metadata: Mapping[str, str]) -> None:
        """Write it, if ONNX's checker finds nothing.

        Raises
        ------
        MissingDependencyError
            if onnx is not installed.
        """
        try:
            import onnx
        except ImportError as error:
            raise MissingDependencyError(
                "writing ONNX needs onnx and onnxruntime; install them: pip install 'fivesigma[deploy]'"
            ) from error
        model = self._model(name, metadata)
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))

    def _model(self, name: str, metadata: Mapping[str, str]) -> Any:
        from onnx import helper, numpy_helper

        def attribute(value: Any) -> Any:
            if isinstance(value, np.dtype):
                return helper.np_dtype_to_tensor_dtype(value)
            return numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value

        nodes = [
            helper.make_node(
                kind, inputs, [output], domain=domain, **{key: attribute(value) for key, value in attributes.items()}
            )
            for kind, inputs, output, domain, attributes in self.nodes
        ]
        inputs = [
            helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(dtype), list(dimensions))
            for key, (dtype, dimensions) in self.inputs.items()
        ]
        outputs = [
            helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(dtype), ["event"])
            for key, dtype in self.outputs.items()
        ]
        constants = [numpy_helper.from_array(array, key) for key, array in self.constants.values()]
        graph = helper.make_graph(nodes, name, inputs, outputs, constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(TREES, TREE_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="fivesigma")
        helper.set_model_props(model, dict(metadata))
        return model
