"""Jagged constituents go into the graph as they are; images are made inside as `JetImages` makes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.deploy.jets import jet_model, random_jets

from fivesigma.core.errors import FeatureError
from fivesigma.core.jagged import Jagged
from fivesigma.deploy import CTrees, JaggedModel, LookupTable, OnnxGraph, export, load_artifact, verify
from fivesigma.features import JetImages, SeveralInputs
from fivesigma.learn import (
    ConvolutionalClassifier,
    DeclaredClassifier,
    DenseClassifier,
    LocallyConnectedClassifier,
    MaxoutClassifier,
)
from fivesigma.models import Fisher


@pytest.fixture(scope="module")
def fisher() -> JaggedModel:
    return jet_model(Fisher())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"size": 14, "extent": 1.0, "normalise": "l1"},
        {"normalise": "l2", "scale": "standard"},
        {"normalise": "pt-sum", "intensity": "energy", "tower": 0.1},
    ],
    ids=str,
)
def test_a_linear_function_of_every_kind_of_image_is_exact(options: dict[str, Any], tmp_path: Path) -> None:
    model = jet_model(Fisher(), JetImages(**({"size": 15} | options)))
    proof = export(model, OnnxGraph(), tmp_path / "onnx").manifest["proof"]
    assert proof["inputs"]["adversarial"] > 200
    assert proof["outputs"]["probability"]["worst"] < 1e-12


@pytest.mark.parametrize(
    "network", [ConvolutionalClassifier, LocallyConnectedClassifier, DenseClassifier, MaxoutClassifier]
)
def test_networks_on_images(network: Any, tmp_path: Path) -> None:
    model = jet_model(network(epochs=1))
    artifact = export(model, OnnxGraph(), tmp_path / "onnx")
    assert artifact.manifest["proof"]["outputs"]["probability"]["worst"] < 1e-5
    columns = random_jets(20, 9, most=100)
    X = model.transform.transform(columns)
    want = model.estimator.predict_proba(X)[:, 1]
    np.testing.assert_allclose(load_artifact(artifact.folder).predict(columns), want, atol=1e-5)


def test_images_and_variables_together(tmp_path: Path) -> None:
    parts = {
        "images": {"features": "jet-images", "options": {"size": 15}},
        "substructure": {"features": "tabular", "options": {"inputs": ["jet_mass", "tau21"], "scaling": "log"}},
    }
    blocks = {
        "tower": {
            "from": "images",
            "layers": [{"conv": 2, "stride": 2, "activation": "relu"}, {"max-pool": 2}, "flatten"],
        },
        "trunk": {"from": ["tower", "substructure"], "layers": [{"dense": 4, "activation": "relu"}]},
    }
    shapes = {"images": (15, 15), "substructure": (2,)}
    network = DeclaredClassifier(inputs=shapes, blocks=blocks, heads={"y": {"from": "trunk", "loss": "bce"}}, epochs=1)
    model = jet_model(network, SeveralInputs(parts))
    artifact = export(model, OnnxGraph(), tmp_path / "onnx")
    assert artifact.inputs[-2:] == ("jet_mass", "tau21")
    assert verify(artifact.folder, model).differences[0].worst < 1e-5


def test_a_jet_without_constituents_or_with_nan_has_no_score(fisher: JaggedModel, tmp_path: Path) -> None:
    artifact = export(fisher, OnnxGraph(), tmp_path / "onnx")
    columns = random_jets(4, 2)
    pt = columns["constituent_pt"]
    assert isinstance(pt, Jagged)
    pt.values[pt.offsets[1]] = np.nan
    assert np.isnan(artifact.predict(columns)).tolist() == [False, True, False, False]
    nothing = {name: Jagged.from_lists([[], []]) for name in artifact.inputs}
    assert np.isnan(artifact.predict(nothing)).all()
    assert len(artifact.predict({name: Jagged.from_lists([]) for name in artifact.inputs})) == 0


def test_values_that_do_not_fit_the_counts_give_no_score_at_all(fisher: JaggedModel, tmp_path: Path) -> None:
    session: Any = export(fisher, OnnxGraph(), tmp_path / "onnx").predictor
    columns: Any = random_jets(3, 2)
    given = {name: columns[name].values for name in session.inputs}
    given |= {"constituent_pt_count": columns["constituent_pt"].counts, "subjet_pt_count": columns["subjet_pt"].counts}
    assert np.isfinite(session._session.run(None, given)[0]).all()
    given["constituent_pt_count"] = given["constituent_pt_count"] - [0, 0, 1]
    assert np.isnan(session._session.run(None, given)[0]).all()


def test_images_by_area_and_other_targets_are_refused(fisher: JaggedModel, tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="regrid 'area' have no form in ONNX"):
        export(jet_model(Fisher(), JetImages(size=5, regrid="area")), OnnxGraph(), tmp_path / "onnx")
    for target in (CTrees(), LookupTable()):
        with pytest.raises(FeatureError, match="'toy-jets' sees jagged columns; the target"):
            export(fisher, target, tmp_path / "other")
