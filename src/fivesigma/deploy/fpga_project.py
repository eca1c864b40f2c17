"""HLS projects for FPGAs, written by conifer (trees) and hls4ml (networks) for our integers, and their emulation.

Both tools write C++ for a synthesiser with types of chosen bits (``ap_fixed``), whose headers hls4ml brings. The same C++
compiled by g++ is their bit-accurate emulation.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivesigma.core.errors import ArtifactError, MissingDependencyError, ModelError
from fivesigma.core.progress import say
from fivesigma.deploy.compiler import Compiler
from fivesigma.deploy.feed_forward import Activated, Affine, FeedForward, Largest, Normalised, Scaled, sources
from fivesigma.deploy.fixed_point import FixedNetwork, FixedStep
from fivesigma.deploy.fixed_trees import FixedTrees
from fivesigma.deploy.tree_ensemble import Tree

COMPILERS = ("g++", "clang++", "c++")
MOST_WEIGHTS = 4096
"""Of one layer: hls4ml unrolls all its multiplications, and synthesisers refuse to partition larger arrays."""
ACTIVATIONS = ("relu", "tanh", "sigmoid")
WORDS: dict[type, str] = {Largest: "maxout", Normalised: "layer-norm", Scaled: "a batch norm by itself"}
ROUNDED = ",AP_RND,AP_SAT"
"""To nearest, halves up, and saturated."""
MANY_NUMBERS, BYTES_A_NUMBER = 100_000, 14_000
"""One a node and input, as conifer allows cuts on sums of inputs. 100 trees of 31 leaves on 28 inputs have 170,800: g++ 12 took
91 s and 2.4 GB."""
HEADERS = "ap_types"
"""The folder with the types, in each project."""


def write_trees(fixed: FixedTrees, inputs: int, folder: Path, name: str, part: str, clock_ns: float) -> None:
    """Conifer's project ``NAME`` in ``folder``, every tree unrolled."""
    numbers = inputs * sum(len(tree.feature) + len(tree.value) for tree in fixed.trees.trees)
    if numbers > MANY_NUMBERS:
        memory = numbers * BYTES_A_NUMBER / 1e9
        say(f"conifer writes {numbers:,} numbers into one header; g++ takes minutes and about {memory:.0f} GB for it")
    with _quiet():
        conifer = _needed("conifer.backends.xilinxhls.writer")
        trees = [[_nodes(tree, inputs)] for tree in fixed.trees.trees]
        bits, score_bits = fixed.bits, fixed.score_bits
        unit = 2.0**-fixed.leaf_fraction
        for (tree,) in trees:
            tree["value"] = [value * unit for value in tree["value"]]
        model = conifer.XilinxHLSModel(
            {
                "n_classes": 2,  # one score
                "n_features": inputs,
                "n_trees": len(trees),
                "max_depth": max(_depth(tree) for (tree,) in trees),
                "init_predict": [0.0],
                "norm": 1,
                "library": "fivesigma",
                "splitting_convention": "<=",
                "trees": trees,
            },
            {
                "backend": "xilinxhls",
                "output_dir": str(folder),
                "project_name": name,
                "input_precision": f"ap_fixed<{bits},{bits}>",
                "threshold_precision": f"ap_fixed<{bits},{bits}>",
                "weight_precision": "ap_fixed<2,2>",  # 1 for the input that is compared
                "score_precision": f"ap_fixed<{score_bits},{score_bits - fixed.leaf_fraction}>",
                "precision": f"ap_fixed<{bits},{bits}>",
                "xilinx_part": part,
                "clock_period": clock_ns,
                "unroll": True,
            },
        )
        model.write()
    for made in (f"{name}.json", "bridge.cpp"):  # hold the time, the user and the folder of the export
        (folder / made).unlink()
    _right_prototype(folder / "firmware" / f"{name}.h")
    _copy_headers(folder / "firmware" / HEADERS)
    _copy_licences(folder, "conifer", "hls4ml")


def write_network(fixed: FixedNetwork, folder: Path, name: str, part: str, clock_ns: float) -> None:
    """hls4ml's project ``NAME`` in ``folder``, a layer after the other; for networks that `refuse_others` passes."""
    layers = layers_of(fixed)
    with _quiet():
        converters = _needed("hls4ml.converters")
        converters.convert_from_pytorch_model(
            _torch_network(fixed, layers),
            hls_config={
                "Model": _common(fixed),
                "LayerName": _precisions(fixed, layers),
                "InputShape": (fixed.network.widths[0],),
            },
            output_dir=str(folder),
            project_name=name,
            backend="Vitis",
            io_type="io_parallel",
            part=part,
            clock_period=clock_ns,
        ).write()
    for made in ("build_lib.sh", "hls4ml_config.yml", f"{name}_bridge.cpp"):  # hold the folder, or a random number
        (folder / made).unlink()
    _copy_licences(folder, "hls4ml")


