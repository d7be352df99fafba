"""What networks are run on in an audit: parts of the user's images, or noise of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fullconv.auditing.measuring.noise import drawn
from fullconv.evaluate.preparation import resized

CROP_BATCH = 8
"""Crops in one call of the classifier."""

_FLAT = 2
"""Axes that `resized` takes at once."""


@dataclass(frozen=True, slots=True)
class Named:
    """An image `(1, C, *space)`, prepared as the network wants it, and its name."""

    name: str
    pixels: Tensor

    @property
    def size(self) -> tuple[int, ...]:
        """Px per axis."""
        return tuple(self.pixels.shape[2:])


def named(images: Sequence[tuple[str, Tensor]]) -> list[Named]:
    """Images as values with a name."""
    return [Named(name, pixels) for name, pixels in images]


def noise(channels: int, size: Sequence[int], seed: int = 0) -> Named:
    """Random numbers of mean 0 and standard deviation 1, in place of an image."""
    return Named("noise", drawn((1, channels, *size), seed=seed))


def patch(image: Tensor, size: Sequence[int]) -> Tensor:
    """The middle of an image `(1, C, *space)` at `size` px.

    An image that is smaller is continued by its mirror image, without repeating the border.
    """
    for axis, (have, want) in enumerate(zip(image.shape[2:], size, strict=True), 2):
        first = (have - want) // 2
        turn = max(1, 2 * (have - 1))
        places = torch.arange(first, first + want).remainder(turn)
        image = image.index_select(axis, torch.minimum(places, turn - places) % have)
    return image


def scaled(image: Tensor, size: Sequence[int]) -> Tensor:
    """An image `(1, C, *space)` of any number of axes, resized to `size` px.

    Linear along every axis, antialiased where it shrinks.
    """
    if len(size) == _FLAT:
        return resized(image, tuple(size))
    for axis, want in enumerate(size, 2):
        lines = image.movedim(axis, -1)
        flat = resized(lines.reshape(1, 1, -1, lines.shape[-1]), (lines[..., 0].numel(), want))
        image = flat.reshape(*lines.shape[:-1], want).movedim(-1, axis)
    return image.contiguous()


def top_classes(scores: Tensor, *, probabilities: bool) -> Tensor:
    """The top class of score vectors `(N, K, ...)`; of a single score, whether it says yes."""
    if scores.shape[1] == 1:
        return (scores[:, 0] > (0.5 if probabilities else 0.0)).long()
    return scores.argmax(1)
