"""Our two layers against torch's convolution and against the obvious loop."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fivesigma.models.locally_connected_layer import LocallyConnected2d
from fivesigma.models.strip_convolution import StripConvolution


def slow_locally_connected(layer: LocallyConnected2d, x: Tensor) -> Tensor:
    """One place after another, each filter applied to its patch."""
    places = []
    for row in range(layer.rows):
        for column in range(layer.columns):
            top, left = row * layer.stride, column * layer.stride
            patch = x[:, :, top : top + layer.size, left : left + layer.size]
            weight = layer.weight[row, :, column].unflatten(1, (layer.size, layer.channels)).permute(3, 2, 0, 1)
            value = torch.einsum("bcij,fcij->bf", patch, weight)
            places.append(value if layer.bias is None else value + layer.bias[row, column])
    image: Tensor = torch.stack(places, dim=2).unflatten(2, (layer.rows, layer.columns))
    return image


@pytest.mark.parametrize(
    ("shape", "channels", "filters", "size", "stride"),
    [((7, 9), 1, 3, 3, 1), ((8, 8), 2, 3, 5, 1), ((11, 10), 4, 2, 3, 2), ((25, 25), 1, 4, 5, 2)],
)
@pytest.mark.parametrize("bias", [True, False])
def test_locally_connected_is_the_loop_over_places(
    shape: tuple[int, int], channels: int, filters: int, size: int, stride: int, bias: bool
) -> None:
    torch.manual_seed(1)
    layer = LocallyConnected2d(shape, channels, filters, size, stride, bias=bias)
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    x = torch.randn(6, channels, *shape, requires_grad=True)
    ours, slow = layer(x), slow_locally_connected(layer, x)
    torch.testing.assert_close(ours, slow, rtol=1e-4, atol=1e-5)
    grad, inputs = torch.randn_like(slow), (x, *layer.parameters())
    for one, other in zip(
        torch.autograd.grad(ours, inputs, grad), torch.autograd.grad(slow, inputs, grad), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_equal_filters_everywhere_make_a_convolution() -> None:
    torch.manual_seed(2)
    layer = LocallyConnected2d((9, 9), 2, 3, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(layer.weight[:1, :, :1].clone().expand_as(layer.weight))
    x = torch.randn(4, 2, 9, 9)
    torch.testing.assert_close(layer(x), functional.conv2d(x, layer.filters_at(3, 5)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "stride"), [(11, 1), (11, 2), (5, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_strip_convolution_is_the_convolution(size: int, stride: int, bias: bool) -> None:
    torch.manual_seed(3)
    layer = StripConvolution(4, size, stride, bias=bias).double()
    x = torch.randn(3, 1, 13, 16, dtype=torch.float64, requires_grad=True)
    ours, theirs = layer(x), functional.conv2d(x, layer.weight, layer.bias, stride, size // 2)
    torch.testing.assert_close(ours, theirs)
    grad, inputs = torch.randn_like(theirs), (x, *layer.parameters())
    for one, other in zip(
        torch.autograd.grad(ours, inputs, grad), torch.autograd.grad(theirs, inputs, grad), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_strip_convolution_takes_part_in_autocast() -> None:
    layer, x = StripConvolution(4, 5), torch.randn(3, 1, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layer(x)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), layer(x), rtol=0.05, atol=0.05)
