"""Where a class is: the score maps of an image at one size or several, and the picture of them."""

from __future__ import annotations

import io
import operator
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
import PIL.Image

from fullconv.errors import UsageError
from fullconv.evaluate.class_names import class_name, find_class
from fullconv.evaluate.lattice import Layer, fused, place_of
from fullconv.evaluate.maps.geometry import pixel_geometry, raw_geometry
from fullconv.evaluate.maps.regions import Region, check_threshold, regions_of
from fullconv.evaluate.maps.score_maps import Floats, ScoreMap, best_classes, check_memory, scored
from fullconv.evaluate.pictures.overlay import BLOCK, Overlay, painted
from fullconv.evaluate.pictures.panels import Panel, figure
from fullconv.evaluate.preparation import (
    Numbers,
    Source,
    check_fcn,
    given_image,
    prepared,
)
from fullconv.evaluate.scales import (
    AS_IT_IS,
    Given,
    Scale,
    check_sizes,
    fitting,
    left_out,
    scales_of,
)
from fullconv.geometry import Box, Grid, times
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.storage import MAX_PIXELS
from fullconv.storage.images import Image


@dataclass(frozen=True, slots=True)
class Peak:
    """Where a class is most probable.

    Attributes:
        index, name: the class.
        probability: its highest, in any window at any scale.
        box: that window in px of the image: where that was scaled, the pixels it touches.
    """

    index: int
    name: str
    probability: float
    box: Box


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Heatmap:
    """The score maps of an image and one class to look at.

    Attributes:
        image: the image, upright.
        maps: one for each scale, in the order in which they were given.
        index: the class to look at.
        classes: names of the classes, or None.
        flip: whether mirror images were scored too.
        skipped: scales at which the image holds no whole window.
    """

    image: Image
    maps: tuple[ScoreMap, ...]
    index: int
    classes: tuple[str, ...] | None = None
    flip: bool = False
    skipped: tuple[Scale, ...] = ()

    @property
    def scores(self) -> Floats:
        """The network's own scores, `(K, rows, cols)`, at the first scale."""
        return self.maps[0].scores

    @property
    def probabilities(self) -> Floats:
        """The probabilities of all classes, `(K, rows, cols)`, at the first scale."""
        return self.maps[0].probabilities

    @property
    def grid(self) -> Grid:
        """The windows at the first scale, in px of the image at that scale."""
        return self.maps[0].grid

    @property
    def values(self) -> Floats:
        """The probability of the class at the first scale, `(rows, cols)`; see `pixels` for all."""
        values: Floats = self.probabilities[self.index]
        return values

    @property
    def name(self) -> str:
        """The class by its name, or its number."""
        return class_name(self.index, self.classes)

    @property
    def peak(self) -> tuple[float, Box]:
        """The highest probability of the class at any scale, and its window in px of the image."""
        peak = self.peak_of(self.index)
        return peak.probability, peak.box

    @property
    def fused(self) -> bool:
        """Whether several passes are averaged: several scales, or the mirror image."""
        return self.flip or len(self.maps) > 1

    def peak_of(self, target: SupportsIndex | str) -> Peak:
        """Where a class is most probable, in any window at any scale."""
        index = self._index(target)
        best = max(self.maps, key=lambda m: float(m.probabilities[index].max()))
        values = best.probabilities[index]
        cell = tuple(int(i) for i in np.unravel_index(int(values.argmax()), values.shape))
        box = place_of(best.grid, cell, self.image.size)
        return Peak(index, class_name(index, self.classes), float(values[cell]), box)

    def top(self, count: int = 5) -> tuple[Peak, ...]:
        """The classes with the highest peaks, the highest first; all of them if there are fewer.

        Raises UsageError unless `count` is a positive whole number.
        """
        if operator.index(count) < 1:
            raise UsageError(f"top={count}: at least one class is shown.")
        return tuple(map(self.peak_of, best_classes(self.maps, count)))

    def pixels(self, target: SupportsIndex | str | None = None) -> Floats:
        """The probability of a class at every pixel of the image, `(H, W)`.

        At each scale it is interpolated bilinearly between the centres of the windows; the scales
        of which a window covers the pixel are averaged. NaN where no window does.
        """
        layers, size = self._layers(self._index(target)), self.image.size
        values = np.empty(size, np.float32)
        step = max(1, BLOCK // size[1])
        for start in range(0, size[0], step):
            stop = min(start + step, size[0])
            values[start:stop] = fused(layers, size, start, stop)
        return values

    def regions(
        self, threshold: float, target: SupportsIndex | str | None = None
    ) -> tuple[Region, ...]:
        """The connected regions of pixels whose probability reaches a threshold.

        The highest peak comes first. Raises UsageError for a threshold outside 0..1, or 0.
        """
        check_threshold(threshold)
        return regions_of(self.pixels(target), threshold)

    def overlay(
        self,
        *,
        opacity: float = 0.55,
        threshold: float | None = None,
        regions: Sequence[Region] | None = None,
    ) -> Overlay:
        """The class painted over the image, from 0 to 1, with a colour bar.

        A box is drawn around each of `regions`; by default those of the threshold, if there is one.
        """
        return painted(
            self.image.as_rgb8(),
            self._layers(self.index),
            title=self.name,
            opacity=opacity,
            boxes=self._boxes(self.index, threshold, regions),
        )

    def figure(
        self,
        top: int = 4,
        *,
        threshold: float | None = None,
        opacity: float = 0.55,
        regions: Mapping[int, Sequence[Region]] | None = None,
    ) -> PIL.Image.Image:
        """The image, and beside it the overlays of the `top` classes with the highest peaks.

        Boxes are drawn around the `regions` of each class, by its number; by default around those
        of the threshold, if there is one.
        """
        panels, known = [Panel(self.image.path.name)], regions or {}
        for peak in self.top(top):
            boxes = self._boxes(peak.index, threshold, known.get(peak.index))
            layers = self._layers(peak.index)
            panels.append(Panel(peak.name, f"{peak.probability:.3f}", layers, boxes))
        return figure(self.image.as_rgb8(), panels, opacity=opacity)

    def geometry(self) -> dict[str, Any]:
        """Where the cells of `scores` lie: what a reader of the raw map needs, JSON-serialisable.

        Cell `(i, j)` stands for the window whose first pixel is `offset + (i, j) * stride`, in px
        of the image scaled to `size`.
        """
        return raw_geometry(self.image, self.maps, self.classes, self.flip)

    def pixel_geometry(self, indices: Iterable[int]) -> dict[str, Any]:
        """The same of maps `(k, H, W)` that hold the `pixels` of these classes."""
        return pixel_geometry(self.image, self.maps, self.classes, self.flip, indices)

    def _index(self, target: SupportsIndex | str | None) -> int:
        if target is None:
            return self.index
        return find_class(target, self.classes, len(self.probabilities))

    def _layers(self, index: int) -> tuple[Layer, ...]:
        return tuple(Layer(m.probabilities[index], m.grid, m.grid.size) for m in self.maps)

    def _boxes(
        self, index: int, threshold: float | None, known: Sequence[Region] | None
    ) -> tuple[tuple[int, int, int, int], ...]:
        if known is None:
            known = () if threshold is None else self.regions(threshold, index)
        return tuple(region.box for region in known)

    def _repr_png_(self) -> bytes:
        """The overlay, for notebooks."""
        buffer = io.BytesIO()
        self.overlay().picture.save(buffer, "PNG")
        return buffer.getvalue()

    def __repr__(self) -> str:
        shapes = ", ".join(times(m.grid.shape) for m in self.maps)
        return f"<Heatmap of {self.name}: at most {self.peak[0]:.3f}, {shapes} windows>"


def heatmap(
    fcn: FCN,
    image: Source,
    target: SupportsIndex | str | None = None,
    *,
    scales: Given | Scale | Iterable[Given | Scale] | None = None,
    flip: bool = False,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    max_pixels: int = MAX_PIXELS,
    max_memory: int | None = None,
) -> Heatmap:
    """Score every window of an image, at one size or at several.

    Args:
        fcn: the network; with two spatial axes. Run in inference mode.
        image: a file, or pixels `(H, W, 3)` or `(H, W, 1)`, uint8.
        target: the class to look at, by name or number; the one that is most probable anywhere
            by default.
        scales: sizes at which to score it: whole numbers are the shortest side in px, others
            factors (`0.5` or `"0.5x"`); the image as it is by default. Those at which it is
            smaller than the window are skipped with a warning.
        flip: also score the mirror image of what the windows cover, and average the probabilities
            of both in every window.
        mean, std: of pixels scaled to 0..1, as the network was trained; `fcn.about` by default.
        max_pixels: refuse larger files, before they are decoded, and scales that make the image
            larger.
        max_memory: bytes that a pass may need beside the weights; by default what is available.

    Raises InputError for an image that cannot be read, is smaller than the window or does not fit
    `max_memory`, or a map that holds NaN; UsageError for a class the network does not have or what
    is no scale.
    """
    check_fcn(fcn, "a heat map")
    asked = (AS_IT_IS,) if scales is None else scales_of(scales)
    classes = fcn.about.classes
    index = None if target is None else find_class(target, classes, fcn.plan.outputs)
    picture = given_image(image, fcn.plan.channels, max_pixels)
    where = str(picture.path)
    kept, skipped = fitting(asked, picture.size, fcn.window, where)
    check_sizes(kept, picture.size, max_pixels, where)
    if skipped:
        warnings.warn(left_out(where, skipped, fcn.window), stacklevel=2)
    sizes = [scale.size(picture.size) for scale in kept]
    check_memory(fcn, sizes, flip, max_memory, where)
    x = prepared(picture, mean or fcn.about.mean, std or fcn.about.std)
    maps = tuple(scored(fcn, x, scale, flip, where) for scale in kept)
    if index is None:
        index = best_classes(maps, 1)[0]
    return Heatmap(picture, maps, index, classes, flip, skipped)
