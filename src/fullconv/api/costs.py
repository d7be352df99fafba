"""What a network costs to run, counted without running it."""

from __future__ import annotations

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.tracing import in_eval


def macs(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-accumulate operations of `model` on an input `(N, C, *space)`.

    Convolutions and matrix products, as `torch.utils.flop_counter` counts them, on fake tensors.
    """
    first = next(model.parameters(), torch.empty(0))
    counter = FlopCounterMode(display=False)
    with in_eval(model), torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), counter:
        model(torch.empty(shape, dtype=first.dtype, device=first.device))
    return int(counter.get_total_flops()) // 2


def ceiling(model: nn.Module, fcn: FCN, size: tuple[int, ...]) -> float:
    """How much faster than sliding the FCN can be on an image of `size` px, by its arithmetic.

    The MACs of running the classifier on every window, divided by those of one dense pass.
    """
    crops = len(fcn.grid(size)) * macs(model, (1, fcn.plan.channels, *fcn.window))
    return crops / macs(fcn, (1, fcn.plan.channels, *size))