def refuse_others(network: FeedForward) -> None:
    """Refuse what is not one dense layer after the other, with relu, tanh and sigmoid.

    Raises
    ------
    ModelError
        with what it is, or if a layer has more than ``MOST_WEIGHTS``.
    """
    for place, step in enumerate(network.steps):
        if sources(step) != (place,):
            raise ModelError("hls4ml takes one layer after another here; this network branches")
        if isinstance(step, Affine) and step.weight.size > MOST_WEIGHTS:
            raise ModelError(
                f"a layer of {step.weight.size:,} weights; hls4ml unrolls at most {MOST_WEIGHTS:,} of a layer here"
            )
        if isinstance(step, Affine) or (isinstance(step, Activated) and step.function in ACTIVATIONS):
            continue
        what = step.function if isinstance(step, Activated) else WORDS.get(type(step), type(step).__name__.lower())
        raise ModelError(
            f"{what} has no form in hls4ml that is ours bit by bit; for an FPGA train a network of dense layers with "
            f"{', '.join(ACTIVATIONS)} (batch norms beside dense layers are multiplied in)"
        )


def layers_of(fixed: FixedNetwork) -> list[tuple[str, int, FixedStep]]:
    """Name in the project, place among the network's steps, and step."""
    layers: list[tuple[str, int, FixedStep]] = []
    dense = -1
    for place, exact in enumerate(fixed.steps):
        dense += isinstance(exact.step, Affine)
        name = exact.step.function if isinstance(exact.step, Activated) else "dense"
        layers.append((f"{name}{place if dense < 0 else dense}", place, exact))
    return layers


def cpp_compiler() -> Compiler:
    """The first of ``COMPILERS`` that is there.

    Raises
    ------
    MissingDependencyError
        if there is none.
    """
    found = next((name for name in COMPILERS if shutil.which(name)), None)
    if found is None:
        raise MissingDependencyError(f"no C++ compiler found ({', '.join(COMPILERS)}); install g++")
    return Compiler.find(found)


class Emulation:
    """A project's C++ behind the function ``emulate`` of ``source``, compiled by the system's compiler."""

    def __init__(self, folder: Path, source: Path) -> None:
        compiler = cpp_compiler()
        with tempfile.TemporaryDirectory(prefix="fivesigma-") as made:
            output = Path(made) / "emulation.so"
            command = [
                compiler.command, "-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-ffp-contract=off", "-Wl,-Bsymbolic",
                f"-I{folder.resolve()}", f"-I{(folder / 'firmware').resolve()}",
                f"-I{(folder / 'firmware' / HEADERS).resolve()}", str(source), "-o", str(output), "-lm",
            ]  # fmt: skip
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
            if answer.returncode != 0:
                complaint = "\n".join(answer.stderr.splitlines()[:10])
                raise ArtifactError(f"{compiler.version} refuses {source}:\n{complaint}")
            self._library = ctypes.CDLL(str(output))
        self._library.feature.restype = ctypes.c_char_p
        self._library.features.restype = ctypes.c_size_t
        n = self._library.features()
        self.inputs = tuple(self._library.feature(ctypes.c_size_t(i)).decode() for i in range(n))

    def scores(self, values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of the tool's C++, and of our integers in C where there are any (otherwise the same), for inputs (event, input)."""
        events = np.ascontiguousarray(values, dtype=np.float64)
        theirs, ours = np.empty(len(events)), np.empty(len(events))
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (events, theirs, ours)]
        self._library.emulate(pointers[0], ctypes.c_size_t(len(events)), *pointers[1:])
        return theirs, ours


def write_test_vectors(folder: Path, inputs: NDArray[Any], outputs: NDArray[np.float64]) -> None:
    """``tb_data``, which both tools' own test benches read: inputs as numbers of the project's input type, and scores."""
    (folder / "tb_data").mkdir(exist_ok=True)
    for name, table in (("input_features", inputs), ("output_predictions", outputs[:, None])):
        lines = [" ".join(repr(float(x)) for x in row) for row in table]
        (folder / "tb_data" / f"tb_{name}.dat").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _nodes(tree: Tree, inputs: int) -> dict[str, list[Any]]:
    """The lists that conifer reads, a parent before its children; leaves have the feature −2."""
    names = ("feature", "threshold", "value", "weight", "children_left", "children_right")
    found: dict[str, list[Any]] = {name: [] for name in names}

    def add(at: int) -> int:
        place = len(found["feature"])
        leaf = at < 0
        feature = -2 if leaf else int(tree.feature[at])
        of_node = (
            feature,
            0 if leaf else int(tree.threshold[at]),
            float(tree.value[~at]) if leaf else 0.0,
            [int(i == feature) for i in range(inputs)],
            -1,
            -1,
        )
        for name, value in zip(names, of_node, strict=True):
            found[name].append(value)
        if not leaf:
            for name, child in (("children_left", tree.left[at]), ("children_right", tree.right[at])):
                found[name][place] = add(int(child))
        return place

    add(0 if len(tree.feature) else ~0)
    return found


