"""One look for every figure: mplhep's CMS style without an experiment's name, scaled for a page, and safe for any name.

Names of branches and models come from users' files. `plain` makes any text drawable: no mathtext, no control
characters, no glyph that the fonts lack.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import matplotlib as mpl
import mplhep
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.ft2font import FT2Font

FONTS = ("TeX Gyre Heros", "DejaVu Sans")
"""The first comes with mplhep, the second with matplotlib: no figure depends on the machine's fonts."""

PALETTE = ("#3f90da", "#bd1f01", "#ffa90e", "#832db6", "#717581", "#a96b59")
"""Six colours told apart with colour-blind eyes and dark enough for lines on white: of the ten that CMS recommends
(M. Petroff, arXiv:2107.02270), without the pale ones."""

SIGNAL_COLOUR, BACKGROUND_COLOUR = PALETTE[0], PALETTE[1]
SIGNAL_LABEL, BACKGROUND_LABEL = "signal", "background"
LINE_STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
DIVERGING, SEQUENTIAL = "RdBu_r", "viridis"

LONGEST_NAME = 40
"""Characters of a name that are drawn; longer ones are cut in the middle."""

_OVERRIDES: dict[str, Any] = {
    "font.family": list(FONTS),
    "font.size": 12,
    "mathtext.fontset": "dejavusans",
    "mathtext.default": "regular",
    "text.usetex": False,
    "axes.unicode_minus": True,
    "axes.linewidth": 1.0,
    "axes.labelsize": 12,
    "axes.titlesize": 12,
    "axes.formatter.limits": (-4, 5),
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "xtick.major.size": 6,
    "ytick.major.size": 6,
    "xtick.minor.size": 3,
    "ytick.minor.size": 3,
    "xtick.major.pad": 4,
    "legend.fontsize": 10.5,
    "legend.handlelength": 2.1,
    "legend.borderpad": 0.3,
    "legend.labelspacing": 0.35,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "errorbar.capsize": 0,
    "figure.dpi": 100,
    "savefig.dpi": 130,
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "fivesigma",
    "pdf.fonttype": 3,  # 42 would spend as long on subsetting the fonts as on the figure
    "figure.constrained_layout.w_pad": 0.07,
    "figure.constrained_layout.h_pad": 0.05,
}


class LineStyle(NamedTuple):
    """How one of several models is drawn: colour, dashes and marker, distinct in print without colour too."""

    color: str
    linestyle: str
    marker: str


def line_style(index: int) -> LineStyle:
    """The look of the ``index``-th model: six colours, then the same with other dashes (24 in all, then again).

    >>> line_style(0) != line_style(6)
    True
    """
    looks = [(colour, dashes) for dashes, colour in product(LINE_STYLES, PALETTE)]
    colour, dashes = looks[index % len(looks)]
    return LineStyle(colour, dashes, MARKERS[index % len(MARKERS)])


@contextmanager
def figure_style() -> Iterator[None]:
    """Matplotlib's settings while a figure is drawn and saved; the caller's settings come back afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(mplhep.style.CMS)
        mpl.rcParams.update(_OVERRIDES)  # type: ignore[arg-type]  # the stubs list every key
        yield


def plain(text: object, longest: int = LONGEST_NAME) -> str:
    r"""A text that matplotlib draws as it stands, whatever it contains.

    Dollar signs start no mathtext, control characters become spaces, glyphs that the fonts lack become ``\ufffd``,
    a leading underscore is kept from hiding the legend entry, and long names are cut in the middle.

    >>> plain("$m_{jj}$ [GeV]")
    '\\$m_{jj}\\$ [GeV]'
    >>> plain("a\nb")
    'a b'
    """
    glyphs = _glyphs()
    shown = "".join(
        " " if not c.isprintable() or c.isspace() else c if ord(c) in glyphs else "\N{REPLACEMENT CHARACTER}"
        for c in str(text)
    )
    if len(shown) > longest:
        half = (longest - 1) // 2
        shown = f"{shown[:half]}…{shown[-half:]}"
    shown = shown.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


@cache
def _glyphs() -> frozenset[int]:
    files = [
        font_manager.findfont(font_manager.FontProperties(family=name), fallback_to_default=False) for name in FONTS
    ]
    return frozenset(code for file in files for code in FT2Font(file).get_charmap())


def watermark(axes: Axes, text: str = "simulation") -> None:
    """A small label above the axes saying what made the picture, and that it is not data."""
    ours = axes.text(0.0, 1.012, "fivesigma", transform=axes.transAxes, fontweight="bold", fontsize=10, va="bottom")
    axes.annotate(
        plain(text, longest=70), xy=(1, 0), xycoords=ours, xytext=(5, 0), textcoords="offset points",
        fontstyle="italic", fontsize=10, va="bottom", ha="left", annotation_clip=False,
    )  # fmt: skip


def axis_label(name: object, unit: str | None = None) -> str:
    """An axis label with its unit in brackets.

    >>> axis_label("jet mass", "GeV")
    'jet mass [GeV]'
    """
    return plain(f"{name} [{unit}]" if unit else name)
