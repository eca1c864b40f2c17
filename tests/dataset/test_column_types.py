"""Declared types: what fits is exact, what is rounded is counted, what does not fit is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.dataset.test_convert import changed, with_files

from fivesigma.core.errors import BranchTypeError, ConfigError, InputError
from fivesigma.core.jagged import Jagged
from fivesigma.dataset import Conversion, Dataset, convert
from fivesigma.dataset.column_types import as_declared

JetWriter = Callable[..., Path]
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@settings(deadline=None)
@given(arrays(np.float64, st.integers(0, 20), elements=st.floats(-1e30, 1e30) | st.just(np.nan)))
def test_to_float32_counts_each_value_that_is_not_exactly_one(
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    cast, rounded = as_declared(values, "float32")
    assert isinstance(cast, np.ndarray)
    assert cast.dtype == np.float32
    assert rounded == sum(float(np.float32(v)) != v for v in values if not np.isnan(v))


@settings(deadline=None)
@given(st.data(), st.sampled_from(INTEGERS), st.sampled_from([*INTEGERS, "float32", "float64"]))
def test_integers_are_exact_or_refused_or_counted(data: st.DataObject, source: str, target: str) -> None:
    limits = np.iinfo(source)
    numbers = data.draw(st.lists(st.integers(int(limits.min), int(limits.max)), max_size=10))
    values = np.array(numbers, dtype=source)
    if target.startswith("float"):
        cast, rounded = as_declared(values, target)
        assert isinstance(cast, np.ndarray)
        assert rounded == sum(int(v) != n for v, n in zip(cast, numbers, strict=True))
    elif all(np.iinfo(target).min <= n <= np.iinfo(target).max for n in numbers):
        cast, rounded = as_declared(values, target)
        assert isinstance(cast, np.ndarray)
        assert ([int(v) for v in cast], rounded) == (numbers, 0)
    else:
        with pytest.raises(BranchTypeError, match="are out of range"):
            as_declared(values, target)


@pytest.mark.parametrize(
    ("value", "target", "message"),
    [
        (2.5, "int32", "have a fraction"),
        (np.nan, "int32", "are not finite"),
        (np.inf, "int64", "are not finite"),
        (2.0**31, "int32", "are out of range"),
        (2.0**63, "int64", "are out of range"),
        (-1.0, "uint8", "are out of range"),
        (1e39, "float32", "are too large"),
        (2.0, "bool", "are out of range"),
    ],
)
def test_what_does_not_fit_is_refused(value: float, target: str, message: str) -> None:
    with pytest.raises(BranchTypeError, match=f"1 of 2 values .* {message}: they do not fit into {target}"):
        as_declared(np.array([1.0, value]), target)


@pytest.mark.parametrize(("source", "rounded"), [("int8", 0), ("uint16", 0), ("int32", 1), ("int64", 1), ("uint64", 1)])
def test_the_largest_integer_as_float32(source: str, rounded: int) -> None:
    assert as_declared(np.array([np.iinfo(source).max, 1], dtype=source), "float32")[1] == rounded


def test_the_largest_that_fit() -> None:
    edge = np.array([-(2.0**31), 2.0**31 - 1])
    cast, _ = as_declared(edge, "int32")
    assert isinstance(cast, np.ndarray)
    assert cast.tolist() == [-(2**31), 2**31 - 1]
    jagged, rounded = as_declared(Jagged.from_lists([[0.1], [], [0.5, 0.2]]), "float32")
    assert isinstance(jagged, Jagged)
    assert (jagged.offsets.tolist(), rounded) == ([0, 1, 1, 3], 2)


def test_float_here_and_double_there_needs_a_declared_type(
    jets: Conversion, write_jets: JetWriter, tmp_path: Path
) -> None:
    double = np.round(np.linspace(0.001, 0.999, 50), 3)
    conversion = changed(with_files(jets, QCD=write_jets("double.root", 50, seed=4, tau21=double)), selection={})
    with pytest.raises(
        BranchTypeError, match=r"(?s)float64 in sample 'QCD', but float32.*declare the type in `dtypes`"
    ):
        convert(conversion, tmp_path / "out")
    dataset = convert(changed(conversion, dtypes={"tau21": "float32"}), tmp_path / "out")
    assert dataset.schema["tau21"].dtype == "float32"
    changed_by_rounding = sum(float(np.float32(value)) != value for value in double.tolist())
    assert changed_by_rounding > 40
    assert [f.rounded["tau21"] for f in dataset.ledger.files] == [0, 0, changed_by_rounding]
    np.testing.assert_array_equal(np.asarray(dataset.column("tau21"))[-50:], double.astype(np.float32))
    wide = convert(changed(conversion, dtypes={"tau21": "float64"}), tmp_path / "wide")
    np.testing.assert_array_equal(np.asarray(wide.column("tau21"))[-50:], double)
    assert Dataset.open(tmp_path / "out").ledger == dataset.ledger


def test_a_list_and_a_single_value_never_mix(jets: Conversion, write_jets: JetWriter, tmp_path: Path) -> None:
    lists = ak.values_astype(ak.Array([[0.5]] * 50), np.float32)
    conversion = with_files(jets, QCD=write_jets("lists.root", 50, seed=4, tau21=lists))
    for words in ({}, {"dtypes": {"tau21": "float32"}}):
        with pytest.raises(BranchTypeError, match="jagged float32 in sample 'QCD', but float32 in sample 'W'"):
            convert(changed(conversion, **words), tmp_path / "out")


def test_what_does_not_fit_names_file_branch_and_entries(jets: Conversion, tmp_path: Path) -> None:
    with pytest.raises(BranchTypeError, match=r"(?s)have a fraction.*in entries 0 to 120.*w1.root.*jet_pt") as caught:
        convert(changed(jets, dtypes={"jet_pt": "int32"}), tmp_path / "out")
    assert caught.value.branch == "jet_pt"
    with pytest.raises(ConfigError, match="dtypes: unknown column 'jet_mas'; did you mean 'jet_mass'"):
        convert(changed(jets, dtypes={"jet_mas": "float32"}), tmp_path / "out")


def test_values_that_stand_for_not_measured(jets: Conversion, write_jets: JetWriter, tmp_path: Path) -> None:
    tau = np.linspace(0, 1, 200, dtype=np.float32)
    tau[[3, 5, 150]] = -999, -999, -1
    lists = ak.values_astype(ak.Array([[-999.0, 1.0, -999.0], []] + [[0.5]] * 198), np.float32)
    path = write_jets("missing.root", 200, seed=3, tau21=tau, constituent_pt=lists)
    conversion = changed(with_files(jets, QCD=path), selection={})
    counted = convert(conversion, tmp_path / "a").ledger.files[-1]
    assert {n: c.missing for n, c in counted.not_finite.items() if c.any} == {"tau21": 2, "constituent_pt": 2}
    assert (counted.dropped.events, counted.selected.events) == (0, 200)
    both = convert(changed(conversion, missing=[-999, -1], missing_policy="drop"), tmp_path / "b").ledger.files[-1]
    assert both.not_finite["tau21"].missing == 3
    assert (both.dropped.events, both.selected.events) == (4, 196)  # entries 0, 3, 5 and 150
    with pytest.raises(InputError, match="values declared as missing") as caught:
        convert(changed(conversion, missing_policy="error"), tmp_path / "c")
    assert (caught.value.branch, caught.value.entry) == ("tau21", 3)
    none = convert(changed(conversion, missing=[]), tmp_path / "d").ledger.files[-1]
    assert none.not_finite["tau21"].missing == 0


def test_missing_values_as_the_column_has_them(jets: Conversion, write_jets: JetWriter, tmp_path: Path) -> None:
    tau = np.full(200, -9999.9, np.float32) + np.arange(200, dtype=np.float32)
    path = write_jets("float.root", 200, seed=3, tau21=tau, jet_index=np.full(200, -9, np.int32))
    conversion = changed(with_files(jets, QCD=path), selection={}, missing=[-9999.9, -9, 1e300])
    ledger = convert(conversion, tmp_path / "out").ledger.files[-1]
    assert ledger.not_finite["tau21"].missing == 1  # −9999.9 in single precision
    assert ledger.not_finite["jet_index"].missing == 200


def test_weights_that_are_not_finite_are_dropped_and_counted(
    jets: Conversion, write_jets: JetWriter, tmp_path: Path
) -> None:
    weight = np.ones(200)
    weight[[1, 2, 120]] = np.nan, np.inf, np.nan
    weight[[5, 6]] = -1.0, 0.0
    mass = np.full(200, 85, np.float32)
    mass[2] = 10  # rejected by a cut before anybody asks for its weight
    conversion = changed(
        with_files(jets, QCD=write_jets("weights.root", 200, seed=3, generator_weight=weight, jet_mass=mass)),
        selection={"mass": "jet_mass > 70"},
    )
    with pytest.raises(InputError, match=r"(?s)2 weights are not finite.*say `nan: drop`"):
        convert(conversion, tmp_path / "out")
    with pytest.raises(InputError, match="weights are not finite"):
        convert(changed(conversion, nan="keep"), tmp_path / "out")
    dataset = convert(changed(conversion, nan="drop"), tmp_path / "out")
    qcd = dataset.ledger.files[-1]
    assert (qcd.not_finite["event weight"].nan, qcd.not_finite["event weight"].inf) == (2, 1)
    assert (qcd.rejected["mass"].events, qcd.dropped.events, qcd.selected.events) == (1, 2, 197)
    assert (qcd.selected.negative, qcd.selected.zero) == (1, 1)
    assert np.isfinite(dataset.weight).all()
