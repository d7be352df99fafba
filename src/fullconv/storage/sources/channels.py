"""Which axis of an array is that of the channels, and grey and RGB into each other."""

from __future__ import annotations

import numpy as np

from fullconv.errors import UsageError
from fullconv.geometry import times
from fullconv.storage.images import BLOCK, luminance
from fullconv.storage.raster import Array


def spatial_axes(shape: tuple[int, ...], axes: int | None) -> int:
    """How many axes of an array are spatial: the first `axes` of them, if that is said.

    Otherwise all of one or two, and of more all but the last, which is that of the channels.
    Raises UsageError where `axes` does not fit.
    """
    dims = len(shape)
    if axes is None:
        return dims if dims < 3 else dims - 1
    if axes not in (dims, dims - 1) or axes < 1:
        raise UsageError(
            f"an array of shape {times(shape)} was said to have {axes} spatial axes.",
            why="There may be one more, of its channels, at the end.",
        )
    return axes


def in_channels(pixels: Array, channels: int) -> Array:
    """Pixels `(*space, colours)` with the channels asked for."""
    colours = pixels.shape[-1]
    if colours == channels:
        return pixels
    if colours == 1:
        return np.repeat(pixels, channels, axis=-1)
    space = pixels.shape[:-1]
    found = np.empty((*space, 1), pixels.dtype)
    flat, out = pixels.reshape(-1, 1, colours), found.reshape(-1, 1, 1)
    for start in range(0, len(flat), BLOCK):
        out[start : start + BLOCK] = luminance(flat[start : start + BLOCK])
    return found
