"""Cloud-optimised GeoTIFF: the map where it lies on the earth, one band for each class."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fullconv.errors import FullconvError, InputError, MissingExtraError
from fullconv.storage.files import atomic
from fullconv.storage.folders import scratch
from fullconv.storage.maps.exports.channels import Channels
from fullconv.storage.maps.exports.given import pieces
from fullconv.storage.maps.exports.placement import Placement

TILE = 256
CACHE = 64 * 2**20  # bytes of blocks that GDAL keeps


def write(channels: Channels, path: Path) -> dict[str, Any]:
    """Write the map; what is said of it.

    Without a reference system the coordinates are px of the image at full resolution: x to the
    right, y down.

    Raises MissingExtraError without rasterio.
    """
    rasterio = import_rasterio()
    placement = Placement.of(channels.given.about)
    crs = _reference(rasterio, placement.crs, path)
    with (
        scratch(path) as folder,
        atomic(path) as part,
        # Not the 5 % of the machine's memory that GDAL takes by itself.
        rasterio.Env(GDAL_CACHEMAX=CACHE, CPL_TMPDIR=os.fspath(folder)),
        _failures() as said,
        warnings.catch_warnings(),
    ):
        # px of the image are coordinates too
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        plain, made = folder / "plain.tif", folder / "cog.tif"
        try:
            _write_plain(plain, channels, placement, crs)
            if not said:
                _copy(plain, made, len(channels))
        except rasterio.errors.RasterioError as error:
            said.append(_reason(error))
        if said:
            raise FullconvError(
                "cannot be written as a GeoTIFF.",
                where=str(path),
                why=f"GDAL says: {said[0].rstrip('.')}.",
                hint="Check that there is space on the disk.",
            )
        shutil.copymode(part, made)
        os.replace(made, part)
    return {"transform": [float(value) for value in placement.affine()], "crs": placement.crs}


@contextmanager
def _failures() -> Iterator[list[str]]:
    """What GDAL reports of failures, also where it raises none: when a file is closed, say."""
    said: list[str] = []
    listener = logging.Handler(logging.ERROR)
    listener.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("rasterio")
    logger.addHandler(listener)
    try:
        yield said
    finally:
        logger.removeHandler(listener)


def _reference(rasterio: Any, wkt: str, path: Path) -> Any:
    """The reference system, None for none. Raises InputError for one that GDAL does not know."""
    try:
        return rasterio.crs.CRS.from_wkt(wkt) if wkt else None
    except rasterio.errors.CRSError as error:
        raise InputError(
            "the map has a reference system that GDAL does not know.",
            where=str(path),
            why=f"It says: {error}.",
            hint="Write another format.",
        ) from error


def _reason(error: BaseException) -> str:
    """What began it: rasterio raises "see previous exception" on top of that."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def _copy(plain: Path, made: Path, bands: int) -> None:
    """Make the cloud-optimised file, with its overviews, of an ordinary one."""
    from rasterio.shutil import copy

    copy(
        os.fspath(plain),
        os.fspath(made),
        driver="COG",
        compress="DEFLATE",
        blocksize=_tile(bands),
        overview_resampling="AVERAGE",
        bigtiff="IF_SAFER",
    )


def _write_plain(path: Path, channels: Channels, placement: Placement, crs: Any) -> None:
    """Write an ordinary GeoTIFF, a few tiles at a time; the other kind can only be copied."""
    import rasterio
    from rasterio.windows import Window

    rows, cols, _ = channels.given.shape
    about = channels.given.about
    transform = rasterio.Affine(*map(float, placement.affine()))
    with rasterio.open(
        os.fspath(path),
        "w",
        driver="GTiff",
        height=rows,
        width=cols,
        count=len(channels),
        dtype="float32",
        nodata=np.nan,
        crs=crs,
        transform=None if transform.is_identity else transform,  # which is that of none
        tiled=True,
        blockxsize=TILE,
        blockysize=TILE,
        interleave="band",
        compress="DEFLATE",
        zlevel=1,
        bigtiff="IF_SAFER",
    ) as file:
        file.descriptions = tuple(channel.name for channel in channels)
        file.update_tags(
            values=about.values,
            window="×".join(map(str, about.window)),
            stride="×".join(map(str, about.stride)),
            model=about.model,
            source=about.source,
        )
        for (top, bottom), (left, right) in pieces(rows, cols, channels.width, tile=TILE):
            block = channels.read((top, bottom), (left, right))
            window = Window(left, top, right - left, bottom - top)
            file.write(np.ascontiguousarray(np.moveaxis(block, 2, 0)), window=window)


def _tile(bands: int) -> int:
    """The sides of tiles that hold all bands and can be kept in memory; GDAL takes 128 at least."""
    return next((side for side in (512, 256) if 4 * side * side * bands <= CACHE), 128)


def import_rasterio() -> Any:
    """The package. Raises MissingExtraError where it is not installed."""
    try:
        import rasterio
        import rasterio.crs
        import rasterio.errors
    except ImportError as error:
        raise MissingExtraError("rasterio", "geo", "writing GeoTIFF") from error
    return rasterio
