"""NumPy's .npy files: read from where they lie, in either order of axes."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from fullconv.errors import InputError
from fullconv.storage.raster import FETCH_AGAIN, admit_channels
from fullconv.storage.sources.channels import spatial_axes
from fullconv.storage.sources.file_source import Opened
from fullconv.storage.sources.flat import Flat, FlatArray
from fullconv.storage.sources.source import Frame

MAGIC = b"\x93NUMPY"
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def open_npy(path: Path, file: BinaryIO, length: int, *, channels: int, axes: int | None) -> Opened:
    """An array `(*space, channels)`, or `(*space)` of one channel.

    Without `axes`, the number of spatial ones, an array of one or two axes has one channel, and of
    more the last are the channels.

    Raises InputError for a damaged header, Python objects, samples without a fixed white, and
    another number of channels. Samples beyond the end of the file are faults.
    """
    try:
        version = np.lib.format.read_magic(file)
        shape, reversed_, dtype = HEADERS[version](file)
    except Exception as error:  # of the parser of Python, too
        raise InputError(
            "its header is damaged, or it is no .npy file of an array of numbers.",
            why=f"NumPy says: {error}.",
            hint=FETCH_AGAIN,
        ) from error
    if dtype.hasobject:
        raise InputError(
            "holds Python objects, which are not read: they can run code.",
            hint="Save it as an array of uint8.",
        )
    if not shape or 0 in shape:
        raise InputError(f"holds no pixels: its shape is ({', '.join(map(str, shape))}).")
    dims = len(shape)
    count = spatial_axes(shape, axes)
    admit_channels(shape[-1] if count < dims else 1, channels)
    if file.tell() >= length:
        raise InputError("the file ends behind its header: no pixel is there.", hint=FETCH_AGAIN)
    order = tuple(reversed(range(dims))) if reversed_ else tuple(range(dims))
    stored = FlatArray(file, length, file.tell(), tuple(shape[axis] for axis in order), dtype)
    space = [order.index(axis) for axis in range(count)]
    others = [order.index(axis) for axis in range(count, dims)]
    flat = Flat(stored, space, others)
    return Opened(flat, Frame.plain(count), files=(path,))
