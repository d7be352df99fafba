"""Grey and RGB into each other, for pixels with any number of spatial axes."""

from __future__ import annotations

import numpy as np

from fullconv.storage.images import BLOCK, luminance
from fullconv.storage.raster import Array


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
