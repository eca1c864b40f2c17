"""Model families: cuts, single variables, likelihood ratio, Fisher, and networks as plain PyTorch modules."""

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
