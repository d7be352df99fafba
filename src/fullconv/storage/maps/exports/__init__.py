"""Maps as files that other programs open, each cell where it belongs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fullconv.errors import UsageError
from fullconv.storage.maps.exports import geojson, geotiff, ome_tiff, ome_zarr
from fullconv.storage.maps.exports.channels import Channel, Channels
from fullconv.storage.maps.exports.given import GivenMap, check_axes

__all__ = ["ENDINGS", "Exported", "export", "format_of"]

WRITERS: dict[str, Callable[[Channels, Path], dict[str, Any]]] = {
    "ome-zarr": ome_zarr.write,
    "ome-tiff": ome_tiff.write,
    "geotiff": geotiff.write,
    "geojson": geojson.write,
}

ENDINGS = {
    ".ome.zarr": "ome-zarr",
    ".zarr": "ome-zarr",
    ".ome.tif": "ome-tiff",
    ".ome.tiff": "ome-tiff",
    ".tif": "geotiff",
    ".tiff": "geotiff",
    ".geojson": "geojson",
    ".json": "geojson",
}
"""Which format the end of a name stands for; the first that fits counts."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        path: the file, or the folder of an OME-Zarr.
        format: of the file.
        channels: the classes in it.
        facts: of this format: the levels of a pyramid, how many polygons there are.
    """

    path: Path
    format: str
    channels: tuple[Channel, ...]
    facts: dict[str, Any] = field(default_factory=dict)


def export(
    given: GivenMap,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    classes: Sequence[int] | None = None,
    threshold: float | None = None,
) -> Exported:
    """Write a map, or some of its classes, as a file that other programs open.

    A cell is the square of `stride` px centred on its window's centre. What is there is replaced
    when all is written; the memory it takes does not grow with the map.

    Args:
        given: the map, as `open_map` gives it.
        path: the file; of an OME-Zarr the folder.
        format: "ome-zarr", "ome-tiff", "geotiff" or "geojson"; by the end of the name otherwise.
        classes: numbers of the classes to write; all that the map holds by default.
        threshold: for GeoJSON: areas are those in which the value of a class reaches it. Without
            one they are those in which a class has the highest value.

    Raises UsageError for a format or a class that is not known, or a threshold where there are no
    areas; MissingExtraError for a GeoTIFF without rasterio; FullconvError if it cannot be written.
    """
    check_axes(given)
    path = Path(path)
    kind = format_of(path, format)
    if classes is None and kind != "geojson" and not given.numbers:
        raise UsageError(
            f"the map holds the best {given.shape[-1]} classes of each cell, which are others in "
            "every cell.",
            hint="Name the classes to write: where one is not among the best, there is no value.",
        )
    channels = Channels.of(given, classes)
    if kind == "geojson":
        facts = geojson.write(channels, path, threshold=threshold)
    elif threshold is not None:
        raise UsageError(
            f"threshold={threshold:g}: a file of {kind} holds the values themselves.",
            hint="Leave the threshold out, or write .geojson.",
        )
    else:
        facts = WRITERS[kind](channels, path)
    return Exported(path, kind, channels.listed, facts)


def format_of(path: Path, format: str | None = None) -> str:
    """The format asked for, or that of the name. Raises UsageError if there is none."""
    if format is not None:
        if format not in WRITERS:
            raise UsageError(
                f"format {format!r} is not known.", hint=f"Name one of {', '.join(WRITERS)}."
            )
        return format
    for ending, kind in ENDINGS.items():
        if path.name.lower().endswith(ending):
            return kind
    raise UsageError(
        "the end of the name says no format.",
        where=str(path),
        hint=f"End it in {', '.join(ENDINGS)}, or name a format.",
    )
