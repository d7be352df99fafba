"""What each fault of each format gives: the table of docs/formats.md, and a test for each row.

`python tests/storage/sources/format_faults.py` writes the table into the page.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from broken_files import (
    FLOATS,
    GREY,
    HEIGHT,
    RGB,
    SMOOTH,
    WIDTH,
    big_jpeg_tile,
    big_webp_tile,
    edited,
    flipped,
    geotiff,
    in_a_circle,
    interlaced,
    jpeg,
    ome_zarr,
    pillow,
    png,
    resized,
    retagged,
    segments,
    shortened,
    tiff,
    tiled,
    without_segment,
    zarr_array,
)
from zarr.codecs import Crc32cCodec

from fullconv.geometry import Box


@dataclass(frozen=True)
class Refused:
    """Opening it raises an error with this text."""

    text: str


@dataclass(frozen=True)
class Lost:
    """Exactly these px are faults, for this reason; all others are read."""

    boxes: tuple[Box, ...]
    why: str


@dataclass(frozen=True)
class Missing:
    """Exactly these px are missing; all others are read."""

    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class ReadWhole:
    """All px are read."""


@dataclass(frozen=True)
class Unnoticed:
    """All px are read, and some are wrong: the format has no checksum."""


@dataclass(frozen=True)
class Case:
    """One row of the table.

    `make` writes the file into a folder and returns its path. `whole` are the pixels without the
    fault, where not those of `RGB`.
    """

    format: str
    fault: str
    gives: str
    make: Callable[[Path], Path]
    outcome: Refused | Lost | Missing | ReadWhole | Unnoticed
    whole: np.ndarray | None = None
    options: dict = field(default_factory=dict)


def file(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def npy(array: np.ndarray, *, keep: int | None = None) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "a.npy"
        np.save(path, array)
        path.write_bytes(path.read_bytes()[:keep])
        return path

    return make


def stored(**options) -> Callable[[Path], Path]:
    return lambda folder: zarr_array(folder / "a.zarr", **options)


def without(inner: str, make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """A Zarr image with a file of it gone."""

    def remove(folder: Path) -> Path:
        path = make(folder)
        (path / inner).unlink()
        return path

    return remove


def rewritten(
    inner: str, change: Callable[[bytes], bytes], make: Callable[[Path], Path]
) -> Callable[[Path], Path]:
    """A Zarr image with a file of it changed."""

    def write(folder: Path) -> Path:
        path = make(folder)
        (path / inner).write_bytes(change((path / inner).read_bytes()))
        return path

    return write


def declared(make: Callable[[Path], Path], **changes) -> Callable[[Path], Path]:
    """A Zarr array with other metadata."""

    def write(folder: Path) -> Path:
        path = make(folder)
        edited(path / "zarr.json", **changes)
        return path

    return write


def with_nan(*boxes: Box, value: float = np.nan) -> np.ndarray:
    pixels = FLOATS.copy()
    for top, left, bottom, right in boxes:
        pixels[top:bottom, left:right, 1] = value
    return pixels


def with_empty_blocks(folder: Path) -> Path:
    """A GeoTIFF whose second tile was never written, by GDAL's own way to leave it out."""
    pixels = RGB.copy()
    pixels[:32, 32:64] = 0
    return geotiff(folder, pixels, nodata=0, sparse_ok=True)


def with_mask(folder: Path) -> Path:
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[10:20, 30:50] = 0
    return geotiff(folder, RGB, mask=mask)


def with_damaged_mask(folder: Path) -> Path:
    path = with_mask(folder)
    data = path.read_bytes()
    start, size = segments(data, page=1)[4]
    path.write_bytes(flipped(data, start, size))
    return path


def nodata_in(box: Box) -> Callable[[Path], Path]:
    pixels = RGB.copy()
    pixels[box[0] : box[2], box[1] : box[3]] = 0
    return lambda folder: geotiff(folder, pixels, nodata=0)


