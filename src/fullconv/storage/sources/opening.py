"""The one door to sources: a path, and what is wanted of it."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from fullconv.errors import FullconvError, InputError, UsageError
from fullconv.geometry import Box
from fullconv.storage.images import decode_image, decoding, format_of, opened
from fullconv.storage.raster import Request, admit_channels
from fullconv.storage.sources.file_source import FileSource, Opened
from fullconv.storage.sources.formats import jpeg, npy, png, png_head, slide, zarrs
from fullconv.storage.sources.formats.tiff_file import open_tiff
from fullconv.storage.sources.levels import chosen_level
from fullconv.storage.sources.source import Frame, Source, extent, placed
from fullconv.storage.sources.stored import Whole

BUDGET = 1 << 29
"""Bytes that opening and reading a file may take beside what is read, unless told otherwise."""
PROBE = 64  # px from the middle of floats that are looked at first
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_source(
    path: str | os.PathLike[str],
    *,
    channels: int = 3,
    region: Box | None = None,
    level: int | None = None,
    mpp: float | None = None,
    budget: int | None = None,
    axes: int | None = None,
) -> Source:
    """Open an image of any size, of which boxes can be read.

    Args:
        path: a PNG, JPEG, BMP, WebP, GIF or TIFF file and its kin (BigTIFF, OME-TIFF, SVS,
            GeoTIFF), an .npy file, a Zarr array or OME-Zarr image, or a slide for OpenSlide.
        channels: 3 for RGB, 1 for grey, which are turned into each other; otherwise exactly that.
        region: only this box, in px of the level that is read.
        level: which level of a pyramid; 0 is the finest.
        mpp: in place of a level, µm/px: the coarsest level that is not coarser is read. Which one
            that is, `Source.frame.scale` says.
        budget: bytes that may be held beside what is read, 512 MiB by default: a format that can
            only be decoded whole is refused beyond.
        axes: spatial axes of a plain array, where its shape alone does not tell.

    Raises InputError if there is no image to be read, or nothing of it can be; UsageError for a
    region, a level or µm/px that the image does not have; MissingExtraError for a slide that needs
    OpenSlide.
    """
    if channels < 1:
        raise UsageError(f"channels={channels} must be a positive whole number.")
    if budget is not None and budget < 1:
        raise UsageError(f"budget={budget} must be a positive number of bytes.")
    where = Path(path)
    allowed = BUDGET if budget is None else budget
    with ExitStack() as stack:
        try:
            found = _found(stack, where, channels, level, mpp, allowed, axes)
            source = FileSource(where, found, channels, region)
            source.owns(stack.pop_all())
        except InputError as error:
            raise placed(error, str(where)) from error.__cause__
    try:
        _probe(source)
    except BaseException:
        source.close()
        raise
    return source


def _found(
    stack: ExitStack,
    path: Path,
    channels: int,
    level: int | None,
    mpp: float | None,
    budget: int,
    axes: int | None,
) -> Opened:
    """The file, opened by the format that its content (of slides, its name) announces."""
    if path.is_dir():
        if not zarrs.is_zarr(path):
            raise InputError(
                "this is a directory.", hint="Name one image file in it, or a Zarr array or group."
            )
        return zarrs.open_zarr(
            path, channels=channels, level=level, mpp=mpp, budget=budget, axes=axes
        )
    if path.suffix.lower() in slide.SUFFIXES and path.is_file():
        return slide.open_slide(path, channels=channels, level=level, mpp=mpp, budget=budget)
    file, length = stack.enter_context(opened(path))
    head = file.read(16)
    file.seek(0)
    if head.startswith(TIFF):
        with decoding(path, "TIFF"):
            return _tiff(stack, path, file, length, channels, level, mpp, budget)
    if head.startswith(npy.MAGIC):
        found = npy.open_npy(path, file, length, channels=channels, axes=axes)
    else:
        name = format_of(file, path)[0]
        with decoding(path, name):
            found = _picture(name, path, file, length, channels, budget)
    size = found.stored.size
    chosen_level([size], [found.frame.scale], None, level=level, wanted=mpp, where=str(path))
    return found


def _tiff(
    stack: ExitStack,
    path: Path,
    file: BinaryIO,
    length: int,
    channels: int,
    level: int | None,
    mpp: float | None,
    budget: int,
) -> Opened:
    try:
        return open_tiff(
            path, file, length, stack, channels=channels, level=level, mpp=mpp, budget=budget
        )
    except InputError:
        if path.suffix.lower() != ".ndpi":
            raise
        try:  # levels that are one JPEG each are beyond tifffile
            return slide.open_slide(path, channels=channels, level=level, mpp=mpp, budget=budget)
        except FullconvError:
            pass
        raise


def _picture(
    name: str, path: Path, file: BinaryIO, length: int, channels: int, budget: int
) -> Opened:
    """A photograph or a drawing: in bands where the format admits it, otherwise whole."""
    frame = Frame.plain(2)
    if name == "JPEG":
        photo = jpeg.Jpeg(file, length, budget)
        admit_channels(photo.colours, channels)
        return Opened(photo, frame, photo.orientation, files=(path,))
    if name == "PNG":
        header, spans = png_head.opened(file, length)
        if not header.interlaced:
            rows = png.Png(file, header, spans, budget)
            admit_channels(rows.colours, channels)
            return Opened(rows, frame, header.orientation, files=(path,))
    image = decode_image(path, Request(channels, budget, budget))
    return Opened(Whole(image.pixels), frame, files=(path,))


def _probe(source: FileSource) -> None:
    """Refuse floats on another scale than 0..1 at once, instead of px by px.

    Raises InputError if most px in the middle are beyond it.
    """
    if source.dtype.kind != "f":
        return
    starts = [max(0, (size - PROBE) // 2) for size in source.size]
    stops = [min(size, start + PROBE) for size, start in zip(source.size, starts, strict=True)]
    found = source.read((*starts, *stops))
    beyond = [fault for fault in found.faults if "floating-point" in fault.why]
    lost = sum(math.prod(extent(fault.box)) for fault in beyond)
    if 2 * lost > math.prod(extent((*starts, *stops))):
        raise InputError(
            f"{beyond[0].why}.",
            where=source.name,
            hint="Divide them by the value that stands for white, and save again.",
        )
