"""What a network costs to run, counted without running it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import product
from math import prod
from typing import Any

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
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with in_eval(model), torch.no_grad(), fake, counting() as counter:
        model(torch.empty(shape, dtype=first.dtype, device=first.device))
    return int(counter.get_total_flops()) // 2


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """PyTorch's counter, which also counts in here what its own table leaves out.

    Those are attention and recurrent layers as they are fused on a CPU.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # in parts, which are counted
    try:
        with FlopCounterMode(display=False, custom_mapping=_FUSED) as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _attention(
    query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: Any, **__: Any
) -> int:
    """FLOPs of softmax(Q Kᵀ) V, from shapes (…, positions, features)."""
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _recurrent(
    steps: tuple[int, ...], inputs: tuple[int, ...], states: tuple[int, ...], *_: Any, **__: Any
) -> int:
    """FLOPs of one layer: steps (T, N, features), and its weights for inputs and for states."""
    return 2 * prod(steps[:2]) * (prod(inputs) + prod(states))


_FUSED = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten.mkldnn_rnn_layer: _recurrent,
}


def ceiling(model: nn.Module, fcn: FCN, size: tuple[int, ...]) -> float:
    """How much faster than sliding the FCN can be on an image of `size` px, by its arithmetic.

    The MACs of running the classifier on every window, divided by those of one dense pass.
    """
    crops = len(fcn.grid(size)) * macs(model, (1, fcn.plan.channels, *fcn.window))
    return crops / macs(fcn, (1, fcn.plan.channels, *size))


def macs_per_pixel(fcn: FCN) -> Fraction:
    """What one more px of a large image costs in a dense pass, in MACs, exactly.

    Images grow by whole native strides here, so that every map grows by whole cells. The MACs are
    then linear in every side, and this is what multiplies the product of the sides.
    """
    window, steps = fcn.window, fcn.plan.native_stride
    found = 0
    for corner in product((0, 1), repeat=len(window)):
        sides = (w + s * far for w, s, far in zip(window, steps, corner, strict=True))
        sign = 1 if (len(window) - sum(corner)) % 2 == 0 else -1
        found += sign * macs(fcn, (1, fcn.plan.channels, *sides))
    return Fraction(found, prod(steps))


def ceiling_of_large_images(model: nn.Module, fcn: FCN) -> float:
    """What `ceiling` comes near to on ever larger images.

    The MACs of a window for every cell, one in as many px as the strides multiply to, divided by
    those of a px of the dense pass. 0 where a pass has none.
    """
    window = macs(model, (1, fcn.plan.channels, *fcn.window))
    each = macs_per_pixel(fcn)
    return float(Fraction(window, prod(fcn.stride)) / each) if each else 0.0
