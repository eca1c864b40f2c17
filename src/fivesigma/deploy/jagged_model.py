"""``JaggedModel``: a fitted learner that sees jagged columns, such as the constituents of jets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fivesigma.core.jagged import Columns, Jagged
from fivesigma.dataset import Dataset
from fivesigma.deploy.trained_model import TrainedModel, _digest, _units
from fivesigma.features import Features, JetImages, SeveralInputs, Tabular
from fivesigma.learn import load_fold_model
