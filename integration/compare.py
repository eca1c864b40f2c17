"""Convert a study in one process, and compare with what another engine made: every byte must be the same."""

from __future__ import annotations

import sys
from pathlib import Path

from fivesigma import resolve_study
from fivesigma.dataset import convert
from fivesigma.study import conversion_of


def files(folder: Path) -> dict[str, bytes]:
    """Content of all files under a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main() -> int:
    """Arguments: study, entries of a shard, folder that another engine made, folder to make."""
    study, step, made, reference = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    dataset = convert(conversion_of(resolve_study(study)).model_copy(update={"step": step}), reference)
    found, expected = files(made), files(reference)
    differing = sorted(name for name in found | expected if found.get(name) != expected.get(name))
    if differing:
        print(f"differ: {', '.join(differing)}", file=sys.stderr)
        return 1
    print(f"{len(dataset)} events in {len(found)} files, the same byte for byte")
    return 0


if __name__ == "__main__":
    sys.exit(main())
