"""OME-Zarr 0.5: a pyramid in zarr v3, with axes, places and channels as its specification says."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from fullconv.errors import InputError
from fullconv.storage.class_colors import class_color8
from fullconv.storage.description import read_description
from fullconv.storage.folders import atomic_folder
from fullconv.storage.maps.exports import pyramid
from fullconv.storage.maps.exports.channels import Channel, Channels, plain
from fullconv.storage.maps.exports.placement import Placement, number
from fullconv.storage.maps.exports.pyramid import Pyramid

VERSION = "0.5"
KIND = "OME-Zarr written by fullconv"
SHOWN = 4  # channels that a viewer shows at first, one over the other


def write(channels: Channels, path: Path) -> dict[str, Any]:
    """Write the map as a folder; what is said of it.

    Coordinates are those of the image at full resolution as an OME-Zarr: the *centre* of its first
    pixel is 0, in micrometres where their size is known, else in px. A transformation takes the
    index of a cell to its centre.
    """
    import zarr

    placement = Placement.of(channels.given.about)
    with atomic_folder(path, replaces=is_export, kind=KIND) as part:
        built = pyramid.build(part, channels)
        group = zarr.open_group(str(part), mode="r+", zarr_format=3)
        ome = metadata(path.name, placement, built, channels)
        group.update_attributes({"ome": ome, "fullconv": channels.given.about.to_dict()})
    return {"levels": [list(level.shape[1:]) for level in built.levels]}


def metadata(name: str, placement: Placement, built: Pyramid, channels: Channels) -> dict[str, Any]:
    """What stands under "ome" in the attributes of the group."""
    space = {"type": "space"} | ({} if placement.mpp is None else {"unit": "micrometer"})
    datasets = [
        {"path": str(level), "coordinateTransformations": transformations(placement, 2**level)}
        for level in range(len(built.levels))
    ]
    return {
        "version": VERSION,
        "multiscales": [
            {
                "name": plain(name),
                "axes": [
                    {"name": "c", "type": "channel"},
                    {"name": "y", **space},
                    {"name": "x", **space},
                ],
                "datasets": datasets,
                "type": "mean",
                "metadata": {"description": "means of 2 by 2 cells, without those that are NaN"},
            }
        ],
        "omero": {
            "channels": [
                _shown(channel, place, low, high, channels.given.about.values)
                for place, (channel, low, high) in enumerate(
                    zip(channels, built.low, built.high, strict=True)
                )
            ]
        },
    }


def transformations(placement: Placement, reduced: int) -> list[dict[str, Any]]:
    """From the index of a cell, of a level `reduced` times coarser, to where its centre lies."""
    sizes = placement.mpp or (Fraction(1), Fraction(1))
    scale = [size * reduced * step for size, step in zip(sizes, placement.step, strict=True)]
    first = [
        size * (placement.center(axis, 0, reduced) - Fraction(1, 2))
        for axis, size in enumerate(sizes)
    ]
    return [
        {"type": "scale", "scale": [1, *map(number, scale)]},
        {"type": "translation", "translation": [0, *map(number, first)]},
    ]


def is_export(folder: Path) -> bool:
    """Whether a folder was written here, and may be replaced: the image scanned may be one too."""
    found = folder / "zarr.json"
    if not found.is_file():
        return False
    with suppress(InputError):  # no JSON at all
        attributes = read_description(found).get("attributes")
        return isinstance(attributes, dict) and {"ome", "fullconv"} <= set(attributes)
    return False


def _shown(channel: Channel, place: int, low: float, high: float, values: str) -> dict[str, Any]:
    """How a viewer shows a channel: probabilities from 0 to 1, scores over their range."""
    fixed = values == "probabilities" or not low < high  # NaN is not less than anything
    least, most = (0.0, 1.0) if fixed else (low, high)
    return {
        "label": channel.name,
        "color": "".join(f"{part:02X}" for part in class_color8(channel.number)),
        "window": {"min": least, "max": most, "start": least, "end": most},
        "active": place < SHOWN,
        "family": "linear",
        "coefficient": 1,
        "inverted": False,
    }
