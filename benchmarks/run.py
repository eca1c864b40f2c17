"""``make bench``: every benchmark in turn, each printing its ratio against a named peer, one thread each.

Each is a process of its own, so that one's threads and memory do not disturb another's figures.
"""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    "benchmarks.jet_images",
    "benchmarks.networks",
    "benchmarks.deploy",
    "benchmarks.adversarial",
    "benchmarks.loader",
    "benchmarks.reading",
    "benchmarks.conversion",
    "benchmarks.uniform_boosting",
    "benchmarks.prediction",
)


def main() -> int:
    """Run all; the exit status is non-zero if any could not be run."""
    failed = [name for name in BENCHMARKS if subprocess.run([sys.executable, "-m", name], check=False).returncode]
    for name in failed:
        print(f"{name} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
