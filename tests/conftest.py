"""What every test may count on: third-party files, a browser, generators; in CI their absence is a failure."""

from __future__ import annotations

import importlib.util
import os
import shutil
from importlib import resources
from pathlib import Path

import pytest

from fivesigma.read import open_events
from tests.servers import SERVER_PROGRAMS, program

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

AVAILABLE = {
    "shared_data": (SHARED_DATA.is_dir(), "third-party files (../shared/data)"),
    "browser": (
        shutil.which("chromium") is not None and shutil.which("chromedriver") is not None,
        "chromium and chromedriver (apt-get install chromium chromium-driver)",
    ),
    "servers": (
        all(program(name) is not None for name in SERVER_PROGRAMS),
        "servers (apt-get install nginx-light xrootd-server openssl)",
    ),
    "sim": (importlib.util.find_spec("pythia8mc") is not None, "generators (pip install 'fivesigma[sim]')"),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Outside CI, deselect what cannot run here and say so in one line; in CI, leave it in to fail."""
    if os.environ.get("CI") == "true":
        return
    for marker, (available, what) in AVAILABLE.items():
        if available:
            continue
        left_out = [item for item in items if item.get_closest_marker(marker)]
        if left_out:
            print(f"\n{len(left_out)} tests deselected: they need {what}")
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of third-party files; a failure where it is missing."""
    assert SHARED_DATA.is_dir(), "third-party test files are missing: expected ../shared/data beside the repository"
    return SHARED_DATA


@pytest.fixture(scope="session")
def w_tagging_file() -> Path:
    """The embedded sample of 10,000 W jets and 10,000 QCD jets."""
    return Path(str(resources.files("fivesigma.studies"))) / "data" / "w-tagging.root"


@pytest.fixture(scope="session")
def few_jets(w_tagging_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with every 16th jet of the embedded sample, signal and background."""
    import numpy as np
    import uproot

    from fivesigma.simulate.root_file import write_root

    events = open_events([w_tagging_file], tree="jets")
    branches = list(events.files[0].branches)
    columns = events.read(next(events.partitions()), [name for name in branches if not name.startswith("n")])
    chosen = np.arange(0, events.entries, 16)
    path = tmp_path_factory.mktemp("jets") / "few-jets.root"
    write_root(path, "jets", [{name: column[chosen] for name, column in columns.items()}])
    assert uproot.open(path)["jets"].num_entries == len(chosen)
    return path
