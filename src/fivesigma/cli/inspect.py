"""``fivesigma inspect``: what is in input files."""

from __future__ import annotations

from typing import Annotated

import typer

from fivesigma.cli.options import Json, print_json, print_table


def inspect(
    files: Annotated[list[str], typer.Argument(help="files, globs or folders")],
    tree: Annotated[str | None, typer.Option("--tree", help="only this TTree or RNTuple")] = None,
    json: Json = False,
) -> None:
    """Show trees, branches, types, codecs, entries and first values."""
    from fivesigma.read import inspect as inspect_files

    inspection = inspect_files(files, tree=tree)
    if json:
        print_json(inspection.to_json())
    else:
        print_table(inspection.rows())
