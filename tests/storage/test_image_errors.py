import io
import os
from contextlib import suppress
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile
from image_files import (
    DATA,
    RGB,
    RGB16,
    SMOOTH,
    chunk,
    needs_data,
    pillow,
    png,
    read,
    refused,
    rewritten,
    tiff,
)

from fullconv.errors import InputError, UsageError
from fullconv.storage.images import read_image


def test_a_missing_file_is_named_with_its_neighbours(tmp_path):
    (tmp_path / "parrot.jpg").write_bytes(b"x")
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / "parot.jpg")
    assert str(caught.value) == (
        f"{tmp_path / 'parot.jpg'}: there is no such file.\nDid you mean parrot.jpg?"
    )
    with pytest.raises(InputError, match=f"the folder {tmp_path / 'nowhere'} does not exist"):
        read_image(tmp_path / "nowhere" / "a.png")


def test_directories_pipes_and_empty_files_are_no_images(tmp_path):
    with pytest.raises(InputError, match=r"this is a directory\.\nName one image file in it\."):
        read_image(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(InputError, match=r"empty\.png: the file is empty: 0 bytes\.\nCopy or down"):
        read_image(tmp_path / "empty.png")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"this is not a regular file\.\nSave the image to a file"):
        read_image(tmp_path / "pipe")


def test_a_file_that_cannot_be_opened(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(png(RGB, 2))

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match="cannot be opened") as caught:
        read_image(path)
    assert "The system says: Permission denied. Check its name and its permissions." in str(
        caught.value
    )
    with pytest.raises(InputError, match="cannot be opened"):
        read_image("a\0b.png")
    with pytest.raises(InputError, match="The system says: Not a directory"):
        read_image(path / "b.png")


@pytest.mark.parametrize("data", [b"hello world, no image", b"R", b"RIFF\x20\0\0\0WAVEfmt ", b"\0"])
def test_other_files_are_not_guessed_at(data, tmp_path):
    message = refused(data, tmp_path)
    assert message.startswith("this is not an image that can be read; the file begins with b'")
    assert "PNG, JPEG, TIFF, BMP, WebP and GIF files are told by their first bytes." in message
    assert message.endswith("Convert it to one of these, for instance to PNG.")


