"""TIFF files as a whole: levels, µm/px, and what GeoTIFF tags say of places without data."""

from __future__ import annotations

import math
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import tifffile

from fullconv.errors import InputError
from fullconv.geometry import Box
from fullconv.storage.images import decoding, opened
from fullconv.storage.sources.file_source import Opened
from fullconv.storage.sources.formats.geotiff import located
from fullconv.storage.sources.formats.tiffs import page_mask, page_pixels
from fullconv.storage.sources.levels import chosen_level, level_scale
from fullconv.storage.sources.samples import Absent
from fullconv.storage.sources.source import Frame, Region, slices
from fullconv.storage.sources.stored import Stored
from fullconv.storage.tiff import ASSOCIATED, UNASSOCIATED
from fullconv.storage.tiff_directory import check_chain, check_directory

CENTIMETRE = 3
GDAL_NODATA = 42113
GEO_TAGS = (34735, 33550, 34264)  # keys, the size of a px, a transform
MASK = 4  # bit of NewSubfileType
UNITS = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
"""Micrometres in the units of OME."""


def open_tiff(
    path: Path,
    file: BinaryIO,
    length: int,
    files_open: ExitStack,
    *,
    channels: int,
    level: int | None,
    mpp: float | None,
    budget: int,
) -> Opened:
    """A TIFF, BigTIFF, OME-TIFF, SVS, GeoTIFF and their kin.

    In a GeoTIFF px without any opacity have no data, as for GDAL. A file beside it that is opened
    goes onto `files_open`.
    """
    check_directory(file, length)
    tiff = tifffile.TiffFile(file, name=path.name)
    first = tiff.pages.first
    levels = [[first]]
    geographic = any(tag in first.tags for tag in GEO_TAGS)
    several = bool(level) or mpp is not None or _stacked(first, channels)
    if several or geographic or GDAL_NODATA in first.tags:
        check_chain(file)
    if several:
        levels = _levels(tiff, channels)
    sizes = [(pages[0].imagelength, pages[0].imagewidth) for pages in levels]
    scales = [level_scale(sizes[0], size) for size in sizes]
    micrometres = _mpp(tiff)
    number = chosen_level(sizes, scales, micrometres, level=level, wanted=mpp, where=str(path))
    page = levels[number][0]
    clear = geographic and tuple(map(int, page.extrasamples)) in ((ASSOCIATED,), (UNASSOCIATED,))
    absent = Absent(_nodata(first), opacity=clear)
    stored, orientation = page_pixels(file, length, levels[number], channels, budget, absent)
    files = [path]
    if (mask := _mask(tiff, page)) is not None:
        stored = Masked(stored, page_mask(file, length, mask, budget))
    elif (beside := path.with_name(f"{path.name}.msk")).is_file():
        masks, mask_length = files_open.enter_context(opened(beside))
        stored = Masked(stored, _mask_beside(beside, masks, mask_length, page, budget))
        files.append(beside)
    frame = Frame((Fraction(0),) * 2, scales[number], micrometres)
    if geographic:
        frame = located(path, frame)
    tables = [(one.dataoffsets, one.databytecounts) for one in levels[number]]
    return Opened(stored, frame, orientation, lambda: tables, tuple(files))


def _stacked(page: tifffile.TiffPage, channels: int) -> bool:
    """Whether the channels asked for can be those of several pages, of which this is the first."""
    return page.samplesperpixel == 1 and channels > 1 and page.parent.is_ome


def _levels(tiff: tifffile.TiffFile, channels: int) -> list[list[tifffile.TiffPage]]:
    """The pages of each level of the first image: one, or one for each channel."""
    try:
        found = tiff.series[0].levels
    except Exception as error:  # tifffile raises what it meets in a damaged directory
        raise InputError(
            "its list of images is damaged, so that its levels cannot be told.",
            why=f"The reader says: {error}.",
            hint="Read it without level and mpp, or copy or download it again.",
        ) from error
    levels = []
    for one in found:
        pages = [one.keyframe]
        axis = one.axes.find("C")
        if axis >= 0 and _stacked(one.keyframe, channels) and one.shape[axis] == channels:
            step = math.prod(
                n for name, n in zip(one.axes[axis + 1 :], one.shape[axis + 1 :], strict=True)
                if name not in "YXS"
            )  # fmt: skip
            pages = [_page(one.pages[index * step]) for index in range(channels)]
        levels.append(pages)
    return levels


