"""From what a person names as an image to the numbers a network takes."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from fullconv.errors import InputError, UsageError
from fullconv.geometry import Grid
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.storage import MAX_PIXELS
from fullconv.storage.images import Image, read_image

Numbers = tuple[float, ...]
Source = str | os.PathLike[str] | Image | npt.NDArray[np.uint8]
"""A file, an image that was read, or pixels `(H, W, channels)` uint8."""


def check_fcn(fcn: FCN, purpose: str) -> None:
    """Raise UsageError for what is no FCN of images with its class names; `purpose` needs one."""
    if not isinstance(fcn, FCN):
        raise UsageError(
            f"{purpose} needs an FCN, not a {type(fcn).__name__}.",
            hint="Make one with fullconv.convert(model, window).",
        )
    if len(fcn.window) != 2:
        raise UsageError(f"an image has two spatial axes, and this network has {len(fcn.window)}.")
    classes, count = fcn.about.classes, fcn.plan.outputs
    if classes is not None and len(classes) != count:
        raise UsageError(f"there are {len(classes)} class names for {count} scores.")


def given_image(source: Source, channels: int, max_pixels: int = MAX_PIXELS) -> Image:
    """The image that was named, with the channels a network takes.

    Raises InputError for one that cannot be read, has other channels or is above `max_pixels`.
    """
    if isinstance(source, Image):
        if source.channels == channels:
            return source
        raise InputError(
            f"the image has {source.channels} channels, and the network takes {channels}.",
            where=str(source.path),
            hint=f"Read it with read_image(path, channels={channels}).",
        )
    if isinstance(source, np.ndarray):
        if source.ndim != 3 or source.shape[2] != channels or source.dtype != np.uint8:
            raise InputError(
                f"pixels of shape {source.shape}, {source.dtype}; the network takes (H, W, "
                f"{channels}) uint8."
            )
        return Image(Path("array"), source)
    if not isinstance(source, str | os.PathLike):
        raise UsageError(
            f"a {type(source).__name__} is no image.",
            hint="Name a file, or give pixels (H, W, channels) as an array of uint8.",
        )
    return read_image(source, channels=channels, max_pixels=max_pixels)


def grid_of(fcn: FCN, image: Image) -> Grid:
    """The windows of an image. Raises InputError, naming its file, if there is no whole one."""
    check_fcn(fcn, "a map")
    try:
        return fcn.grid(image.size)
    except InputError as error:
        where = str(image.path)
        raise InputError(error.what, where=where, why=error.why, hint=error.hint) from error


def prepared(image: Image, mean: Numbers, std: Numbers) -> Tensor:
    """The pixels as a network wants them: `(1, C, H, W)`, scaled to 0..1 and normalised."""
    check_preparation(image.channels, mean, std)
    pixels = image.scaled()
    pixels -= np.asarray(mean, np.float32)
    pixels /= np.asarray(std, np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]  # (H, W, C) -> (1, C, H, W)


def check_preparation(channels: int, mean: Numbers, std: Numbers) -> None:
    """Raise UsageError for a mean or std that does not fit the channels of an image."""
    for name, numbers in (("mean", mean), ("std", std)):
        if len(numbers) not in (1, channels):
            few = "1 channel" if channels == 1 else f"{channels} channels"
            raise UsageError(
                f"{name} has {len(numbers)} numbers, but the network takes {few}.",
                hint="Give one number, or one per channel.",
            )
        if not all(map(math.isfinite, numbers)) or (
            name == "std" and not all(x > 0 for x in numbers)
        ):
            raise UsageError(
                f"{name}={','.join(f'{number:g}' for number in numbers)} cannot be.",
                why="Pixels, from 0 to 1, have the mean subtracted and are divided by the std.",
                hint="Both are finite, and every std is above 0.",
            )


def resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """An image `(N, C, H, W)` at `size` px: bilinear, antialiased where it shrinks.

    Pixel `i`, which covers `[i, i + 1)`, keeps its place: its centre `i + 1/2` goes to
    `(i + 1/2) * new / old`. An image that has the size is returned as it is.
    """
    if tuple(x.shape[2:]) == tuple(size):
        return x
    # Weights that sum to one: normalising before or after makes no difference.
    return F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)
