"""ROOT files to columns: what is in them, which entries, which expressions over their branches."""

from fivesigma.read.events import Events, Partition, open_events
from fivesigma.read.expression import Expression
from fivesigma.read.inspect import Inspection, inspect
from fivesigma.read.manifest import Manifest, read_manifest, write_manifest
from fivesigma.read.remote_options import RemoteOptions
from fivesigma.read.schema import Branch, InputFile

__all__ = [
    "Branch",
    "Events",
    "Expression",
    "InputFile",
    "Inspection",
    "Manifest",
    "Partition",
    "RemoteOptions",
    "inspect",
    "open_events",
    "read_manifest",
    "write_manifest",
]
