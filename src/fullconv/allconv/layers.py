"""New layers, with the weights they begin with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fullconv.allconv.counts import CONVS
from fullconv.allconv.edits import ConvBeforePool, PoolToConv, uneven
from fullconv.geometry import Sweep

PADS: tuple[type[nn.Module], ...] = (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)


def pool_layer(edit: PoolToConv, like: Tensor) -> nn.Sequential:
    """A convolution in the place of a pool: `conv`, with `pad` before and `relu` behind it."""
    layer = _layer(edit.channels, edit.sweeps, edit.relu, like)
    _fill_diagonal(layer.conv, edit.value)
    return layer


def layer_before(edit: ConvBeforePool, like: Tensor, pool: nn.Module | None) -> nn.Sequential:
    """A convolution before a pool, with that pool behind it where it is a module."""
    layer = _layer(edit.channels, edit.sweeps, edit.relu, like)
    _fill_diagonal(layer.conv, 1.0, tuple(sweep.padding[0] for sweep in edit.sweeps))
    if pool is not None:
        layer.add_module("pool", pool)
    return layer


def padding_layer(sweeps: tuple[Sweep, ...]) -> nn.Module:
    """Zeros around a map as sweeps pad it; negative padding cuts cells off."""
    amounts = tuple(amount for sweep in reversed(sweeps) for amount in sweep.padding)
    return PADS[len(sweeps) - 1](amounts, 0.0)


def _layer(channels: int, sweeps: tuple[Sweep, ...], relu: bool, like: Tensor) -> nn.Sequential:
    dims = len(sweeps)
    apart = uneven(sweeps)
    conv: nn.Module = nn.utils.skip_init(  # type: ignore[no-untyped-call]  # nothing is drawn
        CONVS[dims - 1],
        channels,
        channels,
        tuple(sweep.kernel for sweep in sweeps),
        stride=tuple(sweep.stride for sweep in sweeps),
        padding=(0,) * dims if apart else tuple(sweep.padding[0] for sweep in sweeps),
        dilation=tuple(sweep.dilation for sweep in sweeps),
        device=like.device,
        dtype=like.dtype,
    )
    layer = nn.Sequential()
    if apart:
        layer.add_module("pad", padding_layer(sweeps))
    layer.add_module("conv", conv)
    if relu:
        layer.add_module("relu", nn.ReLU())
    return layer.eval()


def _fill_diagonal(conv: Any, value: float, tap: tuple[int, ...] = ()) -> None:
    """Every channel gets `value` at one tap of itself, or at all; nothing of other channels."""
    channel = torch.arange(conv.out_channels)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[(channel, channel, *tap)] = value
        conv.bias.zero_()