CUT = {
    "jpeg": pillow(PIL.Image.fromarray(SMOOTH), "JPEG", quality=90),
    "progressive": pillow(PIL.Image.fromarray(SMOOTH), "JPEG", progressive=True),
    "png": pillow(PIL.Image.fromarray(RGB), "PNG"),
    "png16": imagecodecs.png_encode(RGB16),
    "gif": pillow(PIL.Image.fromarray(RGB).quantize(32), "GIF"),
    "bmp": pillow(PIL.Image.fromarray(RGB), "BMP"),
    "webp": pillow(PIL.Image.fromarray(RGB), "WEBP"),
    "tiff": tiff(RGB, photometric="rgb"),
    "tiff16": tiff(RGB16, photometric="rgb", compression="zlib", predictor=True),
    "tiff-jpeg": tiff(SMOOTH, photometric="rgb", compression="jpeg", tile=(16, 16)),
    # Pillow writes the directory last, and the values of its tags behind it.
    "tiff-end": pillow(PIL.Image.fromarray(RGB), "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("name", CUT)
def test_wherever_a_file_is_cut_it_is_refused_or_read_whole(name, tmp_path):
    data = CUT[name]
    whole = read(data, tmp_path)
    sample = range(1, len(data), 1 + len(data) // 150)
    for length in sorted({*sample, *range(len(data) - 40, len(data))}):
        with suppress(InputError):
            assert np.array_equal(read(data[:length], tmp_path), whole), f"cut at {length}"


@pytest.mark.parametrize(
    "name", ["png", "png16", "webp", "tiff", "tiff16", "tiff-jpeg", "tiff-end"]
)
def test_a_cut_file_is_called_cut_short(name, tmp_path):
    data = CUT[name]
    message = refused(data[: len(data) * 3 // 4], tmp_path)
    assert message.startswith("the file is cut short: ")
    assert message.endswith("What is missing would be read as garbage. Copy or download it again.")


@pytest.mark.parametrize("name", ["jpeg", "gif", "bmp"])
def test_a_cut_file_that_only_the_decoder_notices(name, tmp_path):
    data = CUT[name]
    message = refused(data[: len(data) * 3 // 4], tmp_path)
    assert message.startswith(f"cannot be decoded as {name.upper()}: it is cut short.\nThe decoder")
    assert "Copy or download it again." in message


def test_a_png_names_the_chunk_that_is_cut_or_damaged(tmp_path):
    data = imagecodecs.png_encode(RGB16)
    assert "its IDAT chunk reaches to byte" in refused(data[:-40], tmp_path)
    assert "before its end chunk" in refused(data[:-12], tmp_path)
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    assert refused(bytes(damaged), tmp_path) == (
        "its IDAT chunk at byte 33 is damaged: the checksum is wrong.\nCopy or download it again."
    )
    assert "begins like a PNG but has no header" in refused(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), tmp_path
    )


def test_damage_that_no_reader_needs_is_overlooked(tmp_path):
    note = bytearray(chunk(b"tEXt", b"Title\0Seaside"))
    note[-1] ^= 1
    np.testing.assert_array_equal(read(png(RGB, 2, bytes(note)), tmp_path), RGB)


def test_a_jpeg_tile_cut_short_inside_a_tiff_is_refused(tmp_path):
    data = tiff(np.tile(SMOOTH, (2, 2, 1)), photometric="rgb", compression="jpeg", tile=(32, 32))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        size = file.pages.first.databytecounts[2]
    lying = rewritten(data, "TileByteCounts", 2, size - 30)
    assert refused(lying, tmp_path).startswith(
        "the file is cut short: tile 3 of 12 does not end in the JPEG end marker FFD9.\n"
    )


def test_missing_and_overlong_segments_are_refused(tmp_path):
    data = tiff(RGB, photometric="rgb", compression="zlib", tile=(16, 16))
    assert refused(rewritten(data, "TileByteCounts", 1, 0), tmp_path).startswith(
        "tile 2 of 2 is missing.\nIt would be read as black."
    )
    assert "tile 2 of 2 reaches to byte 6" in refused(
        rewritten(data, "TileByteCounts", 1, 60_000), tmp_path
    )
    strips = tiff(RGB, photometric="rgb", compression="zlib", rowsperstrip=5)
    assert "strip 1 of 3 is missing" in refused(
        rewritten(strips, "StripByteCounts", 0, 0), tmp_path
    )


def test_a_damaged_segment_is_a_clear_error(tmp_path):
    data = bytearray(tiff(RGB, photometric="rgb", compression="zlib"))
    data[-200:-100] = bytes(100)
    message = refused(bytes(data), tmp_path)
    assert message.startswith("cannot be decoded as TIFF: it is damaged, or of an unusual kind.\n")
    assert "The decoder says: " in message
    assert message.endswith("If other programs open it, save it there as PNG.")


def test_nan_and_floats_out_of_range_are_refused(tmp_path):
    values = np.full((4, 5, 3), 0.5, np.float32)
    values[1, 2, 0] = values[3, 3, 1] = np.nan
    assert refused(tiff(values, photometric="rgb"), tmp_path) == (
        "2 of its 60 samples are NaN.\nOne NaN pixel makes every score that sees it NaN. "
        "Fill them before scoring, for instance with the mean of the image."
    )
    values = np.nan_to_num(values) * 510
    assert refused(tiff(values, photometric="rgb"), tmp_path).startswith(
        "its floating-point samples lie between 0 and 255.\nOnly for 0 (black) to 1 (white)"
    )
    assert "between -inf and 0.5" in refused(tiff(np.float32([[0.5, -np.inf]])), tmp_path)


@pytest.mark.parametrize(
    ("dtype", "found"), [(np.int16, "16-bit int16"), (np.uint32, "32-bit uint32")]
)
def test_integers_without_a_known_white_are_refused(dtype, found, tmp_path):
    message = refused(tiff(np.ones((4, 5), dtype)), tmp_path)
    assert message.startswith(f"its samples are {found}.\nIt is not known which value is white.")
    assert message.endswith("Save it with 8- or 16-bit samples, or as floats from 0 to 1.")


def test_other_channels_are_refused_with_both_numbers(tmp_path):
    bands = np.ones((4, 5, 5), np.uint8)
    data = tiff(bands, photometric="minisblack", planarconfig="contig")
    assert refused(data, tmp_path).startswith(
        "the image has 5 channels per pixel, but channels=3 was asked for.\n"
        "Only grey and RGB can be turned into each other."
    )
    assert "has 5 channels per pixel, but channels=1" in refused(data, tmp_path, channels=1)
    assert "has 3 channels per pixel, but channels=4" in refused(png(RGB, 2), tmp_path, channels=4)
    jpeg = pillow(PIL.Image.fromarray(SMOOTH[..., 0]), "JPEG")
    assert "has 1 channel per pixel, but channels=2" in refused(jpeg, tmp_path, channels=2)
    unknown = tiff(bands[..., :4], photometric="rgb", extrasamples=["unspecified"])
    assert "has 4 channels per pixel, but channels=3" in refused(unknown, tmp_path)


def test_volumes_and_unknown_colours_are_refused(tmp_path):
    volume = np.ones((4, 16, 16), np.uint8)
    data = tiff(volume, photometric="minisblack", volumetric=True, tile=(16, 16, 16))
    assert "the file holds a volume of 4 slices, not an image" in refused(data, tmp_path)
    lab = PIL.Image.frombytes("LAB", (22, 13), RGB.tobytes())
    assert refused(pillow(lab, "TIFF"), tmp_path).startswith(
        "its colours are CIELAB with 3 channels.\n"
        "Grey, RGB, palette, CMYK and YCbCr images can be read."
    )


@pytest.mark.parametrize(("channels", "max_pixels"), [(0, 10), (3, 0)])
def test_counts_must_be_positive(channels, max_pixels):
    with pytest.raises(UsageError, match=f"channels={channels} and max_pixels={max_pixels} must"):
        read_image("any.png", channels=channels, max_pixels=max_pixels)


@needs_data
def test_a_real_slide_with_one_tile_cut_short_is_refused(tmp_path):
    data = bytearray((DATA / "slides" / "cmu-1-small-region.svs").read_bytes())
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        end = page.dataoffsets[57] + page.databytecounts[57]
    data[end - 400 : end] = bytes(400)
    assert refused(bytes(data), tmp_path).startswith(
        "the file is cut short: tile 58 of 130 does not end in the JPEG end marker FFD9."
    )
