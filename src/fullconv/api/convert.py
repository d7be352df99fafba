"""From a classifier to its FCN."""

from __future__ import annotations

import torch
from torch import nn

from fullconv.errors import UsageError
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.read import Reading, read
from fullconv.hosts.torch_fx.write import apply
from fullconv.surgery.plan import Plan
from fullconv.surgery.planner import METHODS, make_plan

CONTEXTS = ("window", "image")

Size = int | tuple[int, ...]


def convert(
    model: nn.Module,
    window: Size = 224,
    *,
    stride: Size | None = None,
    context: str = "window",
    method: str | None = None,
    example: torch.Tensor | None = None,
) -> FCN:
    """The fully convolutional network that computes `model` at every window of an image.

    Args:
        model: a CNN classifier, `(N, C, *window)` to `(N, K)`. It stays as it is.
        window: its input size in px; one number for all axes, or one per axis.
        stride: px between neighbouring windows of the map; the native one by default.
        context: what ops that look at the whole map (squeeze-excite, norms over space) see in an
            image larger than the window: "window", the window-sized box around every cell, or
            "image", all of it.
        method: how a finer stride is reached: "dilate" (à-trous) or "fragments" (phases in the
            batch). Both give the same map; in a padded network cells between those of the native
            stride may differ where they see the far borders. "dilate" is the default.
        example: an input `(N, C, *space)`, needed only where the number of channels or axes
            cannot be found from the convolutions.

    Returns:
        An `nn.Module` in inference mode, `(N, C, *space)` to `(N, K, *cells)`, that shares its
        parameters with `model`: converting copies no weights.

    Raises:
        RefusedError: the network cannot be converted exactly; every place is named.
        UsageError: an argument does not fit the network.
    """
    reading = read(model, window, example)
    return apply(_planned(reading, stride, context, method), reading)


def plan(
    model: nn.Module,
    window: Size = 224,
    *,
    stride: Size | None = None,
    context: str = "window",
    method: str | None = None,
    example: torch.Tensor | None = None,
) -> Plan:
    """The edits `convert` would make, without making them. Arguments and errors as there.

    Needs shapes only: a model on the meta device will do.
    """
    return _planned(read(model, window, example), stride, context, method)


def _planned(reading: Reading, stride: Size | None, context: str, method: str | None) -> Plan:
    method = METHODS[0] if method is None else method
    for name, value, known in (("context", context, CONTEXTS), ("method", method, METHODS)):
        if value not in known:
            raise UsageError(f"{name}={value!r} must be one of {', '.join(map(repr, known))}.")
    return make_plan(reading.blueprint, stride=stride, context=context, method=method)
