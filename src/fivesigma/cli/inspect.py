"""``fivesigma inspect``: what is in input files."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from fivesigma.cli.options import Json, print_json, print_table

_HEAD = ("file", "tree", "entries")


def inspect(
    files: Annotated[list[str], typer.Argument(help="files, globs or folders")],
    tree: Annotated[str | None, typer.Option("--tree", help="only this TTree or RNTuple")] = None,
    branches: Annotated[str | None, typer.Option("--branches", metavar="GLOB", help="only these, as 'Muon_*'")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="what differs between the files")] = False,
    manifest: Annotated[Path | None, typer.Option("--manifest", help="compare every byte with this manifest")] = None,
    write_manifest: Annotated[
        Path | None, typer.Option("--write-manifest", help="write a manifest of the files as they are")
    ] = None,
    json: Json = False,
) -> None:
    """Show trees, branches, types, codecs, entries, what protects each branch, and first values.

    With --manifest the exit status is 1 unless all files agree and none is missing.
    """
    if manifest is not None:
        _check(files, manifest, json)
    elif write_manifest is not None:
        _write(files, write_manifest, json)
    else:
        _show(files, tree, branches, compare, json)


def _show(files: list[str], tree: str | None, branches: str | None, compare: bool, json: bool) -> None:
    from fivesigma.read import inspect as inspect_files

    inspection = inspect_files(files, tree=tree, branches=branches, values=0 if compare else 60)
    if compare:
        comparison = inspection.comparison()
        if json:
            print_json({"files": comparison.files, "differences": comparison.differences})
            return
        print_table(comparison.files)
        print("\nAll branches are the same." if not comparison.differences else "")
        print_table(comparison.differences)
    elif json:
        print_json(inspection.to_json())
    else:
        for head, rows in groupby(inspection.rows(branches), lambda row: tuple(row[key] for key in _HEAD)):
            print("{}: {}, {} entries".format(*head))
            print_table([{key: text for key, text in row.items() if key not in _HEAD} for row in rows])
            print()


def _write(files: list[str], output: Path, json: bool) -> None:
    from fivesigma.read import write_manifest

    manifest = write_manifest(files, output)
    rows: list[dict[str, Any]] = [{"file": f.name, "bytes": f.size, "xxh3": f.xxh3} for f in manifest.files]
    print_json({"manifest": str(output), "files": rows}) if json else print_table(rows)


def _check(files: list[str], path: Path, json: bool) -> None:
    from fivesigma.read.manifest import AGREES, outcomes, read_manifest

    rows = outcomes(files, read_manifest(path))
    print_json({"manifest": str(path), "files": rows}) if json else print_table(rows)
    if any(row["outcome"] != AGREES for row in rows):
        raise typer.Exit(1)
