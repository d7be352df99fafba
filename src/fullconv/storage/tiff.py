"""TIFF: every segment is checked before any is decoded, because decoders accept damaged ones.

A strip or tile that is missing reads as black, and a JPEG tile that is cut short as grey, without
an error from tifffile, libtiff or Pillow. Here both are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import PIL.Image
import tifffile

from fullconv.errors import InputError
from fullconv.storage.raster import (
    Array,
    Raster,
    Request,
    Step,
    count,
    cut_short,
    from_array,
    over_white,
)
from fullconv.storage.tiff_directory import check_directory

GREY = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE)
JPEG = (6, 7, 34892)  # tifffile turns the YCbCr of these into RGB
CODESTREAMS = (7, 33003, 33004, 33005, 34712)  # JPEG and JPEG 2000: complete if they end in FFD9
ENDS = (b"\xff\xd9",)
RESTARTS = tuple(bytes([0xFF, 0xD0 + number]) for number in range(8))
ASSOCIATED, UNASSOCIATED = 1, 2  # ExtraSamples that mean opacity
SAVE_AS = "Save it as an 8- or 16-bit grey or RGB TIFF, or as PNG."


def read(file: BinaryIO, length: int, request: Request) -> Raster:
    """The first page of a TIFF or BigTIFF of `length` bytes.

    Raises InputError for a file cut short, a missing or damaged segment, more pixels or other
    channels than `request` admits, and pixels that have no place between black and white.
    """
    check_directory(file, length)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        form = layout(page, request.channels)
        request.admit(form.size, form.colours)
        if page.is_tiled:  # a tile can be larger than its image, and is decoded as a whole
            request.admit((page.tilelength, page.tilewidth), request.channels)
        _check_segments(file, length, page)
        pixels = page.asarray(squeeze=False)  # (planes, 1, H, W, contiguous samples)

    planes = pixels.shape[0]
    pixels = pixels[0, 0] if planes == 1 else np.moveaxis(pixels[:, 0, :, :, 0], 0, -1)
    if pixels.dtype.kind == "f":
        _check_floats(pixels)
    return from_array(pixels, form.steps, form.orientation)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the samples of a page are.

    Attributes:
        size: `(H, W)` in px, as stored.
        bands: samples per pixel, as stored.
        colours: channels per pixel after `steps`.
        steps: they turn stored samples `(rows, W, bands)` into full-range colours over white.
        orientation: 1 to 8.
    """

    size: tuple[int, int]
    bands: int
    colours: int
    steps: tuple[Step, ...]
    orientation: int


def layout(page: tifffile.TiffPage, channels: int) -> Layout:
    """The layout of a page of which `channels` channels are asked for.

    Raises InputError for a volume, unknown colours, and samples without a fixed white.
    """
    if page.imagedepth != 1:
        raise InputError(
            f"the file holds a volume of {page.imagedepth} slices, not an image.",
            hint="Save the slices as images.",
        )
    bands = page.samplesperpixel
    extra = tuple(int(sample) for sample in page.extrasamples)
    alpha = extra in ((ASSOCIATED,), (UNASSOCIATED,)) and channels != bands
    found = _colours(page, bands - alpha)
    _check_samples(page)
    steps = _conversion(page, alpha=alpha)
    if alpha:
        steps.append(partial(over_white, premultiplied=extra == (ASSOCIATED,)))
    orientation = int(tag.value) if (tag := page.tags.get("Orientation")) else 1
    size = (page.imagelength, page.imagewidth)
    return Layout(size, bands, found, tuple(steps), orientation)


def _colours(page: tifffile.TiffPage, bands: int) -> int:
    """Channels of the page once its colours are worked out. Raises InputError for unknown ones."""
    kind = page.photometric
    plain = kind in GREY or kind == tifffile.PHOTOMETRIC.RGB
    if plain:
        return bands
    if kind == tifffile.PHOTOMETRIC.PALETTE and bands == 1:
        return 3
    if kind == tifffile.PHOTOMETRIC.SEPARATED and bands == 4:
        return 3
    if kind == tifffile.PHOTOMETRIC.YCBCR and bands == 3:
        return 3
    name = getattr(kind, "name", kind)
    raise InputError(
        f"its colours are {name} with {count(bands, 'channel')}.",
        why="Grey, RGB, palette, CMYK and YCbCr images can be read.",
        hint=SAVE_AS,
    )


def _check_samples(page: tifffile.TiffPage) -> None:
    """Refuse sample types without a fixed white: signed, complex, more than 16 integer bits."""
    kind = "" if page.dtype is None else page.dtype.kind
    bits = page.bitspersample
    whole = kind in "bu" and isinstance(bits, int) and 1 <= bits <= 16
    if kind == "f" or (whole and kind):
        return
    found = "of an unknown type" if page.dtype is None else f"{bits}-bit {page.dtype}"
    raise InputError(
        f"its samples are {found}.",
        why="It is not known which value is white.",
        hint="Save it with 8- or 16-bit samples, or as floats from 0 to 1.",
    )


def _check_segments(file: BinaryIO, length: int, page: tifffile.TiffPage) -> None:
    """Refuse a page with a segment that is missing, outside the file, or cut short."""
    check_listing(page)
    for index in range(min(len(page.dataoffsets), len(page.databytecounts))):
        check_segment(file, length, page, index)
    if page.is_contiguous and page.dataoffsets[0] + page.nbytes > length:
        raise cut_short(
            f"its pixels take {count(page.nbytes, 'byte')} from byte {page.dataoffsets[0]:,} on, "
            f"and the file has {count(length, 'byte')}"
        )


