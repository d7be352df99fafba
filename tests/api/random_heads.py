"""Random heads: what stands between the body's map and the scores."""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from hypothesis import strategies as st
from random_context import ADAPTIVE
from random_parts import AVERAGE, CHANNELS, CONV, MAX
from torch import Tensor, nn

ADAPTIVE_MAX = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
CLASSES = 3

Members = dict[str, Any]
Forward = Callable[[Any, Tensor], Tensor]


def _to_vector(draw, cells: tuple[int, ...]) -> tuple[Members, Forward, int]:
    """From the map to a vector: members, function, length of the vector."""
    dims, place = len(cells), len(cells) - 1
    space = tuple(range(2, dims + 2))
    name = draw(st.sampled_from(VECTORS))
    if name == "flatten":
        return {}, lambda m, x: x.flatten(1), CHANNELS * prod(cells)
    if name == "flatten, channels last":
        order = (0, *space, 1)
        return {}, lambda m, x: x.permute(order).reshape(x.size(0), -1), CHANNELS * prod(cells)
    if name == "mean":
        return {}, lambda m, x: x.mean(space), CHANNELS
    if name == "maximum":
        return {}, lambda m, x: x.amax(space), CHANNELS
    if name == "mean and maximum":
        return {}, lambda m, x: torch.cat([x.mean(space), x.amax(space)], 1), 2 * CHANNELS
    if name == "mean plus maximum":
        pools = {"mean": ADAPTIVE[place](1), "most": ADAPTIVE_MAX[place](1)}
        return pools, lambda m, x: (0.5 * (m.mean(x) + m.most(x))).flatten(1), CHANNELS
    if name == "generalised mean":
        power = draw(st.sampled_from([2, 3.0, 0.5]))
        mean = {"pool": ADAPTIVE[place](1)}
        return (
            mean,
            lambda m, x: m.pool(x.clamp(min=1e-3).pow(power)).pow(1 / power).flatten(1),
            CHANNELS,
        )
    if name in ("adaptive", "adaptive maximum"):
        size = draw(st.tuples(*[st.integers(1, 4)] * dims))
        if name == "adaptive maximum":  # only bins that divide the map convert
            size = tuple(n if c % n == 0 else 1 for n, c in zip(size, cells, strict=True))
        kinds = ADAPTIVE if name == "adaptive" else ADAPTIVE_MAX
        pool = {"pool": kinds[place](size if dims > 1 else size[0])}
        return pool, lambda m, x: m.pool(x).flatten(1), CHANNELS * prod(size)
    if name == "whole pool":
        # A pool of few cells that steps is taken for a layer of the body.
        steps = cells if min(cells) > 3 else 1
        pool = {"pool": draw(st.sampled_from([MAX, AVERAGE]))[place](cells, steps)}
        return pool, lambda m, x: m.pool(x).flatten(1), CHANNELS
    if name == "channels-last norm":
        last = (0, *space, 1)
        norm = {"norm": nn.LayerNorm(CHANNELS)}
        axes = tuple(range(1, dims + 1))
        return norm, lambda m, x: m.norm(x.permute(last)).mean(axes), CHANNELS
    if name == "covering convolution":
        return {"cover": CONV[place](CHANNELS, 5, cells)}, lambda m, x: m.cover(x).flatten(1), 5
    if name == "scores at every cell":
        conv = {"each": CONV[place](CHANNELS, 5, 1)}
        return conv, lambda m, x: m.each(x).relu().mean(space), 5
    assert name == "convolution, then mean"
    kernel = tuple(draw(st.integers(1, min(3, n))) for n in cells)
    members = {"wide": CONV[place](CHANNELS, 5, kernel), "pool": ADAPTIVE[place](1)}
    return members, lambda m, x: m.pool(m.wide(x)).flatten(1), 5


VECTORS = (
    "flatten", "flatten, channels last", "mean", "maximum", "mean and maximum",
    "mean plus maximum", "generalised mean", "adaptive", "adaptive maximum", "whole pool",
    "channels-last norm", "covering convolution", "scores at every cell",
    "convolution, then mean",
)  # fmt: skip


def _to_scores(draw, length: int) -> tuple[Members, Forward]:
    """From a vector to the scores."""
    name = draw(st.sampled_from(["linear", "linear", "norms", "residual", "softmax"]))
    if name == "linear":
        return {"out": nn.Linear(length, CLASSES)}, lambda m, v: m.out(v)
    if name == "softmax":
        members = {"out": nn.Linear(length, CLASSES), "softmax": nn.Softmax(1)}
        return members, lambda m, v: m.softmax(m.out(v))
    members = {"first": nn.Linear(length, 4), "out": nn.Linear(4, CLASSES)}
    if name == "norms":
        norm = draw(st.sampled_from([nn.BatchNorm1d, nn.BatchNorm1d, nn.LayerNorm]))
        members |= {"hidden_norm": norm(4), "act": nn.ReLU(inplace=draw(st.booleans()))}
        return members, lambda m, v: m.out(m.act(m.hidden_norm(m.first(v))))
    members |= {"up": nn.Linear(4, 6), "down": nn.Linear(6, 4), "act": nn.GELU()}

    def residual(m: Any, v: Tensor) -> Tensor:
        v = m.first(v)
        return m.out(v + m.down(m.act(m.up(v))))

    return members, residual


@st.composite
def heads(draw, cells: tuple[int, ...]) -> tuple[Members, Forward]:
    """A head for a map of `cells` cells: what it is made of, and a function of that and the map."""
    members, to_vector, length = _to_vector(draw, cells)
    more, to_scores = _to_scores(draw, length)
    return members | more, lambda m, x: to_scores(m, to_vector(m, x))
