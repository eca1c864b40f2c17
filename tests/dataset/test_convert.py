"""From files to a dataset: the right rows, weights, labels and folds; everything else is refused by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from fivesigma.core.errors import (
    BranchTypeError,
    ConfigError,
    DuplicateInputError,
    ExpressionError,
    InputError,
    MissingBranchError,
    NoEventsError,
    OutputError,
    ResumeError,
    SplitError,
)
from fivesigma.core.jagged import Jagged
from fivesigma.dataset import Conversion, Dataset, Sample, convert, event_hash, fold_of, scan_inputs

JetWriter = Callable[..., Path]


def changed(conversion: Conversion, **update: Any) -> Conversion:
    """As `model_copy`, but validated."""
    return Conversion.model_validate({**conversion.model_dump(), **update})


def with_files(conversion: Conversion, **files: Path) -> Conversion:
    """The same conversion with other files for some samples."""
    samples = [
        s.model_copy(update={"files": (str(files[s.name]),)}) if s.name in files else s for s in conversion.samples
    ]
    return conversion.model_copy(update={"samples": tuple(samples)})


def folder_bytes(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def read_by_hand(conversion: Conversion) -> dict[str, Any]:
    """The slow, obvious way: whole files with uproot, one mask, in the order of samples and files."""
    rows: dict[str, list[Any]] = {
        k: [] for k in ("jet_mass", "jet_pt", "event_number", "constituent_pt", "weight", "y")
    }
    for sample, scale in zip(conversion.samples, (1.0, 2.5), strict=True):
        for path in sample.files:
            with uproot.open(path) as file:
                jets = file["jets"].arrays()
            jets = jets[(jets.jet_pt > 250) & (jets.jet_pt < 300) & (jets.jet_mass > 70)]
            for name in ("jet_mass", "jet_pt", "event_number", "constituent_pt"):
                rows[name] += ak.to_list(jets[name])
            rows["weight"] += ak.to_list(jets.generator_weight * scale)
            rows["y"] += [sample.label] * len(jets)
    return rows


def test_rows_are_those_selected_by_hand(jets: Conversion, tmp_path: Path) -> None:
    dataset = convert(jets, tmp_path / "out")
    expected = read_by_hand(jets)
    assert len(dataset) == len(expected["y"]) > 150
    for name in ("jet_mass", "jet_pt", "event_number"):
        np.testing.assert_array_equal(np.asarray(dataset.column(name)), expected[name])
    constituents = dataset.column("constituent_pt")
    assert isinstance(constituents, Jagged)
    np.testing.assert_array_equal(constituents.counts, [len(v) for v in expected["constituent_pt"]])
    np.testing.assert_array_equal(constituents.values, np.concatenate(expected["constituent_pt"]).astype(np.float32))
    np.testing.assert_allclose(dataset.weight, expected["weight"], rtol=1e-15)
    np.testing.assert_array_equal(dataset.y, expected["y"])
    np.testing.assert_array_equal(np.asarray(dataset.column("n_constituents")), constituents.counts)
    scaled = np.asarray(expected["jet_mass"]) / np.asarray(expected["jet_pt"])
    np.testing.assert_allclose(np.asarray(dataset.column("scaled")), scaled, rtol=1e-15)


def test_schema_folds_and_bookkeeping(jets: Conversion, tmp_path: Path) -> None:
    dataset = convert(jets, tmp_path / "out")
    roles = {name: (c.dtype, c.jagged, c.role) for name, c in dataset.schema.items()}
    assert roles == {
        "jet_mass": ("float32", False, "input"),
        "tau21": ("float32", False, "input"),
        "n_constituents": ("int64", False, "input"),
        "constituent_pt": ("float32", True, "input"),
        "jet_pt": ("float32", False, "observer"),
        "scaled": ("float64", False, "observer"),
        "event_number": ("int64", False, "identity"),
        "jet_index": ("int32", False, "identity"),
    }
    assert list(dataset.columns) == list(roles)
    book = (dataset.y, dataset.weight, dataset.fold, dataset.event)
    assert [array.dtype.name for array in book] == ["int8", "float64", "int8", "uint64"]
    assert dataset.samples == ("W", "QCD")
    np.testing.assert_array_equal(dataset.sample, np.where(dataset.y == 1, 0, 1))
    assert set(np.unique(dataset.fold)) == set(range(5))
    for row in (0, len(dataset) - 1):
        path, entry = dataset.origin(row)
        with uproot.open(Path(path)) as file:
            assert file["jets"]["jet_mass"].array()[entry] == np.asarray(dataset.column("jet_mass"))[row]


def test_rows_and_folds_do_not_depend_on_the_step(jets: Conversion, tmp_path: Path) -> None:
    a = convert(jets, tmp_path / "a")
    b = convert(jets.model_copy(update={"step": 1000}), tmp_path / "b")
    for name in a.columns:
        x, y = a.column(name), b.column(name)
        assert type(x) is type(y) or not isinstance(x, Jagged)
        np.testing.assert_array_equal(getattr(x, "values", x), getattr(y, "values", y))
    for x, y in ((a.fold, b.fold), (a.event, b.event), (a.weight, b.weight)):
        np.testing.assert_array_equal(x, y)


def test_folds_follow_the_identity(jets: Conversion, tmp_path: Path) -> None:
    """Both jets of an event fall into one fold, the one that `fold_of` gives."""
    plain = jets.model_copy(update={"identity": ("event_number",), "salt": "x"})
    dataset = convert(plain, tmp_path / "out")
    number = np.asarray(dataset.column("event_number"))
    np.testing.assert_array_equal(dataset.fold, fold_of([number], 5, "x"))
    np.testing.assert_array_equal(dataset.event, event_hash([number]))


def test_labels_by_expression(jets: Conversion, write_jets: JetWriter, tmp_path: Path) -> None:
    mixed = write_jets("mixed.root", 100, seed=8, truth=np.tile([24, 5], 50).astype(np.int32))
    sample = Sample(name="mixed", files=(str(mixed),))
    conversion = changed(jets, samples=[sample.model_dump()], label="truth == 24", identity=["event_number"], row=None)
    dataset = convert(conversion, tmp_path / "out")
    np.testing.assert_array_equal(dataset.y, np.asarray(dataset.column("event_number")) % 2 == 0)
    with pytest.raises(InputError, match="a label must be 0 or 1, got 24") as caught:
        convert(conversion.model_copy(update={"label": "truth"}), tmp_path / "wrong")
    assert caught.value.file == mixed
    with pytest.raises(ConfigError, match="sample 'mixed' has no label"):
        scan_inputs(conversion.model_copy(update={"label": None}))


def test_the_ledger_of_a_conversion(jets: Conversion, tmp_path: Path) -> None:
    dataset = convert(jets, tmp_path / "out")
    ledger = dataset.ledger
    ledger.check()
    assert [(f.sample, f.entries, f.read.events) for f in ledger.files] == [
        ("W", 200, 200),
        ("W", 100, 100),
        ("QCD", 200, 200),
    ]
    for file in ledger.files:
        assert list(file.rejected) == ["pt window", "mass"]
        assert file.read.events == sum(c.events for c in file.rejected.values()) + file.selected.events
    assert sum(f.selected.events for f in ledger.files) == len(dataset)
    assert sum(f.selected.negative for f in ledger.files) == (dataset.weight < 0).sum()
    assert sum(f.selected.sumw for f in ledger.files) == pytest.approx(dataset.weight.sum(), rel=1e-12)
    assert [stage.name for stage in ledger.stages] == ["sample", "fold"]
    folds = {(p.name, p.label): p.count.events for p in ledger.stages[1].parts}
    assert folds["fold 2", 1] == ((dataset.fold == 2) & (dataset.y == 1)).sum()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite(jets: Conversion, write_jets: JetWriter, tmp_path: Path, bad: float) -> None:
    mass = np.full(200, 85, np.float32) + np.arange(200, dtype=np.float32) / 100
    mass[[17, 150]] = bad, bad
    pt = np.full(200, 275, np.float32)
    path = write_jets("bad.root", 200, seed=3, jet_mass=mass, jet_pt=pt)
    conversion = changed(
        with_files(jets, QCD=path), selection={"pt window": "250 < jet_pt < 300"}, observers=["jet_pt"]
    )
    found = "1 NaN, 0 infinite" if np.isnan(bad) else "0 NaN, 1 infinite"  # of the first range of 120 entries
    with pytest.raises(InputError, match=rf"1 rows have values that are not finite \({found}\)") as caught:
        convert(conversion, tmp_path / "out")
    assert (caught.value.file, caught.value.branch, caught.value.entry) == (path, "jet_mass", 17)
    dropped = convert(conversion.model_copy(update={"nan": "drop"}), tmp_path / "out")
    qcd = dropped.ledger.files[-1]
    assert (qcd.dropped.events, qcd.selected.events) == (2, 198)
    counted = qcd.not_finite["jet_mass"]
    assert (counted.nan, counted.inf) == ((2, 0) if np.isnan(bad) else (0, 2))
    kept = convert(conversion.model_copy(update={"nan": "keep"}), tmp_path / "kept")
    assert kept.ledger.files[-1].selected.events == 200
    assert (~np.isfinite(np.asarray(kept.column("jet_mass")))).sum() == 2


def test_a_list_with_nan_is_one_bad_row(jets: Conversion, write_jets: JetWriter, tmp_path: Path) -> None:
    lists = ak.Array([[1.0, float("nan"), float("nan")], [], [1.0]] + [[0.5]] * 197)
    path = write_jets("bad.root", 200, seed=3, constituent_pt=ak.values_astype(lists, np.float32))
    conversion = changed(with_files(jets, QCD=path), selection={}, nan="drop")
    qcd = convert(conversion, tmp_path / "out").ledger.files[-1]
    assert (qcd.dropped.events, qcd.not_finite["constituent_pt"].nan) == (1, 2)


def test_weights_must_be_finite(jets: Conversion, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="weights are not finite, first nan from") as caught:
        convert(changed(jets, weight="log(generator_weight)"), tmp_path / "out")
    assert caught.value.entry is not None


def test_nothing_left_shows_the_cut_flow(jets: Conversion, tmp_path: Path) -> None:
    with pytest.raises(NoEventsError, match=r"(?s)no events are left.*QCD: rejected by 'impossible': 200 events"):
        convert(changed(jets, selection={"impossible": "jet_pt > 1e9"}), tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []


def test_one_class_missing_is_named(jets: Conversion, write_jets: JetWriter, tmp_path: Path) -> None:
    light = write_jets("light.root", 50, seed=9, jet_mass=np.full(50, 20, np.float32))
    with pytest.raises(
        NoEventsError, match=r"(?s)no event has label 0 \(background\); samples: W, QCD.*QCD: rejected by 'mass'"
    ):
        convert(with_files(jets, QCD=light), tmp_path / "out")


def test_one_event_of_each_class(write_jets: JetWriter, jets: Conversion, tmp_path: Path) -> None:
    one = {"jet_pt": np.array([275], np.float32), "jet_mass": np.array([85], np.float32)}
    files = {name: write_jets(f"{name}.root", 1, seed=i, **one) for i, name in enumerate(("W", "QCD"))}
    dataset = convert(with_files(jets, **files), tmp_path / "out")
    assert dataset.y.tolist() == [1, 0]


def test_an_empty_file_among_others_is_in_the_ledger(jets: Conversion, write_jets: JetWriter, tmp_path: Path) -> None:
    empty = write_jets("empty.root", 0)
    samples = (jets.samples[0].model_copy(update={"files": (*jets.samples[0].files, str(empty))}), jets.samples[1])
    ledger = convert(jets.model_copy(update={"samples": samples}), tmp_path / "out").ledger
    assert [(Path(f.file).name, f.entries, f.selected.events > 0) for f in ledger.files][2] == ("empty.root", 0, False)


@pytest.mark.parametrize(
    ("update", "error", "message"),
    [
        ({"selection": {"c": "jet_pt"}}, ExpressionError, "cut 'c': a selection must be a condition"),
        ({"selection": {"c": "jet_ptt > 2"}}, MissingBranchError, "did you mean jet_pt"),
        (
            {"new_variables": {"a": "b + 1", "b": "jet_pt"}, "columns": ["a"], "observers": []},
            ExpressionError,
            "new variable 'a': unknown column 'b'",
        ),
        ({"new_variables": {"jet_pt": "1.0"}}, ConfigError, "'jet_pt' is already a branch"),
        ({"columns": ["jet_pt", "jet_pt"]}, ConfigError, "column 'jet_pt' is given twice"),
        ({"identity": ["jet_pt"]}, SplitError, "identity column 'jet_pt' is float32"),
        ({"identity": ["constituent_pt"]}, SplitError, "'constituent_pt' is jagged float32"),
        ({"weight": "constituent_pt"}, ExpressionError, "weight: a list for each event"),
        ({"row": ["jet_index"]}, SplitError, r"(?s)the same row occurs twice \(jet_index=0\).*entry \d+.*entry \d+"),
    ],
)
def test_refused_conversions(
    jets: Conversion, tmp_path: Path, update: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        convert(changed(jets, **update), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_samples_of_one_name_or_file(jets: Conversion, tmp_path: Path) -> None:
    w, qcd = jets.samples
    with pytest.raises(ConfigError, match="the sample 'W' is given twice"):
        convert(jets.model_copy(update={"samples": (w, qcd.model_copy(update={"name": "W"}))}), tmp_path / "out")
    with pytest.raises(DuplicateInputError, match="the same path"):
        convert(
            jets.model_copy(update={"samples": (w, qcd.model_copy(update={"files": w.files[:1]}))}), tmp_path / "out"
        )


def test_types_must_agree_between_samples(jets: Conversion, write_jets: JetWriter, tmp_path: Path) -> None:
    double = write_jets("double.root", 50, seed=4, tau21=np.linspace(0, 1, 50))
    with pytest.raises(BranchTypeError, match="float64 in sample 'QCD', but float32 in sample 'W'") as caught:
        convert(with_files(jets, QCD=double), tmp_path / "out")
    assert caught.value.branch == "tau21"


def test_a_finished_conversion_is_opened_not_repeated(jets: Conversion, tmp_path: Path) -> None:
    convert(jets, tmp_path / "out")
    before = folder_bytes(tmp_path / "out")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    convert(jets, tmp_path / "out")
    assert folder_bytes(tmp_path / "out") == before
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == times


def test_another_configuration_or_input_is_refused_with_the_difference(
    jets: Conversion, write_jets: JetWriter, tmp_path: Path
) -> None:
    convert(jets, tmp_path / "out")
    with pytest.raises(
        ResumeError, match=r"conversion.selection\[1\]\[1\]: 'jet_mass > 70' there, 'jet_mass > 71' now"
    ):
        convert(changed(jets, selection={"pt window": "250 < jet_pt < 300", "mass": "jet_mass > 71"}), tmp_path / "out")
    with pytest.raises(ResumeError, match=r"conversion.selection\[0\]\[0\]"):  # the order of cuts is part of the result
        convert(changed(jets, selection=dict(reversed(jets.selection.items()))), tmp_path / "out")
    write_jets("qcd.root", 200, seed=77)
    with pytest.raises(ResumeError, match=r"inputs\[2\].xxh3: '[0-9a-f]{32}' there"):
        convert(jets, tmp_path / "out")


def test_the_hash_follows_content_not_place(jets: Conversion, tmp_path: Path) -> None:
    before = scan_inputs(jets).config_hash
    moved = tmp_path / "elsewhere.root"
    Path(jets.samples[1].files[0]).rename(moved)
    assert scan_inputs(with_files(jets, QCD=moved)).config_hash == before


def test_an_unwritable_output(jets: Conversion, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write .*choose another output folder"):
        convert(jets, tmp_path / "file" / "out")


def test_open_verifies_what_convert_wrote(jets: Conversion, tmp_path: Path) -> None:
    dataset = convert(jets, tmp_path / "out")
    assert (
        repr(Dataset.open(tmp_path / "out"))
        == f"<Dataset {tmp_path / 'out'}: {len(dataset)} events, 8 columns, 5 shards>"
    )
    assert list(tmp_path.glob(".out*")) == []
