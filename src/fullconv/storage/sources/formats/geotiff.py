"""Where a GeoTIFF lies on the earth, as rasterio (extra `geo`) reads it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

from fullconv.storage.sources.source import Frame


def located(path: Path, frame: Frame) -> Frame:
    """`frame` with the file's CRS and transform; as it is without rasterio.

    Pixels need neither: whoever needs them raises MissingExtraError where `crs` is empty.
    """
    try:
        import rasterio
        from rasterio.errors import RasterioError
    except ImportError:
        return frame
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with rasterio.open(path) as dataset:
                crs = dataset.crs.to_wkt() if dataset.crs else ""
                known = not dataset.transform.is_identity
                transform = tuple(dataset.transform)[:6] if known else None
                return replace(frame, crs=crs, transform=transform)
    except (RasterioError, ValueError):  # tags that say nothing of use
        return frame
