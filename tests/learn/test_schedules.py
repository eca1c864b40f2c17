"""Schedules against formulas and torch's own; what an optimiser's name stands for; penalties on kernels alone."""

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch

from fivesigma.core.errors import ConfigError
from fivesigma.learn.optimisers import OPTIMISERS, l1_penalty, make_optimiser
from fivesigma.learn.schedules import SCHEDULES, learning_rate, plateaus
from fivesigma.learn.training_options import OptimiserName, ScheduleName, TrainingOptions

EPOCHS, BATCHES = 12, 10
CPU = torch.device("cpu")


def rates(schedule: str, **options: Any) -> list[float]:
    common: dict[str, Any] = {"schedule": schedule, "schedule_factor": 0.5, "schedule_epochs": 4}
    made = TrainingOptions(epochs=EPOCHS, learning_rate=2.0, **common, **options)
    return [learning_rate(i / (EPOCHS * BATCHES), made) for i in range(EPOCHS * BATCHES)]


def test_schedules_are_their_formulas() -> None:
    batch = np.arange(EPOCHS * BATCHES)
    f = batch / len(batch)
    rising = 0.04 + 0.96 * f / 0.3
    falling = (1 + np.cos(np.pi * (f - 0.3) / 0.7)) / 2
    formulas = {
        "constant": np.ones(len(batch)),
        "step": 0.5 ** (batch // BATCHES // 4),
        "exponential": 0.5 ** (batch / BATCHES / 4),
        "cosine": (1 + np.cos(np.pi * f)) / 2,
        "one-cycle": np.where(f < 0.3, rising, falling),
        "plateau": np.ones(len(batch)),
    }
    assert set(formulas) == set(SCHEDULES) == set(get_args(ScheduleName))
    for name, expected in formulas.items():
        np.testing.assert_allclose(rates(name), 2.0 * expected, rtol=1e-12, err_msg=name)


def test_plateaus_are_those_of_torch() -> None:
    losses = np.random.default_rng(1).normal(size=200).cumsum() * 0.1 + np.linspace(3, 0, 200)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=2, threshold=0.0, eps=0.0)
    for i, loss in enumerate(losses, 1):
        reference.step(float(loss))
        assert 0.5 ** plateaus(losses[:i].tolist(), epochs=3) == pytest.approx(optimiser.param_groups[0]["lr"])


def test_names_of_optimisers_are_torchs_with_the_options_stated() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.PReLU(), torch.nn.LayerNorm((1, 2)))
    classes = {
        "sgd": torch.optim.SGD,
        "adagrad": torch.optim.Adagrad,
        "rmsprop": torch.optim.RMSprop,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    assert set(classes) == set(OPTIMISERS) == set(get_args(OptimiserName))
    for name, expected in classes.items():
        options = TrainingOptions(optimiser=name, momentum=0.7, learning_rate=0.2, weight_decay=0.3)  # type: ignore[arg-type]
        made = make_optimiser(network, options, CPU)
        assert type(made) is expected
        kernels, others = made.param_groups
        assert ([tuple(p.shape) for p in kernels["params"]], kernels["weight_decay"]) == ([(2, 3)], 0.3)
        assert (len(others["params"]), others["weight_decay"]) == (4, 0.0)
        assert kernels["lr"] == 0.2
        if name in {"sgd", "rmsprop"}:
            assert kernels["momentum"] == 0.7
    kernel = network.state_dict()["0.weight"]
    assert float(l1_penalty(network).detach()) == pytest.approx(float(kernel.abs().sum()))


@pytest.mark.parametrize("name", get_args(OptimiserName))
def test_every_optimiser_comes_down_a_valley(name: str) -> None:
    torch.manual_seed(1)
    network = torch.nn.Linear(2, 1, bias=False)
    made = make_optimiser(network, TrainingOptions(optimiser=name, learning_rate=0.05, weight_decay=0.0), CPU)  # type: ignore[arg-type]
    target = torch.tensor([[0.5, -0.3]])
    for _ in range(400):
        made.zero_grad()
        (network.weight - target).square().sum().backward()
        made.step()
    torch.testing.assert_close(network.weight.detach(), target, atol=0.03, rtol=0)


def test_l2_of_plain_descent_is_the_ridge_and_l1_the_soft_threshold() -> None:
    """Minima of ½(w − a)² + ½ d w² and of ½(w − a)² + l |w|: a / (1 + d), and a − l for a > l, 0 below."""
    for a, d, l1, expected in ((1.0, 0.25, 0.0, 0.8), (1.0, 0.0, 0.3, 0.7), (0.2, 0.0, 0.3, 0.0)):
        network = torch.nn.Linear(1, 1, bias=False)
        options = TrainingOptions(optimiser="sgd", momentum=0.0, learning_rate=0.01, weight_decay=d)
        made = make_optimiser(network, options, CPU)
        for _ in range(1500):
            made.zero_grad()
            (0.5 * (network.weight - a).square().sum() + l1 * l1_penalty(network)).backward()
            made.step()
        assert float(network.weight.detach()) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "plataeu"}, "unknown schedule 'plataeu'; did you mean 'plateau'"),
        ({"optimiser": "rmspropp"}, "unknown optimiser 'rmspropp'; did you mean 'rmsprop'"),
        ({"momentum": 1.0}, "0 ≤ momentum < 1"),
        ({"l1": -1.0}, "l1 ≥ 0"),
        ({"schedule_factor": 1.5}, "0 < schedule_factor < 1"),
    ],
)
def test_options_that_cannot_be_meant(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingOptions(**options)
    assert math.isclose(TrainingOptions().momentum, 0.9)
