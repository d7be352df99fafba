"""Context ops, which see the window-sized box around every cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from fullconv.errors import RefusedError
from fullconv.geometry import Sweep
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.runtime.context import normed
from fullconv.hosts.torch_fx.streaming.worker import Places, Reading, Worker
from fullconv.streams.reach import Nearest, Reach, Same, Swept, boxes

WHOLE = "it sees the whole image, so that no part of the map is known before all of it is read."
HINT = (
    'Convert with context="window" (--context window): it then sees the window-sized box around '
    "every cell."
)


def pool_context(node: fx.Node, reading: Reading) -> Worker:
    """`runtime.pool_context`."""
    names = ("x", "kind", "kernel", "dilation", "local")
    _, kind, kernel, dilation, local = reading.arguments(node, names)
    reaches = _boxes(kernel, dilation, local)

    def run(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        return _surveyed(pieces[0], kind, kernel, dilation, places)

    return Worker(run, reading.map_inputs(node), reaches)


def norm_context(node: fx.Node, reading: Reading) -> Worker:
    """`runtime.norm_context`."""
    names = ("x", "weight", "bias", "eps", "groups", "kernel", "dilation", "local")
    _, weight, bias, eps, groups, kernel, dilation, local = reading.arguments(node, names)
    reaches = _boxes(kernel, dilation, local)

    def run(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        own = tuple(slice(p.start - p.read[0], p.stop - p.read[0]) for p in places)

        def surveyed(moment: Tensor) -> Tensor:
            return _surveyed(moment, "average", kernel, dilation, places)

        return normed(pieces[0], weight, bias, eps, groups, surveyed, own)

    return Worker(run, reading.map_inputs(node), reaches)


def attend(node: fx.Node, reading: Reading) -> Worker:
    """`runtime.attend`."""
    names = ("x", "weights", "kernel", "dilation", "local", "every")
    x, weights, kernel, dilation, local, every = reading.arguments(node, names)
    if every or not local:
        reaches = _boxes(kernel, dilation, local)
    else:
        rows = zip(kernel, dilation, strict=True)
        reaches = tuple(Swept(Sweep(k, 1, (0, 0), d)) for k, d in rows)

    def run(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        values, logarithms = pieces
        raised = logarithms.double()
        share = (raised - raised.amax(tuple(range(2, raised.ndim)), keepdim=True)).exp()

        def total(y: Tensor) -> Tensor:
            if not every:
                return runtime.box(y, "sum", kernel, dilation)
            return _surveyed(y, "sum", kernel, dilation, places)

        return (total(values * share) / total(share)).to(values.dtype)

    return Worker(run, (x, weights), reaches)


def _boxes(kernel: Sequence[int], dilation: Sequence[int], local: bool) -> tuple[Reach, ...]:
    if not local:
        raise RefusedError(WHOLE, hint=HINT)
    rows = zip(kernel, dilation, strict=True)
    return tuple(Nearest(k, d) if k > 1 else Same() for k, d in rows)


def _surveyed(
    x: Tensor, kind: str, kernel: Sequence[int], dilation: Sequence[int], places: Places
) -> Tensor:
    """A reduction over the box of every cell of the places, from what was read of the map."""
    y = runtime.box(x, kind, kernel, dilation)
    for axis, (k, d, place) in enumerate(zip(kernel, dilation, places, strict=True), 2):
        if k > 1:
            firsts = boxes(place.given, k, d)[place.start : place.stop]
            index = [first - place.read[0] for first in firsts]
            y = y.index_select(axis, torch.tensor(index, device=x.device))
    return y


CALLS: dict[Any, Callable[[fx.Node, Reading], Worker]] = {
    runtime.pool_context: pool_context,
    runtime.norm_context: norm_context,
    runtime.attend: attend,
}
