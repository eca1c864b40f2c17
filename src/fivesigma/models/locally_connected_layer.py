"""A locally connected layer: a convolution whose filters differ from place to place.

The usual recipe, ``unfold`` and ``einsum``, writes every patch of the image to memory, keeps them for the backward
pass and sums their gradients back with ``fold``. Here images are kept as (row, batch, column, channel): the patches
of one row of filters are then a *view*, so that matrix products read the image itself, and the work on one row of the
output stays in the processor's cache. ``benchmarks/networks.py`` compares both; ``tests/models`` has the obvious loop
as reference.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class LocallyConnected2d(nn.Module):
    """(batch, channel, row, column) → (batch, filter, row out, column out), without padding.

    ``weight`` has shape (row out, size, column out, size · channel, filter): for each place and each row of the
    patch, the matrix from the patch's columns and channels to the filters. ``bias`` has shape (row out, column out,
    filter).
    """

    def __init__(
        self, shape: tuple[int, int], channels: int, filters: int, size: int, stride: int = 1, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.channels, self.filters, self.size, self.stride = channels, filters, size, stride
        self.rows, self.columns = ((side - size) // stride + 1 for side in shape)
        self.fan_in = channels * size * size
        self.weight = nn.Parameter(torch.empty(self.rows, size, self.columns, size * channels, filters))
        self.bias = nn.Parameter(torch.zeros(self.rows, self.columns, filters)) if bias else None
        nn.init.normal_(self.weight, std=(2.0 / self.fan_in) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Products and sums in float32, also under autocast: at these sizes bfloat16 is not faster."""
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = _LocalProducts.apply(x.float(), self.weight, self.bias, self.stride)
        return out  # (batch, filter, row, column)

    def filters_at(self, row: int, column: int) -> Tensor:
        """The filters of one place as images, shape (filter, channel, size, size)."""
        patch = self.weight.detach()[row, :, column]  # (size, size · channel, filter)
        filters: Tensor = patch.unflatten(1, (self.size, self.channels)).permute(3, 2, 0, 1)
        return filters.contiguous()


class _LocalProducts(torch.autograd.Function):
    """(batch, channel, row, column), weight, bias → (batch, filter, row out, column out)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        image = x.permute(2, 0, 3, 1).contiguous()  # (row, batch, column, channel)
        rows, size, columns, _, filters = weight.shape
        out = image.new_empty(rows, columns, len(x), filters)
        for r in range(rows):
            if bias is None:
                out[r].zero_()
            else:
                out[r].copy_(bias[r, :, None].expand_as(out[r]))
            for i in range(size):
                out[r].baddbmm_(_patches(image[r * stride + i], columns, size, stride), weight[r, i])
        ctx.save_for_backward(image, weight)
        ctx.stride, ctx.has_bias = stride, bias is not None
        return _transposed(out)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        image, weight = ctx.saved_tensors
        stride, grad = ctx.stride, _transposed(gradients[0].contiguous())  # (row out, column out, batch, filter)
        rows, size, columns, _, _ = weight.shape
        grad_weight = torch.empty_like(weight)
        grad_image = torch.zeros_like(image) if ctx.needs_input_grad[0] else None
        for r in range(rows):
            for i in range(size):
                patches = _patches(image[r * stride + i], columns, size, stride)  # (column out, batch, size · channel)
                torch.bmm(patches.transpose(1, 2), grad[r], out=grad_weight[r, i])
                if grad_image is not None:
                    products = torch.bmm(grad[r], weight[r, i].transpose(1, 2)).unflatten(2, (size, -1))
                    for j in range(size):  # columns of different patches overlap, so one after another
                        touched = grad_image[r * stride + i][:, j : j + stride * (columns - 1) + 1 : stride]
                        touched += products[:, :, j].transpose(0, 1)
        grad_bias = grad.sum(dim=2) if ctx.has_bias else None
        return (None if grad_image is None else grad_image.permute(1, 3, 0, 2)), grad_weight, grad_bias, None


def _transposed(x: Tensor) -> Tensor:
    """(a, b, c, d) → (c, d, a, b), written as the transpose of a matrix, for which torch has a fast path."""
    a, b, c, d = x.shape
    return x.view(a * b, c * d).t().contiguous().view(c, d, a, b)


def _patches(row: Tensor, columns: int, size: int, stride: int) -> Tensor:
    """A view of one row, (batch, column, channel) → (column out, batch, size · channel): nothing is copied."""
    batch, width, channels = row.shape
    return row.as_strided((columns, batch, size * channels), (stride * channels, width * channels, 1))
