import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fivesigma.core.errors import ConfigError
from fivesigma.models import SingleVariable

RNG = np.random.default_rng(5)
Y = RNG.integers(0, 2, 4_000)
MASS = np.where(Y == 1, RNG.normal(80.0, 5.0, len(Y)), RNG.uniform(65.0, 95.0, len(Y)))
TAU21 = RNG.beta(np.where(Y == 1, 2.0, 4.0), 4.0)
X = np.stack([MASS, TAU21], axis=1)


def test_the_likelihood_ratio_finds_the_peak() -> None:
    model = SingleVariable().fit(X, Y)
    p = model.predict_proba([[66.0, 0.0], [80.0, 0.0], [94.0, 0.0]])[:, 1]
    assert p[1] > 0.6 > 0.15 > max(p[0], p[2])
    assert abs(roc_auc_score(Y, MASS) - 0.5) < 0.03 < roc_auc_score(Y, model.predict_proba(X)[:, 1]) - 0.6


@pytest.mark.parametrize(("method", "sign"), [("greater", 1.0), ("less", -1.0)])
def test_the_plain_variable_keeps_its_order(method: str, sign: float) -> None:
    model = SingleVariable(column=1, method=method).fit(X, Y)  # type: ignore[arg-type]
    p = model.predict_proba(X)[:, 1]
    # ties appear only between neighbouring quantiles that isotonic regression made equal
    assert roc_auc_score(Y, p) == pytest.approx(roc_auc_score(Y, sign * TAU21), abs=1e-3)
    order = np.argsort(sign * TAU21)
    assert (np.diff(p[order]) >= 0).all()
    outside = model.predict_proba([[0.0, sign * -10.0], [0.0, sign * 10.0], [0.0, sign * 1e6]])[:, 1]
    assert 0.0 < outside[0] < p.min() < p.max() < outside[1] < outside[2] < 1.0


def test_unknown_method_and_column_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown method 'likelihood'"):
        SingleVariable(method="likelihood").fit(X, Y)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="column 2 is not in X, which has 2 columns"):
        SingleVariable(column=2).fit(X, Y)
