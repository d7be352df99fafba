"""The photographs behind the bundled classifier, cut in halves, and a mosaic of what it never saw.

They come with scikit-image, inside its wheel: nothing is downloaded. A class is a photograph; one
half of it is for training, the other is held out. Pictures are RGB, for the eye; the classifier
sees their `luminance`: some photographs are grey, and hue would give the others away.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import numpy.typing as npt
from PIL import Image

from fullconv.bundled.textures import CLASSES
from fullconv.errors import MissingExtraError
from fullconv.geometry import Box

SIDE = 256  # px of a cell of the mosaic
ROWS = COLS = 4  # cells of the mosaic


@dataclass(frozen=True, slots=True)
class Photograph:
    """A function of `skimage.data`, and the px boxes of its picture to train on and to hold out."""

    function: str
    train: Box
    test: Box


PHOTOGRAPHS: dict[str, Photograph] = {
    "brick": Photograph("brick", (0, 0, 512, 256), (0, 256, 512, 512)),
    # Without the dark frame on the right; the cut runs between two rows of coins.
    "coins": Photograph("coins", (0, 0, 151, 376), (151, 0, 303, 376)),
    "galaxies": Photograph("hubble_deep_field", (0, 0, 872, 500), (0, 500, 872, 1000)),
    "grass": Photograph("grass", (0, 0, 512, 256), (0, 256, 512, 512)),
    "gravel": Photograph("gravel", (0, 0, 512, 256), (0, 256, 512, 512)),
    # Inside the disc, without the black around it.
    "retina": Photograph("retina", (193, 239, 1217, 705), (193, 705, 1217, 1171)),
    "tissue": Photograph("immunohistochemistry", (0, 0, 512, 256), (0, 256, 512, 512)),
    # Cut left of the middle: the mosaic needs 256 px of what is held out.
    "writing": Photograph("text", (0, 0, 172, 192), (0, 192, 172, 448)),
}


Region = tuple[str, Box]  # a class, and a box of its held-out half


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel of the mosaic: the box `source` of a test half, shown at the box `place`."""

    name: str
    source: Box
    place: Box


def train_half(name: str) -> npt.NDArray[np.uint8]:
    """The half of a photograph that the classifier was trained on: `(H, W, 3)`, RGB.

    Raises MissingExtraError without scikit-image.
    """
    return _part(name, PHOTOGRAPHS[name].train)


def test_half(name: str) -> npt.NDArray[np.uint8]:
    """The half of a photograph that the classifier has never seen: `(H, W, 3)`, RGB.

    Raises MissingExtraError without scikit-image.
    """
    return _part(name, PHOTOGRAPHS[name].test)


def luminance(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """What the classifier sees of an RGB picture: `(H, W, 3)` to `(H, W)`, by ITU-R BT.601.

    It is Pillow's `convert("L")`; grey pixels keep their value.
    """
    return np.asarray(Image.fromarray(image).convert("L"))


def mosaic(seed: int = 0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """A quilt of held-out regions, and the class of every pixel: `(1024, 1024, 3)`, `(1024, 1024)`.

    No region is used twice, none is scaled or turned, and panels side by side differ in class. The
    seed only shuffles their places. Raises MissingExtraError without scikit-image.
    """
    image = np.empty((ROWS * SIDE, COLS * SIDE, 3), np.uint8)
    labels = np.empty((ROWS * SIDE, COLS * SIDE), np.int64)
    halves = {name: test_half(name) for name in CLASSES}
    for panel in panels(seed):
        place = _slices(panel.place)
        image[place] = halves[panel.name][_slices(panel.source)]
        labels[place] = CLASSES.index(panel.name)
    return image, labels


def panels(seed: int = 0) -> tuple[Panel, ...]:
    """Which region of which test half lies where in the mosaic of this seed."""
    cells = _cells()
    shuffle = random.Random(seed).shuffle
    while True:  # about one order in twenty has no two neighbours of a class
        shuffle(cells)
        if all(a.isdisjoint(b) for a, b in _neighbours([{n for n, _ in cell} for cell in cells])):
            break
    found = []
    for index, cell in enumerate(cells):
        top, left = index // COLS * SIDE, index % COLS * SIDE
        for name, source in cell:
            bottom = top + source[2] - source[0]
            found.append(Panel(name, source, (top, left, bottom, left + SIDE)))
            top = bottom
    return tuple(found)


def _cells() -> list[tuple[Region, ...]]:
    """The regions of each cell: one of 256×256 px, or two of 128×256 from the halves less tall."""
    tall: list[Region] = []
    low: list[Region] = []
    for name, photograph in PHOTOGRAPHS.items():
        top, _, bottom, _ = photograph.test
        into, height = (tall, SIDE) if bottom - top >= SIDE else (low, SIDE // 2)
        for row in range(0, bottom - top - height + 1, height):
            into.append((name, (row, 0, row + height, SIDE)))
    return [(region,) for region in tall] + [*zip(low[::2], low[1::2], strict=True)]


def _neighbours(names: Sequence[set[str]]) -> list[tuple[set[str], set[str]]]:
    """The classes of every two cells that share an edge."""
    beside = [(i, i + 1) for i in range(ROWS * COLS) if (i + 1) % COLS]
    below = [(i, i + COLS) for i in range((ROWS - 1) * COLS)]
    return [(names[a], names[b]) for a, b in beside + below]


def _slices(box: Box) -> tuple[slice, slice]:
    top, left, bottom, right = box
    return slice(top, bottom), slice(left, right)


def _part(name: str, box: Box) -> npt.NDArray[np.uint8]:
    try:
        data = import_module("skimage.data")
    except ImportError as error:
        raise MissingExtraError("scikit-image", "demo", "The demo") from error
    whole: npt.NDArray[np.uint8] = getattr(data, PHOTOGRAPHS[name].function)()
    part = whole[_slices(box)]
    return np.stack([part] * 3, axis=-1) if part.ndim == 2 else np.ascontiguousarray(part)
