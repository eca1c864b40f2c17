"""Autoencoder pre-training, layer by layer: each layer first learns to keep what it is given.

For each layer with ``init: autoencoder``, in the network's order: a linear decoder is put behind it, and layer and decoder
are trained to reproduce the layer's inputs by squared error (Bengio, Lamblin, Popovici, Larochelle 2006, greedy and
without noise); the decoder is thrown away. The inputs of later layers are made by the layers trained before. Labels and
weights are not used.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fivesigma.core.errors import ModelError
from fivesigma.models.declared import DeclaredNetwork

_LEARNING_RATE = 1e-2  # of Adam
_BATCH = 256  # events


def pretrain(network: DeclaredNetwork, sample: Tensor, epochs: int) -> list[float]:
    """Pre-train in place on inputs of shape (event, …); the mean squared error of each layer at the end.

    Errors are in units of the variance of the layer's inputs: 1 is what a constant reaches.

    Raises
    ------
    ModelError
        if a layer's error is not finite.
    """
    return [_pretrain_layer(network, layer, sample, epochs) for layer in _layers(network)]


def _layers(network: DeclaredNetwork) -> list[nn.Module]:
    """The layers whose kernel starts as an autoencoder's, with their activations."""
    found = [k.layer for k in network.kernels if k.init == "autoencoder" and k.layer is not None]
    return list(dict.fromkeys(found))


def _pretrain_layer(network: DeclaredNetwork, layer: nn.Module, sample: Tensor, epochs: int) -> float:
    given: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].detach()))
    network.eval()
    try:
        with torch.inference_mode():
            for part in sample.split(_BATCH):
                network(part)
    finally:
        hook.remove()
    x = torch.cat(given).clone()  # (event, feature)
    with torch.no_grad():
        nodes = layer(x[:1]).shape[1]
    decoder = nn.Linear(nodes, x.shape[1])
    optimiser = torch.optim.Adam([*layer.parameters(), *decoder.parameters()], lr=_LEARNING_RATE)
    variance = float(x.var(dim=0, correction=0).mean()) or 1.0
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(_BATCH):
            optimiser.zero_grad(set_to_none=True)
            (nn.functional.mse_loss(decoder(layer(x[index])), x[index]) / variance).backward()
            optimiser.step()
    with torch.no_grad():
        error = float(nn.functional.mse_loss(decoder(layer(x)), x)) / variance
    if not error < float("inf"):
        raise ModelError(
            f"pre-training of a layer with {nodes} nodes ends in an error of {error}: look for extreme inputs"
        )
    return error
