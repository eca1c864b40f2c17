"""Trained models in other forms, each proved to be the same model: C, lookup tables, integer tables, ONNX, FPGAs."""

from typing import TYPE_CHECKING

from fivesigma.core.lazy_names import lazy_names
from fivesigma.deploy.artifact import Artifact, load_artifact
from fivesigma.deploy.c_target import CTrees
from fivesigma.deploy.event_columns import EventColumns
from fivesigma.deploy.export import export
from fivesigma.deploy.integer_target import IntegerTable
from fivesigma.deploy.jagged_model import JaggedModel, load_model
from fivesigma.deploy.table_loss import TableSize, scan_tables
from fivesigma.deploy.table_target import LookupTable
from fivesigma.deploy.target import TARGETS, Target
from fivesigma.deploy.trained_model import TrainedModel
from fivesigma.deploy.tree_learners import TREE_LEARNERS
from fivesigma.deploy.verify import Verification, verify

if TYPE_CHECKING:
    from fivesigma.deploy.c_header import CHeader
    from fivesigma.deploy.fpga_target import Fpga
    from fivesigma.deploy.network_target import CNetwork
    from fivesigma.deploy.onnx_target import OnnxGraph
else:  # what takes networks apart loads torch
    _HOMES = {
        "CHeader": "fivesigma.deploy.c_header",
        "Fpga": "fivesigma.deploy.fpga_target",
        "CNetwork": "fivesigma.deploy.network_target",
        "OnnxGraph": "fivesigma.deploy.onnx_target",
    }
    __getattr__ = lazy_names(__name__, _HOMES)

TARGETS.live_in(
    {
        "c": "fivesigma.deploy.c_header",
        "fpga": "fivesigma.deploy.fpga_target",
        "onnx": "fivesigma.deploy.onnx_target",
    }
)

__all__ = [
    "TARGETS",
    "TREE_LEARNERS",
    "Artifact",
    "CHeader",
    "CNetwork",
    "CTrees",
    "EventColumns",
    "Fpga",
    "IntegerTable",
    "JaggedModel",
    "LookupTable",
    "OnnxGraph",
    "TableSize",
    "Target",
    "TrainedModel",
    "Verification",
    "export",
    "load_artifact",
    "load_model",
    "scan_tables",
    "verify",
]
