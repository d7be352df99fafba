"""The first and the last thing an FCN does, and what branches have in common."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fullconv.errors import InputError
from fullconv.geometry import Grid


def check_image(image: Tensor, channels: int, window: Sequence[int]) -> Tensor:
    """`image` itself if an FCN can take it: `(N, channels, *space)`, at least the window.

    Raises InputError.
    """
    wanted = f"(N, {channels}, {', '.join('DHW'[-len(window) :])})"
    if image.ndim != len(window) + 2:
        raise InputError(
            f"the input has shape {tuple(image.shape)}, the network takes {wanted}.",
            hint="Add the batch axis with image[None]." if image.ndim == len(window) + 1 else "",
        )
    if image.shape[1] != channels:
        raise InputError(
            f"the input has {image.shape[1]} channels, the network takes {channels}: {wanted}."
        )
    Grid(tuple(image.shape[2:]), tuple(window), (1,) * len(window))
    return image


def whole_windows(
    scores: Tensor,
    image: Tensor,
    window: Sequence[int],
    stride: Sequence[int],
    step: Sequence[int],
) -> Tensor:
    """The score map without the trailing cells whose window would leave the image.

    `step` takes every n-th cell of a map that is finer than the network's others.
    """
    # (N, K, *cells) -> (N, K, *grid)
    for axis, (size, extent, pixels, every) in enumerate(
        zip(image.shape[2:], window, stride, step, strict=True), 2
    ):
        count = (size - extent) // pixels * every + 1
        if scores.shape[axis] != count:
            # Only then: a network that holds this call is recorded at its window, where there is
            # nothing to cut, and converts again.
            scores = scores.narrow(axis, 0, count)
        if every > 1:
            scores = scores[(slice(None),) * axis + (slice(None, None, every),)]
    return scores


def common(maps: Sequence[Tensor], spared: Sequence[Sequence[int]] = ()) -> list[Tensor]:
    """Maps cut to the cells that all of them have; surplus cells are trailing ones.

    `spared` are (map, axis), axes from 1, that are one cell for the whole image: they stay.
    """
    one = {(place, axis) for place, axis in spared}
    cut = list(maps)
    for axis in range(1, maps[0].ndim - 1):
        free = [place for place in range(len(maps)) if (place, axis) not in one]
        cells = min(maps[place].shape[axis + 1] for place in free)
        for place in free:
            if cut[place].shape[axis + 1] != cells:  # only then: see whole_windows
                cut[place] = cut[place].narrow(axis + 1, 0, cells)
    return cut
