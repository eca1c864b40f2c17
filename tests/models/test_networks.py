import math

import pytest
import torch

from fivesigma.core.errors import ConfigError, UnknownNameError
from fivesigma.models import NETWORKS
from fivesigma.models.networks import InputScale, he_initialise

PARAMETERS = {
    "dense": 625 * 256 + 256 * 128 + 128 * 64 + 64 + 1 + 2 * (256 + 128 + 64),
    # 5 pieces each: (625 + 1) 256 5, (256 + 1) 128 5; then 64, 25, 1; two normalisations
    "maxout": 626 * 1280 + 257 * 640 + 129 * 64 + 65 * 25 + 26 + 2 * (256 + 128),
}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_network_gives_one_logit_per_image(name: str) -> None:
    network = NETWORKS[name]((25, 25))
    he_initialise(network)
    assert network(torch.rand(3, 25, 25)).shape == (3, 1)
    if name in PARAMETERS:
        assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", ["dense", "maxout"])
def test_networks_of_pixels_take_tabular_features_too(name: str) -> None:
    assert NETWORKS[name]((7,))(torch.rand(3, 7)).shape == (3, 1)


@pytest.mark.parametrize("name", ["cnn", "locally-connected"])
def test_networks_of_images_refuse_tabular_features_and_tiny_images(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}.*needs images.*got events of shape \(7,\)"):
        NETWORKS[name]((7,))
    with pytest.raises(ConfigError, match=r"\(1, 1\) are too small"):
        NETWORKS[name]((1, 1))
    with pytest.raises(ConfigError, match="differ in length"):
        NETWORKS[name]((25, 25), filters=(8,))


def test_he_initialisation_keeps_the_variance_through_rectified_layers() -> None:
    torch.manual_seed(1)
    network = NETWORKS["dense"]((400,), nodes=(400,) * 6, dropout=0.0, batch_norm=False)
    he_initialise(network)
    with torch.no_grad():
        x = torch.randn(2000, 400)
        for layer in list(network)[:-1]:
            x = layer(x)
    # with ReLU it is the mean square that stays, E[x²] = 1 (arXiv:1502.01852, eq. 10)
    assert float(x.square().mean()) == pytest.approx(1.0, abs=0.35)
    assert float(list(network.parameters())[-2].detach().std()) == pytest.approx(1 / math.sqrt(400), rel=0.15)


def test_the_input_scale_is_the_root_mean_square_and_one_for_empty_images() -> None:
    scale = InputScale()
    scale.fit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    assert float(scale.scale) == pytest.approx(2.5)
    scale.fit(torch.zeros(3, 2))
    assert float(scale.scale) == 1.0


def test_an_unknown_network_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'dense'.*Known: cnn, dense, locally-connected, maxout"):
        NETWORKS["densee"]
