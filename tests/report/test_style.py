"""Any name can be drawn as it stands."""

import io

import matplotlib as mpl
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from fivesigma.report import plain
from fivesigma.report.style import LONGEST_NAME, figure_style, line_style


def _unescaped(text: str) -> str:
    return text.replace(r"\$", "$")


@settings(deadline=None, max_examples=25)
@given(st.text(max_size=30) | st.text(alphabet="$\\_^{}a%", max_size=12))
def test_every_text_can_be_drawn_without_mathtext_or_missing_glyphs(text: str) -> None:
    with figure_style():
        figure = Figure(figsize=(1, 1))
        artist = figure.text(0, 0, plain(text))
        figure.savefig(io.BytesIO(), format="svg")  # a missing glyph is a warning, and warnings are errors here
        drawn, math = artist._preprocess_math(artist.get_text())  # type: ignore[attr-defined]
    assert math is False
    assert drawn == _unescaped(plain(text))


def test_printable_names_are_drawn_unchanged() -> None:
    for name in ("jet_pt", "m_{jj}^2", "a\\b", "τ21 < 0.5", '"><img src=x>'):
        assert plain(name) == name
    assert _unescaped(plain("$p_T$ [$]")) == "$p_T$ [$]"


def test_a_leading_underscore_does_not_hide_the_legend_entry() -> None:
    assert plain("_hidden") == " _hidden"


def test_long_names_are_cut_in_the_middle_and_keep_both_ends() -> None:
    shown = plain("start" + "x" * 500 + "end")
    assert len(shown) <= LONGEST_NAME
    assert shown.startswith("start")
    assert shown.endswith("end")


def test_the_first_24_models_look_different() -> None:
    assert len({line_style(i)[:2] for i in range(24)}) == 24


def test_the_callers_settings_come_back() -> None:
    before = dict(mpl.rcParams)
    with figure_style():
        assert mpl.rcParams["svg.hashsalt"] == "fivesigma"
    assert dict(mpl.rcParams) == before
