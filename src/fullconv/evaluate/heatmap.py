"""Where a class is: the score map of an image, and the picture of it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fullconv.errors import FullconvError, InputError, UsageError
from fullconv.evaluate.class_names import find_class
from fullconv.evaluate.pictures.overlay import Overlay, overlay
from fullconv.geometry import Box, Grid, times
from fullconv.hosts.torch_fx.fcn import FCN, tensors_of
from fullconv.hosts.torch_fx.tracing import in_eval
from fullconv.storage.images import Image, read_image

Floats = npt.NDArray[np.float32]
Numbers = tuple[float, ...]

MAP_FORMAT = "fullconv-map-1"


@dataclass(frozen=True, slots=True, eq=False)
class Heatmap:
    """The scores of an image and one class to look at.

    Attributes:
        image: the image, upright.
        scores: the network's own scores, `(K, rows, cols)`.
        probabilities: the same as probabilities, `(K, rows, cols)`: softmax over the classes, the
            logistic function for a single score, or the scores themselves if the network already
            ends in a softmax or a logistic function.
        grid: which window each cell stands for.
        index: the class to look at.
        classes: names of the classes, or None.
    """

    image: Image
    scores: Floats
    probabilities: Floats
    grid: Grid
    index: int
    classes: tuple[str, ...] | None

    @property
    def name(self) -> str:
        """The class by its name, or its number."""
        return self.classes[self.index] if self.classes else f"class {self.index}"

    @property
    def values(self) -> Floats:
        """The probability of the class, `(rows, cols)`."""
        values: Floats = self.probabilities[self.index]
        return values

    @property
    def peak(self) -> tuple[float, Box]:
        """The highest probability of the class, and the window it belongs to in px."""
        place = np.unravel_index(int(self.values.argmax()), self.values.shape)
        cell = tuple(int(i) for i in place)
        return float(self.values[cell]), self.grid.box(*cell)

    def overlay(self, *, opacity: float = 0.55) -> Overlay:
        """The class painted over the image, from 0 to 1, with a colour bar."""
        return overlay(
            self.image.as_rgb8(),
            self.values,
            self.grid,
            title=self.name,
            low=0.0,
            high=1.0,
            opacity=opacity,
        )

    def geometry(self) -> dict[str, Any]:
        """Where the cells lie: what a reader of the raw map needs, JSON-serialisable.

        Cell `(i, j)` stands for the window whose first pixel is `offset + (i, j) * stride`.
        """
        return {
            "format": MAP_FORMAT,
            "image": str(self.image.path),
            "size": list(self.grid.size),
            "window": list(self.grid.window),
            "stride": list(self.grid.stride),
            "offset": [0, 0],
            "shape": list(self.scores.shape),
            "axes": ["class", "row", "col"],
            "classes": list(self.classes) if self.classes else None,
        }


def heatmap(
    fcn: FCN,
    image: str | os.PathLike[str] | Image | npt.NDArray[np.uint8],
    target: SupportsIndex | str | None = None,
    *,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    max_pixels: int = 200_000_000,
) -> Heatmap:
    """Score every window of an image.

    Args:
        fcn: the network; with two spatial axes. Run in inference mode.
        image: a file, or pixels `(H, W, 3)` or `(H, W, 1)`, uint8.
        target: the class to look at, by name or number; the one that is most probable anywhere
            by default.
        mean, std: of pixels scaled to 0..1, as the network was trained; `fcn.about` by default.
        max_pixels: refuse larger files, before they are decoded.

    Raises InputError for an image that cannot be read or is smaller than the window or a map that
    holds NaN, UsageError for a class the network does not have, and FullconvError where memory does
    not suffice.
    """
    if not isinstance(fcn, FCN):
        raise UsageError(
            f"a heat map needs an FCN, not a {type(fcn).__name__}.",
            hint="Make one with fullconv.convert(model, window).",
        )
    classes = fcn.about.classes
    index = None if target is None else find_class(target, classes, fcn.plan.outputs)
    picture = _image(image, fcn.plan.channels, max_pixels)
    grid = grid_of(fcn, picture)
    x = prepared(picture, mean or fcn.about.mean, std or fcn.about.std)
    scores = _scores(fcn, x, picture)
    probabilities = _probabilities(fcn, scores)
    if index is None:
        index = int(probabilities.flatten(1).amax(1).argmax())
    return Heatmap(picture, scores.cpu().numpy(), probabilities.cpu().numpy(), grid, index, classes)


def grid_of(fcn: FCN, image: Image) -> Grid:
    """The windows of an image. Raises InputError, naming its file, if there is no whole one."""
    if len(fcn.window) != 2:
        raise UsageError(f"an image has two spatial axes, and this network has {len(fcn.window)}.")
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


def _image(
    image: str | os.PathLike[str] | Image | npt.NDArray[np.uint8], channels: int, max_pixels: int
) -> Image:
    if isinstance(image, Image):
        if image.channels == channels:
            return image
        raise InputError(
            f"the image has {image.channels} channels, and the network takes {channels}.",
            where=str(image.path),
            hint=f"Read it with read_image(path, channels={channels}).",
        )
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != channels or image.dtype != np.uint8:
            raise InputError(
                f"pixels of shape {image.shape}, {image.dtype}; the network takes (H, W, "
                f"{channels}) uint8."
            )
        return Image(Path("array"), image)
    return read_image(image, channels=channels, max_pixels=max_pixels)


def _scores(fcn: FCN, x: Tensor, picture: Image) -> Tensor:
    """The map `(K, rows, cols)` of an image `(1, C, H, W)`, all of it finite."""
    weight = next(fcn.parameters(), x)
    try:
        with in_eval(fcn), torch.inference_mode():
            scores: torch.Tensor = tensors_of(fcn(x.to(weight)))[0][0].float()
    except (MemoryError, RuntimeError) as error:
        short = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not short and "allocate memory" not in str(error):
            raise
        raise FullconvError(
            f"the memory does not suffice for an image of {times(picture.size)} px.",
            where=str(picture.path),
            why="Every layer's map of the whole image is held in memory.",
            hint="Cut the image into parts, or make it smaller.",
        ) from error
    bad = int((~torch.isfinite(scores)).sum())
    if not bad:
        return scores
    for name, tensor in fcn.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InputError(
                "holds numbers that are not finite (NaN or infinite).",
                where=name,
                why=f"They make {bad:,} of {scores.numel():,} scores not finite either.",
                hint="These weights cannot classify; load others.",
            )
    raise InputError(
        f"{bad:,} of {scores.numel():,} scores are not finite (NaN or infinite).",
        where=str(picture.path),
        why="All weights are finite, so a layer overflowed.",
        hint=f"The network works in {str(weight.dtype).removeprefix('torch.')}; float32 or float64 "
        "reach further. Check mean and std too.",
    )


def _probabilities(fcn: FCN, scores: Tensor) -> Tensor:
    """Scores `(K, rows, cols)` as probabilities, which they may be already."""
    if fcn.plan.probabilities:
        return scores
    return scores.sigmoid() if len(scores) == 1 else scores.softmax(0)
