"""Wherever a file is cut, what is not named as a fault is what it was, and nothing else is raised."""

from pathlib import Path

import numpy as np
import pytest
from broken_files import (
    FLOATS,
    RGB,
    SMOOTH,
    flipped,
    interlaced,
    jpeg,
    pillow,
    png,
    segments,
    tiff,
    tiled,
)

from fullconv.errors import InputError
from fullconv.storage.sources import open_source

FILES = {
    "png": pillow(RGB, "PNG"),
    "png in pieces": png(pieces=7),
    "png interlaced": interlaced(),
    "jpeg": jpeg(),
    "jpeg progressive": jpeg(progressive=True),
    "gif": pillow(RGB, "GIF"),
    "bmp": pillow(RGB, "BMP"),
    "webp": pillow(RGB, "WEBP"),
    "tiff": tiff(RGB, rowsperstrip=10),
    "tiff zlib": tiled(compression="zlib", predictor=True),
    "tiff lzw": tiled(compression="lzw"),
    "tiff zstd floats": tiled(FLOATS, compression="zstd"),
    "tiff jpeg": tiled(SMOOTH, compression="jpeg"),
    "tiff packbits": tiled(SMOOTH, compression="packbits"),
    "tiff jpeg 2000": tiled(SMOOTH, compression="jpeg2000"),
    "tiff webp": tiled(SMOOTH, compression="webp"),
    "tiff, directory last": pillow(RGB, "TIFF", compression="tiff_lzw"),
}


def sound(path: Path, whole: np.ndarray) -> int:
    """Px that are read; they are checked."""
    try:
        source = open_source(path)
    except InputError as error:
        assert str(path) in str(error)
        return 0
    with source:
        region = source.read((0, 0, *source.size))
        assert source.size == whole.shape[:2]
    good = np.ones(source.size, bool)
    for fault in region.faults:
        top, left, bottom, right = fault.box
        good[top:bottom, left:right] = False
    assert np.array_equal(region.pixels[good], whole[good])
    assert not region.pixels[~good].any()
    return int(good.sum())


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file(name, tmp_path):
    data, path = FILES[name], tmp_path / "image"
    path.write_bytes(data)
    with open_source(path) as source:
        whole = source.read((0, 0, *source.size))
    assert not whole.faults
    found = []
    for length in sorted({*range(1, len(data), 1 + len(data) // 60), len(data) - 1}):
        path.write_bytes(data[:length])
        found.append(sound(path, whole.pixels))
    if name in ("png", "png in pieces", "jpeg", "tiff zlib", "tiff"):
        assert len(set(found)) > 3  # the longer the file, the more of it is read
    assert found == sorted(found)


@pytest.mark.parametrize("name", ["png", "png in pieces", "tiff zlib", "tiff jpeg 2000"])
def test_bytes_that_are_changed_where_a_checksum_or_a_code_tells(name, tmp_path):
    data, path = FILES[name], tmp_path / "image"
    path.write_bytes(data)
    with open_source(path) as source:
        whole = source.read((0, 0, *source.size)).pixels
    first, last = 60, len(data) - 30
    if name.startswith("tiff"):
        spans = segments(data)
        first, last = spans[0][0], spans[-1][0] + spans[-1][1]
    if name == "tiff jpeg 2000":  # its code tells of damage to its head only: such must not crash
        for place in range(first, last, 41):
            path.write_bytes(flipped(data, place))
            with open_source(path) as source:
                source.read((0, 0, *source.size))
        return
    for place in range(first, last, (last - first) // 40):
        path.write_bytes(flipped(data, place))
        assert sound(path, whole) < whole.shape[0] * whole.shape[1]


def test_any_byte_of_a_head_can_be_changed(tmp_path):
    path = tmp_path / "image"
    for name in ("png", "tiff zlib", "jpeg", "tiff jpeg", "tiff"):
        data = FILES[name]
        for place in range(0, 400, 3):
            path.write_bytes(flipped(data, place))
            try:
                with open_source(path) as source:
                    source.read((0, 0, *(min(n, 500) for n in source.size)))
            except InputError as error:
                assert str(path) in str(error)
