"""The reference for finer strides: the FCN of the native stride, run on shifted images."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from fullconv.errors import UsageError
from fullconv.geometry import per_axis, times
from fullconv.hosts.torch_fx.fcn import FCN, tensors_of


def shift_and_stitch(fcn: FCN, image: Tensor, stride: int | tuple[int, ...]) -> Tensor:
    """The score map of a finer stride, from one full pass for every shift.

    The image is shifted by every multiple of `stride` below the FCN's own stride; the maps are
    interlaced (Long, Shelhamer & Darrell 2015, section 3.2). Where the network pads, each shifted
    image has a border of its own: cells that see it differ from those of `convert(stride=…)`,
    which pads the image once; the cells of the unshifted image never do.

    Args:
        fcn: of a stride that `stride` divides; its first answer is taken.
        image: `(N, C, *space)`.
        stride: px between the windows of neighbouring cells, for all axes or one for each.

    Returns:
        `(N, K, *cells)`.

    Raises UsageError for a stride that does not divide the FCN's, InputError for a small image.
    """
    own = fcn.stride
    wanted = per_axis(stride, len(own), "stride")
    if any(coarse % fine for coarse, fine in zip(own, wanted, strict=True)):
        raise UsageError(f"stride={times(wanted)} does not divide the FCN's, {times(own)}.")
    steps = tuple(coarse // fine for coarse, fine in zip(own, wanted, strict=True))
    size = tuple(image.shape[2:])
    cells = tuple((n - w) // fine + 1 for n, w, fine in zip(size, fcn.window, wanted, strict=True))
    whole: Tensor | None = None
    for phase in product(*(range(min(step, n)) for step, n in zip(steps, cells, strict=True))):
        shifts = [first * fine for first, fine in zip(phase, wanted, strict=True)]
        shifted = image
        for axis, shift in enumerate(shifts, 2):
            shifted = shifted.narrow(axis, shift, shifted.shape[axis] - shift)
        part = tensors_of(fcn(shifted))[0]
        if whole is None:
            whole = torch.empty(*part.shape[:2], *cells, dtype=part.dtype, device=part.device)
        places = [slice(first, None, step) for first, step in zip(phase, steps, strict=True)]
        whole[(slice(None), slice(None), *places)] = part
    assert whole is not None
    return whole
