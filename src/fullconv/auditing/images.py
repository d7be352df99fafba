"""The images of an audit: as they are given, as many as are looked at, and prepared."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from torch import Tensor

from fullconv.errors import InputError, UsageError
from fullconv.evaluate.preparation import Source, check_preparation, given_image, prepared
from fullconv.geometry import times
from fullconv.hosts.torch_fx.fcn import About
from fullconv.storage import MAX_PIXELS
from fullconv.storage.images import Image

Given = Source | PIL.Image.Image | Tensor
"""An image as `fullconv.classify` takes it, one of Pillow, or a tensor that is prepared already."""

Images = Given | Iterable[Given] | Mapping[str, Given]

MOST_IMAGES = 32
"""No section looks at more; all that are taken are held in memory at full size."""

_DEEP = ("I", "F")
"""Modes of Pillow, and their kin `I;16` …, whose range says nothing about black and white."""

T = TypeVar("T")


def spread(entries: Sequence[T], most: int = MOST_IMAGES) -> list[T]:
    """As many entries as are looked at, the first and the last among them, evenly spread."""
    count = min(most, len(entries))
    step = (len(entries) - 1) / max(1, count - 1)
    return [entries[round(place * step)] for place in range(count)]


def left_aside(count: int, most: int = MOST_IMAGES) -> list[str]:
    """What is said of the images that `spread` leaves out of `count`; nothing where it takes all.

    At most one sentence.
    """
    if count <= most:
        return []
    return [
        f"Of {count:,} images {most:,} are looked at, evenly spread over them; "
        f"{count - most:,} were left aside."
    ]


def entries_of(given: Images | None, dims: int) -> list[tuple[str, Any]]:
    """Every image with its name, as it was given; prepared tensors `(N, C, *space)` one by one.

    Raises UsageError for what cannot be images.
    """
    found: list[tuple[str, Any]] = []
    for name, source in _named(given):
        several = isinstance(source, Tensor) and source.ndim == dims + 2
        if several and len(source) > 1:
            found += [(f"{name} ({place})", one[None]) for place, one in enumerate(source, 1)]
        else:
            found.append((name, source))
    return found


def prepare(
    source: Any,
    name: str,
    *,
    channels: int,
    window: tuple[int, ...],
    about: About,
    max_pixels: int = MAX_PIXELS,
) -> Tensor:
    """An image `(1, C, *space)` as the network takes it.

    Raises InputError, naming it, for one that cannot be read, does not fit or is below the window;
    UsageError for what is no image, and for pixels where the network has other than two axes.
    """
    if isinstance(source, Tensor):
        pixels = _checked(source, channels, len(window), name)
        check_covers(tuple(pixels.shape[2:]), window, name)
        return pixels
    check_preparation(channels, about.mean, about.std)
    if len(window) != 2:
        raise UsageError(
            f"an image file has two spatial axes, and this network has {len(window)}.",
            where=name,
            hint="Give prepared tensors (C, *space).",
        )
    if isinstance(source, PIL.Image.Image):
        source = _of_pillow(source, channels, name)
    image = given_image(source, channels, max_pixels)
    check_covers(image.size, window, name)
    return prepared(image, about.mean, about.std)


def check_covers(size: Sequence[int], window: Sequence[int], name: str) -> None:
    """Raise InputError for an image below the window, px per axis; `name` is the image's."""
    if any(n < w for n, w in zip(size, window, strict=True)):
        raise InputError(
            f"the image is {times(size)} px, smaller than the {times(window)} window of the "
            "classifier.",
            where=name,
            why="A score needs one whole window.",
            hint="Use a larger image, or enlarge this one to at least the window.",
        )


def _named(given: Images | None) -> Iterable[tuple[str, Any]]:
    """Every source with its name."""
    if given is None:
        return
    if isinstance(given, Mapping):
        yield from ((str(name), source) for name, source in given.items())
        return
    single = isinstance(given, str | os.PathLike | Image | PIL.Image.Image | Tensor | np.ndarray)
    if not single and (not isinstance(given, Iterable) or isinstance(given, bytes)):
        raise UsageError(
            f"images cannot be of type {type(given).__name__}.",
            hint="Give files, pixels or prepared tensors: one, several, or a mapping with names.",
        )
    entries: Iterable[Any] = [given] if single else given  # type: ignore[assignment]
    for index, source in enumerate(entries, 1):
        if isinstance(source, str | os.PathLike):
            yield Path(source).name, source
        elif isinstance(source, Image):
            yield Path(source.path).name, source
        else:
            yield f"image {index}", source


def _checked(x: Tensor, channels: int, dims: int, name: str) -> Tensor:
    """A prepared image as `(1, C, *space)`, all of it finite."""
    batch = x[None] if x.ndim == dims + 1 else x
    if batch.ndim != dims + 2 or batch.shape[1] != channels or len(batch) != 1:
        raise InputError(
            f"an image of shape {tuple(x.shape)} does not fit a network of {channels} channels "
            f"and {dims} spatial axes.",
            where=name,
        )
    if batch.is_complex():
        raise InputError("its numbers are complex, and an image has real ones.", where=name)
    pixels = batch.detach().float().cpu()
    wrong = int((~torch.isfinite(pixels)).sum())
    if wrong:
        raise InputError(
            f"{wrong:,} of {pixels.numel():,} numbers of the image are not finite (NaN or "
            "infinite).",
            where=name,
            why="They make scores that are not finite either.",
            hint="Leave this image out, or see how it was prepared.",
        )
    return pixels


def _of_pillow(image: PIL.Image.Image, channels: int, name: str) -> Image:
    """An image of Pillow as a file with these pixels is read: upright, laid over white."""
    if channels not in (1, 3) or image.mode.partition(";")[0] in _DEEP:
        raise UsageError(
            f"a Pillow image of mode {image.mode} cannot be taken for {channels} channels.",
            where=name,
            hint="Name its file, or give pixels (H, W, channels) as an array of uint8.",
        )
    try:
        upright = PIL.ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            over = upright.convert("RGBA")
            white = PIL.Image.new("RGBA", over.size, "white")
            upright = PIL.Image.alpha_composite(white, over)
        pixels = np.asarray(upright.convert("L" if channels == 1 else "RGB"))
    except OSError as error:  # Pillow reads a file only where its pixels are asked for
        raise InputError(f"the image cannot be read: {error}.", where=name) from error
    return Image(Path(name), pixels.reshape(*pixels.shape[:2], channels))
