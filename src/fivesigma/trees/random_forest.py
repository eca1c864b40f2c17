"""Random forest by scikit-learn, saved through skops, which builds known types only and never executes code."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Self

import numpy as np
import skops.io
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from fivesigma.core.errors import ModelError
from fivesigma.core.estimator import ESTIMATORS, Labelled
from fivesigma.core.integrity import atomic_path, file_digest, write_json
from fivesigma.models.binary_classifier import BinaryClassifier
from fivesigma.models.model_folder import read_model_json
from fivesigma.models.training_inputs import prediction_inputs, training_inputs

TRUSTED = ("sklearn.tree._tree.Tree",)
"""The one type beyond skops's own list that a saved forest holds: scikit-learn's array of nodes."""


@ESTIMATORS.register("random-forest")
class RandomForest(BinaryClassifier):
    """Trees on bootstrapped events with random variables at each node (Breiman 2001); TMVA's ``UseRandomisedTrees``
    BDT.

    Parameters
    ----------
    trees
        NTrees.
    depth
        the greatest depth (MaxDepth), or None.
    min_events_in_leaf
        MinNodeSize, as a number of events.
    variables_per_node
        variables tried at each node (UseNvars): a number, a fraction or "sqrt".
    seed, threads
        the same seed gives the same trees with any number of threads.

    Negative weights are refused: nodes would have negative impurity.
    """

    estimator_name = "random-forest"
    accepts_negative_weight = False

    def __init__(
        self,
        *,
        trees: int = 200,
        depth: int | None = 12,
        min_events_in_leaf: int = 20,
        variables_per_node: int | float | str = "sqrt",
        seed: int = 1,
        threads: int = 1,
    ) -> None:
        self.trees = trees
        self.depth = depth
        self.min_events_in_leaf = min_events_in_leaf
        self.variables_per_node = variables_per_node
        self.seed = seed
        self.threads = threads

    def fit(
        self,
        X: Any,
        y: Any,
        weight: Any | None = None,
        *,
        validation: Labelled | None = None,  # noqa: ARG002 contract
    ) -> Self:
        """Fit on X of shape (event, variable); ``validation`` is not needed.

        Raises
        ------
        InvalidInputsError, InvalidWeightError
            see ``training_inputs``.
        """
        X, y, weight, self.classes_ = training_inputs(self, X, y, weight, dtype=np.float32)
        self.forest_ = RandomForestClassifier(
            n_estimators=self.trees,
            max_depth=self.depth,
            min_samples_leaf=self.min_events_in_leaf,
            max_features=self.variables_per_node,
            random_state=self.seed,
            n_jobs=self.threads,
        ).fit(X, y, sample_weight=weight / weight.mean())
        self.forest_.n_jobs = 1  # threads would add the trees up in any order: predictions would differ in the last bit
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of background and signal, shape (event, 2)."""
        X = prediction_inputs(self, X, dtype=np.float32)
        return np.asarray(self.forest_.predict_proba(X), dtype=np.float64)

    @property
    def n_parameters(self) -> int:
        """Cuts (variable and value) and leaf values of all trees."""
        trees = [tree.tree_ for tree in self.forest_.estimators_]
        return int(sum(tree.n_leaves + 2 * (tree.node_count - tree.n_leaves) for tree in trees))

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and ``forest.skops`` into ``folder``."""
        path = Path(folder) / "forest.skops"
        with atomic_path(path) as temporary:
            temporary.write_bytes(skops.io.dumps(self.forest_, compression=zipfile.ZIP_DEFLATED))
        content = {"files": {path.name: file_digest(path)}, **self._description()}
        write_json(Path(folder) / "model.json", {"estimator": self.estimator_name, **content})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; predictions are identical.

        Raises
        ------
        ModelError
            if the folder is incomplete, damaged, holds another estimator, or types that a forest does not have.
        """
        model = cls._described(read_model_json(folder, cls.estimator_name))
        path = Path(folder) / "forest.skops"
        untrusted = sorted(set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED))
        if untrusted:
            raise ModelError(
                f"{path} holds types that no random forest has, and was not loaded: {', '.join(untrusted)}"
            )
        model.forest_ = skops.io.load(path, trusted=list(TRUSTED))
        if not isinstance(model.forest_, RandomForestClassifier):
            raise ModelError(f"{path} holds a {type(model.forest_).__name__}, expected a RandomForestClassifier")
        return model
