"""The system's C compiler: for proofs, for benchmarks, and to call what was generated."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fivesigma.core.errors import ArtifactError, MissingDependencyError

COMPILERS = ("cc", "gcc", "clang")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")
EXACT = ("-ffp-contract=off", "-fno-fast-math")
"""No fused multiply-add and no reordered sums: the same roundings as the model that was exported."""


@dataclass(frozen=True)
class Compiler:
    """A C compiler and what it calls itself."""

    command: str
    version: str

    @classmethod
    def find(cls, command: str | None = None) -> Compiler:
        """The given one, or the first of ``COMPILERS`` that is there.

        Raises
        ------
        MissingDependencyError
            if there is none.
        """
        for name in [command] if command else COMPILERS:
            if (path := shutil.which(name)) is not None:
                answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
                return cls(name, answer.stdout.splitlines()[0] if answer.stdout else "unknown version")
        raise MissingDependencyError(
            f"no C compiler found ({command or ', '.join(COMPILERS)}); install gcc or clang: the proof of an export "
            "compiles and runs it"
        )

    def __call__(self, source: Path, output: Path, *options: str, link: Sequence[str] = ("-lm",)) -> Path:
        """Compile one file with all warnings as errors.

        Raises
        ------
        ArtifactError
            with the compiler's first complaints.
        """
        command = [self.command, *WARNINGS, *EXACT, *options, str(source), "-o", str(output), *link]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            complaint = "\n".join(answer.stderr.splitlines()[:10])
            raise ArtifactError(f"{self.version} refuses {source}:\n{complaint}")
        return output


def shared_library(
    text: str, folder: Path, *, compiler: Compiler | None = None, options: Sequence[str] = ("-std=c99", "-O2")
) -> ctypes.CDLL:
    """A source text, that includes headers of ``folder``, compiled and loaded; its file is not kept."""
    with tempfile.TemporaryDirectory(prefix="fivesigma-") as made:
        source = Path(made) / "library.c"
        source.write_text(text, encoding="utf-8")
        output = (compiler or Compiler.find())(
            source, Path(made) / "library.so", *options, "-shared", "-fPIC", f"-I{folder.resolve()}"
        )
        return ctypes.CDLL(str(output))
