"""Model families: cuts, single variables, likelihood ratio, Fisher, and networks as plain PyTorch modules."""

from typing import TYPE_CHECKING

from fivesigma.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from fivesigma.models.convolutional import convolutional_network
    from fivesigma.models.cuts import Cuts
    from fivesigma.models.dense import dense_network
    from fivesigma.models.fisher import Fisher
    from fivesigma.models.likelihood_ratio import LikelihoodRatio
    from fivesigma.models.locally_connected import locally_connected_network
    from fivesigma.models.locally_connected_layer import LocallyConnected2d
    from fivesigma.models.maxout import maxout_network
    from fivesigma.models.networks import NETWORKS
    from fivesigma.models.single_variable import SingleVariable
else:  # trees and cuts do without torch
    _HOMES = {
        "NETWORKS": "fivesigma.models.networks",
        "Cuts": "fivesigma.models.cuts",
        "Fisher": "fivesigma.models.fisher",
        "LikelihoodRatio": "fivesigma.models.likelihood_ratio",
        "LocallyConnected2d": "fivesigma.models.locally_connected_layer",
        "SingleVariable": "fivesigma.models.single_variable",
        "convolutional_network": "fivesigma.models.convolutional",
        "dense_network": "fivesigma.models.dense",
        "locally_connected_network": "fivesigma.models.locally_connected",
        "maxout_network": "fivesigma.models.maxout",
    }
    __getattr__ = lazy_names(__name__, _HOMES)

__all__ = [
    "NETWORKS",
    "Cuts",
    "Fisher",
    "LikelihoodRatio",
    "LocallyConnected2d",
    "SingleVariable",
    "convolutional_network",
    "dense_network",
    "locally_connected_network",
    "maxout_network",
]
