"""New layers fitted to images by least squares, one after the other, before any training."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fullconv.allconv.edits import AverageHead, PoolToConv
from fullconv.allconv.network import AllConvolutional
from fullconv.errors import InputError
from fullconv.geometry import Sweep, times
from fullconv.hosts.torch_fx.tracing import in_eval

RIDGE = 1e-4
"""Times the mean of the squared inputs: keeps inputs that say the same from sharing out wildly."""
CELLS = 100_000
"""Cells per pool that are looked at, at most, drawn evenly."""


def fit(network: AllConvolutional, model: nn.Module, images: Tensor) -> None:
    """Fit the layers of `network` that cannot begin exactly, in place.

    In the order of computation: of a convolution in the place of a max pool, every channel's own
    kernel becomes the filter nearest to the maximum, and the 1×1 convolution of a head of several
    FC layers that which comes nearest to the scores of `model`. Least squares with a small ridge,
    solved in float64; the inputs are what the layers fitted so far give.

    Raises InputError for images of another shape, or below the window.
    """
    plan = network.plan
    expected = f"(N, {plan.channels}, *space) of at least {times(plan.window)} px"
    sizes = tuple(images.shape[2:])
    if (
        images.ndim != len(plan.window) + 2
        or images.shape[1] != plan.channels
        or any(n < w for n, w in zip(sizes, plan.window, strict=True))
    ):
        raise InputError(f"images of shape {tuple(images.shape)} are not {expected}.")
    with in_eval(network), in_eval(model), torch.no_grad():
        for step in plan.steps:
            layer = network.get_submodule(network.layers[step.node]) if _fits(step.edit) else None
            if isinstance(step.edit, PoolToConv) and layer is not None:
                _fit_pool(step.edit, _conv(layer), _input_of(network, layer, images))
            elif isinstance(step.edit, AverageHead) and layer is not None:
                _fit_head(step.edit, layer, _input_of(network, layer, images), model(images))


def _fits(edit: object) -> bool:
    """Whether there is something to fit."""
    if isinstance(edit, PoolToConv):
        return edit.maximum
    return isinstance(edit, AverageHead) and not edit.linear


def _conv(layer: Any) -> nn.Module:
    """The convolution in what stands in the place of a pool."""
    found: nn.Module = layer.conv
    return found


def _input_of(network: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """What a layer gets."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    try:
        network(images)
    finally:
        hook.remove()
    return seen[0]


def _fit_pool(edit: PoolToConv, conv: Any, x: Tensor) -> None:
    """The filters of one pool, channel by channel: `x` is `(N, C, *cells)`."""
    zeros, lowest = _padded(x, edit.sweeps, 0.0), _padded(x, edit.sweeps, float("-inf"))
    maxima = _windows(lowest, edit.sweeps).amax(-1)  # (N, C, *cells)
    taps = _windows(zeros, edit.sweeps)  # (N, C, *cells, taps)
    taps = taps.movedim(1, 0).flatten(1, -2).double()  # (C, M, taps)
    maxima = maxima.movedim(1, 0).flatten(1).double()  # (C, M)
    step = -(-taps.shape[1] // CELLS)
    taps, maxima = taps[:, ::step], maxima[:, ::step]
    weights, bias = _solved(taps, maxima[..., None])  # (C, taps, 1), (C, 1)
    diagonal = torch.arange(edit.channels)
    kernel = conv.weight.shape[2:]
    conv.weight[diagonal, diagonal] = weights[..., 0].reshape(-1, *kernel).to(conv.weight.dtype)
    conv.bias.copy_(bias[:, 0])


def _fit_head(edit: AverageHead, conv: Any, x: Tensor, scores: Tensor) -> None:
    """The 1×1 convolution whose average over the map `(N, C, *cells)` comes nearest to scores."""
    if edit.ending == "sigmoid":
        scores = torch.logit(scores, 1e-6)
    elif edit.ending == "softmax":
        scores = scores.clamp_min(1e-12).log()
    features = x.flatten(2).mean(2).double()  # (N, C)
    weights, bias = _solved(features[None], scores.double()[None])  # (1, C, K), (1, K)
    conv.weight.copy_(weights[0].T.reshape(conv.weight.shape))
    conv.bias.copy_(bias[0])


def _solved(inputs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Weights `(B, I, O)` and biases `(B, O)` nearest to `wanted` `(B, M, O)` of `(B, M, I)`."""
    mean_in, mean_out = inputs.mean(1, keepdim=True), wanted.mean(1, keepdim=True)
    x, y = inputs - mean_in, wanted - mean_out
    gram = x.mT @ x  # (B, I, I)
    level = gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(torch.finfo(gram.dtype).tiny)
    ridge = RIDGE * level[:, None, None] * torch.eye(gram.shape[1], dtype=gram.dtype)
    weights = torch.linalg.solve(gram + ridge.to(gram.device), x.mT @ y)
    return weights, (mean_out - mean_in @ weights)[:, 0]


def _padded(x: Tensor, sweeps: tuple[Sweep, ...], value: float) -> Tensor:
    amounts = [amount for sweep in reversed(sweeps) for amount in sweep.padding]
    return F.pad(x, amounts, value=value) if any(amounts) else x


def _windows(x: Tensor, sweeps: tuple[Sweep, ...]) -> Tensor:
    """The cells under every window of a pool: `(N, C, *cells, taps)`."""
    for axis, sweep in enumerate(sweeps, 2):
        x = x.unfold(axis, sweep.extent, sweep.stride)[..., :: sweep.dilation]
    return x.flatten(x.ndim - len(sweeps))
