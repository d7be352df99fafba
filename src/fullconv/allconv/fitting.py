"""New layers fitted to images by least squares, one after the other, before any training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from fullconv.allconv.edits import PoolToConv, ScoresHead
from fullconv.allconv.heads import exact_head, head_of
from fullconv.allconv.network import AllConvolutional
from fullconv.allconv.plan import AllConvPlan
from fullconv.allconv.surroundings import behind
from fullconv.allconv.write import apply
from fullconv.errors import InputError, UsageError
from fullconv.geometry import Sweep, times
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.read import Reading
from fullconv.hosts.torch_fx.runtime.pools import padded, taps
from fullconv.surgery.plan import Plan

PIXELS = 2**18
"""Pixels that go through the network at a time, about."""
CELLS = 2**21
"""Numbers of a map that are looked at at a time, about."""
RIDGE = 1e-6
"""Of a pool's filter, times its mean square: where inputs say the same it stays the average."""
RIDGES = tuple(10.0**power for power in range(-8, 3))
"""Of the scores, times the mean square of the features: that is taken which leaves out best."""


def check_images(images: Tensor, plan: Plan) -> None:
    """Raise UsageError for what is no tensor, InputError for images that cannot be fitted to."""
    axes = ", ".join("DHW"[-len(plan.window) :])
    wanted = f"(N, {plan.channels}, {axes}), at least {times(plan.window)} px"
    if not isinstance(images, Tensor):
        raise UsageError(f"images must be a tensor {wanted}, got a {type(images).__name__}.")
    if not images.is_floating_point():
        raise InputError(
            f"the images are {str(images.dtype).removeprefix('torch.')}, no prepared numbers.",
            hint="Scale pixels to 0..1, subtract the mean and divide by the standard deviation.",
        )
    fits = (
        images.ndim == len(plan.window) + 2
        and len(images) > 0
        and images.shape[1] == plan.channels
        and all(n >= w for n, w in zip(images.shape[2:], plan.window, strict=True))
    )
    if not fits:
        raise InputError(f"the images have shape {tuple(images.shape)}; wanted are {wanted}.")
    if not bool(images.isfinite().all()):
        raise InputError("the images hold numbers that are not finite.")


@torch.no_grad()
def fit(network: AllConvolutional, plan: Plan, reading: Reading, images: Tensor) -> None:
    """Fit the layers of `network` that cannot begin exactly, in place.

    In the order of computation: in the place of a max pool every channel's own kernel becomes the
    filter, with a bias, nearest to the maximum, and the 1×1 convolution of a head that is not
    affine the one whose mean comes nearest to the classifier's scores. Least squares in float64;
    what a layer gets is what the network gives that was built so far.
    """
    for step in network.plan.steps:
        if not step.layer:
            continue
        layer = network.get_submodule(step.layer)
        if isinstance(step.edit, PoolToConv) and step.edit.maximum:
            seen = _inputs(network, layer, images)
            _fit_pool(step.edit, layer.conv, seen)
        elif isinstance(step.edit, ScoresHead) and not step.edit.affine:
            features = [x.double().flatten(2).mean(2) for x in _inputs(network, layer, images)]
            wanted = _scores(network.plan, plan, reading, images)
            _fit_scores(layer, torch.cat(features), wanted)


class _ReachedError(Exception):
    """The layer that was asked for has been reached."""


