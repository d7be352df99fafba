"""Whatever box is read, and in whatever order, it is that box of what was written."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile
import zarr
from broken_files import geotiff, ome_zarr, zarr_array
from hypothesis import given, settings
from hypothesis import strategies as st

from fullconv.storage.images import read_image
from fullconv.storage.sources import ArraySource, DrawnSource, open_source

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (97, 121, 3), np.uint8)
RGB[20:60] = (np.arange(121)[:, None] * (1, 2, 0) + 5).astype(np.uint8)  # what filters work on
GREY = RGB[..., 0]
RGB16 = RNG.integers(0, 65536, (97, 121, 3), np.uint16)
FLOATS = RNG.random((97, 121, 3), np.float32)
MANY = RNG.integers(0, 256, (97, 121, 7), np.uint8)
VOLUME = RNG.integers(0, 256, (19, 23, 29), np.uint8)
RGBA = np.concatenate([RGB, RNG.integers(0, 256, (97, 121, 1), np.uint8)], 2)


def pillow(pixels, kind, **options):
    def write(folder):
        picture = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
        picture.save(folder / "image", kind, **options)
        return folder / "image"

    return write


def tiff(pixels, **options):
    def write(folder):
        tifffile.imwrite(folder / "image.tif", pixels, **options)
        return folder / "image.tif"

    return write


def png16(folder):
    (folder / "image.png").write_bytes(imagecodecs.png_encode(RGB16))
    return folder / "image.png"


def npy(pixels):
    def write(folder):
        np.save(folder / "a.npy", pixels)
        return folder / "a.npy"

    return write


def in_zarr(pixels, chunks, **options):
    return lambda folder: zarr_array(folder / "a.zarr", pixels, chunks=chunks, **options)


def zarr2(folder):
    """An OME-Zarr 0.4 image: version 2 of Zarr, its metadata in .zattrs."""
    group = zarr.create_group(folder / "a.zarr", zarr_format=2)
    array = group.create_array("0", shape=(1, 3, 1, 97, 121), chunks=(1, 2, 1, 30, 50), dtype="u1")
    array[:] = np.moveaxis(RGB, 2, 0)[None, :, None]
    axes = [{"name": n, "type": t} for n, t in zip("tczyx", ("time", "channel", *["space"] * 3), strict=True)]  # fmt: skip
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    return folder / "a.zarr"


CHANNELS_FIRST = np.ascontiguousarray(np.moveaxis(RGB, 2, 0))
WRITTEN = {
    "png": (pillow(RGB, "PNG"), RGB, {}),
    "png grey": (pillow(GREY, "PNG"), GREY[..., None], {"channels": 1}),
    "png 16 bits": (png16, RGB16, {}),
    "bmp": (pillow(RGB, "BMP"), RGB, {}),
    "webp": (pillow(RGB, "WEBP", lossless=True), RGB, {}),
    "gif": (pillow(GREY, "GIF"), GREY[..., None], {"channels": 1}),
    "tiff": (tiff(RGB, photometric="rgb"), RGB, {}),
    "tiff of many strips": (tiff(RGB, photometric="rgb", rowsperstrip=10), RGB, {}),
    "tiff, big-endian": (tiff(RGB16, photometric="rgb", byteorder=">"), RGB16, {}),
    "tiff, planes": (tiff(CHANNELS_FIRST, photometric="rgb", planarconfig="separate"), RGB, {}),
    "tiff, planes in tiles": (
        tiff(CHANNELS_FIRST, photometric="rgb", planarconfig="separate", tile=(32, 48), compression="zstd"), RGB, {},
    ),
    "tiff, predictor": (
        tiff(RGB16, photometric="rgb", tile=(16, 32), compression="lzw", predictor=True), RGB16, {},
    ),
    "tiff, floats": (tiff(FLOATS, photometric="rgb", compression="zlib", predictor=True), FLOATS, {}),
    "tiff, doubles": (tiff(FLOATS.astype(np.float64), photometric="rgb"), FLOATS, {}),
    "tiff, 7 channels": (
        tiff(MANY, photometric="minisblack", planarconfig="contig", tile=(32, 32)), MANY, {"channels": 7},
    ),
    "tiff, RGBA as it is": (tiff(RGBA, photometric="rgb", extrasamples=["unassalpha"]), RGBA, {"channels": 4}),
    "BigTIFF": (tiff(RGB, photometric="rgb", bigtiff=True, tile=(64, 64), compression="zlib"), RGB, {}),
    "OME-TIFF, a page for each channel": (
        tiff(np.moveaxis(MANY, 2, 0), ome=True, metadata={"axes": "CYX"}, tile=(32, 32), compression="zlib"),
        MANY, {"channels": 7},
    ),
    "GeoTIFF": (
        lambda folder: geotiff(folder, RGB, height=97, width=121, compress="deflate"), RGB, {},
    ),
    "zarr": (in_zarr(RGB, (40, 50, 3)), RGB, {}),
    "zarr, a chunk for each channel": (in_zarr(RGB16, (33, 121, 1)), RGB16, {}),
    "zarr in shards": (in_zarr(FLOATS, (16, 16, 3), shards=(64, 64, 3)), FLOATS, {}),
    "zarr of one channel": (in_zarr(GREY, (40, 50)), GREY[..., None], {"channels": 1}),
    "zarr with names": (
        in_zarr(CHANNELS_FIRST, (3, 40, 50), dimension_names=["c", "y", "x"]), RGB, {},
    ),
    "zarr of a volume": (in_zarr(VOLUME, (8, 8, 8)), VOLUME[..., None], {"channels": 1, "axes": 3}),
    "OME-Zarr 0.4": (zarr2, RGB, {}),
    "OME-Zarr 0.5": (
        lambda folder: ome_zarr(folder / "a.zarr", pixels=CHANNELS_FIRST), RGB, {},
    ),
    "npy": (npy(RGB), RGB, {}),
    "npy, big-endian": (npy(RGB16.astype(">u2")), RGB16, {}),
    "npy in the order of Fortran": (npy(np.asfortranarray(RGB)), RGB, {}),
    "npy of a volume": (npy(VOLUME), VOLUME[..., None], {"channels": 1, "axes": 3}),
    "npy of a line": (npy(GREY[0]), GREY[0][:, None], {"channels": 1}),
    "npy of a line with channels": (npy(GREY[:, :3]), GREY[:, :3], {"axes": 1}),
    "npy of halves": (npy(FLOATS.astype(np.float16)), FLOATS.astype(np.float16).astype(np.float32), {}),
    "npy of bools": (npy(GREY > 90), np.uint8(255) * (GREY > 90)[..., None], {"channels": 1}),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("written")


def box_of(data, size):
    edges = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in size]
    return (*(start for start, _ in edges), *(stop for _, stop in edges))


def part(pixels, box):
    dims = len(box) // 2
    return pixels[tuple(slice(a, b) for a, b in zip(box[:dims], box[dims:], strict=True))]


@pytest.mark.parametrize("name", WRITTEN)
def test_a_box_is_that_box_of_what_was_written(name, tmp_path):
    write, pixels, options = WRITTEN[name]
    with open_source(write(tmp_path), **options) as source:
        assert source.size == pixels.shape[:-1]
        assert source.channels == pixels.shape[-1]
        assert source.dtype == pixels.dtype

        @settings(max_examples=15)
        @given(st.data())
        def reads(data):
            box = box_of(data, source.size)
            found = source.read(box)
            assert found.pixels.dtype == pixels.dtype
            assert np.array_equal(found.pixels, part(pixels, box))
            assert not found.faults
            assert found.pixels.flags.c_contiguous

        reads()


def exif(orientation):
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def png_clear(folder):
    """Grey of 16 bits; the value of its first px is transparent."""
    grey = RGB16[..., 0] // 4096
    coded = imagecodecs.png_encode(grey.astype(np.uint16))
    body = b"tRNS" + int(grey[0, 0]).to_bytes(2, "big")
    clear = b"\0\0\0\2" + body + zlib.crc32(body).to_bytes(4, "big")
    (folder / "image.png").write_bytes(coded[:33] + clear + coded[33:])
    return folder / "image.png"


PICTURE = PIL.Image.fromarray(RGB)
CONVERTED = {
    **{f"png turned {n}": pillow(RGB, "PNG", exif=exif(n)) for n in range(1, 9)},
    **{f"jpeg turned {n}": pillow(RGB, "JPEG", exif=exif(n)) for n in (3, 6)},
    "tiff turned": tiff(RGB, photometric="rgb", extratags=[(274, 3, 1, 8, True)]),
    "png palette": pillow(PICTURE.quantize(17), "PNG"),
    "png palette, some clear": pillow(PICTURE.quantize(17), "PNG", transparency=3),
    "png with a clear colour": pillow(RGB, "PNG", transparency=tuple(RGB[50, 50].tolist())),
    **{
        f"png palette of {n} bits": pillow(PICTURE.quantize(2**n), "PNG", bits=n) for n in (1, 2, 4)
    },
    "png of 16 bits with a clear grey": png_clear,
    "png of one bit": pillow(PICTURE.convert("1"), "PNG"),
    "png RGBA": pillow(RGBA, "PNG"),
    "png grey and alpha": pillow(PICTURE.convert("LA"), "PNG"),
    "jpeg": pillow(RGB, "JPEG"),
    "jpeg progressive": pillow(RGB, "JPEG", progressive=True),
    "jpeg grey": pillow(GREY, "JPEG"),
    "jpeg CMYK": pillow(PICTURE.convert("CMYK"), "JPEG"),
    "gif": pillow(PICTURE.quantize(30), "GIF"),
    "webp": pillow(RGBA, "WEBP"),
    "tiff palette": pillow(PICTURE.quantize(30), "TIFF"),
    "tiff CMYK": pillow(PICTURE.convert("CMYK"), "TIFF"),
    "tiff one bit": tiff(GREY > 100, photometric="minisblack"),
    "tiff white is zero": tiff(GREY, photometric="miniswhite", tile=(32, 32)),
    "tiff RGBA": tiff(RGBA, photometric="rgb", extrasamples=["unassalpha"], tile=(32, 32)),
    "tiff premultiplied": tiff(RGBA, photometric="rgb", extrasamples=["assocalpha"]),
    "tiff JPEG": tiff(RGB, photometric="rgb", compression="jpeg", tile=(32, 48)),
    "tiff JPEG 2000": tiff(RGB, photometric="rgb", compression="jpeg2000", tile=(64, 64)),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CONVERTED)
def test_a_box_is_that_box_of_the_image_read_whole(name, channels, tmp_path):
    path = CONVERTED[name](tmp_path)
    whole = read_image(path, channels=channels).pixels
    for budget in (None, 200_000) if "jpeg" in name and "prog" not in name else (None,):
        with open_source(path, channels=channels, budget=budget) as source:
            assert (*source.size, source.channels) == whole.shape
            rng = np.random.default_rng(1)
            for _ in range(10):
                box = [sorted(rng.integers(0, n + 1, 2)) for n in source.size]
                box = (box[0][0], box[1][0], box[0][1], box[1][1])
                found = source.read(box)
                assert found.pixels.dtype == whole.dtype
                assert np.array_equal(found.pixels, part(whole, box))
                assert not found.faults


def test_a_region_is_an_image_of_its_own(tmp_path):
    path = pillow(RGB, "PNG", exif=exif(6))(tmp_path)
    whole = read_image(path).pixels
    with open_source(path, region=(10, 20, 60, 70)) as source:
        assert source.size == (50, 50)
        assert source.frame.origin == (10, 20)
        assert np.array_equal(source.read((5, 6, 50, 49)).pixels, whole[15:60, 26:69])


@pytest.mark.parametrize("pixels", [RGB, RGB16, FLOATS, GREY, VOLUME[..., None]], ids=lambda p: f"{p.dtype}{p.shape}")  # fmt: skip
def test_arrays_in_memory(pixels):
    source = ArraySource(pixels)
    whole = pixels if pixels.ndim > 2 else pixels[..., None]
    rng = np.random.default_rng(1)
    for _ in range(10):
        spans = [sorted(rng.integers(0, n + 1, 2)) for n in source.size]
        box = (*(a for a, _ in spans), *(b for _, b in spans))
        assert np.array_equal(source.read(box).pixels, part(whole, box))


def test_drawn_px_are_those_of_the_function():
    def draw(box):
        rows, columns = np.ogrid[box[0] : box[2], box[1] : box[3]]
        return ((rows * 7 + columns) % 256).astype(np.uint8)[..., None]

    source = DrawnSource((10**6, 10**6), 1, np.uint8, draw)
    assert source.read((999_990, 5, 999_993, 8)).pixels[..., 0].tolist() == [
        [(row * 7 + column) % 256 for column in range(5, 8)] for row in range(999_990, 999_993)
    ]


def test_a_png_written_by_hand_with_every_filter(tmp_path):
    """Rows filtered by the five formulas of the PNG specification, part 9, in turn."""
    pixels = RGB.astype(int)
    out, before = b"", np.zeros((121, 3), int)
    for number, row in enumerate(pixels):
        left = np.vstack([np.zeros((1, 3), int), row[:-1]])
        corner = np.vstack([np.zeros((1, 3), int), before[:-1]])
        guess = left + before - corner
        near = [np.abs(guess - other) for other in (left, before, corner)]
        paeth = np.where(
            (near[0] <= near[1]) & (near[0] <= near[2]), left,
            np.where(near[1] <= near[2], before, corner),
        )  # fmt: skip
        kind = number % 5
        minus = (0, left, before, (left + before) // 2, paeth)[kind]
        out += bytes([kind]) + ((row - minus) % 256).astype(np.uint8).tobytes()
        before = row

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))  # fmt: skip

    head = struct.pack(">IIBBBBB", 121, 97, 8, 2, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(out)) + chunk(b"IEND", b"")
    )  # fmt: skip
    with open_source(path) as source:
        for top, bottom in [(50, 60), (3, 4), (61, 97), (0, 97), (2, 9)]:
            assert np.array_equal(source.read((top, 9, bottom, 100)).pixels, RGB[top:bottom, 9:100])


def test_a_wide_png_in_several_bands_read_in_any_order(tmp_path, monkeypatch):
    from fullconv.storage.sources.formats import png

    monkeypatch.setattr(png, "PIECE", 1500)
    monkeypatch.setattr(png, "MARKS", 300_000)
    out = io.BytesIO()
    PICTURE.save(out, "PNG")
    (tmp_path / "a.png").write_bytes(out.getvalue())
    with open_source(tmp_path / "a.png") as source:
        rng = np.random.default_rng(2)
        for _ in range(60):
            top, bottom = sorted(rng.integers(0, 98, 2))
            assert np.array_equal(source.read((top, 0, bottom, 121)).pixels, RGB[top:bottom])
