"""Random weights under which nothing hides: every part of a network shows in its scores."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

SPREAD = 0.3
"""Standard deviation of what is drawn around parameters that all had one value."""

FLAT = 1e-4
"""Parameters that differ by less than this have one value (layer scales start at 1e-6)."""


def redraw(
    model: nn.Module, window: tuple[int, ...], channels: int = 3, seed: int = 0
) -> nn.Module:
    """`model` in float64 and inference mode, in place, with numbers worth comparing.

    Initialisation leaves layer scales, gains, gates and biases at 0, 1 or 1e-6: whole branches
    would not show. They are drawn around their values. Batch norms get the statistics of one random
    image `(1, channels, *window)`, disturbed, so that scores stay finite in the deepest network.
    """
    model.double().eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() and float(parameter.max() - parameter.min()) < FLAT:
                outputs, *inputs = parameter.shape or (1,)
                # A weight of many inputs stays as small as its layer wants it; (1, C, 1, 1) scales.
                fan_in = math.prod(inputs) if outputs > 1 else 1
                _disturb(parameter, SPREAD / math.sqrt(fan_in), draw)
        hooks = [
            module.register_forward_pre_hook(lambda norm, inputs: _calibrate(norm, inputs, draw))
            for module in model.modules()
            if isinstance(module, _BatchNorm) and module.running_mean is not None
        ]
        model(noise(channels, window, seed + 1))
        for hook in hooks:
            hook.remove()
    return model


def noise(channels: int, size: tuple[int, ...], seed: int) -> Tensor:
    """A random image `(1, channels, *size)` in float64."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, *size, generator=draw, dtype=torch.float64)


def _disturb(tensor: Tensor, spread: Tensor | float, draw: torch.Generator) -> None:
    tensor += spread * torch.randn(tensor.shape, generator=draw, dtype=tensor.dtype)


def _calibrate(norm: Any, inputs: tuple[Tensor, ...], draw: torch.Generator) -> None:
    """Statistics of a batch norm's input `(1, C, ...)`, each channel's off by a random amount."""
    values = inputs[0].transpose(0, 1).flatten(1)  # (C, cells)
    square = values.square().mean(1)
    # A single cell has no variance: its size has to do. Of a few cells it may be next to nothing by
    # chance, and on another image the channel would drown out all others.
    variance = values.var(1, correction=0) if values.shape[1] > 1 else square
    variance = variance.clamp_min(max(float(variance.mean()), 1e-3 * float(square.mean()), 1e-12))
    norm.running_mean.copy_(values.mean(1))
    _disturb(norm.running_mean, SPREAD * variance.sqrt(), draw)
    norm.running_var.copy_(variance * (0.5 + torch.rand(variance.shape, generator=draw)))
