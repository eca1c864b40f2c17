"""Nothing is exported without its proof, and ``verify`` finds what was changed, by name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.deploy.models import INPUTS, boosted, toy_events
from tests.deploy.test_c_trees import change_a_threshold

from fivesigma.core.errors import ArtifactError, FeatureError, OutputError, ParityError
from fivesigma.deploy import Artifact, CTrees, TrainedModel, c_target, c_trees, export, load_artifact, verify
from fivesigma.deploy.artifact import MANIFEST, write_manifest


def rewrite_manifest(folder: Path, **changed: Any) -> None:
    """As someone would who changes an artefact and its digests."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    write_manifest(
        folder, {key: value for key, value in (manifest | changed).items() if key not in {"digest", "files"}}
    )


def test_an_artefact_scores_by_name_as_the_model(exported: Artifact, model: TrainedModel) -> None:
    columns, _ = toy_events(200, 5)
    values = np.stack([columns[name] for name in INPUTS], axis=1)
    loaded = load_artifact(exported.folder)
    for given in (columns, dict(reversed(columns.items()))):
        np.testing.assert_allclose(loaded.predict(given), model.probability(values), rtol=0, atol=1e-15)
    renamed = {"tau_21" if name == "tau21" else name: column for name, column in columns.items()}
    with pytest.raises(FeatureError, match="no column 'tau21' among the inputs; did you mean 'tau_21'"):
        loaded.predict(renamed)


def test_the_manifest_says_what_it_is_and_how_it_was_proved(exported: Artifact) -> None:
    manifest = exported.manifest
    assert [f["name"] for f in manifest["features"]] == list(INPUTS)
    assert manifest["features"][0]["unit"] == "GeV"
    assert manifest["features"][0]["scaling"] == "standard"
    assert manifest["proof"]["inputs"]["recorded"] == manifest["proof"]["inputs"]["random"] == 2_000
    assert manifest["proof"]["inputs"]["adversarial"] >= 3 * 20
    assert manifest["proof"]["outputs"]["score"]["worst"] == manifest["proof"]["outputs"]["score"]["tolerance"] == 0.0
    assert 0 <= manifest["proof"]["outputs"]["probability"]["worst"] <= 1e-15
    assert set(manifest["proof"]["outputs"]["probability"]["at"]) == set(INPUTS)
    assert "gcc" in manifest["compiler"] or "clang" in manifest["compiler"] or "cc" in manifest["compiler"]


def test_an_export_that_is_not_the_model_is_not_written(
    model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = c_trees.header

    def wrong(*arguments: Any) -> str:
        text = written(*arguments)
        (tmp_path / "wrong.h").write_text(text, encoding="utf-8")
        change_a_threshold(tmp_path / "wrong.h")
        return (tmp_path / "wrong.h").read_text(encoding="utf-8")

    monkeypatch.setattr(c_target, "header", wrong)
    with pytest.raises(ParityError, match=r"is not the model, and was not written: score differs at .* expected -?\d"):
        export(model, CTrees(), tmp_path / "toy")
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.h"]


def test_an_intact_artefact_is_verified_here_and_against_its_model(exported: Artifact, model: TrainedModel) -> None:
    found = verify(exported.folder, model)
    assert found.inputs == sum(exported.manifest["proof"]["inputs"].values())
    assert all(difference.within for difference in found.differences)


@pytest.mark.parametrize(
    "name", ["toy_bdt.h", "test_toy_bdt.c", "proof/inputs.npy", "proof/score.npy", "manifest.json"]
)
@pytest.mark.parametrize("seed", [1])
def test_a_flipped_bit_is_found_in_every_file(name: str, seed: int, artefact: Path) -> None:
    content = bytearray((artefact / name).read_bytes())
    rng = np.random.default_rng(seed)
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(7))
    (artefact / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=name):
        verify(artefact)
    with pytest.raises(ArtifactError, match=name):
        load_artifact(artefact)


def test_a_missing_and_a_shorter_file_are_named(artefact: Path) -> None:
    (artefact / "fuzz_toy_bdt.c").unlink()
    path = artefact / "test_toy_bdt.c"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ArtifactError, match=r"fuzz_toy_bdt.c is missing\n.*test_toy_bdt.c was changed: it has"):
        verify(artefact)


def test_a_changed_threshold_is_found_even_with_new_digests(artefact: Path) -> None:
    change_a_threshold(artefact / "toy_bdt.h")
    with pytest.raises(ParityError, match=r"toy_bdt.h was changed: (.|\n)*score differs at .* inputs by up to"):
        verify(artefact)
    rewrite_manifest(artefact)
    with pytest.raises(ParityError, match=r"^score differs at .*; at jet_mass = .*, tau21 = .*: expected"):
        verify(artefact)


def test_a_renamed_or_permuted_feature_is_found_by_name(artefact: Path, model: TrainedModel) -> None:
    manifest = json.loads((artefact / MANIFEST).read_text(encoding="utf-8"))
    rewrite_manifest(artefact, features=manifest["features"][::-1])
    with pytest.raises(
        ArtifactError, match="are jet_mass, tau21, subjet_dr, but its manifest says subjet_dr, tau21, jet_mass"
    ):
        verify(artefact)


def test_a_model_with_other_features_or_another_fit_is_not_the_artefact(
    exported: Artifact, model: TrainedModel
) -> None:
    with pytest.raises(ArtifactError, match="feature 'jet_mass': unit is 'MeV' in the model, 'GeV' in the artefact"):
        verify(exported.folder, replace(model, units={"jet_mass": "MeV"}))
    with pytest.raises(
        ArtifactError, match="feature 'tau21': scaling is 'none' in the model, 'standard' in the artefact"
    ):
        verify(exported.folder, boosted("none", trees=1))
    with pytest.raises(ArtifactError, match="the model was fitted again"):
        verify(exported.folder, replace(model, digest="1" * 32))


def test_older_libraries_than_it_was_proved_with_are_named(artefact: Path) -> None:
    rewrite_manifest(artefact, libraries={"fivesigma": "999.0", "numpy": "0.1", "no-such-package": "1.0"})
    with pytest.raises(ArtifactError, match=r"is older than 999.0, with which(.|\n)*no-such-package is not installed"):
        verify(artefact)


def test_what_is_no_artefact_and_what_is_there_already(tmp_path: Path, model: TrainedModel) -> None:
    with pytest.raises(ArtifactError, match="is no artefact: cannot read"):
        verify(tmp_path)
    with pytest.raises(OutputError, match="is there already; choose another with --output"):
        export(model, CTrees(), tmp_path)
