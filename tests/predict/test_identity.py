"""Who an event is, in files other than those that were trained on."""

from __future__ import annotations

import numpy as np
import pytest

from fivesigma.dataset import fold_of
from fivesigma.predict import Identity
from fivesigma.studies import StudyDefinition, load_study


@pytest.fixture(name="study")
def _study() -> StudyDefinition:
    return load_study("w-tagging").model_copy(update={"labels": "kind > 3"})


def test_the_label_of_an_identity_is_the_one_worked_out(study: StudyDefinition) -> None:
    columns = {"event_number": np.array([5, 5, 9]), "kind": np.array([0, 7, 8]), "label": np.array([3, 3, 3])}
    identity = Identity.of(study, columns)
    expected = fold_of([np.array([0, 1, 1], np.int8), columns["event_number"]], 5)
    np.testing.assert_array_equal(identity.fold(columns, 5), expected)


@pytest.mark.parametrize("there", [{"event_number"}, {"kind"}, set()])
def test_without_all_of_it_an_event_has_no_fold(study: StudyDefinition, there: set[str]) -> None:
    identity = Identity.of(study, there)
    assert identity.fold({name: np.array([1]) for name in there}, 5) is None
    assert identity.columns <= there


def test_a_label_given_sample_by_sample_is_not_known_elsewhere(study: StudyDefinition) -> None:
    identity = Identity.of(study.model_copy(update={"labels": None}), {"event_number", "label"})
    assert identity.fold({"event_number": np.array([1]), "label": np.array([1])}, 5) is None
