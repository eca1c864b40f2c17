"""``Jagged`` against plain lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivesigma.core.jagged import Jagged

LISTS = st.lists(st.lists(st.integers(-1000, 1000), max_size=5), max_size=10)


def to_lists(column: Jagged) -> list[list[float]]:
    return [column.values[a:b].tolist() for a, b in zip(column.offsets[:-1], column.offsets[1:], strict=True)]


@given(LISTS, st.data())
def test_choosing_events_is_choosing_lists(lists: list[list[float]], data: st.DataObject) -> None:
    column = Jagged.from_lists(lists)
    index = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=10) if lists else st.just([]))
    assert to_lists(column[np.array(index, dtype=np.int64)]) == [lists[i] for i in index]
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(lists), max_size=len(lists))), dtype=bool)
    assert to_lists(column[mask]) == [x for x, keep in zip(lists, mask, strict=True) if keep]
    assert to_lists(column[2:5]) == lists[2:5]


@given(st.lists(LISTS, min_size=1, max_size=4))
def test_concatenation_is_concatenation(parts: list[list[list[float]]]) -> None:
    assert to_lists(Jagged.concatenate([Jagged.from_lists(p) for p in parts])) == [x for p in parts for x in p]


@pytest.mark.parametrize("offsets", [[0, 1], [1, 3], [], [[0, 3]]])
def test_offsets_that_do_not_cover_the_values_are_refused(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="expected offsets from 0 to 3"):
        Jagged(np.zeros(3), np.array(offsets, dtype=np.int64))
