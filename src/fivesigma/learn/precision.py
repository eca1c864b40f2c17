"""In which precision a network trains, and how far its scores are from those in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from fivesigma.core.errors import ConfigError

Precision = Literal["auto", "float32", "bfloat16"]
_CHECKED_EVENTS = 4096
_EVENTS_AT_ONCE = 512


def has_bfloat16_units(device: torch.device) -> bool:
    """Whether the device has units for bfloat16: AMX or AVX512-BF16 on a CPU, tensor cores on CUDA."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return False


def use_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Resolve ``precision`` for this device; "bfloat16" is taken at its word even where it is emulated."""
    if precision not in {"auto", "float32", "bfloat16"}:
        raise ConfigError(f"unknown precision {precision!r}; known: auto, float32, bfloat16")
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16_units(device))


@contextmanager
def autocast(device: torch.device, enabled: bool) -> Iterator[None]:
    """Matrix products and convolutions in bfloat16 inside; weights, sums and losses stay in float32."""
    with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
        yield


def score_disagreement(
    network: nn.Module, X: Tensor, device: torch.device, link: Callable[[Tensor], Tensor] = torch.sigmoid
) -> float:
    """The largest difference of what ``link`` makes of outputs (the signal probability) between bfloat16 and float32,
    over up to 4096 events of X.
    """
    network.eval()
    largest = 0.0
    with torch.inference_mode():
        for part in X[:_CHECKED_EVENTS].split(_EVENTS_AT_ONCE):
            exact = link(network(part.to(device)).float())
            with autocast(device, enabled=True):
                rounded = link(network(part.to(device)).float())
            largest = max(largest, float((exact - rounded).abs().max()))
    return largest
