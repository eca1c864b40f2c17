"""The convolution of one-channel images with large filters, as one matrix product over strips of rows.

Convolutions are compiled for many channels; with one channel and 11×11 filters most of a processor's matrix unit idles, in
the backward pass above all. Here the image rows under one row of the output, a strip, are multiplied by a banded (Toeplitz)
matrix that holds the filters shifted to each column. Four times more multiplications, each many times faster; the same
numbers as ``torch.nn.Conv2d`` up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class StripConvolution(nn.Conv2d):
    """``nn.Conv2d`` from one channel with square filters: (batch, 1, row, column) → (batch, filter, row, column)."""

    def __init__(self, filters: int, size: int, stride: int = 1, *, bias: bool = True) -> None:
        super().__init__(1, filters, size, stride, size // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """In the precision of autocast, as a convolution would."""
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        pad = self.kernel_size[0] // 2
        padded = functional.pad(x[:, 0].to(dtype), (pad, pad, pad, pad))  # (batch, row, column)
        out: Tensor = _Strips.apply(padded, self.weight[:, 0].to(dtype), self.stride[0])
        if self.bias is not None:
            out = out + self.bias.to(dtype)
        return out.permute(0, 3, 1, 2)  # (batch, filter, row out, column out), channels last in memory


class _Strips(torch.autograd.Function):
    """Padded images (batch, row, column) and filters (filter, size, size) → (batch, row out, column out, filter)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        filters, size, _ = weight.shape
        batch, height, width = x.shape
        rows, columns = (height - size) // stride + 1, (width - size) // stride + 1
        strides = (height * width, stride * width, 1)
        strips = x.contiguous().as_strided((batch, rows, size * width), strides).reshape(-1, size * width)
        band = x.new_zeros(columns, filters, size, width)
        _band(band, stride).copy_(weight.expand(columns, -1, -1, -1))
        ctx.save_for_backward(strips, band)
        ctx.stride, ctx.rows, ctx.height = stride, rows, height
        out = strips @ band.view(columns * filters, size * width).t()
        return out.view(batch, rows, columns, filters)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None]:
        strips, band = ctx.saved_tensors
        columns, filters, size, width = band.shape
        grad = gradients[0].reshape(len(strips), columns * filters)
        grad_band = (grad.t() @ strips).view_as(band)
        grad_weight = _band(grad_band, ctx.stride).sum(dim=0)
        grad_x = None
        if ctx.needs_input_grad[0]:
            products = (grad @ band.view(columns * filters, size * width)).view(-1, ctx.rows, size, width)
            grad_x = products.new_zeros(len(products), ctx.height, width)
            for r in range(ctx.rows):  # strips overlap, so one after another
                grad_x[:, r * ctx.stride : r * ctx.stride + size] += products[:, r]
        return grad_x, grad_weight, None


def _band(band: Tensor, stride: int) -> Tensor:
    """The view of the band where the filter of each output column stands, shape (column out, filter, size, size)."""
    columns, filters, size, width = band.shape
    return band.as_strided(
        (columns, filters, size, size), (filters * size * width + stride, size * width, width, 1), band.storage_offset()
    )
