"""Image files as the tensor to which layers are fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from fullconv.evaluate.preparation import Numbers, prepared, resized
from fullconv.evaluate.scales import Scale
from fullconv.storage import MAX_PIXELS
from fullconv.storage.images import read_image


def at_window(
    files: Sequence[Path],
    window: tuple[int, ...],
    channels: int,
    *,
    mean: Numbers,
    std: Numbers,
    shortest: int | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """The centres of images `(N, channels, *window)`, prepared.

    Each is scaled so that its shortest side has `shortest` px, or so that it just covers the window
    where that is more or nothing is said. Raises InputError for one that cannot be read.
    """
    found = torch.empty(len(files), channels, *window)
    for index, file in enumerate(files):
        image = read_image(file, channels=channels, max_pixels=max_pixels)
        share = max(Fraction(w, n) for w, n in zip(window, image.size, strict=True))
        if shortest is not None:
            share = max(share, Fraction(shortest, min(image.size)))
        size = Scale(factor=share).size(image.size)
        top, left = ((n - w) // 2 for n, w in zip(size, window, strict=True))
        x = resized(prepared(image, mean, std), size)  # (1, C, *size)
        found[index] = x[0, :, top : top + window[0], left : left + window[1]]
        if progress is not None:
            progress(index + 1)
    return found