def _batches(images: Tensor) -> tuple[Tensor, ...]:
    return torch.split(images, max(1, PIXELS // prod(images.shape[2:])))


def _inputs(network: nn.Module, layer: nn.Module, images: Tensor) -> Iterator[Tensor]:
    """What a layer of a network gets, batch by batch."""
    like = next(layer.parameters())
    seen: list[Tensor] = []

    def stop(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append(given[0])
        raise _ReachedError

    handle = layer.register_forward_pre_hook(stop)
    try:
        for batch in _batches(images):
            try:
                network(batch.to(like))
            except _ReachedError:
                yield seen.pop()
    finally:
        handle.remove()


def _fit_pool(edit: PoolToConv, conv: Any, maps: Iterator[Tensor]) -> None:
    """The filters of one pool; `maps` are `(N, C, *cells)`.

    The average is what a filter is drawn to: it is solved for what is added to that.
    """
    count = 0
    channels, kernel = conv.weight.shape[0], conv.weight.shape[2:]
    size = prod(kernel) + 2  # the taps, one, and what is missing to the maximum
    gram = torch.zeros(channels, size, size, dtype=torch.float64, device=conv.weight.device)
    for x in maps:
        for part in torch.split(x, max(1, CELLS // x[0].numel())):
            rows = _rows(part.double(), edit.sweeps)  # (C, taps + 2, M)
            gram += rows @ rows.mT
            count += rows.shape[2]
    gram /= count
    inputs, wanted = gram[:, :-1, :-1], gram[:, :-1, -1:]
    level = inputs.diagonal(dim1=1, dim2=2)[:, :-1].mean(1)  # (C,)
    ridge = torch.diag_embed((RIDGE * level + torch.finfo(gram.dtype).tiny)[:, None].expand(
        channels, size - 2))  # fmt: skip
    inputs[:, :-1, :-1] += ridge
    added = torch.linalg.solve(inputs, wanted)[..., 0]  # (C, taps + 1)
    channel = torch.arange(channels)
    filters = added[:, :-1] + edit.value
    conv.weight[channel, channel] = filters.reshape(channels, *kernel).to(conv.weight.dtype)
    conv.bias.copy_(added[:, -1])


def _rows(x: Tensor, sweeps: tuple[Sweep, ...]) -> Tensor:
    """Per channel: what every tap sees, ones, and the maximum less the average `(C, taps + 2, M)`.

    Around the map a convolution sees zeros, and the maximum is that of the cells that are there.
    """
    pairs = [sweep.padding for sweep in sweeps]
    seen = [padded(x, pairs)]
    for axis, sweep in enumerate(sweeps, 2):
        seen = [t for y in seen for t in taps(y, axis, sweep.kernel, sweep.stride, sweep.dilation)]
    kernel, stride, dilation = (
        [getattr(sweep, name) for sweep in sweeps] for name in ("kernel", "stride", "dilation")
    )
    largest = runtime.max_pool(x, kernel, stride, pairs, dilation)
    stacked = torch.stack(seen, 2)  # (N, C, taps, *cells)
    missing = largest - stacked.mean(2)
    rows = torch.cat([stacked, torch.ones_like(missing)[:, :, None], missing[:, :, None]], 2)
    rows = rows.flatten(3).movedim(0, 2)  # (C, taps + 2, N, cells)
    return rows.flatten(2)


def _scores(changes: AllConvPlan, plan: Plan, reading: Reading, images: Tensor) -> Tensor:
    """The classifier's scores `(N, K)` of images, before its ending: the mean over their map."""
    head = head_of(reading.blueprint, behind(reading.blueprint, [cut.node for cut in plan.cuts]))
    steps = tuple(exact_head(reading.blueprint, plan, head))
    kept = replace(changes, pools="keep", head="exact", steps=steps, ending=())
    classifier = apply(kept, plan, reading, share=True)
    like = next(classifier.parameters())
    return torch.cat([classifier(batch.to(like)).double() for batch in _batches(images)])


def _fit_scores(conv: Any, features: Tensor, wanted: Tensor) -> None:
    """Weights and bias nearest to `wanted` `(N, K)` of `features` `(N, C)`.

    Of several ridges that one is taken with which an image that is left out is told best; for all
    images this follows from one decomposition (the PRESS statistic, Allen 1974).
    """
    mean_in, mean_out = features.mean(0), wanted.mean(0)
    x, y = features - mean_in, wanted - mean_out
    u, s, v = torch.linalg.svd(x, full_matrices=False)  # (N, R), (R,), (R, C)
    level = s.square().sum() / x.shape[1]
    told = u.T @ y  # (R, K)

    def shares(ridge: float) -> Tensor:
        kept: Tensor = s.square() / (s.square() + ridge * level + torch.finfo(s.dtype).tiny)
        return kept

    def left_out(ridge: float) -> float:
        share = shares(ridge)
        leverage = (u.square() * share).sum(1) + 1 / len(x)
        residual = y - u @ (share[:, None] * told)
        return float((residual / (1 - leverage).clamp_min(1e-9)[:, None]).square().sum())

    ridge = min(RIDGES, key=left_out)
    inverse = shares(ridge) / s.clamp_min(torch.finfo(s.dtype).tiny)
    weights = v.T @ (inverse[:, None] * told)  # (C, K)
    conv.weight.copy_(weights.T.reshape(conv.weight.shape))
    conv.bias.copy_(mean_out - mean_in @ weights)
