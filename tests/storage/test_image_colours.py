import io

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import RGB, RGB16, RNG, SMOOTH, chunk, over_white, pillow, png, read, tiff


def test_luminance_of_eight_bits_is_that_of_pillow(tmp_path):
    grey = read(png(RGB, 2), tmp_path, channels=1)
    np.testing.assert_array_equal(grey[..., 0], np.asarray(PIL.Image.fromarray(RGB).convert("L")))


def test_luminance_of_sixteen_bits_uses_the_same_weights(tmp_path):
    grey = read(png(RGB16, 2), tmp_path, channels=1)
    exact = RGB16 @ np.array([0.299, 0.587, 0.114])
    assert grey.shape == (13, 22, 1)
    assert grey.dtype == np.uint16
    assert np.abs(grey[..., 0] - exact).max() < 1.2  # weights are rounded to 65536ths
    white = np.full((2, 2, 3), 65535, np.uint16)
    assert read(png(white, 2), tmp_path, channels=1).min() == 65535


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("colour", "samples"), [(4, 2), (6, 4)])
def test_png_transparency_is_laid_over_white(dtype, colour, samples, tmp_path):
    pixels = RNG.integers(0, np.iinfo(dtype).max + 1, (9, 11, samples), dtype)
    pixels[0, 0, -1], pixels[0, 1, -1] = 0, np.iinfo(dtype).max
    expected = np.broadcast_to(over_white(pixels), (9, 11, 3))
    np.testing.assert_array_equal(read(png(pixels, colour), tmp_path), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_transparency_is_laid_over_white_whether_multiplied_in_or_not(dtype, tmp_path):
    top = np.iinfo(dtype).max
    straight = RNG.integers(0, top + 1, (9, 11, 4), dtype)
    share = straight[..., 3:] / top
    multiplied = straight.copy()
    multiplied[..., :3] = np.rint(straight[..., :3] * share)
    options = {"photometric": "rgb"}
    one = read(tiff(straight, extrasamples=["unassalpha"], **options), tmp_path)
    np.testing.assert_array_equal(one, over_white(straight))
    two = read(tiff(multiplied, extrasamples=["assocalpha"], **options), tmp_path)
    assert np.abs(two.astype(int) - one).max() <= 1


def test_tiff_transparency_beside_other_colours(tmp_path):
    pixels = RNG.integers(0, 256, (9, 11, 2), np.uint8)
    flipped = pixels ^ np.uint8([255, 0])
    data = tiff(flipped, photometric="miniswhite", extrasamples=["unassalpha"], planarconfig=1)
    np.testing.assert_array_equal(read(data, tmp_path, channels=1), over_white(pixels))
    ink = RNG.integers(0, 256, (9, 11, 5), np.uint8)
    data = tiff(ink, photometric="separated", extrasamples=["unassalpha"])
    paper = PIL.Image.fromarray(ink[..., :4], "CMYK").convert("RGB")
    expected = over_white(np.concatenate([np.asarray(paper), ink[..., 4:]], axis=2))
    np.testing.assert_array_equal(read(data, tmp_path), expected)


def test_webp_transparency_is_laid_over_white(tmp_path):
    pixels = RNG.integers(0, 256, (9, 11, 4), np.uint8)
    pixels[..., 3] = np.maximum(pixels[..., 3], 1)  # WebP drops the colour of invisible pixels
    data = pillow(PIL.Image.fromarray(pixels), "WEBP", lossless=True)
    np.testing.assert_array_equal(read(data, tmp_path), over_white(pixels))


def test_palette_with_and_without_transparency(tmp_path):
    palette = RNG.integers(0, 256, (5, 3), np.uint8)
    index = RNG.integers(0, 5, (9, 11), np.uint8)
    colours, clear = chunk(b"PLTE", palette.tobytes()), bytes([0, 100, 255])
    opaque = read(png(index, 3, colours), tmp_path)
    np.testing.assert_array_equal(opaque, palette[index])
    opacity = np.array([0, 100, 255, 255, 255], np.uint8)
    seen = read(png(index, 3, colours, chunk(b"tRNS", clear)), tmp_path)
    np.testing.assert_array_equal(
        seen, over_white(np.concatenate([palette, opacity[:, None]], 1))[index]
    )


def test_a_single_transparent_colour_becomes_white(tmp_path):
    for pixels in (RGB, RGB16):
        key = pixels[3, 4]
        data = png(pixels, 2, chunk(b"tRNS", key.astype(">u2").tobytes()))
        expected = pixels.copy()
        expected[3, 4] = np.iinfo(pixels.dtype).max
        np.testing.assert_array_equal(read(data, tmp_path), expected)


def test_gif_shows_its_first_frame(tmp_path):
    first = PIL.Image.fromarray(np.kron([[0, 1], [2, 3]], np.ones((5, 6))).astype(np.uint8), "P")
    first.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    data = pillow(first, "GIF", save_all=True, append_images=[first.rotate(180)], duration=9)
    expected = np.array([[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)
    np.testing.assert_array_equal(read(data, tmp_path), expected[np.asarray(first)])
    clear = pillow(first, "GIF", transparency=1)
    expected[1] = 255
    np.testing.assert_array_equal(read(clear, tmp_path), expected[np.asarray(first)])


def test_animated_webp_and_png_show_their_first_frame(tmp_path):
    frames = [PIL.Image.fromarray(a) for a in (RGB, 255 - RGB)]
    for kind, options in (("WEBP", {"lossless": True}), ("PNG", {})):
        data = pillow(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(read(data, tmp_path), RGB)


def test_one_bit_files_are_black_and_white(tmp_path):
    bits = RNG.integers(0, 2, (9, 16), np.uint8)
    expected = (bits * 255)[..., None].repeat(3, axis=2)
    packed = np.packbits(bits, axis=1)
    np.testing.assert_array_equal(read(png(packed, 0, bits=1), tmp_path), expected)
    picture = PIL.Image.fromarray(bits * 255).convert("1")
    for options in ({}, {"compression": "group4"}, {"compression": "group3"}):
        np.testing.assert_array_equal(read(pillow(picture, "TIFF", **options), tmp_path), expected)
    np.testing.assert_array_equal(read(pillow(picture, "BMP"), tmp_path), expected)
    np.testing.assert_array_equal(
        read(tiff(bits.astype(bool), photometric="miniswhite"), tmp_path), 255 - expected
    )


def test_odd_bit_depths_fill_the_range(tmp_path):
    four = RNG.integers(0, 16, (9, 16), np.uint8)
    packed = four[:, ::2] << 4 | four[:, 1::2]
    np.testing.assert_array_equal(read(png(packed, 0, bits=4), tmp_path)[..., 0], four * 17)
    twelve = np.array([[0, 1, 2047], [2048, 4094, 4095]], np.uint16)
    pixels = read(tiff(twelve, photometric="minisblack", bitspersample=12), tmp_path)
    np.testing.assert_array_equal(pixels[..., 0], np.rint(twelve * (65535 / 4095)))


@pytest.mark.parametrize("quality", [60, 95])
def test_jpeg_is_what_pillow_decodes(quality, tmp_path):
    data = pillow(PIL.Image.fromarray(SMOOTH), "JPEG", quality=quality)
    expected = np.asarray(PIL.Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(read(data, tmp_path), expected)
    assert np.abs(expected.astype(int) - SMOOTH).max() < 25


def test_cmyk_jpeg_and_tiff_are_converted(tmp_path):
    ink = PIL.Image.fromarray(SMOOTH).convert("CMYK")
    jpeg = pillow(ink, "JPEG", quality=95)
    expected = np.asarray(PIL.Image.open(io.BytesIO(jpeg)).convert("RGB"))
    np.testing.assert_array_equal(read(jpeg, tmp_path), expected)
    assert np.abs(expected.astype(int) - SMOOTH).max() < 25
    np.testing.assert_array_equal(read(pillow(ink, "TIFF"), tmp_path), SMOOTH)
    dots = PIL.Image.fromarray(RNG.integers(0, 256, (9, 11, 4), np.uint8), "CMYK")
    np.testing.assert_array_equal(
        read(pillow(dots, "TIFF"), tmp_path), np.asarray(dots.convert("RGB"))
    )


def test_tiff_in_other_colours_is_converted(tmp_path):
    picture = PIL.Image.fromarray(RGB)
    other = picture.convert("YCbCr")
    np.testing.assert_array_equal(read(pillow(other, "TIFF"), tmp_path), other.convert("RGB"))
    indexed = picture.quantize(16)
    np.testing.assert_array_equal(read(pillow(indexed, "TIFF"), tmp_path), indexed.convert("RGB"))
    both = indexed.convert("PA")
    both.putalpha(PIL.Image.fromarray(RGB[..., 0]))
    expected = over_white(np.asarray(both.convert("RGBA")))
    np.testing.assert_array_equal(read(pillow(both, "TIFF"), tmp_path), expected)
    data = tiff(SMOOTH, photometric="rgb", compression="jpeg", tile=(32, 32))
    assert np.abs(read(data, tmp_path).astype(int) - SMOOTH).mean() < 3


def test_floats_from_zero_to_one(tmp_path):
    values = RNG.random((9, 11, 3))
    for dtype in (np.float16, np.float32, np.float64):
        pixels = read(tiff(values.astype(dtype), photometric="rgb"), tmp_path)
        assert pixels.dtype == np.float32
        np.testing.assert_array_equal(pixels, values.astype(dtype).astype(np.float32))
    grey = read(tiff(values.astype(np.float32), photometric="rgb"), tmp_path, channels=1)
    np.testing.assert_allclose(grey[..., 0], values @ [0.299, 0.587, 0.114], atol=1e-6)


def test_as_many_bands_as_asked_for(tmp_path):
    bands = RNG.integers(0, 256, (9, 11, 5), np.uint8)
    data = tiff(bands, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read(data, tmp_path, channels=5), bands)
    four = tiff(bands[..., :4], photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read(four, tmp_path, channels=4), bands[..., :4])


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 2**32 - 1),
)
def test_png_and_tiff_agree_on_every_small_image(size, dtype, seed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(seed).integers(0, top + 1, (*size, 4), dtype)
    one = read(png(pixels, 6), folder)
    two = read(tiff(pixels, photometric="rgb", extrasamples=["unassalpha"]), folder)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, over_white(pixels))


def test_blocks_leave_no_seams(tmp_path, monkeypatch):
    pixels = RNG.integers(0, 256, (37, 22, 4), np.uint8)
    data = png(pixels, 6)
    whole = read(data, tmp_path, channels=1)
    monkeypatch.setattr("fullconv.storage.images.BLOCK", 22 * 5)
    np.testing.assert_array_equal(read(data, tmp_path, channels=1), whole)
