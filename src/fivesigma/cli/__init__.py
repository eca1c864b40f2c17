"""The command: one thin file a verb, each a call of a public function."""

from fivesigma.cli.command import main

__all__ = ["main"]
