import io
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import pytest
from image_files import DATA, RGB, RGB16, SMOOTH, chunk, needs_data, pillow, png, read, tiff
from PIL import ImageOps

from fullconv.errors import InputError
from fullconv.storage.images import Image, read_image


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(RGB, 2), id="png"),
        pytest.param(pillow(PIL.Image.fromarray(RGB), "PNG"), id="png-filtered"),
        pytest.param(pillow(PIL.Image.fromarray(RGB), "BMP"), id="bmp"),
        pytest.param(pillow(PIL.Image.fromarray(RGB), "WEBP", lossless=True), id="webp"),
        pytest.param(tiff(RGB, photometric="rgb"), id="tiff"),
        pytest.param(tiff(RGB, photometric="rgb", bigtiff=True), id="bigtiff"),
        pytest.param(tiff(RGB, photometric="rgb", byteorder=">"), id="tiff-big-endian"),
        pytest.param(tiff(RGB, photometric="rgb", bigtiff=True, byteorder=">"), id="bigtiff-be"),
        pytest.param(tiff(RGB, photometric="rgb", compression="zlib", predictor=True), id="zlib"),
        pytest.param(tiff(RGB, photometric="rgb", compression="lzw", tile=(16, 16)), id="lzw"),
        pytest.param(
            tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate"), id="planar"
        ),
        pytest.param(tiff(RGB, photometric="rgb", rowsperstrip=4), id="strips"),
        pytest.param(tiff(np.stack([RGB, 255 - RGB]), photometric="rgb"), id="two-pages"),
    ],
)
def test_rgb_is_read_as_it_was_written(data, tmp_path):
    pixels = read(data, tmp_path)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, RGB)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(RGB16, 2), id="png"),
        pytest.param(imagecodecs.png_encode(RGB16), id="png-filtered"),
        pytest.param(tiff(RGB16, photometric="rgb"), id="tiff"),
        pytest.param(tiff(RGB16, photometric="rgb", byteorder=">"), id="tiff-big-endian"),
        pytest.param(tiff(RGB16, photometric="rgb", byteorder=">", tile=(16, 16)), id="tiles-be"),
        pytest.param(tiff(RGB16, photometric="rgb", compression="zlib", predictor=True), id="zlib"),
        pytest.param(
            tiff(np.moveaxis(RGB16, -1, 0), photometric="rgb", planarconfig="separate"), id="planar"
        ),
    ],
)
def test_sixteen_bit_colour_keeps_all_its_bits(data, tmp_path):
    pixels = read(data, tmp_path)
    assert pixels.dtype == np.dtype(np.uint16)
    assert pixels.dtype.isnative
    np.testing.assert_array_equal(pixels, RGB16)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(RGB16[..., :1], 0), id="png"),
        pytest.param(tiff(RGB16[..., 0]), id="tiff"),
        pytest.param(tiff(RGB16[..., 0], byteorder=">"), id="tiff-big-endian"),
        pytest.param(tiff(65535 - RGB16[..., 0], photometric="miniswhite"), id="white-is-zero"),
        pytest.param(pillow(PIL.Image.fromarray(RGB16[..., 0]), "TIFF"), id="pillow-I;16"),
    ],
)
def test_sixteen_bit_grey_fills_three_channels(data, tmp_path):
    pixels = read(data, tmp_path)
    np.testing.assert_array_equal(pixels, RGB16[..., :1].repeat(3, axis=2))
    np.testing.assert_array_equal(read(data, tmp_path, channels=1), RGB16[..., :1])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "PNG16", "late PNG", "WEBP", "TIFF"])
def test_images_are_turned_upright(kind, orientation, tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    tag = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    picture = PIL.Image.fromarray(SMOOTH)
    data = {
        "PNG": lambda: png(SMOOTH, 2, tag),
        "PNG16": lambda: png(SMOOTH.astype(np.uint16) * 257, 2, tag),
        "late PNG": lambda: png(SMOOTH, 2, late=[tag]),
        "WEBP": lambda: pillow(picture, "WEBP", exif=exif, lossless=True),
        "TIFF": lambda: pillow(picture, "TIFF", exif=exif),
        "JPEG": lambda: pillow(picture, "JPEG", exif=exif),
    }[kind]()
    upright = read(data, tmp_path)
    if kind == "JPEG":
        picture = PIL.Image.open(io.BytesIO(data))
    picture.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(upright, expected.astype(int) * (257 if kind == "PNG16" else 1))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_damaged_exif_block_does_not_cost_the_image(tmp_path):
    for exif in (b"MM\0*\0\0\0\x08\0\x09", b"rubbish", b""):
        np.testing.assert_array_equal(read(png(RGB, 2, chunk(b"eXIf", exif)), tmp_path), RGB)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_scaled_runs_from_zero_to_one(dtype):
    top = np.iinfo(dtype).max
    pixels = np.array([[[0, 1, top]]], dtype)
    scaled = Image(Path("x.png"), pixels).scaled()
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, np.float32([[[0, np.float32(1 / top), 1]]]))


def test_scaled_is_a_new_array():
    pixels = np.zeros((2, 2, 3), np.float32)
    Image(Path("x.tif"), pixels).scaled()[:] = 1
    assert pixels.max() == 0


def test_size_is_height_and_width(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(RGB, 2))
    image = read_image(str(path))
    assert (image.size, image.channels, image.path) == ((13, 22), 3, path)
    assert image.as_rgb8() is image.pixels


def test_as_rgb8_rounds_to_the_nearest():
    wide = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    shown = Image(Path("x.png"), wide).as_rgb8()
    assert shown.shape == (256, 256, 3)
    np.testing.assert_array_equal(shown[..., 1], np.rint(wide[..., 0] / 257))
    floats = np.float32([[[0, 0.5, 1]]])
    np.testing.assert_array_equal(Image(Path("x.tif"), floats).as_rgb8(), [[[0, 128, 255]]])


def test_five_channels_cannot_be_shown():
    with pytest.raises(InputError, match="an image of 5 channels cannot be shown") as caught:
        Image(Path("x.tif"), np.zeros((2, 2, 5), np.uint8)).as_rgb8()
    assert str(caught.value).startswith("x.tif: ")


@needs_data
def test_real_photos_and_slides_are_read():
    files = sorted((DATA / "photos").rglob("*.jp*g")) + sorted((DATA / "slides").iterdir())
    assert files
    for path in files:
        image = read_image(path)
        assert image.pixels.dtype == np.uint8
        assert image.channels == 3
        assert 10 < image.pixels.mean() < 245
