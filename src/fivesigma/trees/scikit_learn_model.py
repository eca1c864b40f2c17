"""What all learners on scikit-learn's trees share: how trees stop, and skops files, which build known types only."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, ClassVar, Self

from fivesigma.core.errors import ModelError
from fivesigma.core.integrity import atomic_path, file_digest, write_json
from fivesigma.models.model_folder import read_model_json

TRUSTED = ("sklearn.tree._tree.Tree",)
"""The one type beyond skops's own list that saved trees hold: scikit-learn's array of nodes."""
FILE = "forest.skops"


class ScikitLearnModel:
    """A learner whose trees are ``forest_``, a scikit-learn estimator; options as attributes, as in ``stopping``."""

    estimator_name: ClassVar[str]
    kind: ClassVar[type[Any]]
    """What ``forest_`` is."""

    forest_: Any

    def stopping(self) -> dict[str, Any]:
        """scikit-learn's names of the stopping criteria that all its trees have."""
        return {
            "max_depth": self.depth,  # type: ignore[attr-defined]
            "max_leaf_nodes": self.leaves,  # type: ignore[attr-defined]
            "min_samples_leaf": self.min_events_in_leaf,  # type: ignore[attr-defined]
            "min_weight_fraction_leaf": self.min_weight_fraction_in_leaf,  # type: ignore[attr-defined]
            "min_impurity_decrease": self.min_gain,  # type: ignore[attr-defined]
        }

    @property
    def n_parameters(self) -> int:
        """Cuts (variable and value) and leaf values of all trees."""
        trees = [tree.tree_ for tree in getattr(self.forest_, "estimators_", [self.forest_])]
        return int(sum(tree.n_leaves + 2 * (tree.node_count - tree.n_leaves) for tree in trees))

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and ``forest.skops`` into ``folder``."""
        from skops.io import dumps  # here: it loads most of scikit-learn

        path = Path(folder) / FILE
        with atomic_path(path) as temporary:
            temporary.write_bytes(dumps(self.forest_, compression=zipfile.ZIP_DEFLATED))
        content = {"files": {path.name: file_digest(path)}, **self._description()}  # type: ignore[attr-defined]
        write_json(Path(folder) / "model.json", {"estimator": self.estimator_name, **content})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; predictions are identical.

        Raises
        ------
        ModelError
            if the folder is incomplete, damaged, holds another estimator, or types that no trees have.
        """
        from skops.io import get_untrusted_types, load

        model: Self = cls._described(read_model_json(folder, cls.estimator_name))  # type: ignore[attr-defined]
        path = Path(folder) / FILE
        untrusted = sorted(set(get_untrusted_types(file=path)) - set(TRUSTED))
        if untrusted:
            raise ModelError(f"{path} holds types that no trees have, and was not loaded: {', '.join(untrusted)}")
        model.forest_ = load(path, trusted=list(TRUSTED))
        if not isinstance(model.forest_, cls.kind):
            raise ModelError(f"{path} holds a {type(model.forest_).__name__}, expected a {cls.kind.__name__}")
        return model
