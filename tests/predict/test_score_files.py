"""From ROOT to ROOT: as many scores as entries, in the input's order, by a run or by an artefact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from numpy.typing import NDArray
from tests.deploy.models import INPUTS, boosted, toy_events

from fivesigma.core.errors import ArtifactError, ConfigError, DatasetError, MissingBranchError, UnknownNameError
from fivesigma.core.processes import Processes
from fivesigma.deploy import Artifact, CTrees, TrainedModel, export
from fivesigma.predict import predict_study, score_files

SIZES = (1, 700, 1_301)
STEP = 650  # n = k·step, n = k·step + 1 and a single entry are among the files


@pytest.fixture(scope="module", name="model")
def _model() -> TrainedModel:
    return boosted()


@pytest.fixture(scope="module", name="artifact")
def _artifact(model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export(model, CTrees(), tmp_path_factory.mktemp("artefacts") / "toy")


def write(path: Path, columns: dict[str, Any]) -> Path:
    import awkward as ak

    types = {name: c.type.content if isinstance(c, ak.Array) else c.dtype for name, c in columns.items()}
    with uproot.recreate(path) as file:
        file.mktree("events", types).extend(columns)
    return path


def events_of(n: int, seed: int) -> dict[str, Any]:
    """Inputs, a number, and a list of hits whose sum is that number."""
    import awkward as ak

    columns: dict[str, Any] = dict(toy_events(n, seed)[0])
    counts = np.random.default_rng(seed).integers(0, 4, n)
    columns["event_number"] = np.arange(n, dtype=np.int64) + 10_000 * seed
    columns["hits"] = ak.unflatten(np.arange(counts.sum(), dtype=np.float32), counts)
    return columns


@pytest.fixture(scope="module", name="files")
def _files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("input")
    return [write(folder / f"part{i}.root", events_of(n, i + 1)) for i, n in enumerate(SIZES)]


@pytest.fixture(autouse=True)
def _step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_files, "STEP", STEP)


def expected(model: TrainedModel, i: int) -> NDArray[np.float64]:
    columns, _ = toy_events(SIZES[i], i + 1)
    return model.probability(np.stack([columns[name] for name in INPUTS], axis=1))


def test_each_output_is_the_friend_of_its_input(
    model: TrainedModel, artifact: Artifact, files: list[Path], tmp_path: Path
) -> None:
    made = predict_study(
        artifact.folder, files, output_folder=tmp_path, tree="events", branches=["event_number", "hits"]
    )
    assert [file.entries for file in made.files] == list(SIZES)
    assert made.entries == sum(SIZES)
    for i, path in enumerate(files):
        output = tmp_path / f"part{i}.scores.root"
        assert made.files[i].output == str(output)
        with uproot.open(path) as one, uproot.open(output) as other:
            data, friend = one["events"], other["scores"]
            assert friend.num_entries == data.num_entries
            for name in ("event_number", "hits"):
                assert friend[name].array().tolist() == data[name].array().tolist()
            scores = friend["toy_bdt"].array(library="np")
            assert scores.dtype == np.float64
            np.testing.assert_allclose(scores, expected(model, i), rtol=0, atol=1e-15)


def test_one_output_has_all_inputs_one_after_another(
    model: TrainedModel, artifact: Artifact, files: list[Path], tmp_path: Path
) -> None:
    predict_study(artifact.folder, files, tmp_path / "all.root", tree="events", engine=Processes(2))
    with uproot.open(tmp_path / "all.root") as file:
        scores = file["scores"]["toy_bdt"].array(library="np")
        provenance = json.loads(str(file["provenance"]))
    np.testing.assert_allclose(scores, np.concatenate([expected(model, i) for i in range(3)]), rtol=0, atol=1e-15)
    assert [one["entries"] for one in provenance["inputs"]] == list(SIZES)
    assert provenance["scored_by"]["digest"] == artifact.manifest["digest"]
    assert provenance["versions"]["fivesigma"]


def test_an_input_without_entries_has_a_friend_without_entries(
    artifact: Artifact, files: list[Path], tmp_path: Path
) -> None:
    empty = write(tmp_path / "empty.root", events_of(0, 9))
    made = predict_study(artifact.folder, [empty, files[1]], output_folder=tmp_path / "out", tree="events")
    assert [file.entries for file in made.files] == [0, SIZES[1]]
    with uproot.open(tmp_path / "out" / "empty.scores.root") as file:
        assert file["scores"].num_entries == 0
        assert file["scores"].keys() == ["toy_bdt"]


def test_scores_that_are_not_finite_are_counted(
    artifact: Artifact, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = Artifact.predict

    def sometimes_nan(self: Artifact, columns: Any) -> NDArray[np.float64]:
        scores = answered(self, columns)
        scores[:3] = np.nan
        return scores

    monkeypatch.setattr(Artifact, "predict", sometimes_nan)
    made = predict_study(artifact.folder, [files[2]], tmp_path / "s.root", tree="events")
    assert made.files[0].not_finite == {"toy_bdt": 7}  # 650 + 650 + 1 entries
    assert made.to_json()["files"][0]["not_finite"] == {"toy_bdt": 7}


def test_a_scorer_that_loses_an_event_leaves_no_file(
    artifact: Artifact, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = Artifact.predict
    monkeypatch.setattr(Artifact, "predict", lambda self, columns: answered(self, columns)[1:])
    with pytest.raises(DatasetError, match=r"expected 650 rows, got \{'toy_bdt': 649\}"):
        predict_study(artifact.folder, [files[1]], tmp_path / "s.root", tree="events")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_meant_is_refused(artifact: Artifact, files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--output, one file for all scores, or --output-folder"):
        predict_study(artifact.folder, files, tree="events")
    with pytest.raises(ConfigError, match="--output, one file"):
        predict_study(artifact.folder, files, tmp_path / "s.root", output_folder=tmp_path, tree="events")
    with pytest.raises(UnknownNameError, match="unknown model 'toy_bdd'"):
        predict_study(artifact.folder, files, tmp_path / "s.root", models=["toy_bdd"], tree="events")
    with pytest.raises(MissingBranchError, match="event_number"):
        predict_study(artifact.folder, files, tmp_path / "s.root", branches=["event_numbr"], tree="events")
    with pytest.raises(DatasetError, match="neither a run directory nor an artefact"):
        predict_study(tmp_path, files, tmp_path / "s.root", tree="events")
    twin = tmp_path / "other" / files[1].name
    twin.parent.mkdir()
    write(twin, events_of(5, 8))
    with pytest.raises(ConfigError, match="would both be"):
        predict_study(artifact.folder, [files[1], twin], output_folder=tmp_path / "out", tree="events")
    columns = {**events_of(5, 7), "toy_bdt": np.zeros(5)}
    clash = write(tmp_path / "clash.root", columns)
    with pytest.raises(ConfigError, match="'toy_bdt' and a score have the same name"):
        predict_study(artifact.folder, [clash], tmp_path / "s.root", branches=["toy_bdt"], tree="events")


def test_a_damaged_artefact_scores_nothing(artifact: Artifact, files: list[Path], tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(artifact.folder, tmp_path / "toy"))
    header = next(folder.glob("*.h"))
    header.write_text(header.read_text(encoding="utf-8").replace("0.", "1.", 1), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"was changed"):
        predict_study(folder, files, tmp_path / "s.root", tree="events")
    assert not (tmp_path / "s.root").exists()
