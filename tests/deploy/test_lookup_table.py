"""Tables: without loss where the trees' own cuts are the bins, one copy in memory, every working point kept."""

import ctypes
import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deploy.models import INPUTS, boosted, toy_events, toy_model
from tests.deploy.test_c_trees import C99, CPP, build_and_run

from fivesigma.core.errors import ArtifactError, ConfigError, ModelError, ParityError, UnknownNameError
from fivesigma.deploy import Artifact, LookupTable, TrainedModel, export, load_artifact, scan_tables, verify
from fivesigma.deploy.binning import make_axes
from fivesigma.deploy.compiler import shared_library
from fivesigma.deploy.lookup_table import HEADER, Code, choose_code, n_cells, open_table, points_of
from fivesigma.deploy.table_loss import prune, table_score
from fivesigma.learn import Fisher


@pytest.fixture(scope="module")
def small() -> TrainedModel:
    """Few cuts, so that the table with all of them is small."""
    return boosted(trees=6, leaves=6)


@pytest.fixture(scope="module")
def exact(small: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The whole model in float64."""
    folder = tmp_path_factory.mktemp("tables") / "exact"
    return export(small, LookupTable(bins="thresholds", cell="float64", correctionlib=True), folder)


def test_with_the_trees_own_cuts_a_table_is_the_model_everywhere(exact: Artifact, small: TrainedModel) -> None:
    events, _ = toy_events(5_000, 9)
    values = np.stack([events[name] for name in INPUTS], axis=1)
    np.testing.assert_allclose(exact.predict(events), small.probability(values), rtol=0, atol=1e-15)
    assert exact.manifest["details"]["loss"]["largest_difference"] < 1e-15
    assert exact.manifest["details"]["loss"]["auc_loss"] == 0.0


def test_every_cell_was_compared_and_is_again_with_the_model(exact: Artifact, small: TrainedModel) -> None:
    cells = exact.manifest["details"]["cells"]
    assert (
        exact.manifest["proof"]["cells_compared"] == exact.manifest["proof"]["cells_compared_with_the_library"] == cells
    )
    assert verify(exact.folder, small).inputs > 4_000


def test_one_changed_cell_is_found(small: TrainedModel, tmp_path: Path) -> None:
    from tests.deploy.test_artifact import rewrite_manifest

    table = export(small, LookupTable(cell="uint8"), tmp_path / "table")
    path = table.folder / "toy_bdt.table"
    content = bytearray(path.read_bytes())
    content[HEADER.size + 17] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"toy_bdt.table was changed: its sha256"):
        load_artifact(table.folder)
    rewrite_manifest(table.folder)
    with pytest.raises(ParityError, match=r"cell 17 \(jet_mass = .*the model says"):
        verify(table.folder, small)


def test_a_bin_holds_its_upper_edge_and_a_nan_is_in_the_first(exact: Artifact) -> None:
    table: Any = exact.predictor
    axis = table.table.axes[0]
    edge = axis.edges[2]
    assert axis.bin(np.array([edge, np.nextafter(edge, np.inf), np.nan, -np.inf, np.inf])).tolist() == [
        2, 3, 0, 0, len(axis.edges),
    ]  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(
    points=st.lists(st.integers(5, 95), min_size=1, max_size=5, unique=True),
    score=st.lists(st.floats(0, 1), min_size=1, max_size=50),
)
def test_eight_bits_keep_every_working_point(points: list[int], score: list[float]) -> None:
    cuts = [point / 100 for point in points]
    code = choose_code("uint8", cuts, (0.0, 1.0), 0.01)
    values = np.array([*score, *cuts, *np.nextafter(cuts, 0)])
    stored = code.encode(values)
    for cut in cuts:
        np.testing.assert_array_equal(stored >= code.first_passing(cut), values >= cut)
        np.testing.assert_array_equal(code.decode(stored) >= cut, values >= cut)
    assert np.abs(code.decode(stored) - values).max() <= 1.5 / 255


def test_the_smallest_type_that_will_do_is_taken() -> None:
    assert choose_code("auto", [0.5], (0.0, 1.0), 0.01).cell == "uint8"
    assert choose_code("auto", [0.5, 0.5001], (0.0, 1.0), 0.01).cell == "uint16"
    assert choose_code("auto", [], (0.0, 1.0), 1e-3).cell == "uint16"
    with pytest.raises(ConfigError, match=r"cannot keep scores within 0.001"):
        choose_code("uint8", [], (0.0, 1.0), 1e-3)
    with pytest.raises(ConfigError, match="do not tell the working points apart"):
        choose_code("uint8", [0.5, 0.5001], (0.0, 1.0), 0.01)


def test_bins_are_what_was_asked_for_and_never_finer_than_the_detector(small: TrainedModel) -> None:
    axes = make_axes(small, {"jet_mass": "thresholds", "tau21": "quantiles:10", "subjet_dr": 5}, {"jet_mass": 2.0})
    assert np.diff(axes[0].edges).min() >= 2.0
    shares = np.bincount(axes[1].bin(small.recorded[:, 1])) / len(small.recorded)
    np.testing.assert_allclose(shares, 0.1, atol=0.002)
    assert np.ptp(np.diff(axes[2].edges)) < 1e-12
    assert all((axis.bin(axis.points) == np.arange(axis.bins)).all() for axis in axes)
    with pytest.raises(UnknownNameError, match=r"unknown input of the model 'tau2'; did you mean 'tau21'"):
        make_axes(small, 5, {"tau2": 1.0})
    with pytest.raises(ConfigError, match="got none for subjet_dr"):
        make_axes(small, {"jet_mass": 5, "tau21": 5}, {})
    with pytest.raises(ConfigError, match=r"finite edges in increasing order, got \[2, 1\]"):
        make_axes(small, {**dict.fromkeys(INPUTS, 5), "tau21": [2, 1]}, {})
    with pytest.raises(ModelError, match="'thresholds' need a learner of trees"):
        make_axes(toy_model(Fisher()), "thresholds", {})


def test_more_cells_lose_less_and_pruning_loses_least_first(small: TrainedModel) -> None:
    rows = scan_tables(small, ["thresholds:1", "thresholds:4", "thresholds"])
    assert [row.cells for row in rows] == sorted(row.cells for row in rows)
    assert rows[0].loss > 3 * rows[0].uncertainty > 0
    assert rows[0].loss > rows[1].loss > rows[2].loss == 0.0
    axes = make_axes(small, "thresholds", {})
    pruned = prune(small, axes, 40)
    assert n_cells(pruned) <= 40 < n_cells(axes)
    # The third variable tells nothing apart: its bins go before those that do.
    assert pruned[2].bins == 1 < min(pruned[0].bins, pruned[1].bins)
    exact = small.probability(small.recorded)
    worst = make_axes(small, {"jet_mass": [80.0], "tau21": [0.4], "subjet_dr": 25}, {})
    assert np.mean((table_score(small, pruned, small.recorded) - exact) ** 2) < np.mean(
        (table_score(small, worst, small.recorded) - exact) ** 2
    )


def test_any_estimator_of_numbers_becomes_a_table(tmp_path: Path) -> None:
    model = toy_model(Fisher())
    table = export(model, LookupTable(bins=30, cell="uint16", working_points=[0.5]), tmp_path / "fisher")
    assert table.manifest["details"]["cells"] == 27_000
    loss = table.manifest["details"]["loss"]
    assert 0 <= loss["auc_loss"] < 0.01
    passed = table.predict({n: model.recorded[:, i] for i, n in enumerate(INPUTS)}) >= 0.5
    points = table.predictor.table.axes  # type: ignore[attr-defined]
    np.testing.assert_array_equal(passed, table_score(model, points, model.recorded) >= 0.5)


def test_correctionlib_gives_the_same_scores(exact: Artifact, small: TrainedModel) -> None:
    from correctionlib import CorrectionSet

    written = CorrectionSet.from_file(str(exact.folder / "toy_bdt.correction.json"))["toy_bdt"]
    assert [variable.name for variable in written.inputs] == list(INPUTS)
    got = written.evaluate(*small.recorded.T)
    np.testing.assert_allclose(got, small.probability(small.recorded), rtol=0, atol=2e-15)
    assert exact.manifest["libraries"]["correctionlib"]


@pytest.mark.parametrize("compiler", [C99, CPP], ids=lambda c: f"{c[0]} {c[-1]}")
@pytest.mark.parametrize("sanitize", [(), ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")])
def test_the_test_program_maps_the_table_and_agrees(
    compiler: tuple[str, ...], sanitize: tuple[str, ...], exact: Artifact, tmp_path: Path
) -> None:
    import shutil

    folder = Path(shutil.copytree(exact.folder, tmp_path / "copy"))
    assert "500 vectors, 0 differ" in build_and_run(folder, "test_toy_bdt.c", *compiler, *sanitize)


def test_a_table_of_other_axes_is_refused_by_c_and_by_python(
    exact: Artifact, small: TrainedModel, tmp_path: Path
) -> None:
    other = export(small, LookupTable(bins=8, cell="float64"), tmp_path / "other")
    source = """
#include "toy_bdt.h"
int fits(const void *file, size_t bytes);
int fits(const void *file, size_t bytes) { return toy_bdt_cells(file, bytes) != NULL; }
"""
    library = shared_library(source, exact.folder)

    def fits(content: bytes) -> bool:
        buffer = ctypes.create_string_buffer(content, len(content))
        return bool(library.fits(buffer, ctypes.c_size_t(len(content))))

    own, others = ((a.folder / "toy_bdt.table").read_bytes() for a in (exact, other))
    assert fits(own)
    assert not fits(others)
    assert not fits(own[:-1])
    assert not fits(own[:16] + b"\0" * 8 + own[24:])
    table: Any = exact.predictor
    path = other.folder / "toy_bdt.table"
    with pytest.raises(ArtifactError, match="is another table"):
        open_table(path, table.table.axes, Code("float64"))


def test_processes_share_one_copy(tmp_path: Path) -> None:
    cells, size = 4_000_000, 4 * 4_000_000
    path = tmp_path / "shared"
    path.write_bytes(b"\0" * HEADER.size + np.arange(cells, dtype=np.float32).tobytes())
    context = multiprocessing.get_context("fork")
    ready, stop = context.Semaphore(0), context.Event()
    processes = [context.Process(target=hold, args=(path, cells, ready, stop)) for _ in range(4)]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    shares = [proportional_share(process.pid, path) for process in processes]
    stop.set()
    for process in processes:
        process.join()
    assert all(process.exitcode == 0 for process in processes)
    assert sum(shares) == pytest.approx(size, rel=0.05)  # not four times as much


def hold(path: Path, cells: int, ready: Any, stop: Any) -> None:
    table = np.memmap(path, np.float32, "r", HEADER.size, (cells,))
    assert float(table.sum(dtype=np.float64)) > 0  # every page is touched
    ready.release()
    stop.wait(60)


def proportional_share(pid: int | None, path: Path) -> int:
    """Bytes of the mapping that are this process's share of memory (PSS)."""
    lines = Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines()
    begin = next(i for i, line in enumerate(lines) if line.endswith(str(path)))
    share = next(line for line in lines[begin:] if line.startswith("Pss:"))
    return 1024 * int(share.split()[1])


def test_cells_are_evaluated_inside_their_bins(exact: Artifact) -> None:
    table: Any = exact.predictor
    cells = n_cells(table.table.axes)
    np.testing.assert_array_equal(table.table.cell(points_of(table.table.axes, 0, cells)), np.arange(cells))


def test_the_manifest_is_plain_json(exact: Artifact) -> None:
    assert json.loads(json.dumps(exact.manifest, allow_nan=False))["target"] == "table"