def _depth(tree: dict[str, list[Any]]) -> int:
    depth = [0] * len(tree["feature"])
    for node, children in enumerate(zip(tree["children_left"], tree["children_right"], strict=True)):
        for child in children:
            if child >= 0:
                depth[child] = depth[node] + 1
    return max(1, *depth) if depth else 1


def _torch_network(fixed: FixedNetwork, layers: Sequence[tuple[str, int, FixedStep]]) -> Any:
    """The integers as numbers in torch's dense layers, which hls4ml reads."""
    from collections import OrderedDict

    import torch
    from torch import nn

    functions = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for name, place, exact in layers:
        if isinstance(exact.step, Activated):
            modules[name] = functions[exact.step.function]()
            continue
        weight, bias, before, digits = _numbers(fixed, place, exact)
        layer = nn.Linear(weight.shape[1], weight.shape[0]).double()
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight * 2.0**-digits))
            layer.bias.copy_(torch.from_numpy(bias * 2.0 ** -(before + digits)))
        modules[name] = layer
    return nn.Sequential(modules).eval()


def _numbers(
    fixed: FixedNetwork, place: int, exact: FixedStep
) -> tuple[NDArray[np.float64], NDArray[np.float64], int, int]:
    """Integers of weights and biases, and fraction bits of the layer's input and of its weights."""
    assert exact.weight is not None
    assert exact.bias is not None
    before = fixed.fractions[place]
    return exact.weight.astype(np.float64), exact.bias.astype(np.float64), before, exact.round + exact.fraction - before


def _common(fixed: FixedNetwork) -> dict[str, Any]:
    return {
        "Precision": {"default": _type(fixed.bits, fixed.input_fraction)},
        "ReuseFactor": 1,
        "Strategy": "Latency",
        "BramFactor": 1_000_000_000,
        "TraceOutput": False,
        "ChannelsLastConversion": "full",  # torch has weights the other way round
        "TransposeOutputs": False,
    }


def _precisions(fixed: FixedNetwork, layers: Sequence[tuple[str, int, FixedStep]]) -> dict[str, Any]:
    """Types of every layer: sums are exact, results rounded to nearest (halves up) and saturated, as ours are."""
    words: dict[str, Any] = {"input_1": {"Precision": {"result": _type(fixed.bits, fixed.input_fraction)}}}
    for name, place, exact in layers:
        result = _type(fixed.bits, exact.fraction, ROUNDED)
        if isinstance(exact.step, Activated):
            words[name] = {"Precision": {"result": _type(fixed.bits, exact.fraction)}, "ReuseFactor": 1}
            if exact.table is not None:
                words[name]["TableT"] = result  # under "Precision" hls4ml overlooks it
                words[name]["TableSize"] = len(exact.table)
            continue
        weight, bias, before, digits = _numbers(fixed, place, exact)
        largest = np.abs(weight).sum(axis=1) * 2.0 ** (fixed.bits - 1) + np.abs(bias)
        sum_bits = int(largest.max()).bit_length() + 1
        words[name] = {
            "Precision": {
                "weight": _type(fixed.bits, digits),
                "bias": _type(max(2, int(np.abs(bias).max()).bit_length() + 1), before + digits),
                "accum": _type(sum_bits, before + digits),
                "result": result,
            },
            "ReuseFactor": 1,
            "Strategy": "Latency",
        }
    return words


def _type(bits: int, fraction: int, modes: str = "") -> str:
    """A signed type of so many bits, so many of them fraction bits."""
    return f"ap_fixed<{bits},{bits - fraction}{modes}>"


def _copy_headers(folder: Path) -> None:
    found = importlib.util.find_spec("hls4ml")
    if found is None or not found.submodule_search_locations:
        raise _missing("hls4ml")
    shutil.copytree(Path(found.submodule_search_locations[0]) / "templates" / "vivado" / HEADERS, folder)


def _right_prototype(header: Path) -> None:
    """Conifer 1.11 declares its function with an argument more than it writes: no test bench could be linked with it."""
    text = re.sub(
        r"score_arr_t score,\s*score_t tree_scores\[[^]]*\]\)", "score_arr_t score)", header.read_text("utf-8")
    )
    header.write_text(text, encoding="utf-8")


def _copy_licences(folder: Path, *packages: str) -> None:
    """Of the tools whose sources the project holds, as ``LICENSE.TOOL``."""
    for package in packages:
        for file in metadata.files(package) or ():
            if file.name == "LICENSE" and file.parts[0].endswith(".dist-info"):
                shutil.copyfile(str(file.locate()), folder / f"LICENSE.{package}")


def _needed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _missing(module.partition(".")[0]) from error


def _missing(package: str) -> MissingDependencyError:
    return MissingDependencyError(f"{package} writes the project for an FPGA; install it: pip install 'fivesigma[hls]'")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Both tools print as they go."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
