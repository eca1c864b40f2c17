"""weaver's data cards, in the form that its examples have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fivesigma.core.errors import ConfigError, ExpressionError, InputError, UnknownNameError
from fivesigma.core.jagged import Jagged
from fivesigma.dataset import convert
from fivesigma.dataset.weaver_card import WeaverCard, read_weaver_card, translate

CARD = """
treename: jets
selection:
  (jet_pt > 250) & (jet_pt < 300) & (np.abs(jet_eta) < 2.0)
new_variables:
  tower_mask: ak.ones_like(constituent_pt)
  tower_log_pt: np.log(constituent_pt)
  jet_is_w: label==1
  jet_is_qcd: np.logical_not(jet_is_w)
  unused: np.linalg.norm(jet_pt)
  jet_ntowers: ak.num(constituent_pt)
preprocess:
  method: manual
inputs:
  points:
    length: 64
    pad_mode: wrap
    vars: [constituent_eta, constituent_phi]
  features:
    length: 64
    vars:
      - [tower_log_pt, 1.7, 0.7]
      - tower_mask
labels:
  type: simple
  value: [jet_is_w, jet_is_qcd]
observers: [jet_pt, jet_ntowers]
weights:
  use_precomputed_weights: true
  weight_branches: [generator_weight]
"""
IDENTITY = ("run_number", "event_number", "jet_index")


@pytest.fixture
def read(tmp_path: Path, w_tagging_file: Path):  # type: ignore[no-untyped-def]
    def read_card(text: str, **options: str) -> WeaverCard:
        (tmp_path / "card.yaml").write_text(text)
        return read_weaver_card(tmp_path / "card.yaml", {"jets": [str(w_tagging_file)]}, IDENTITY, **options)

    return read_card


def test_a_card_becomes_a_dataset(read, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    card = read(CARD)
    dataset = convert(
        card.conversion.model_copy(update={"selection": {"few": "event_number % 20 == 0"}}), tmp_path / "d"
    )
    towers, logs = dataset.columns["constituent_eta"], dataset.columns["tower_log_pt"]
    assert isinstance(towers, Jagged)
    assert isinstance(logs, Jagged)
    np.testing.assert_array_equal(towers.counts, dataset.columns["jet_ntowers"])
    np.testing.assert_array_equal(dataset.y, dataset.columns["jet_is_w"])
    assert set(np.unique(dataset.columns["tower_mask"].values)) == {1}  # type: ignore[union-attr]
    assert (card.inputs["points"].length, card.inputs["features"].columns) == (64, ("tower_log_pt", "tower_mask"))
    assert card.inputs["features"].transforms["tower_log_pt"]["center"] == 1.7


def test_what_is_not_taken_is_said(read) -> None:  # type: ignore[no-untyped-def]
    remarks = "\n".join(read(CARD).remarks)
    for words in (
        "`preprocess` is not taken",
        "`pad_mode: wrap`",
        "nothing uses are left out: unused",
        "centre, scale",
    ):
        assert words in remarks


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("np.hypot(px, py)", "hypot(px, py)"),
        ("np.clip(x, -5, 5)", "min(max(x, -5), 5)"),
        ("np.arctan2(py, px) * math.pi", "arctan2(py, px) * pi"),
        ("ak.sum(x, axis=1)", "sum(x)"),
        ("np.power(x, 2) + np.maximum(a, 0)", "x ** 2 + max(a, 0)"),
        ("~np.logical_and(a > 1, b > 2)", "~(a > 1 and b > 2)"),
    ],
)
def test_expressions_are_translated(theirs: str, ours: str) -> None:
    assert translate(theirs) == ours


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("np.linalg.norm(x)", "cannot take 'np.linalg.norm'"),
        ("x.astype('int')", "cannot take 'x.astype'"),
        ("np.inf + x", "cannot take 'np.inf'"),
        ("ak.sum(x, axis=0)", "cannot take the argument axis=0"),
        ("_batch_knn(a, b)", "_batch_knn"),
        ("__import__('os')", "__import__"),
        ("a >", "is not an expression"),
    ],
)
def test_what_cannot_be_translated_is_refused(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        translate(text)


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("inputs:", "inpts:", ConfigError, "did you mean 'inputs'"),
        ("type: simple", "type: custom", ConfigError, "must be of type simple"),
        ("[jet_is_w, jet_is_qcd]", "[a, b, c]", ConfigError, "3 classes: say which is signal"),
        ("np.log(constituent_pt)", "np.fft(constituent_pt)", ExpressionError, "tower_log_pt.*fft"),
        ("label==1", "jet_is_qcd == 0", ConfigError, "in a circle"),
    ],
)
def test_mistakes_in_cards(read, old: str, new: str, error: type[Exception], message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        read(CARD.replace(old, new))


def test_unknown_signal(read) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UnknownNameError, match="did you mean 'jet_is_qcd'"):
        read(CARD, signal="jet_is_qdc")


def test_an_event_of_no_class_is_an_error(read, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """weaver makes it the first class."""
    card = read(CARD.replace("np.logical_not(jet_is_w)", "(label == 0) & (jet_pt < 275)"))
    with pytest.raises(InputError, match="a label must be 0 or 1, got -1"):
        convert(card.conversion, tmp_path / "d")
