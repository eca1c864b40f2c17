"""Integer tables: addresses that can be read back, no floating point in the C, memory files with the same words."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deploy.models import INPUTS, boosted
from tests.deploy.test_c_trees import C99, CPP, build_and_run

from fivesigma.core.errors import ArtifactError, ConfigError, ParityError
from fivesigma.deploy import Artifact, IntegerTable, TrainedModel, export, verify
from fivesigma.deploy.integer_table import AddressSpace, IntegerField, read_memory, write_integer_table
from fivesigma.deploy.integer_target import refuse_floating_point
from fivesigma.deploy.lookup_table import HEADER, Code

FIELDS: dict[str, dict[str, Any]] = {
    "tau21": {"bits": 5, "step": 1 / 32},
    "jet_mass": {"bits": 5, "signed": True, "step": 1.0, "offset": 80.0},
    "subjet_dr": {"bits": 3, "values": 6, "step": 0.25},
}


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return boosted(trees=5)


@pytest.fixture(scope="module", params=["concatenated", "packed"])
def table(request: pytest.FixtureRequest, model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("integers") / "table"
    return export(model, IntegerTable(FIELDS, packing=request.param, bits=10, memory=["coe", "mem"]), folder)


fields = st.lists(
    st.tuples(st.integers(1, 6), st.booleans(), st.integers(1, 64)), min_size=1, max_size=4
).map(lambda words: tuple(
    IntegerField(f"x{i}", bits, signed, values=min(values, 1 << bits)) for i, (bits, signed, values) in enumerate(words)
))  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(fields=fields, packed=st.booleans(), seed=st.integers(0, 1000))
def test_addresses_can_be_read_back(fields: Any, packed: bool, seed: int) -> None:
    space = AddressSpace(fields, "packed" if packed else "concatenated")
    limits = np.array([field.limits for field in fields])
    integers = np.random.default_rng(seed).integers(limits[:, 0], limits[:, 1] + 1, (100, len(fields)))
    address = space.address(integers)
    assert ((address >= 0) & (address < space.addresses)).all()
    np.testing.assert_array_equal(space.integers(address), integers)
    if packed:  # no address is left unused
        assert space.addresses == np.prod([field.count for field in fields])
        every = np.arange(min(space.addresses, 5_000))
        np.testing.assert_array_equal(space.address(space.integers(every)), every)


def test_an_address_is_its_bits_side_by_side() -> None:
    space = AddressSpace((IntegerField("a", 3), IntegerField("b", 4, signed=True), IntegerField("c", 2)))
    assert space.address(np.array([[0b101, -1, 0b10]])).tolist() == [0b101_1111_10]
    assert space.address(np.array([[99, -99, 0]])).tolist() == [0b111_1000_00]  # beyond the limits: the nearest


def test_every_address_holds_the_models_answer(table: Artifact, model: TrainedModel) -> None:
    proof = table.manifest["proof"]
    assert proof["cells_compared"] == proof["cells_compared_with_the_library"] == table.manifest["details"]["addresses"]
    assert verify(table.folder, model).inputs == sum(proof["inputs"].values())
    integers = {"jet_mass": np.array([3, -100]), "tau21": np.array([9, 31]), "subjet_dr": np.array([2, 7])}
    values = np.array([[83.0, 9 / 32, 0.5], [64.0, 31 / 32, 1.25]])  # in the order of INPUTS; clipped to the limits
    np.testing.assert_allclose(table.predict(integers), model.probability(values), rtol=0, atol=0.5 / 1023 + 1e-12)


@pytest.mark.parametrize("compiler", [C99, CPP], ids=lambda c: f"{c[0]} {c[-1]}")
def test_the_test_program_agrees_under_sanitizers(compiler: tuple[str, ...], table: Artifact, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(table.folder, tmp_path / "copy"))
    sanitize = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert "500 vectors, 0 differ" in build_and_run(folder, "test_toy_bdt.c", *compiler, *sanitize)


def test_one_floating_point_operation_is_found_in_the_object_file(table: Artifact, tmp_path: Path) -> None:
    text = (table.folder / "toy_bdt.h").read_text(encoding="utf-8")
    refuse_floating_point(table.folder, "toy_bdt")
    (tmp_path / "toy_bdt.h").write_text(
        text.replace("return address;", "return (uint64_t)((double)address * 1.0001);"), encoding="utf-8"
    )
    with pytest.raises(ParityError, match=r"floating-point instructions, the first: .*mm"):
        refuse_floating_point(tmp_path, "toy_bdt")


def test_memory_files_hold_the_tables_words(table: Artifact) -> None:
    cells: Any = table.predictor.cells  # type: ignore[attr-defined]
    for kind in ("coe", "mem"):
        np.testing.assert_array_equal(read_memory(table.folder / f"toy_bdt.{kind}"), cells)
    lines = (table.folder / "toy_bdt.coe").read_text(encoding="ascii").splitlines()
    assert lines[:2] == ["memory_initialization_radix=16;", "memory_initialization_vector="]
    assert lines[2] == f"{int(cells[0]):03x},"
    assert lines[-1] == f"{int(cells[-1]):03x};"


def test_building_takes_the_same_memory_for_any_size(tmp_path: Path) -> None:
    def peak(bits: int) -> int:
        space = AddressSpace((IntegerField("a", bits), IntegerField("b", 2)))
        tracemalloc.start()
        write_integer_table(tmp_path / "table", space, Code("uint8", 0.0, 1.0), lambda values: values[:, 1])
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (tmp_path / "table").stat().st_size == HEADER.size + (4 << bits)
        return found

    assert peak(19) < 1.1 * peak(16)  # 2²¹ and 2¹⁸ addresses


def test_what_cannot_be_a_table_is_refused(model: TrainedModel, tmp_path: Path) -> None:
    wide = {name: {"bits": 11} for name in INPUTS}
    with pytest.raises(ConfigError, match="would take 8,589,934,592 bytes, more than 2 GiB"):
        export(model, IntegerTable(wide), tmp_path / "a")
    with pytest.raises(ConfigError, match="expected one for each of jet_mass, tau21, subjet_dr; got jet_mass"):
        export(model, IntegerTable({"jet_mass": {"bits": 3}}), tmp_path / "a")
    with pytest.raises(ConfigError, match="expected bits, signed, step, offset, values"):
        export(model, IntegerTable({name: {"bit": 3} for name in INPUTS}), tmp_path / "a")
    with pytest.raises(ConfigError, match="field 'x': expected 1 to 31 bits, got 0"):
        IntegerField("x", 0)
    assert not (tmp_path / "a").exists()


def test_a_table_cut_short_is_refused(table: Artifact, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(table.folder, tmp_path / "copy"))
    path = folder / "toy_bdt.table"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ArtifactError, match=r"toy_bdt.table was changed: it has"):
        verify(folder)
