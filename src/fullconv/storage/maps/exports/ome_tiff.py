"""OME-TIFF: a page for each class, tiled, its coarser levels as sub-directories."""

from __future__ import annotations

import uuid
from fractions import Fraction
from pathlib import Path
from typing import Any

import tifffile

from fullconv.storage.class_colors import class_color8
from fullconv.storage.files import atomic
from fullconv.storage.folders import scratch
from fullconv.storage.maps.exports import pyramid
from fullconv.storage.maps.exports.channels import Channels, plain
from fullconv.storage.maps.exports.placement import Placement, number
from fullconv.storage.maps.exports.pyramid import TILE, Pyramid

CENTIMETRE = 10_000  # micrometres


def write(channels: Channels, path: Path) -> dict[str, Any]:
    """Write the map; what is said of it.

    The size of a pixel is that of a cell, in micrometres where those of the image are known, else
    in its px. The position of every plane is the top left corner of the map.
    """
    placement = Placement.of(channels.given.about)
    # Pages hold one class each and are written one after the other: the levels come first.
    with scratch(path) as folder, atomic(path) as part:
        built = pyramid.build(folder / "levels", channels)
        _write(part, built, _metadata(placement, channels, path.name), placement)
    return {"levels": [list(level.shape[1:]) for level in built.levels]}


def _write(part: Path, built: Pyramid, metadata: dict[str, Any], placement: Placement) -> None:
    with tifffile.TiffWriter(part, bigtiff=True, ome=True) as tiff:
        for index, level in enumerate(built.levels):
            first = index == 0
            tiff.write(
                pyramid.tiles(level),
                shape=level.shape,
                dtype=level.dtype,
                tile=(TILE, TILE),
                photometric="minisblack",
                compression="zlib",
                subifds=len(built.levels) - 1 if first else None,
                subfiletype=0 if first else 1,
                metadata=metadata if first else None,
                software="fullconv",
                **_resolution(placement, 2**index),
            )


def _resolution(placement: Placement, reduced: int) -> dict[str, Any]:
    """Cells per centimetre, x first; nothing where the size of pixels is not known."""
    if placement.mpp is None:
        return {}
    tall, wide = (
        CENTIMETRE / (size * step * reduced)
        for size, step in zip(placement.mpp, placement.step, strict=True)
    )
    return {"resolution": (float(wide), float(tall)), "resolutionunit": "CENTIMETER"}


def _metadata(placement: Placement, channels: Channels, name: str) -> dict[str, Any]:
    """What tifffile makes OME-XML of."""
    unit = "pixel" if placement.mpp is None else "µm"
    sizes = placement.mpp or (Fraction(1), Fraction(1))
    tall, wide = (number(size * step) for size, step in zip(sizes, placement.step, strict=True))
    top, left = (number(size * edge) for size, edge in zip(sizes, placement.corner, strict=True))
    many = len(channels)
    about = channels.given.about
    return {
        "axes": "CYX",
        "Name": plain(name),
        "Description": f"A score map of {about.values}. Its top left corner lies at row "
        f"{placement.corner[0]}, column {placement.corner[1]} px of the image at full resolution; "
        f"a cell is {placement.step[0]} by {placement.step[1]} px.",
        # Not by the clock and the machine: the same map gives the same file.
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, repr((placement, channels.listed, about)))),
        "Creator": "fullconv",
        "PhysicalSizeX": wide, "PhysicalSizeXUnit": unit,
        "PhysicalSizeY": tall, "PhysicalSizeYUnit": unit,
        "Channel": {
            "Name": [channel.name for channel in channels],
            "Color": [_signed(class_color8(channel.number)) for channel in channels],
        },
        "Plane": {
            "PositionX": [left] * many, "PositionXUnit": [unit] * many,
            "PositionY": [top] * many, "PositionYUnit": [unit] * many,
        },
    }  # fmt: skip


def _signed(color: tuple[int, int, int]) -> int:
    """RGBA in one signed number of 32 bits, as OME has it."""
    red, green, blue = color
    packed = red << 24 | green << 16 | blue << 8 | 255
    return packed - (1 << 32) if packed >= 1 << 31 else packed
