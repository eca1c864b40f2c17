"""From columns of files to a dataset on disk: samples, selection, weights, folds, and the ledger of all of it."""

from fivesigma.dataset.batch import Batch, Collection
from fivesigma.dataset.boosted_reweight import BoostedReweighting, reweight_boosted
from fivesigma.dataset.convert import convert
from fivesigma.dataset.dataset import ColumnSchema, Dataset
from fivesigma.dataset.inputs import Inputs, scan_inputs
from fivesigma.dataset.ledger import Count, FileLedger, Ledger
from fivesigma.dataset.loader import BatchLoader
from fivesigma.dataset.padded_batches import padded_batches
from fivesigma.dataset.plan import ConversionPlan, plan_conversion
from fivesigma.dataset.reweight import Closure, Reweighting, reweight, with_separation
from fivesigma.dataset.root_source import RootSource
from fivesigma.dataset.samples import Conversion, Sample
from fivesigma.dataset.split import FoldAssignment, event_hash, fold_of, folds, train_validation_test
from fivesigma.dataset.weight_policy import (
    PolicyWeights,
    WeightPolicy,
    apply_weight_policy,
    require_non_negative,
)

__all__ = [
    "Batch",
    "BatchLoader",
    "BoostedReweighting",
    "Closure",
    "Collection",
    "ColumnSchema",
    "Conversion",
    "ConversionPlan",
    "Count",
    "Dataset",
    "FileLedger",
    "FoldAssignment",
    "Inputs",
    "Ledger",
    "PolicyWeights",
    "Reweighting",
    "RootSource",
    "Sample",
    "WeightPolicy",
    "apply_weight_policy",
    "convert",
    "event_hash",
    "fold_of",
    "folds",
    "padded_batches",
    "plan_conversion",
    "require_non_negative",
    "reweight",
    "reweight_boosted",
    "scan_inputs",
    "train_validation_test",
    "with_separation",
]
