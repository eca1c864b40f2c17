from pathlib import Path

import pytest
from tests.deploy.models import boosted

from fivesigma.deploy import Artifact, CTrees, TrainedModel, export


@pytest.fixture(scope="session")
def model() -> TrainedModel:
    """Boosted trees on standardised variables."""
    return boosted()


@pytest.fixture(scope="session")
def exported(model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The same in C; not to be changed."""
    return export(model, CTrees(), tmp_path_factory.mktemp("artefacts") / "toy")


@pytest.fixture
def artefact(exported: Artifact, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    import shutil

    return Path(shutil.copytree(exported.folder, tmp_path / "toy"))
