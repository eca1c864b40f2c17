"""Trained models in other forms, each proved to be the same model: C, lookup tables, integer tables."""

from fivesigma.deploy.artifact import Artifact, load_artifact
from fivesigma.deploy.c_header import CHeader
from fivesigma.deploy.c_target import CTrees
from fivesigma.deploy.export import export
from fivesigma.deploy.integer_target import IntegerTable
from fivesigma.deploy.network_target import CNetwork
from fivesigma.deploy.table_loss import TableSize, scan_tables
from fivesigma.deploy.table_target import LookupTable
from fivesigma.deploy.target import TARGETS, Target
from fivesigma.deploy.trained_model import TrainedModel
from fivesigma.deploy.verify import Verification, verify

__all__ = [
    "TARGETS",
    "Artifact",
    "CHeader",
    "CNetwork",
    "CTrees",
    "IntegerTable",
    "LookupTable",
    "TableSize",
    "Target",
    "TrainedModel",
    "Verification",
    "export",
    "load_artifact",
    "scan_tables",
    "verify",
]
