import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import PIL.Image
import pytest
from image_files import RGB, SMOOTH, chunk, over_white, pillow, png, read, refused, rewritten, tiff


def bombs() -> dict[str, bytes]:
    """Small files that declare 30,000×30,000 px."""
    start = png(np.zeros((1, 1), np.uint8), 0)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0))
    small = PIL.Image.fromarray(SMOOTH)
    jpeg = bytearray(pillow(small, "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 30000, 30000)
    gif = bytearray(pillow(small.quantize(8), "GIF"))
    gif[6:10] = struct.pack("<HH", 30000, 30000)
    bmp = bytearray(pillow(small, "BMP"))
    bmp[18:26] = struct.pack("<ii", 30000, 30000)
    tif = tiff(RGB, photometric="rgb", compression="zlib")
    for tag in ("ImageWidth", "ImageLength"):
        tif = rewritten(tif, tag, 0, 30000)
    return {
        "png": start[:8] + header + start[33:],
        "png16": start[:8]
        + header.replace(b"\x08\x02", b"\x10\x02", 1)[:-4]
        + struct.pack(">I", zlib.crc32(header[4:-4].replace(b"\x08\x02", b"\x10\x02", 1)))
        + start[33:],
        "jpeg": bytes(jpeg),
        "gif": bytes(gif),
        "bmp": bytes(bmp),
        "tiff": tif,
    }


@pytest.mark.parametrize(("name", "data"), bombs().items())
def test_a_bomb_is_judged_by_its_header(name, data, tmp_path):
    tracemalloc.start()
    message = refused(data, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message.startswith(
        "the image is 30000×30000 px: 900,000,000 pixels, and at most 200,000,000 are read.\n"
    )
    assert message.endswith("Raise max_pixels if you trust the file, or cut the image into parts.")
    assert peak < 2_000_000


def test_a_webp_bomb_is_judged_by_its_header(tmp_path):
    data = bytearray(pillow(PIL.Image.fromarray(RGB), "WEBP"))
    place = data.index(b"\x9d\x01\x2a") + 3
    data[place : place + 4] = struct.pack("<HH", 16000, 16000)
    assert refused(bytes(data), tmp_path).startswith("the image is 16000×16000 px: 256,000,000")


def test_a_tile_can_be_a_bomb_too(tmp_path):
    data = tiff(RGB, photometric="rgb", compression="zlib", tile=(16, 32))
    for tag in ("TileWidth", "TileLength"):
        data = rewritten(data, tag, 0, 30000 // 16 * 16)
    assert "pixels, and at most 200,000,000 are read" in refused(data, tmp_path)


def test_the_limit_is_exact(tmp_path):
    assert read(png(RGB, 2), tmp_path, max_pixels=13 * 22).shape == (13, 22, 3)
    assert refused(png(RGB, 2), tmp_path, max_pixels=13 * 22 - 1).startswith(
        "the image is 13×22 px: 286 pixels, and at most 285 are read."
    )


def test_the_limit_of_pillow_is_not_ours(tmp_path, monkeypatch):
    """Images that Pillow would call bombs are read, without a warning, if max_pixels allows."""
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 900)  # Pillow: warns above, refuses at 1800
    monkeypatch.setattr("fullconv.storage.images.BLOCK", 400)
    picture = PIL.Image.fromarray(SMOOTH)  # 2240 px
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind, options in (("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
            np.testing.assert_array_equal(read(pillow(picture, kind, **options), tmp_path), SMOOTH)
        for options in ({}, {"progressive": True}):
            assert read(pillow(picture, "JPEG", **options), tmp_path).shape == (40, 56, 3)
        assert read(pillow(picture.quantize(9), "GIF"), tmp_path).shape == (40, 56, 3)
        for options in ({"lossless": True}, {}):
            turned = read(pillow(picture, "WEBP", exif=exif, **options), tmp_path)
            assert turned.shape == (56, 40, 3)
        clear = picture.copy()
        clear.putalpha(128)
        np.testing.assert_array_equal(
            read(pillow(clear, "WEBP", lossless=True), tmp_path), over_white(np.asarray(clear))
        )
    message = refused(pillow(picture, "WEBP"), tmp_path, max_pixels=2000)
    assert message.startswith("the image is 40×56 px: 2,240 pixels, and at most 2,000 are read.")
    assert PIL.Image.MAX_IMAGE_PIXELS == 900


def test_where_pillow_cannot_be_avoided_its_limit_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 20)
    monkeypatch.setattr("fullconv.storage.images.BLOCK", 400)
    message = refused(pillow(PIL.Image.fromarray(SMOOTH), "JPEG"), tmp_path)
    assert message.startswith("the image is larger than Pillow decodes in this format.\n")
    assert "PIL.Image.MAX_IMAGE_PIXELS is 20 here. Save it as PNG or TIFF" in message


def test_an_image_that_does_not_fit_in_memory(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("fullconv.storage.formats.imagecodecs.png_decode", full)
    assert refused(png(RGB, 2), tmp_path).startswith("the image does not fit in memory.\nLower max")
