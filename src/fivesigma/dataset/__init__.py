"""From columns of files to a dataset on disk: samples, selection, weights, folds, and the ledger of all of it."""

from typing import TYPE_CHECKING

from fivesigma.core.lazy_names import lazy_names
from fivesigma.dataset.boosted_reweight import BoostedReweighting, reweight_boosted
from fivesigma.dataset.convert import convert
from fivesigma.dataset.dataset import ColumnSchema, Dataset
from fivesigma.dataset.inputs import Inputs, scan_inputs
from fivesigma.dataset.ledger import Count, FileLedger, Ledger
from fivesigma.dataset.plan import ConversionPlan, plan_conversion
from fivesigma.dataset.reweight import Closure, Reweighting, reweight, with_separation
from fivesigma.dataset.samples import Conversion, Sample
from fivesigma.dataset.split import FoldAssignment, event_hash, fold_of, folds, train_validation_test
from fivesigma.dataset.weight_policy import (
    PolicyWeights,
    WeightPolicy,
    apply_weight_policy,
    require_non_negative,
)

if TYPE_CHECKING:
    from fivesigma.dataset.basket_batches import padded_batches
    from fivesigma.dataset.batch import Batch, Collection
    from fivesigma.dataset.loader import BatchLoader
    from fivesigma.dataset.root_source import RootSource
else:  # compiled code: conversion does without
    _HOMES = {
        "Batch": "fivesigma.dataset.batch",
        "BatchLoader": "fivesigma.dataset.loader",
        "Collection": "fivesigma.dataset.batch",
        "RootSource": "fivesigma.dataset.root_source",
        "padded_batches": "fivesigma.dataset.basket_batches",
    }
    __getattr__ = lazy_names(__name__, _HOMES)

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
