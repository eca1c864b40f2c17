"""An ONNX file is used by onnxruntime alone; ``verify`` finds what was changed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.deploy.jets import jet_model, random_jets
from tests.deploy.models import INPUTS, boosted, toy_events
from tests.deploy.test_artifact import rewrite_manifest

from fivesigma.core.errors import ArtifactError, FeatureError, MissingDependencyError, ParityError
from fivesigma.core.jagged import Jagged
from fivesigma.deploy import TARGETS, Artifact, OnnxGraph, export, load_artifact, verify
from fivesigma.learn import ConvolutionalClassifier

ALONE = """
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"fivesigma", "torch", "lightgbm", "sklearn", "scipy", "onnx", "numba"}:
            raise ImportError(f"{name} is refused")
sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Boosted trees as ONNX; not to be changed."""
    return export(boosted(trees=10), OnnxGraph(), tmp_path_factory.mktemp("onnx") / "toy")


@pytest.fixture
def folder(made: Artifact, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    import shutil

    return Path(shutil.copytree(made.folder, tmp_path / "toy"))


def alone(code: str, *arguments: str) -> list[float]:
    """The list that a process prints which can import nothing of ours."""
    found = subprocess.run(
        [sys.executable, "-I", "-c", ALONE + code, *arguments], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    numbers: list[float] = json.loads(found.stdout)
    return numbers


def test_onnxruntime_alone_gives_the_scores_of_named_columns(made: Artifact) -> None:
    code = """
import json, sys
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
columns = {name: np.array(values) for name, values in json.loads(sys.argv[2]).items()}
print(json.dumps(session.run(["probability"], columns)[0].tolist()))
"""
    columns, _ = toy_events(20, 4)
    given = json.dumps({name: columns[name].tolist() for name in reversed(INPUTS)})
    np.testing.assert_allclose(alone(code, str(made.folder / "toy_bdt.onnx"), given), made.predict(columns), atol=1e-14)


def test_a_network_scores_jets_of_a_root_file_without_us(tmp_path: Path) -> None:
    artifact = export(jet_model(ConvolutionalClassifier(epochs=1)), OnnxGraph(), tmp_path / "cnn", name="cnn")
    columns = {name: random_jets(30, 5)[name] for name in artifact.inputs}
    import awkward as ak
    import uproot

    def as_branch(column: object) -> ak.Array:
        assert isinstance(column, Jagged)
        return ak.unflatten(column.values, column.counts)

    with uproot.recreate(tmp_path / "jets.root") as file:
        branches = {name: as_branch(column) for name, column in columns.items()}
        tree = file.mktree("jets", dict.fromkeys(branches, "var * float64"))
        tree.extend(branches)
    example = Path("docs/deploy/onnx.md").read_text(encoding="utf-8").split("```py\n")[1].split("```")[0]
    code = example.replace('"cnn.onnx"', "sys.argv[1]").replace('"jets.root', 'sys.argv[2] + "')
    code = "import json, sys\n" + code.replace("print(score)", "print(json.dumps(score.tolist()))")
    found = alone(code, str(artifact.folder / "cnn.onnx"), str(tmp_path / "jets.root"))
    np.testing.assert_allclose(found, artifact.predict(columns), atol=1e-6)


def test_the_file_says_what_it_takes_and_passes_the_checker(made: Artifact) -> None:
    graph = onnx.load(made.folder / "toy_bdt.onnx")
    onnx.checker.check_model(graph, full_check=True)
    assert [x.name for x in graph.graph.input] == list(INPUTS)
    said = {prop.key: prop.value for prop in graph.metadata_props}
    features = json.loads(said["features"])
    assert [f["name"] for f in features] == list(INPUTS)
    assert features[0]["unit"] == "GeV"
    assert features[0]["scaling"] == "standard"
    assert features[0]["scale"]["mean"] == pytest.approx(80, abs=1)
    assert said["digest"] == made.manifest["model"]["digest"]
    assert json.loads(said["versions"]).keys() == {"fivesigma", "numpy", "onnx", "onnxruntime"}


def test_names_count_and_not_their_order(made: Artifact) -> None:
    columns, _ = toy_events(50, 5)
    np.testing.assert_array_equal(made.predict(columns), made.predict(dict(reversed(columns.items()))))
    del columns["tau21"]
    with pytest.raises(FeatureError, match="no column 'tau21' among the inputs"):
        made.predict(columns)


def test_a_flipped_byte_is_found(folder: Path) -> None:
    path = folder / "toy_bdt.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"toy_bdt\.onnx was changed"):
        verify(folder)
    with pytest.raises(ArtifactError, match=r"toy_bdt\.onnx was changed"):
        load_artifact(folder)


def test_a_cut_moved_by_its_last_place_is_found_even_with_new_digests(folder: Path) -> None:
    path = folder / "toy_bdt.onnx"
    model = onnx.load(path)
    node = next(node for node in model.graph.node if node.op_type == "TreeEnsemble")
    splits = next(attribute for attribute in node.attribute if attribute.name == "nodes_splits")
    cuts = numpy_helper.to_array(splits.t).copy()
    cuts[3] = np.nextafter(cuts[3], np.inf)
    splits.t.CopyFrom(numpy_helper.from_array(cuts))
    path.write_bytes(model.SerializeToString())
    rewrite_manifest(folder)
    with pytest.raises(ParityError, match=r"probability differs at .* of .* inputs by up to .*; at jet_mass = "):
        verify(folder)


def test_a_file_that_is_none_and_an_older_onnxruntime(folder: Path) -> None:
    assert verify(folder).inputs > 4_000
    rewrite_manifest(folder, libraries={"onnxruntime": "999.0"})
    with pytest.raises(ArtifactError, match=r"onnxruntime \S+ is older than 999.0, with which the artefact was proved"):
        verify(folder)
    (folder / "toy_bdt.onnx").write_bytes(b"no graph")
    rewrite_manifest(folder)
    with pytest.raises(ArtifactError, match=r"onnxruntime cannot load .*toy_bdt\.onnx"):
        load_artifact(folder)


def test_a_missing_library_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'fivesigma\[deploy\]'"):
        export(boosted(trees=1), OnnxGraph(), tmp_path / "x")


def test_the_table_of_estimators_and_targets_is_that_of_the_code() -> None:
    text = Path("docs/deploy/onnx.md").read_text(encoding="utf-8")
    text = text.split("## Which estimator goes where")[1].split("##")[0]
    targets = ["c", "table", "integer-table", "onnx", "fpga"]
    assert set(targets) == set(TARGETS)
    rows = {line.split("|")[1].strip(" `"): line for line in text.splitlines() if line.startswith("| `")}
    names = {name for target in TARGETS.values() for name in target.estimators()}
    assert set(rows) == names
    for name, line in rows.items():
        found = [cell.strip() == "yes" for cell in line.split("|")[2:7]]
        assert found == [name in TARGETS[target].estimators() for target in targets], name