def _mpp(tiff: tifffile.TiffFile) -> tuple[float, float] | None:
    """Micrometres per px of level 0 (row, column), None where they are not said."""
    first = tiff.pages.first
    with suppress(Exception):  # free text of scanners, in which anything can be wrong
        if tiff.is_svs:
            step = float(tifffile.tifffile.svs_description_metadata(first.description)["MPP"])
            return _sensible(step, step)
        if tiff.is_ome:
            root = ElementTree.fromstring(tiff.ome_metadata or "")
            pixels = next(node for node in root.iter() if node.tag.endswith("}Pixels"))
            steps = [
                float(pixels.attrib[f"PhysicalSize{axis}"])
                * UNITS[pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm")]
                for axis in "YX"
            ]
            return _sensible(*steps)
    if first.resolutionunit == CENTIMETRE:
        with suppress(Exception):
            columns, rows = first.resolution
            return _sensible(1e4 / rows, 1e4 / columns)
    return None


def _sensible(row: float, column: float) -> tuple[float, float] | None:
    return (row, column) if 0 < row < math.inf and 0 < column < math.inf else None


def _nodata(page: tifffile.TiffPage) -> float | None:
    """The value that stands for no data, as GDAL writes it; None where there is none."""
    tag = page.tags.get(GDAL_NODATA)
    with suppress(ValueError, AttributeError):
        return None if tag is None else float(str(tag.value).strip(" \0").replace(",", "."))
    return None


def _page(page: Any) -> tifffile.TiffPage:
    """A page in full: tifffile keeps only the places of segments of those that are alike."""
    if page is None:
        raise InputError("some of its channels lie in other files, or are missing.")
    found: tifffile.TiffPage = page.aspage() if isinstance(page, tifffile.TiffFrame) else page
    return found


def _mask(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> tifffile.TiffPage | None:
    """The page that masks `page`: 0 where it has no data. As GDAL and libtiff write it.

    It is looked for among all pages of a file with tags of GDAL, and otherwise in the second.
    """
    tags = tiff.pages.first.tags
    if any(tag in tags for tag in (*GEO_TAGS, GDAL_NODATA)):
        others = [_page(one) for one in list(tiff.pages)[1:]]
    else:
        others = []
        with suppress(Exception):  # nothing depends on what is behind the first page
            others = [_page(tiff.pages[1])]
    for other in others:
        size = (other.imagelength, other.imagewidth)
        if other.subfiletype & MASK and size == (page.imagelength, page.imagewidth):
            return other
    return None


def _mask_beside(
    path: Path, file: BinaryIO, length: int, page: tifffile.TiffPage, budget: int
) -> Stored:
    """The mask of `page` in a file of its own, which GDAL names like the image, and .msk."""
    with decoding(path, "TIFF"):
        check_directory(file, length)
        for other in tifffile.TiffFile(file).pages:
            one = _page(other)
            if (one.imagelength, one.imagewidth) == (page.imagelength, page.imagewidth):
                return page_mask(file, length, one, budget)
        raise InputError(
            f"no mask in it has the {page.imagelength}×{page.imagewidth} px of its image.",
            hint="Remove it if it does not belong to the image.",
        )


class Masked(Stored):
    """Pixels with a mask of their own, 0 where there is no data."""

    def __init__(self, pixels: Stored, mask: Stored) -> None:
        self._pixels, self._mask = pixels, mask
        self.size, self.dtype, self.colours = pixels.size, pixels.dtype, pixels.colours
        self.grain = pixels.grain

    def read(self, box: Box) -> Region:
        """What either of the two lacks is a fault."""
        found, mask = self._pixels.read(box), self._mask.read(box)
        missing = mask.pixels[..., 0] == 0
        if found.missing is not None:
            missing |= found.missing
        for fault in mask.faults:  # unknown is not missing
            missing[slices(fault.box, box[: len(self.size)])] = False
        return Region(found.pixels, (*found.faults, *mask.faults), missing)

    def held(self) -> int:
        """What both keep."""
        return self._pixels.held() + self._mask.held()

    def beside(self, box: Box) -> int:
        """The mask beside the pixels."""
        return self._pixels.beside(box) + self._mask.beside(box) + 2 * self._mask.bytes_of(box)
