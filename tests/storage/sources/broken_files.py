"""Files with one fault each, written by independent writers and then damaged by hand."""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
import zarr

RNG = np.random.default_rng(11)
HEIGHT, WIDTH = 60, 80
RGB = RNG.integers(1, 256, (HEIGHT, WIDTH, 3), np.uint8)  # no px is black
GREY = RGB[..., 0]
SMOOTH = np.stack(
    [np.add.outer(np.arange(HEIGHT) * 2, np.arange(WIDTH)) + shift for shift in (0, 20, 40)], -1
).astype(np.uint8)
FLOATS = (RGB / 255).astype(np.float32)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size=(HEIGHT, WIDTH), rows: bytes | None = None, pieces: int = 1, colour=2) -> bytes:
    """A PNG of RGB, its rows with filter 0; in `pieces` IDAT chunks."""
    rows = b"".join(b"\0" + row.tobytes() for row in RGB) if rows is None else rows
    packed = zlib.compress(rows)
    step = -(-len(packed) // pieces)
    header = struct.pack(">IIBBBBB", size[1], size[0], 8, colour, 0, 0, 0)
    parts = [chunk(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step)]
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *parts, chunk(b"IEND", b"")])


def interlaced(size=(HEIGHT, WIDTH)) -> bytes:
    """An interlaced PNG of grey px that are all 7, its seven passes written by hand."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]  # fmt: skip
    rows = b""
    for top, left, down, right in passes:
        columns = len(range(left, size[1], right))
        rows += (b"\0" + b"\7" * columns) * len(range(top, size[0], down)) if columns else b""
    header = struct.pack(">IIBBBBB", size[1], size[0], 8, 0, 0, 0, 1)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def pillow(pixels: np.ndarray, kind: str, **options) -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def jpeg(**options) -> bytes:
    return pillow(SMOOTH, "JPEG", quality=95, **options)


def resized(data: bytes, height: int, width: int) -> bytes:
    """A JPEG that declares another size."""
    at = next(at for at in range(len(data)) if data[at] == 0xFF and data[at + 1] in (0xC0, 0xC2))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def tiff(pixels: np.ndarray, **options) -> bytes:
    out = io.BytesIO()
    options.setdefault("photometric", "rgb" if pixels.ndim == 3 else "minisblack")
    tifffile.imwrite(out, pixels, **options)
    return out.getvalue()


def tiled(pixels: np.ndarray = RGB, **options) -> bytes:
    """Tiles of 32×32 px: two rows of three."""
    return tiff(pixels, tile=(32, 32), **options)


def segments(data: bytes, page: int = 0) -> list[tuple[int, int]]:
    """Start and bytes of each segment of a TIFF."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        found = file.pages[page]
        return list(zip(found.dataoffsets, found.databytecounts, strict=True))


def retagged(data: bytes, tag: str, index: int, value: int, page: int = 0) -> bytes:
    """A TIFF with one number of a tag changed."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        entry = file.pages[page].tags[tag]
        form = {3: "<H", 4: "<I", 16: "<Q"}[int(entry.dtype)]
        place = entry.valueoffset + index * struct.calcsize(form)
    changed = bytearray(data)
    struct.pack_into(form, changed, place, value)
    return bytes(changed)


def without_segment(data: bytes, index: int, page: int = 0) -> bytes:
    gone = retagged(data, "TileOffsets", index, 0, page)
    return retagged(gone, "TileByteCounts", index, 0, page)


def flipped(data: bytes, place: int, count: int = 1) -> bytes:
    changed = bytearray(data)
    for at in range(place, place + count):
        changed[at] ^= 0xFF
    return bytes(changed)


def shortened(data: bytes, index: int, keep: int) -> bytes:
    """A TIFF of which one tile is listed with `keep` bytes only."""
    return retagged(data, "TileByteCounts", index, keep)


def big_jpeg_tile() -> bytes:
    """A TIFF with a JPEG tile that declares 65000×65000 px."""
    data = tiled(SMOOTH, compression="jpeg")
    start, size = segments(data)[1]
    return data[:start] + resized(data[start : start + size], 65000, 65000) + data[start + size :]


def in_a_circle() -> bytes:
    """A TIFF of two images, of which the second is followed by the first."""
    data = bytearray(tiff(np.stack([RGB, RGB]), photometric="rgb", metadata=None))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        first, second = (page.offset for page in file.pages)
    (count,) = struct.unpack_from("<H", data, second)
    struct.pack_into("<I", data, second + 2 + 12 * count, first)
    return bytes(data)


def big_webp_tile() -> bytes:
    """A TIFF with a lossless WebP tile that declares 16000×16000 px."""
    data = tiled(compression="webp", compressionargs={"lossless": True})
    start, _ = segments(data)[1]
    at = data.index(b"VP8L", start) + 9
    size = 15999 | 15999 << 14
    return data[:at] + size.to_bytes(4, "little") + data[at + 4 :]


def geotiff(folder: Path, pixels: np.ndarray, *, mask: np.ndarray | None = None, **options) -> Path:
    """A GeoTIFF of rasterio, in tiles of 32×32 px."""
    rasterio = pytest.importorskip("rasterio")
    path = folder / "scene.tif"
    settings = {
        "driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": pixels.shape[2],
        "dtype": pixels.dtype, "crs": "EPSG:32618", "tiled": True, "blockxsize": 32,
        "blockysize": 32, "transform": rasterio.Affine(300, 0, 101985, 0, -300, 2826915),
    }  # fmt: skip
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **{**settings, **options}) as file,
    ):
        file.write(np.moveaxis(pixels, 2, 0))
        if mask is not None:
            file.write_mask(mask)
    return path


def zarr_array(path: Path, pixels: np.ndarray = RGB, *, chunks=(32, 32, 3), **options) -> Path:
    array = zarr.create_array(
        path, shape=pixels.shape, chunks=chunks, dtype=pixels.dtype, overwrite=True, **options
    )
    array[:] = pixels
    return path


def ome_zarr(path: Path, *, axes="cyx", pixels: np.ndarray | None = None, levels=2) -> Path:
    """An OME-Zarr 0.5 image, µm as its unit."""
    pixels = np.moveaxis(RGB, 2, 0) if pixels is None else pixels
    kinds = {"c": "channel", "t": "time"}
    group = zarr.create_group(path)
    datasets = []
    for level in range(levels):
        step = 2**level
        part = pixels[..., ::step, ::step]
        array = group.create_array(str(level), shape=part.shape, chunks=(*part.shape[:-2], 16, 16), dtype=part.dtype)  # fmt: skip
        array[:] = part
        scale = [1.0] * (len(axes) - 2) + [0.5 * step] * 2
        datasets.append(
            {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        )
    named = [
        {"name": name, "type": kinds[name]}
        if name in kinds
        else {"name": name, "type": "space", "unit": "micrometer"}
        for name in axes
    ]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": named, "datasets": datasets, "name": "image"}],
    }
    return path


def edited(path: Path, **changes) -> Path:
    """A JSON file with some of its entries changed."""
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | changes))
    return path
