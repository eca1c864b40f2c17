"""Named decays of b hadrons to two, three and four charged tracks, and Pythia's settings that force them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DecayMode:
    """One decay: ``code`` in files, the hadron's PDG code, what it looks like, and how Pythia is told.

    ``products`` of the hadron and ``forced`` decays of what is in them; other hadrons of the same kinds in the event
    decay so as well.
    """

    name: str
    code: int
    title: str
    kind: str
    hadron: int
    tracks: int
    products: str
    matrix_element: int = 0
    forced: tuple[str, ...] = ()

    @property
    def settings(self) -> tuple[str, ...]:
        """For Pythia."""
        decay = f"{self.hadron}:oneChannel = 1 1. {self.matrix_element} {self.products}"
        return (decay, *self.forced)


_D0 = "421:oneChannel = 1 1. 0 -321 211"
_D_PLUS = "411:oneChannel = 1 1. 0 -321 211 211"
_D_STAR = "413:oneChannel = 1 1. 0 421 211"
_K_STAR = "313:oneChannel = 1 1. 0 321 -211"
_J_PSI = "443:oneChannel = 1 1. 0 13 -13"
WEAK = 22
"""Pythia's matrix element of weak semileptonic decays; 0 is phase space."""

MODES = (
    DecayMode("b0-to-k-pi", 1, "B⁰ → K⁺π⁻", "2 tracks, hadronic", 511, 2, "321 -211"),
    DecayMode("bu-to-d0-pi", 2, "B⁺ → D̄⁰(K⁺π⁻) π⁺", "3 tracks, with charm", 521, 3, "-421 211", 0, (_D0,)),
    DecayMode("bu-to-jpsi-k", 3, "B⁺ → J/ψ(μ⁺μ⁻) K⁺", "3 tracks, leptonic", 521, 3, "443 321", 0, (_J_PSI,)),
    DecayMode("b0-to-d-pi", 4, "B⁰ → D⁻(K⁺π⁻π⁻) π⁺", "4 tracks, with charm", 511, 4, "-411 211", 0, (_D_PLUS,)),
    DecayMode("b0-to-kst-mu-mu", 5, "B⁰ → K*⁰(K⁺π⁻) μ⁺μ⁻", "4 tracks, leptonic", 511, 4, "313 13 -13", 0, (_K_STAR,)),
    DecayMode(
        "b0-to-dst-mu-nu",
        6,
        "B⁰ → D*⁻(D̄⁰π⁻) μ⁺ν",
        "4 tracks, semileptonic",
        511,
        4,
        "14 -13 -413",
        WEAK,
        (_D_STAR, _D0),
    ),
)
"""By code; 0 in files is background."""
