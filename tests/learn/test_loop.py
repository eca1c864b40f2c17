import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fivesigma.core.errors import ModelError, ResumeError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.core.integrity import file_digest
from fivesigma.learn import DenseClassifier, NetworkClassifier, loop
from fivesigma.learn.checkpoint import FILE_NAME
from fivesigma.learn.loop import TrainingOptions
from fivesigma.learn.training_events import Events, batches, number_of_batches

Images = tuple[NDArray[np.float32], NDArray[np.int64]]


class KilledError(Exception):
    """Stands for a kill."""


def model_of(name: str, **options: Any) -> NetworkClassifier:
    small: dict[str, dict[str, Any]] = {
        "dense": {"nodes": [16]},
        "cnn": {"filters": [4, 4], "sizes": [5, 3], "strides": [1, 1], "pools": [2, 2], "nodes": 8},
    }
    fixed = {"architecture": small[name], "epochs": 5, "batch_size": 128, "precision": "float32"}
    model: NetworkClassifier = ESTIMATORS[name](**{**fixed, **options})
    return model


def losses(model: NetworkClassifier) -> list[tuple[float, float]]:
    return [(epoch["train_loss"], epoch.get("validation_loss", 0.0)) for epoch in model.history_]


@pytest.mark.parametrize("name", ["dense", "cnn"])
@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_a_killed_training_goes_on_to_the_same_bits(
    name: str, optimiser: str, images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = images
    validation = Labelled(X[900:], y[900:], np.ones(300))
    options = {"optimiser": optimiser, "dropout": 0.3}
    whole = model_of(name, **options).fit(X[:900], y[:900], validation=validation)

    killed = model_of(name, checkpoint=tmp_path, **options)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_epoch", killing(after=3))
        with pytest.raises(KilledError):
            killed.fit(X[:900], y[:900], validation=validation)
    torch.manual_seed(99)  # the state of the process is of no matter
    resumed = model_of(name, checkpoint=tmp_path, **options).fit(X[:900], y[:900], validation=validation)

    assert losses(resumed) == losses(whole)
    for (key, ours), theirs in zip(
        resumed.network_.state_dict().items(), whole.network_.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), key
    np.testing.assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))


def killing(after: int) -> Any:
    """``_epoch`` that is killed in the middle of a later epoch."""
    original, count = loop._epoch, 0

    def epoch(*arguments: Any) -> float:
        nonlocal count
        count += 1
        loss: float = original(*arguments)
        if count > after:
            raise KilledError
        return loss

    return epoch


def test_a_complete_checkpoint_is_not_trained_again(images: Images, tmp_path: Path) -> None:
    X, y = images
    first = model_of("dense", checkpoint=tmp_path).fit(X, y)
    digest = file_digest(tmp_path / "float32" / FILE_NAME)
    again = model_of("dense", checkpoint=tmp_path).fit(X, y)
    np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))
    assert file_digest(tmp_path / "float32" / FILE_NAME) == digest
    assert again.history_ == first.history_


def test_a_checkpoint_of_something_else_never_resumes(images: Images, tmp_path: Path) -> None:
    X, y = images
    model_of("dense", checkpoint=tmp_path, epochs=1).fit(X, y)
    with pytest.raises(ResumeError, match="of other options or other events; delete it"):
        model_of("dense", checkpoint=tmp_path, epochs=2).fit(X, y)
    with pytest.raises(ResumeError, match="of other options or other events"):
        model_of("dense", checkpoint=tmp_path, epochs=1).fit(X[1:], y[1:])


def test_a_damaged_checkpoint_is_seen(images: Images, tmp_path: Path) -> None:
    X, y = images
    model_of("dense", checkpoint=tmp_path, epochs=1).fit(X, y)
    path = tmp_path / "float32" / FILE_NAME
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is damaged; delete it"):
        model_of("dense", checkpoint=tmp_path, epochs=1).fit(X, y)
    path.write_bytes(content[:50])
    with pytest.raises(ModelError, match="is damaged"):
        model_of("dense", checkpoint=tmp_path, epochs=1).fit(X, y)


def test_a_loss_that_is_not_finite_stops_with_epoch_and_batch(images: Images) -> None:
    X, y = images
    with pytest.raises(
        ModelError, match=r"the loss is (nan|inf) in batch \d+ of 10, epoch \d+; try a learning rate below"
    ):
        model_of("dense", learning_rate=1e30, optimiser="sgd", batch_norm=False).fit(X, y)


def test_early_stopping_puts_the_best_epoch_back(images: Images) -> None:
    X, y = images
    validation = Labelled(X[200:], y[200:], np.ones(1000))
    model = model_of("dense", epochs=60, patience=4, schedule="constant", dropout=0.0).fit(
        X[:200], y[:200], validation=validation
    )
    found = [epoch["validation_loss"] for epoch in model.history_]
    best = int(np.argmin(found)) + 1
    assert len(found) == best + 4 < 60
    assert model.training_["best_epoch"] == best
    p = model.predict_proba(validation.X)[:, 1]
    log_loss = -np.mean(np.where(validation.y == 1, np.log(p), np.log(1 - p)))
    assert log_loss == pytest.approx(min(found), rel=1e-4)


def test_without_validation_all_epochs_are_trained(images: Images) -> None:
    model = model_of("dense", epochs=3).fit(*images)
    assert [epoch["epoch"] for epoch in model.history_] == [1, 2, 3]
    assert "validation_loss" not in model.history_[0]


@pytest.mark.parametrize(("n", "size"), [(10, 4), (256, 256), (257, 256), (3, 100)])
def test_each_event_comes_once_in_batches_of_nearly_one_size(n: int, size: int) -> None:
    events = Events(torch.arange(n).float()[:, None], torch.arange(n).float(), torch.ones(n))
    found = list(batches(events, number_of_batches(n, size), torch.Generator().manual_seed(1)))
    made, lengths = [batch for _, batch in found], [length for length, _ in found]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    together = torch.cat([batch.y for batch in made])
    assert torch.equal(together.sort().values, events.y)
    assert all(torch.equal(batch.X[:, 0], batch.y) for batch in made)


def test_one_cycle_rises_and_falls_to_nothing() -> None:
    options = TrainingOptions(learning_rate=2.0, schedule="one-cycle")
    rates = [loop.learning_rate(f, options) for f in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(2.0)
    assert int(np.argmax(rates)) == 30
    assert rates[-1] == pytest.approx(0.0)
    assert math.isclose(loop.learning_rate(0.7, TrainingOptions(schedule="constant")), 3e-3)


def test_l2_shrinks_weights_but_no_biases(images: Images) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    groups = loop.make_optimiser(network, TrainingOptions(weight_decay=0.1), torch.device("cpu")).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.1), (3, 0.0)]


def test_the_random_numbers_of_the_process_are_left_as_they_were(images: Images) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    DenseClassifier(epochs=1, architecture={"nodes": [4]}).fit(*images)
    assert torch.equal(torch.rand(3), expected)
