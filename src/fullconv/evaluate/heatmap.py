"""Where a class is: the score map of an image, and the picture of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fullconv.errors import InputError, UsageError, near
from fullconv.evaluate.overlay import Overlay, overlay
from fullconv.geometry import Box, Grid
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.storage.images import Image, read_image

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Heatmap:
    """The scores of an image and one class to look at.

    Attributes:
        image: the image, upright.
        scores: the network's own scores, `(K, rows, cols)`.
        probabilities: the same as probabilities, `(K, rows, cols)`: softmax over the classes, the
            logistic function for a single score, or the scores themselves if the network already
            ends in a softmax.
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
    target: int | str | None = None,
    *,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    max_pixels: int = 200_000_000,
) -> Heatmap:
    """Score every window of an image.

    Args:
        fcn: the network; with two spatial axes.
        image: a file, or pixels `(H, W, 3)` or `(H, W, 1)`, uint8.
        target: the class to look at, by name or number; the one that is most probable anywhere
            by default.
        mean, std: of pixels scaled to 0..1, as the network was trained; `fcn.about` by default.
        max_pixels: refuse larger files, before they are decoded.

    Raises InputError for an image that cannot be read or is smaller than the window or a map that
    holds NaN, UsageError for a class the network does not have.
    """
    if len(fcn.window) != 2:
        raise UsageError(f"a heat map needs a network with two spatial axes, not {len(fcn.window)}.")
    classes = fcn.about.classes
    index = None if target is None else find_class(target, classes, fcn.plan.outputs)
    picture = _image(image, fcn.plan.channels, max_pixels)
    try:
        grid = fcn.grid(picture.size)
    except InputError as error:
        raise InputError(
            error.what, where=str(picture.path), why=error.why, hint=error.hint
        ) from error
    x = prepared(picture, mean or fcn.about.mean, std or fcn.about.std)
    weight = next(fcn.parameters(), x)
    with torch.inference_mode():
        scores = fcn(x.to(weight))[0].float()  # (K, rows, cols)
        if fcn.plan.probabilities:
            probabilities = scores
        else:
            probabilities = scores.sigmoid() if len(scores) == 1 else scores.softmax(0)
    if not bool(torch.isfinite(scores).all()):
        bad = int((~torch.isfinite(scores)).sum())
        raise InputError(
            f"{bad:,} of {scores.numel():,} scores are not finite (NaN or infinite).",
            where=str(picture.path),
            hint="Look for NaN in the weights, or for overflow in half precision.",
        )
    if index is None:
        index = int(probabilities.flatten(1).amax(1).argmax())
    return Heatmap(
        picture, scores.cpu().numpy(), probabilities.cpu().numpy(), grid, index, classes
    )


def prepared(image: Image, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """The pixels as a network wants them: `(1, C, H, W)`, scaled to 0..1 and normalised."""
    for name, numbers in (("mean", mean), ("std", std)):
        if len(numbers) not in (1, image.channels):
            raise UsageError(
                f"{name} has {len(numbers)} numbers, but the network takes {image.channels} "
                "channels.",
                hint="Give one number, or one per channel.",
            )
    pixels = image.scaled()
    pixels -= np.asarray(mean, np.float32)
    pixels /= np.asarray(std, np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def find_class(target: int | str, classes: tuple[str, ...] | None, count: int) -> int:
    """The number of a class given by name, by one of several names, or by number.

    Names compare without regard to case; where a class has several (`"tabby, tabby cat"`), any of
    them will do. Raises UsageError for a class that is not there, naming near ones.
    """
    number = int(target) if isinstance(target, int) or target.isdecimal() else None
    if number is not None:
        if 0 <= number < count:
            return number
        raise UsageError(f"class {number}: the network has classes 0 to {count - 1}.")
    assert isinstance(target, str)
    if classes is None:
        raise UsageError(
            f"class {target!r}: the names of the classes are not known.",
            hint=f"Give a number from 0 to {count - 1}, or the names (--classes FILE).",
        )
    if len(classes) != count:
        raise UsageError(f"there are {len(classes)} class names for {count} scores.")
    wanted = target.strip().lower()
    whole = [i for i, name in enumerate(classes) if name.lower() == wanted]
    synonyms = [i for i, name in enumerate(classes) if wanted in _names(name)]
    found = whole or synonyms
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{i} ({classes[i]})" for i in found)
        raise UsageError(f"class {target!r} is ambiguous: {listed}.", hint="Give its number.")
    every = list(dict.fromkeys(part for name in classes for part in (name, *_names(name))))
    raise UsageError(
        f"the network has no class {target!r}.",
        hint=near(target, every) or f"It has {', '.join(classes[:8])}{', …' * (count > 8)}.",
    )


def _names(name: str) -> list[str]:
    return [part.strip().lower() for part in name.split(",")]


def _image(
    image: str | os.PathLike[str] | Image | npt.NDArray[np.uint8], channels: int, max_pixels: int
) -> Image:
    if isinstance(image, Image):
        return image
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != channels or image.dtype != np.uint8:
            raise InputError(
                f"pixels of shape {image.shape}, {image.dtype}; the network takes (H, W, "
                f"{channels}) uint8."
            )
        return Image(Path("array"), image)
    return read_image(image, channels=channels, max_pixels=max_pixels)
