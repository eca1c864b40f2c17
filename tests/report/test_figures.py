"""What the figures draw: the numbers in their data, and that any name and any gap in the data can be drawn."""

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fivesigma.evaluate.measurement import Measurement
from fivesigma.report import Plot, figures
from fivesigma.report.style import figure_style


def drawn(plot: Plot) -> Figure:
    """The figure, laid out as for saving, without the cost of saving it."""
    with figure_style():
        figure = Figure(figsize=plot.size, layout="constrained")
        plot.draw(figure, plot.data)
        figure.draw_without_rendering()
    return figure


class Roc:
    """Background efficiency ε_S³ with a band of ± 10 %."""

    def __init__(self, grid: NDArray[Any], threshold: NDArray[Any] | None = None) -> None:
        self.signal_efficiency = grid
        self.background_efficiency = grid**3
        self.background_efficiency_low = 0.9 * grid**3
        self.background_efficiency_high = 1.1 * grid**3
        self.threshold = 1 - grid if threshold is None else threshold


GRID = np.round(np.linspace(0.01, 1.0, 100), 2)


def test_every_figure_draws_hostile_names_without_a_warning(hostile_plots: list[Plot]) -> None:
    assert len(hostile_plots) == len(figures.__all__) - 1  # all but CostPoint, which is no figure
    for plot in hostile_plots:
        drawn(plot)


def test_input_variables_are_weighted_fractions_with_their_uncertainties() -> None:
    x, y = np.array([0.5, 0.5, 1.5, 0.5]), np.array([1, 1, 1, 0])
    plot = figures.input_variable("x", x, y, np.array([1.0, 2.0, 3.0, 5.0]), bins=2, limits=(0.0, 2.0))
    assert plot.data["signal"]["fraction"] == pytest.approx([0.5, 0.5])
    assert plot.data["signal"]["uncertainty"] == pytest.approx([np.sqrt(5) / 6, 0.5])
    assert plot.data["background"]["fraction"] == [1.0, 0.0]


def test_input_variables_count_what_they_do_not_show() -> None:
    plot = figures.input_variable("x", [0.1, 5.0, np.nan, 0.2], [1, 1, 0, 0], limits=(0.0, 1.0))
    assert "1 of 4 events lie outside" in plot.caption
    assert "1 values are not finite" in plot.caption
    assert plot.data["signal"]["fraction"][4] == 0.5  # the event outside the axis still counts in the norm


def test_multiplicities_get_one_bin_a_value() -> None:
    plot = figures.input_variable("n", np.arange(10), np.arange(10) % 2)
    assert plot.data["edges"] == [i - 0.5 for i in range(11)]


def test_correlations_are_pearsons_and_undefined_ones_stay_blank() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=50)
    columns = {"a": a, "b": a + rng.normal(size=50), "constant": np.ones(50)}
    y = np.repeat([0, 1], 25)
    plot = figures.linear_correlations(columns, y)
    expected = np.corrcoef(columns["a"][25:], columns["b"][25:])[0, 1]
    assert plot.data["signal"][0][1] == pytest.approx(expected)
    assert plot.data["signal"][0][2] is None
    drawn(plot)


def test_weights_count_as_repeated_events_in_correlations() -> None:
    a, b, y = np.array([1.0, 2.0, 4.0]), np.array([2.0, 1.0, 5.0]), np.ones(3)
    weighted = figures.linear_correlations({"a": a, "b": b}, y, np.array([1.0, 2.0, 3.0]))
    repeat = np.repeat(np.arange(3), [1, 2, 3])
    repeated = figures.linear_correlations({"a": a[repeat], "b": b[repeat]}, y[[0] * 6])
    assert weighted.data["signal"][0][1] == pytest.approx(repeated.data["signal"][0][1])


def test_rejection_and_improvement_follow_their_definitions() -> None:
    rejection = figures.background_rejection({"m": Roc(GRID)}).data["models"]["m"]
    assert rejection["signal_efficiency"][0] == 0.1  # nothing below: too few events
    assert rejection["rejection"][-51] == pytest.approx(0.5**-3)
    assert np.all(np.array(rejection["rejection_low"]) < rejection["rejection"])
    improvement = figures.significance_improvement({"m": Roc(GRID)}).data["models"]["m"]
    assert improvement["improvement"][-51] == pytest.approx(0.5 / np.sqrt(0.5**3))


def test_infinite_rejection_is_drawn_as_a_gap() -> None:
    curve = Roc(GRID)
    curve.background_efficiency = np.where(GRID < 0.3, 0.0, curve.background_efficiency)
    curve.background_efficiency_low = np.where(GRID < 0.35, 0.0, curve.background_efficiency_low)
    plot = figures.background_rejection({"m": curve, "n": Roc(GRID)}, reference="m")
    assert plot.data["models"]["m"]["rejection"][0] is None
    drawn(plot)
    drawn(figures.significance_improvement({"m": curve}))


