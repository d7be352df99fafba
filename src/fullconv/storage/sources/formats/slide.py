"""Slides that only OpenSlide reads (extra `wsi`): MIRAX, Hamamatsu, DICOM and the like."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fullconv.errors import InputError, MissingExtraError
from fullconv.geometry import Box
from fullconv.storage.raster import admit_channels, over_white
from fullconv.storage.sources.file_source import Opened
from fullconv.storage.sources.levels import chosen_level, level_scale
from fullconv.storage.sources.segments import Segmented
from fullconv.storage.sources.source import Frame, Region
from fullconv.storage.sources.source import extent as px_of

SUFFIXES = (".mrxs", ".vms", ".vmu", ".dcm", ".bif")
"""Of files that OpenSlide reads, and tifffile not, or (BIF) not as one image."""
BLOCK = 512  # px that are read at a time


def open_slide(
    path: Path, *, channels: int, level: int | None, mpp: float | None, budget: int
) -> Opened:
    """A slide, by OpenSlide.

    Raises MissingExtraError without it, and InputError for what it does not read.
    """
    try:
        import openslide
    except (ImportError, OSError) as error:
        raise MissingExtraError("openslide", "wsi", f"Reading {path.name}") from error
    slide = _opened(path)
    try:
        sizes = [(height, width) for width, height in slide.level_dimensions]
        scales = [level_scale(sizes[0], size) for size in sizes]
        found = [
            slide.properties.get(name)
            for name in (openslide.PROPERTY_NAME_MPP_Y, openslide.PROPERTY_NAME_MPP_X)
        ]
        steps = None if None in found else (float(found[0]), float(found[1]))
        number = chosen_level(sizes, scales, steps, level=level, wanted=mpp, where=str(path))
        stored = Blocks(path, slide, number, budget)
        admit_channels(stored.colours, channels)
        frame = Frame((Fraction(0),) * 2, scales[number], steps)
    except BaseException:
        slide.close()
        raise
    about = sorted(slide.properties.items())
    return Opened(stored, frame, tables=lambda: (about, number), files=(path,))


def _opened(path: Path) -> Any:
    import openslide

    try:
        return openslide.OpenSlide(path)
    except (openslide.OpenSlideError, OSError) as error:
        raise InputError(
            "is no slide that OpenSlide reads, or is damaged.",
            why=f"OpenSlide says: {error}.",
            hint="Copy or download it again, with all files that belong to it.",
        ) from error


class Blocks(Segmented):
    """A level of a slide in blocks of px; where the slide has none, they are missing."""

    def __init__(self, path: Path, slide: Any, level: int, budget: int) -> None:
        self._path, self._slide, self._level = path, slide, level
        width, height = slide.level_dimensions[level]
        self.size, self.dtype, self.colours = (height, width), np.dtype(np.uint8), 3
        self.grain = (BLOCK, BLOCK)
        self._prepare(budget, "block")

    def decode(self, index: tuple[int, ...], box: Box) -> Region:
        """See `Segmented.decode`. OpenSlide gives nothing more after an error: opened again."""
        import openslide

        scale = self._slide.level_downsamples[self._level]
        rows, columns = px_of(box)
        corner = (round(box[1] * scale), round(box[0] * scale))
        try:
            picture = self._slide.read_region(corner, self._level, (columns, rows))
        except openslide.OpenSlideError:
            self._slide.close()
            self._slide = _opened(self._path)
            raise
        pixels = np.asarray(picture)  # RGBA
        missing = pixels[..., 3] == 0
        return Region(over_white(pixels), (), missing if missing.any() else None)

    def close(self) -> None:
        """Close the slide."""
        super().close()
        self._slide.close()
