"""A dataset on disk: any flipped, missing or truncated byte is noticed before training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fivesigma.core.errors import DatasetError
from fivesigma.core.jagged import Jagged
from fivesigma.dataset import Conversion, Dataset, convert
from fivesigma.dataset.samples import FORMAT_VERSION


def test_every_flipped_bit_of_a_shard_is_noticed(jets: Conversion, tmp_path: Path) -> None:
    convert(jets, tmp_path / "out")
    shards = sorted((tmp_path / "out" / "shards").iterdir())
    rng = np.random.default_rng(3)
    for _ in range(40):
        shard = shards[rng.integers(len(shards))]
        content = shard.read_bytes()
        place = int(rng.integers(len(content)))
        shard.write_bytes(
            content[:place] + bytes([content[place] ^ (1 << int(rng.integers(8)))]) + content[place + 1 :]
        )
        with pytest.raises(DatasetError, match=f"{shard.name} is damaged"):
            Dataset.open(tmp_path / "out")
        shard.write_bytes(content)
    Dataset.open(tmp_path / "out")


def test_missing_and_truncated_shards_are_all_named(jets: Conversion, tmp_path: Path) -> None:
    convert(jets, tmp_path / "out")
    shards = sorted((tmp_path / "out" / "shards").iterdir())
    shards[0].unlink()
    shards[2].write_bytes(shards[2].read_bytes()[:-1])
    with pytest.raises(DatasetError, match=rf"{shards[0].name} is missing; {shards[2].name} has .* bytes, expected"):
        Dataset.open(tmp_path / "out")


def test_every_flipped_bit_of_the_description_is_noticed(jets: Conversion, tmp_path: Path) -> None:
    convert(jets, tmp_path / "out")
    path = tmp_path / "out" / "dataset.json"
    content = path.read_bytes()
    rng = np.random.default_rng(4)
    for place in rng.integers(0, len(content) - 2, 60):
        flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        if content[place : place + 1].isspace() or _same(flipped, content):  # layout, or the 17th digit of a number
            continue
        path.write_bytes(flipped)
        with pytest.raises(DatasetError, match=r"damaged|cannot read|not of format"):
            Dataset.open(tmp_path / "out", verify=False)


def _same(a: bytes, b: bytes) -> bool:
    try:
        return bool(json.loads(a) == json.loads(b))
    except ValueError:
        return False


def test_an_unfinished_or_foreign_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.json is missing; the conversion was not finished"):
        Dataset.open(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(DatasetError, match=f"not of format {FORMAT_VERSION}"):
        Dataset.open(tmp_path)
    (tmp_path / "dataset.json").write_text("[]")
    with pytest.raises(DatasetError, match=f"not of format {FORMAT_VERSION}"):
        Dataset.open(tmp_path)


def test_columns_are_mapped_read_only(jets: Conversion, tmp_path: Path) -> None:
    dataset = convert(jets.model_copy(update={"samples": jets.samples, "step": 10_000}), tmp_path / "out")
    one = convert(jets, tmp_path / "many")
    assert dataset.column("jet_mass") is dataset.columns["jet_mass"]
    with pytest.raises(DatasetError, match="unknown column 'jet_Mass'; did you mean 'jet_mass'"):
        dataset.column("jet_Mass")
    jagged, same = dataset.column("constituent_pt"), one.column("constituent_pt")
    assert isinstance(jagged, Jagged)
    assert isinstance(same, Jagged)
    np.testing.assert_array_equal(jagged.offsets, same.offsets)
    assert dict(dataset.columns).keys() == set(dataset.schema)


def test_a_single_shard_is_memory_mapped(jets: Conversion, tmp_path: Path) -> None:
    merged = jets.samples[0].model_copy(
        update={"files": jets.samples[0].files[:1], "label": "jet_index == 0 and tau21 > 0.5"}
    )
    dataset = convert(jets.model_copy(update={"samples": (merged,), "step": 1000}), tmp_path / "out")
    column = dataset.column("jet_mass")
    assert isinstance(column, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        column[0] = 1.0
    assert column.ctypes.data % 64 == 0