def test_the_optimal_cut_maximises_the_significance_where_the_background_is_known() -> None:
    curve = Roc(GRID)
    data = figures.cut_efficiencies("m", curve, signal=10, background=1000, background_uncertainty=0.5).data
    b = 1000 * GRID**3
    z = 10 * GRID / np.sqrt(b + (0.5 * b) ** 2)
    assert data["significance"] == pytest.approx(list(z))
    assert data["optimal_point"] == np.argmax(z)
    curve.background_efficiency_high = np.where(GRID < 0.3, 3 * GRID**3, 1.1 * GRID**3)  # hardly any background events
    known = figures.cut_efficiencies("m", curve, signal=10, background=1000, background_uncertainty=0.5).data
    assert known["optimal_point"] == 29 + np.argmax(z[29:])


def test_cuts_without_any_known_background_have_no_optimum() -> None:
    curve = Roc(GRID, np.append(np.full(50, np.inf), 1 - GRID[50:]))
    curve.background_efficiency = curve.background_efficiency_low = np.zeros(100)
    plot = figures.cut_efficiencies("m", curve, signal=1, background=1)
    assert plot.data["optimal_point"] is None
    drawn(plot)


def test_the_closure_compares_shapes() -> None:
    ones = np.ones(4)
    plot = figures.reweighting_closure(
        "pt", [0, 1, 2, 3, 5], 7 * ones, 5 * ones, 3 * ones, target_error=ones, before_error=ones, after_error=ones
    )
    for name in ("target", "before", "after"):
        assert plot.data[name]["density"] == [0.25, 0.25, 0.25, 0.125]
    assert plot.data["after"]["uncertainty"][0] == pytest.approx(1 / 12)


def test_the_summary_puts_the_best_on_top_and_undefined_ones_last() -> None:
    values = {"a": 3.0, "b": np.nan, "c": 9.0}
    plot = figures.rejection_summary({m: Measurement(v, 0.1, "toy") for m, v in values.items()})
    assert list(plot.data["models"]) == ["b", "a", "c"]  # from the bottom up
    drawn(plot)


def test_the_mean_loss_goes_as_far_as_the_longest_fold() -> None:
    folds = [{"train": [4.0, 2.0], "validation": []}, {"train": [2.0, 2.0, 1.0], "validation": [3.0]}]
    axes = drawn(figures.convergence({"m": folds})).axes[0]
    mean = max((line for line in axes.lines if line.get_linestyle() == "-"), key=lambda line: line.get_linewidth())
    assert list(np.asarray(mean.get_ydata())) == [3.0, 2.0, 1.0]


def test_signed_images_are_centred_at_zero() -> None:
    (axes, _) = drawn(figures.image_difference(np.array([[1.0, -3.0], [0.0, 2.0]]), 1.0)).axes
    assert axes.images[0].get_clim() == (-3.0, 3.0)
    assert list(axes.images[0].get_extent()) == [-1.0, 1.0, -1.0, 1.0]
    assert axes.images[0].origin == "lower"  # rows rise in φ


def test_averages_share_one_logarithmic_scale() -> None:
    plot = figures.average_images({"signal": np.full((3, 3), 100.0), "background": np.zeros((3, 3))}, 1.0)
    limits = [axes.images[0].get_clim() for axes in drawn(plot).axes[:2]]
    assert limits == [(1e-3, 100.0), (1e-3, 100.0)]


@pytest.mark.parametrize(
    "plot",
    [
        figures.average_images({"empty": np.zeros((3, 3))}, 1.0),
        figures.image_difference(np.zeros((3, 3)), 1.0),
        figures.first_layer_filters("m", np.zeros((1, 2, 2))),
        figures.most_activating_images("m", {"node 0": [np.zeros((3, 3))], "node 1": [np.eye(3), np.eye(3)]}),
        figures.pixel_correlations({"never varies": np.full((3, 3), np.nan)}, 1.0),
        figures.conditional_distribution("m", "x", [0, 1, 2], [0, 1], {"signal": np.zeros((2, 1))}),
        figures.gain_against_cost([figures.CostPoint("m", 5.0, 1.0)]),
        figures.input_variable("x", [1.0, 1.0], [1, 1]),
    ],
    ids=lambda plot: plot.name,
)
def test_gaps_and_zeros_can_be_drawn(plot: Plot) -> None:
    drawn(plot)


def test_conditional_distributions_are_normalised_column_by_column() -> None:
    sums = np.array([[1.0, 3.0], [0.0, 0.0]])
    plot = figures.conditional_distribution("m", "x", [0, 1, 2], [0, 0.5, 1], {"signal": sums})
    assert plot.data["densities"]["signal"] == [[0.25, 0.75], [None, None]]