def float_scene(folder: Path) -> Path:
    pixels = FLOATS.copy()
    pixels[5:9, 6:20] = -9999
    pixels[40, 41, 0] = -9999  # only one band: that is no px without data
    return geotiff(folder, pixels, nodata=-9999)


def np_bytes(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


TILE_1 = (0, 32, 32, 64)
WRONG_FILTER = b"".join(bytes([9 if n == 20 else 0]) + row.tobytes() for n, row in enumerate(RGB))
WITH_BLACK = RGB.copy()
WITH_BLACK[:32, 32:64] = 0
TIFF = tiff(RGB, rowsperstrip=10)
FIVE = tiff(np.zeros((HEIGHT, WIDTH, 5), np.uint8), photometric="minisblack", planarconfig="contig")
ONE_STRIP = tiff(RGB, rowsperstrip=HEIGHT)
SQUEEZED = tiff(RGB, rowsperstrip=10, compression="zlib")
TILES = tiled(compression="zlib")
JPEG_TILES = tiled(SMOOTH, compression="jpeg")
CUT = "the file is cut short"


def rows(first: int) -> tuple[Box, ...]:
    return ((first, 0, HEIGHT, WIDTH),)


FAULTS: tuple[Case, ...] = (
    Case(
        "any", "the file is empty", "refused", file("a.png", b""), Refused("the file is empty")
    ),
    Case(
        "any", "the content is no image", "refused, with its first bytes",
        file("a.png", b"no image at all"), Refused("this is not an image that can be read"),
    ),
    Case(
        "any", "a folder that is no Zarr", "refused",
        lambda folder: folder, Refused("this is a directory"),
    ),
    Case(
        "PNG", "cut short in its pixels", "the rows behind the cut are lost",
        file("a.png", png()[:7000]), Lost(rows(28), f"{CUT}: its compressed pixels end too early"),
    ),
    Case(
        "PNG", "only its end chunk is cut off", "read whole",
        file("a.png", png()[:-12]), ReadWhole(),
    ),
    Case(
        "PNG", "cut short before its pixels", "refused",
        file("a.png", png()[:33]), Refused(f"{CUT}: it ends at byte 33, before its pixels"),
    ),
    Case(
        "PNG", "the header is damaged", "refused",
        file("a.png", flipped(png(), 20)), Refused("its IHDR chunk at byte 8 is damaged"),
    ),
    Case(
        "PNG", "one of its chunks of pixels is damaged", "the rows from that chunk on are lost",
        file("a.png", flipped(png(pieces=10), 5000)),
        Lost(rows(17), "its IDAT chunk at byte 4,413 is damaged: the checksum is wrong"),
    ),
    Case(
        "PNG", "a row names a filter that does not exist", "the rows from there on are lost",
        file("a.png", png(rows=WRONG_FILTER)), Lost(rows(20), "row 20 names no filter of PNG"),
    ),
    Case(
        "PNG", "declares more rows than it holds", "the rows that are not there are lost",
        file("a.png", png(size=(5000, WIDTH))),
        Lost(((HEIGHT, 0, 5000, WIDTH),), "its compressed pixels end too early"),
    ),
    Case(
        "PNG", "declares rows that do not fit in the memory allowed (a bomb)", "refused, with the "
        "figure", file("a.png", png(size=(10, 900_000))), Refused("a single row takes 2.6 MiB, and decoding it 23.4 MiB"), options={"budget": 20_000_000},
    ),
    Case(
        "PNG", "wider than libpng reads", "refused",
        file("a.png", png(size=(3, 1_000_001))), Refused("it is 1,000,001 px wide, and libpng"),
    ),
    Case(
        "PNG", "colours of a palette that is not there", "refused",
        file("a.png", png(colour=3)), Refused("of a palette that is not there"),
    ),
    Case(
        "PNG", "interlaced and cut short: no row is complete before the end", "refused",
        file("a.png", interlaced()[:60]), Refused("cut short"),
    ),
    Case(
        "PNG", "interlaced and too large to be decoded whole", "refused, with the figure",
        file("a.png", interlaced((300, 400))),
        Refused("the image is 300×400 px, and decoding it takes 1.0 MiB of memory; 1000.0 KiB is"),
        options={"budget": 1_024_000},
    ),
    Case(
        "JPEG", "cut short in its pixels", "the rows behind the cut are lost",
        file("a.jpg", jpeg()[:1000]), Lost(rows(30), f"{CUT}: its pixels end in row 30"),
        whole=SMOOTH,
    ),
    Case(
        "JPEG", "cut short in its header", "refused",
        file("a.jpg", jpeg()[:100]), Refused("cannot be decoded as JPEG"),
    ),
    Case(
        "JPEG", "declares more px than its bytes can hold (a bomb)", "refused",
        file("a.jpg", resized(jpeg(), 65000, 65000)), Refused("it declares 65000×65000 px, and"),
    ),
    Case(
        "JPEG", "progressive and cut short: no row is complete before the end", "all px are lost",
        file("a.jpg", jpeg(progressive=True)[:-200]), Lost(rows(0), f"{CUT}: its pixels end in"),
        whole=SMOOTH,
    ),
    Case(
        "JPEG", "larger than the memory allowed", "decoded through a temporary file, read whole",
        file("a.jpg", jpeg()), ReadWhole(), whole=SMOOTH, options={"budget": 10_000},
    ),
    Case(
        "JPEG", "progressive, and larger than the memory allowed", "refused, with the figure",
        file("a.jpg", jpeg(progressive=True)),
        Refused("decoding it takes 28.1 KiB of memory; 9.8 KiB is allowed"),
        options={"budget": 10_000},
    ),
    Case(
        "JPEG", "its compressed pixels are changed, and the length kept",
        "**not noticed**: a JPEG has no checksum",
        file("a.jpg", flipped(jpeg(), 800, 3)), Unnoticed(), whole=SMOOTH,
    ),
    Case(
        "GIF", "cut short", "refused",
        file("a.gif", pillow(GREY, "GIF")[:2000]), Refused("it is cut short"),
    ),
    Case(
        "BMP", "cut short", "refused",
        file("a.bmp", pillow(RGB, "BMP")[:2000]), Refused("it is cut short"),
    ),
    Case(
        "WebP", "cut short", "refused",
        file("a.webp", pillow(RGB, "WEBP")[:2000]), Refused(f"{CUT}: it declares"),
    ),
    Case(
        "GIF, BMP, WebP", "larger than the memory allowed", "refused, with the figure",
        file("a.bmp", pillow(RGB, "BMP")), Refused("decoding it takes 42.2 KiB of memory"),
        options={"budget": 20_000},
    ),
    Case(
        "TIFF", "cut short in uncompressed pixels", "exactly the px behind the cut are lost",
        file("a.tif", ONE_STRIP[:-1000]),
        Lost(((55, 66, 56, WIDTH), (56, 0, HEIGHT, WIDTH)), "the file ends before it, after"),
    ),
    Case(
        "TIFF", "cut short in compressed strips", "the strips behind the cut are lost",
        file("a.tif", SQUEEZED[: segments(SQUEEZED)[4][0] + 50]),
        Lost(((40, 0, 50, WIDTH), (50, 0, 60, WIDTH)), f"{CUT}: strip"),
    ),
    Case(
        "TIFF", "its directory lies behind a cut", "refused",
        file("a.tif", pillow(RGB, "TIFF", compression="tiff_lzw")[:9000]),
        Refused(f"{CUT}: its directory reaches to byte"),
    ),
    Case(
        "TIFF", "lists fewer tiles than its size takes (a bomb)", "refused",
        file("a.tif", retagged(retagged(TILES, "ImageLength", 0, 60000), "ImageWidth", 0, 60000)),
        Refused("it lists 6 tiles of 3,515,625"),
    ),
    Case(
        "TIFF", "a JPEG tile is cut short, which decoders fill with grey", "that tile is lost",
        file("a.tif", shortened(JPEG_TILES, 1, segments(JPEG_TILES)[1][1] - 60)),
        Lost((TILE_1,), "tile 2 of 6 does not end in the JPEG end marker FFD9"), whole=SMOOTH,
    ),
    Case(
        "TIFF", "a JPEG tile declares 65000×65000 px (a bomb)", "that tile is lost",
        file("a.tif", big_jpeg_tile()),
        Lost((TILE_1,), "tile 2 declares 65000×65000 px instead of 32×32"), whole=SMOOTH,
    ),
    Case(
        "TIFF", "a WebP or JPEG 2000 tile declares 16000×16000 px (a bomb)", "that tile is lost",
        file("a.tif", big_webp_tile()),
        Lost((TILE_1,), "tile 2 declares 16000×16000 px instead of 32×32"),
    ),
    Case(
        "TIFF", "a tile is missing (sparse), which readers fill with black", "that tile is lost",
        file("a.tif", without_segment(TILES, 1)), Lost((TILE_1,), "tile 2 of 6 is missing"),
    ),
    Case(
        "TIFF", "a compressed tile is damaged", "that tile is lost",
        file("a.tif", flipped(TILES, segments(TILES)[1][0] + 100, 50)),
        Lost((TILE_1,), "it cannot be decoded"),
    ),
    Case(
        "TIFF", "a compressed tile is listed with too few bytes", "that tile is lost",
        file("a.tif", shortened(TILES, 1, 500)), Lost((TILE_1,), "it cannot be decoded"),
    ),
    Case(
        "TIFF", "an LZW tile is listed with too few bytes", "that tile is lost",
        file("a.tif", shortened(tiled(compression="lzw"), 1, 500)),
        Lost((TILE_1,), "it cannot be decoded"),
    ),
    Case(
        "TIFF", "a byte of an uncompressed or LZW tile is changed",
        "**not noticed**: neither has a checksum",
        file("a.tif", flipped(tiled(), segments(tiled())[1][0] + 100)), Unnoticed(),
    ),
    Case(
        "TIFF", "one huge strip, uncompressed", "read whole, only the px asked for",
        file("a.tif", ONE_STRIP), ReadWhole(), options={"budget": 10_000},
    ),
    Case(
        "TIFF", "one huge strip, compressed, beyond the memory allowed",
        "refused, with the figure",
        file("a.tif", tiff(RGB, rowsperstrip=HEIGHT, compression="zlib")),
        Refused("its strips are 60×80 px, and decoding one takes 42.2 KiB of memory; 9.8 KiB is"),
        options={"budget": 10_000},
    ),
    Case(
        "TIFF", "tiles larger than the image", "read whole",
        file("a.tif", tiff(RGB, tile=(256, 256), compression="zlib")), ReadWhole(),
    ),
    Case(
        "TIFF", "tiles larger than the memory allowed (a bomb)", "refused, with the figure",
        file(
            "a.tif",
            retagged(
                retagged(tiff(RGB, tile=(256, 256), compression="zlib"), "TileWidth", 0, 60000),
                "TileLength", 0, 60000,
            ),
        ),
        Refused("its tiles are 60000×60000 px, and decoding one takes 30.2 GiB of memory"),
    ),
    Case(
        "TIFF", "has other channels than asked for", "refused, with both numbers",
        file("a.tif", FIVE),
        Refused("the image has 5 channels per pixel, but channels=3 was asked for"),
    ),
    Case(
        "TIFF", "signed samples, of which white is not known", "refused",
        file("a.tif", tiff(GREY.astype(np.int16))), Refused("its samples are 16-bit int16"),
    ),
    Case(
        "TIFF", "NaN px", "exactly those px are lost",
        file("a.tif", tiff(with_nan((3, 4, 5, 9), (50, 70, 51, 71)))),
        Lost(((3, 4, 5, 9), (50, 70, 51, 71)), "its samples are NaN"), whole=FLOATS,
    ),
    Case(
        "TIFF", "some floats lie outside 0..1", "exactly those px are lost",
        file("a.tif", tiled(with_nan((33, 4, 35, 40), value=1.5), compression="zlib")),
        Lost(((33, 4, 35, 32), (33, 32, 35, 40)), "lie between"), whole=FLOATS,
    ),
    Case(
        "TIFF", "floats on another scale than 0..1", "refused, with the range",
        file("a.tif", tiff(FLOATS * 255)), Refused("its floating-point samples lie between"),
    ),
    Case(
        "TIFF", "a level that it does not have", "refused, with those it has",
        file("a.tif", TIFF), Refused("there is no level 2; there is 0: 60×80 px"),
        options={"level": 2},
    ),
    Case(
        "TIFF", "its list of images leads back to its beginning, and a level is asked for",
        "refused", file("a.tif", in_a_circle()), Refused("the images form a circle"),
        options={"level": 1},
    ),
    Case(
        "TIFF", "mpp is asked for, and no size of a px is given", "refused",
        file("a.tif", TIFF), Refused("does not say how many micrometres"), options={"mpp": 0.5},
    ),
    Case(
        "any", "a region that reaches beyond the image", "refused, with both named",
        file("a.tif", TIFF),
        Refused("the region (0, 0, 61, 80) does not lie inside the image of 60×80 px"),
        options={"region": (0, 0, 61, WIDTH)},
    ),
    Case(
        "GeoTIFF", "px that are nodata in all bands", "those px are missing",
        nodata_in((7, 8, 20, 30)), Missing(((7, 8, 20, 30),)),
    ),
    Case(
        "GeoTIFF", "a mask", "the px that it masks are missing",
        with_mask, Missing(((10, 30, 20, 50),)),
    ),
    Case(
        "GeoTIFF", "the mask is damaged", "the px of which it is not known are lost",
        with_damaged_mask, Lost(((32, 32, 60, 64),), "it cannot be decoded"),
    ),
    Case(
        "GeoTIFF", "a block was never written, and nodata is declared", "its px are missing",
        with_empty_blocks, Missing((TILE_1,)),
    ),
    Case(
        "GeoTIFF", "floats: nodata in one of three bands", "that px is lost",
        float_scene, Lost(((40, 41, 41, 42),), "lie between"), whole=FLOATS,
    ),
    Case(
        "Zarr", "a chunk is not there, which readers fill", "that chunk is lost",
        without("c/0/1/0", stored()), Lost((TILE_1,), "chunk (0, 1) is not there; it would be"),
    ),
    Case(
        "Zarr", "a chunk is not there, and `_FillValue` declares the fill value as no data",
        "that chunk is missing",
        without("c/0/1/0", stored(attributes={"_FillValue": 0})), Missing((TILE_1,)),
    ),
    Case(
        "Zarr", "a chunk of an array of version 2 is not there", "that chunk is lost",
        without("0.1.0", stored(pixels=FLOATS, zarr_format=2, fill_value=np.nan)),
        Lost((TILE_1,), "chunk (0, 1) is not there; it would be read as nan"), whole=FLOATS,
    ),
    Case(
        "Zarr", "a chunk holds nothing but the fill value, and is there", "read whole",
        stored(pixels=WITH_BLACK, config={"write_empty_chunks": True}), ReadWhole(),
        whole=WITH_BLACK,
    ),
    Case(
        "Zarr", "a part of a shard is not there", "that part is lost",
        lambda folder: zarr_array(
            folder / "a.zarr", np.where(np.indices((HEIGHT, WIDTH, 3))[0] < 32, RGB, 0),
            shards=(64, 64, 3),
        ),
        Lost(((32, 0, 60, 32), (32, 32, 60, 64), (32, 64, 60, 80)), "is not there"),
    ),
    Case(
        "Zarr", "a chunk is cut short", "that chunk is lost",
        rewritten("c/0/1/0", lambda data: data[:-9], stored()),
        Lost((TILE_1,), "it cannot be decoded"),
    ),
    Case(
        "Zarr", "a chunk with a checksum (crc32c) is changed", "that chunk is lost",
        rewritten("c/0/1/0", lambda data: flipped(data, 40), stored(compressors=[Crc32cCodec()])),
        Lost((TILE_1,), "it cannot be decoded (Stored and computed checksum do not match"),
    ),
    Case(
        "Zarr", "a chunk without a checksum is changed", "**not noticed**, if it can be decoded",
        rewritten("c/0/1/0", lambda data: flipped(data, 40), stored(compressors=None)), Unnoticed(),
    ),
    Case(
        "Zarr", "chunks larger than the memory allowed (a bomb)", "refused, with the figure",
        declared(
            stored(),
            chunk_grid={"name": "regular", "configuration": {"chunk_shape": [60000, 60000, 3]}},
        ),
        Refused("its chunks are 60000×60000 px, and decoding one takes 30.2 GiB of memory"),
    ),
    Case(
        "Zarr", "its metadata is damaged", "refused",
        rewritten("zarr.json", lambda data: data[:50], stored()),
        Refused("its metadata is damaged, or that of no Zarr image"),
    ),
    Case(
        "Zarr", "a group that is no image", "refused, with what it holds",
        lambda folder: zarr_array(folder / "g" / "inner") and declared_group(folder / "g"),
        Refused("is a Zarr group and no OME-Zarr image; it holds inner"),
    ),
    Case(
        "Zarr", "int32 samples, of which white is not known", "refused",
        stored(pixels=RGB.astype(np.int32)), Refused("its samples are int32"),
    ),
    Case(
        "OME-Zarr", "a level that its metadata names is not there", "refused",
        without("1/zarr.json", lambda folder: ome_zarr(folder / "a.zarr")),
        Refused("its metadata is damaged, or that of no Zarr image"),
    ),
    Case(
        "OME-Zarr", "several time points", "refused",
        lambda folder: ome_zarr(folder / "a.zarr", axes="tyx", pixels=np.stack([GREY, GREY])),
        Refused("holds 2 images along its axis t"), options={"channels": 1},
    ),
    Case(
        "NumPy", "cut short", "exactly the px behind the cut are lost",
        npy(RGB, keep=128 + 3 * (WIDTH * 20 + 7) + 2),
        Lost(((20, 7, 21, WIDTH), (21, 0, HEIGHT, WIDTH)), "the file ends before it, after 4,823"),
    ),
    Case(
        "NumPy", "the header is damaged", "refused",
        npy(RGB, keep=60), Refused("its header is damaged"),
    ),
    Case(
        "NumPy", "the header is no Python", "refused",
        file("a.npy", np_bytes(RGB).replace(b" }", b" (")), Refused("its header is damaged"),
    ),
    Case(
        "NumPy", "Python objects, which can run code", "refused",
        npy(np.array([[object()]], dtype=object)), Refused("holds Python objects"),
    ),
    Case(
        "NumPy", "px before channels", "refused, with both numbers",
        npy(np.moveaxis(RGB, 2, 0)),
        Refused("the image has 80 channels per pixel, but channels=3 was asked for"),
    ),
    Case(
        "slides of OpenSlide", "damaged, or files of it are missing", "refused",
        file("a.mrxs", b"nothing"), Refused("is no slide that OpenSlide reads, or is damaged"),
    ),
)  # fmt: skip


def declared_group(path: Path) -> Path:
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    return path


def table() -> str:
    """The rows in Markdown."""
    lines = ["| format | fault | gives |", "|---|---|---|"]
    lines += [f"| {case.format} | {case.fault} | {case.gives} |" for case in FAULTS]
    return "\n".join(lines) + "\n"


BEGIN, END = "<!-- what each fault gives -->\n\n", "\n<!-- end -->\n"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "formats.md"

if __name__ == "__main__":
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.split(END)[1])
