"""Where a class is: the score map of an image, and the picture of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from fullconv.evaluate.class_names import find_class
from fullconv.evaluate.pictures.overlay import Overlay, overlay
from fullconv.evaluate.preparation import (
    MAX_PIXELS,
    Numbers,
    Source,
    check_fcn,
    given_image,
    grid_of,
    prepared,
)
from fullconv.evaluate.scoring import probabilities_of, score
from fullconv.geometry import Box, Grid
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.storage.images import Image

Floats = npt.NDArray[np.float32]

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
    image: Source,
    target: SupportsIndex | str | None = None,
    *,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    max_pixels: int = MAX_PIXELS,
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
    check_fcn(fcn, "a heat map")
    classes = fcn.about.classes
    index = None if target is None else find_class(target, classes, fcn.plan.outputs)
    picture = given_image(image, fcn.plan.channels, max_pixels)
    grid = grid_of(fcn, picture)
    x = prepared(picture, mean or fcn.about.mean, std or fcn.about.std)
    scores = score(fcn, x, str(picture.path)).float()  # (1, K, rows, cols)
    probabilities = probabilities_of(fcn, scores)[0]
    if index is None:
        index = int(probabilities.flatten(1).amax(1).argmax())
    return Heatmap(picture, scores[0].numpy(), probabilities.numpy(), grid, index, classes)
