"""The figure of the pivot-toy page: densities of out-of-fold scores at Z near −1, 0, 1 with and without the adversary.

``python docs/figures/pivot_toy.py RUN``, with the run directory of ``fivesigma run pivot-toy``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from fivesigma.dataset import Dataset
from fivesigma.learn import own_fold

MODELS = {"plain": "without adversary", "pivot 50": "against the adversary, λ = 50"}
COLOURS = {-1: "#0072b2", 0: "#000000", 1: "#d55e00"}
HALF_WIDTH = 0.25


def main(run: Path) -> None:
    """Write ``pivot-toy.svg`` beside this file."""
    dataset = Dataset.open(next((run / "dataset").iterdir()))
    z, bins = np.asarray(dataset.column("z")), np.linspace(0, 1, 31)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for axis, (model, title) in zip(axes, MODELS.items(), strict=True):
        folds = sorted((run / "models" / model).glob("fold-*"))
        score = own_fold(np.stack([np.load(fold / "scores.npy") for fold in folds]), dataset.fold)
        for centre, colour in COLOURS.items():
            near = np.abs(z - centre) < HALF_WIDTH
            label = f"|Z − {centre}| < {HALF_WIDTH}" if centre >= 0 else f"|Z + {-centre}| < {HALF_WIDTH}"
            axis.hist(score[near], bins, density=True, histtype="step", linewidth=1.6, color=colour, label=label)
        axis.set(title=title, xlabel="score f(x)", xlim=(0, 1))
    axes[0].set_ylabel("density, both classes")
    axes[1].legend(frameon=False)
    figure.savefig(Path(__file__).with_name("pivot-toy.svg"), metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