def check_listing(page: tifffile.TiffPage) -> None:
    """Refuse a page that lists fewer segments than its size takes."""
    planes, _, height, width, _ = page.shaped
    if page.is_tiled:
        needed = planes * -(-height // page.tilelength) * -(-width // page.tilewidth)
    else:
        needed = planes * -(-height // page.rowsperstrip)
    listed = min(len(page.dataoffsets), len(page.databytecounts))
    if listed < needed:
        noun = "tile" if page.is_tiled else "strip"
        raise cut_short(f"it lists {count(listed, noun)} of {needed:,}")


def check_segment(file: BinaryIO, length: int, page: tifffile.TiffPage, index: int) -> None:
    """Refuse a segment that is missing, outside the file of `length` bytes, or cut short."""
    start, size = page.dataoffsets[index], page.databytecounts[index]
    noun = "tile" if page.is_tiled else "strip"
    place = f"{noun} {index + 1:,} of {len(page.dataoffsets):,}"
    if size == 0 or start == 0:
        raise InputError(
            f"{place} is missing.",
            why="It would be read as black.",
            hint="Save the file again with all its pixels.",
        )
    if start + size > length:
        raise cut_short(
            f"{place} reaches to byte {start + size:,}, and the file has {count(length, 'byte')}"
        )
    if page.compression in CODESTREAMS:
        tail = min(size, 64)
        file.seek(start + size - tail)
        # Writers pad segments to an even or aligned length with zeros. In NDPI the tiles are what
        # lies between restart markers of one JPEG.
        ends = ENDS if page.jpegheader is None else (*ENDS, *RESTARTS)
        if not file.read(tail).rstrip(b"\0").endswith(ends):
            raise cut_short(f"{place} does not end in the JPEG end marker FFD9")


def _check_floats(pixels: Array) -> None:
    """Refuse floats that are not brightnesses from 0 to 1."""
    low, high = float(pixels.min()), float(pixels.max())
    if np.isnan(low) or np.isnan(high):
        raise InputError(
            f"{int(np.isnan(pixels).sum()):,} of its {pixels.size:,} samples are NaN.",
            why="One NaN pixel makes every score that sees it NaN.",
            hint="Fill them before scoring, for instance with the mean of the image.",
        )
    if low < 0 or high > 1:
        raise InputError(
            f"its floating-point samples lie between {low:g} and {high:g}.",
            why="Only for 0 (black) to 1 (white) is it known what they mean.",
            hint="Divide them by the value that stands for white, and save again.",
        )


def _conversion(page: tifffile.TiffPage, *, alpha: bool) -> list[Step]:
    """The steps that turn stored samples into full-range grey or RGB, still with their alpha."""
    kind, bits, dtype = page.photometric, page.bitspersample, np.dtype(page.dtype)
    steps: list[Step] = []
    if kind == tifffile.PHOTOMETRIC.PALETTE:
        table = (np.asarray(page.colormap).T >> 8).astype(np.uint8)  # (2**bits, 3)
        steps.append(_on_colours(partial(_looked_up, table=table), alpha))
    elif dtype.kind == "f":
        if dtype != np.float32:
            steps.append(lambda block: block.astype(np.float32))
    elif bits not in (8, 16):
        steps.append(partial(_widened, white=2**bits - 1))
    elif not dtype.isnative:
        steps.append(lambda block: block.astype(dtype.newbyteorder("=")))

    if kind == tifffile.PHOTOMETRIC.MINISWHITE:
        steps.append(_on_colours(lambda block: _top(block) - block, alpha))
    elif kind == tifffile.PHOTOMETRIC.SEPARATED:
        steps.append(_on_colours(_printed, alpha))
    elif kind == tifffile.PHOTOMETRIC.YCBCR and page.compression not in JPEG:
        steps.append(_on_colours(_from_ycbcr, alpha))
    return steps


def _on_colours(convert: Step, alpha: bool) -> Step:
    """`convert` for the colours of a block, leaving the alpha behind them as it is."""
    if not alpha:
        return convert
    return lambda block: np.concatenate([convert(block[..., :-1]), block[..., -1:]], axis=2)


def _top(block: Array) -> Any:
    """The value of white, in the block's own type."""
    return block.dtype.type(1 if block.dtype.kind == "f" else np.iinfo(block.dtype).max)


def _looked_up(block: Array, *, table: Array) -> Array:
    found: Array = table[block[..., 0].astype(np.intp)]
    return found


def _widened(block: Array, *, white: int) -> Array:
    """Samples from 0 to `white` as full-range uint8 or uint16."""
    top, dtype = (255, np.uint8) if white < 255 else (65535, np.uint16)
    wide: Array = ((block.astype(np.uint32) * top + white // 2) // white).astype(dtype)
    return wide


def _printed(block: Array) -> Array:
    """CMYK ink as RGB light, without a colour profile: each channel is (1 - ink)(1 - black)."""
    light = _top(block) - block
    printed: Array
    if block.dtype.kind == "f":
        printed = light[..., :3] * light[..., 3:]
    else:
        top = int(_top(block))
        printed = (light[..., :3].astype(np.uint32) * light[..., 3:] + top // 2) // top
    return printed.astype(block.dtype)


def _from_ycbcr(block: Array) -> Array:
    rows, cols = block.shape[:2]
    picture = PIL.Image.frombytes("YCbCr", (cols, rows), block.tobytes())
    return np.asarray(picture.convert("RGB"))
