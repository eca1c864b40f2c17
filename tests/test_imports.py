"""What a process loads: worker processes start often, and torch or scikit-learn cost seconds each time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import fivesigma

ALL = frozenset(
    [
        "torch",
        "sklearn",
        "scipy",
        "scipy.stats",
        "matplotlib",
        "numba",
        "lightgbm",
        "awkward",
        "uproot",
        "pyarrow",
        "h5py",
    ]
)
READING = frozenset({"awkward", "uproot", "pyarrow", "h5py"})
COMPILED = frozenset({"numba", "scipy"})

# What a process imports or does, one after another, and what may be loaded then.
STEPS: tuple[tuple[str, frozenset[str]], ...] = (
    ("import fivesigma.simulate.simulation, fivesigma.simulate.production", frozenset()),
    ("import fivesigma.read.inspect; command('inspect', jets)", READING),
    ("import fivesigma.dataset.entry_range", READING),
    ("import fivesigma.predict", READING | COMPILED),
    (
        "command('convert', 'w-tagging', '--input', f'jets={jets}', '--output', output, '--workers', '1')",
        READING | COMPILED,
    ),
    ("import fivesigma.study, fivesigma.deploy, fivesigma.explain", READING | COMPILED),
    (
        "ESTIMATORS['boosted-trees']; ESTIMATORS['likelihood-ratio']",
        READING | COMPILED | {"scipy.stats", "sklearn", "lightgbm"},
    ),
)

PRELUDE = f"""
import json, sys
jets, output = sys.argv[1:]

def command(*words):
    from typer.testing import CliRunner
    from fivesigma.cli.command import app
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output

def say(**what):
    print(json.dumps(dict(what, loaded=[name for name in {sorted(ALL)} if name in sys.modules])), file=sys.stderr)
"""


def test_a_process_loads_what_it_uses(few_jets: Path, tmp_path: Path) -> None:
    steps = [f"{code}\nsay(step={code!r})" for code, _ in STEPS]
    steps.insert(-1, "from fivesigma.learn import ESTIMATORS\nsay(step='estimators', names=list(ESTIMATORS))")
    code = PRELUDE + "if __name__ == '__main__':\n" + "\n".join(steps).replace("\n", "\n    ").join(("    ", ""))
    script = tmp_path / "steps.py"
    script.write_text(code, encoding="utf-8")
    answer = subprocess.run(
        [sys.executable, script, few_jets, tmp_path / "run"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    said = {line["step"]: line for line in map(json.loads, answer.stderr.splitlines())}
    for step, allowed in STEPS:
        assert set(said[step]["loaded"]) <= allowed, step
    # Every learner is known by name before its module is loaded.
    sources = [path.read_text(encoding="utf-8") for path in Path(fivesigma.__file__).parent.rglob("*.py")]
    registered = [
        name for text in sources for name in re.findall(r'^@ESTIMATORS\.register\("(.+)"\)', text, re.MULTILINE)
    ]
    assert said["estimators"]["names"] == sorted(registered)
