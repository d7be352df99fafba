"""Masks: where nothing is to be looked at there is no score, and nothing is computed."""

import numpy as np
import PIL.Image
import pytest
import tifffile
from scans import assert_map, network, noise, one_pass, prepared, scanned

import fullconv
from fullconv.errors import InputError
from fullconv.scanning.sight.background import otsu, thumbnail
from fullconv.storage.maps import open_map
from fullconv.storage.sources import ArraySource, DrawnSource


def expected(fcn, pixels, look, corner=(0, 0), whole=None):
    """One pass, NaN where no px of a window is to be looked at, px by px."""
    found = one_pass(fcn, prepared(pixels))
    whole = whole or pixels.shape[:2]
    full = np.empty(whole, bool)
    for row, col in np.ndindex(*whole):
        full[row, col] = look[row * look.shape[0] // whole[0], col * look.shape[1] // whole[1]]
    grid = fcn.grid(pixels.shape[:2])
    for row, col in grid:
        top, left, bottom, right = grid.box(row, col)
        rows = slice(top + corner[0], bottom + corner[0])
        if not full[rows, left + corner[1] : right + corner[1]].any():
            found[row, col] = np.nan
    return found


@pytest.mark.parametrize("shape", [(61, 83), (7, 10), (130, 91), (1, 2)])
@pytest.mark.parametrize("size", [{"strip": 2, "band": 6}, {}])
def test_a_mask_is_scaled_to_the_image(shape, size, folder, strip_by_strip):
    _, fcn, channels = network("padded")
    pixels = noise(61, 83, channels)
    look = np.zeros(shape, bool)
    look[: max(1, shape[0] // 4), -max(1, shape[1] // 3) :] = True
    wanted = expected(fcn, pixels, look)
    assert 0.1 < np.isnan(wanted[..., 0]).mean() < 0.95
    done, found = scanned(fcn, pixels, folder / "array", mask=look, **size)
    assert_map(found, wanted)
    assert done.blank == np.isnan(wanted[..., 0]).sum()
    PIL.Image.fromarray(look.astype(np.uint8) * 3).save(folder / "mask.png")
    _, found = scanned(fcn, pixels, folder / "file", mask=folder / "mask.png", **size)
    assert_map(found, wanted)


def test_masks_are_read_in_pieces(folder, monkeypatch, strip_by_strip):
    monkeypatch.setattr("fullconv.scanning.sight.mask.PIECE", 50)
    _, fcn, channels = network("unpadded")
    pixels = noise(61, 83, channels)
    look = np.random.default_rng(3).random((61, 83)) < 0.004
    _, found = scanned(fcn, pixels, folder / "map", mask=look, strip=4, band=9)
    assert_map(found, expected(fcn, pixels, look))


def test_chunks_without_anything_to_look_at_are_not_computed(folder, strip_by_strip):
    _, fcn, channels = network("unpadded")
    pixels, asked = noise(120, 120, channels), []

    def draw(box):
        asked.append(box)
        return pixels[box[0] : box[2], box[1] : box[3]]

    look = np.zeros((120, 120), bool)
    look[70:75, 100:] = True
    source = DrawnSource((120, 120), channels, "uint8", draw)
    done, found = scanned(fcn, source, folder / "map", mask=look, strip=4, band=26)
    assert_map(found, expected(fcn, pixels, look))
    assert (done.chunks, done.computed) == (26, 4)
    read = [box for box in asked if box[2] - box[0] != 16]  # but for the fingerprint
    assert min(box[0] for box in read) > 30
    assert max(box[2] for box in read) < 105
    assert min(box[1] for box in read) > 50
    facts = dict(done.summary())
    assert facts["chunks"] == "26: 4 computed, 22 without anything to look at"


def test_a_mask_covers_the_whole_image_of_which_a_region_is_scanned(folder):
    _, fcn, channels = network("unpadded")
    pixels = noise(90, 80, channels)
    look = np.zeros((9, 8), bool)
    look[3, 4] = True
    part = pixels[20:70, 10:80]
    wanted = expected(fcn, part, look, (20, 10), (90, 80))
    _, found = scanned(fcn, pixels, folder / "map", mask=look, region=(20, 10, 70, 80))
    assert_map(found, wanted)
    PIL.Image.fromarray(pixels).save(folder / "photo.png")
    _, found = scanned(
        fcn, folder / "photo.png", folder / "file", mask=look, region=(20, 10, 70, 80)
    )
    assert_map(found, wanted)


def test_a_mask_that_looks_nowhere(folder, strip_by_strip):
    _, fcn, channels = network("unpadded")
    pixels = noise(60, 60, channels)
    done, found = scanned(fcn, pixels, folder / "map", mask=np.zeros((6, 6), bool), strip=4)
    assert np.isnan(found).all()
    assert (done.computed, done.macs, done.ratio) == (0, 0.0, 1.0)
    assert open_map(folder / "map").complete


def test_another_mask_is_another_map(folder):
    _, fcn, channels = network("unpadded")
    pixels = noise(60, 60, channels)
    scanned(fcn, pixels, folder / "map", mask=np.ones((6, 6), bool))
    with pytest.raises(InputError, match=r"- settings mask: [0-9a-f]{8}… there, none now"):
        fullconv.scan(fcn, pixels, folder / "map")
    with pytest.raises(InputError, match=r"- settings mask: [0-9a-f]{8}… there, [0-9a-f]{8}… now"):
        fullconv.scan(fcn, pixels, folder / "map", mask=np.eye(6, dtype=bool))


def test_masks_that_cannot_be(folder):
    _, fcn, channels = network("unpadded")
    pixels = noise(60, 60, channels)
    with pytest.raises(InputError, match="none.png: "):
        fullconv.scan(fcn, pixels, folder / "map", mask=folder / "none.png")
    with pytest.raises(InputError, match="the mask: has 3 spatial axes, and the image 2"):
        fullconv.scan(
            fcn, pixels, folder / "map", mask=ArraySource(noise(5, 5, 5), axes=3, name="the mask")
        )
    wrong = np.full((6, 6), np.nan, np.float32)
    with pytest.raises(InputError, match=r"the mask: px .* of the mask could not be read"):
        fullconv.scan(fcn, pixels, folder / "map", mask=wrong)


# --- the background of a slide --------------------------------------------------------------


def slide(size=(300, 400)) -> tuple[np.ndarray, np.ndarray]:
    """White glass with two pieces of pink tissue, and where these are."""
    rng = np.random.default_rng(0)
    tissue = np.zeros(size, bool)
    tissue[40:140, 60:200] = True
    tissue[200:260, 250:380] = True
    pixels = np.full((*size, 3), 240) + rng.integers(-4, 5, (*size, 1))
    pink = np.array([200, 120, 170]) + rng.integers(-20, 21, (*size, 3))
    return np.where(tissue[..., None], pink, pixels).astype(np.uint8), tissue


@pytest.mark.parametrize("kind", ["array", "file", "pyramid"])
def test_glass_is_skipped(kind, folder, strip_by_strip):
    _, fcn, _ = network("padded")
    pixels, tissue = slide()
    source = pixels
    if kind != "array":
        source = folder / "slide.tif"
        with tifffile.TiffWriter(source) as file:
            levels = 1 if kind == "pyramid" else 0
            big = np.kron(pixels, np.ones((4, 4, 1), np.uint8)) if levels else pixels
            file.write(big, photometric="rgb", tile=(64, 64), subifds=levels)
            if levels:
                file.write(pixels, photometric="rgb", tile=(64, 64), subfiletype=1)
    options = {"level": 1} if kind == "pyramid" else {}
    said = []
    done, found = scanned(
        fcn, source, folder / "map", mask="auto", strip=8, band=40, say=said.append, **options
    )
    assert_map(found, expected(fcn, pixels, tissue))
    assert done.computed < done.chunks
    share = tissue.mean()
    (line,) = said
    assert line.startswith(f"mask: {share:.1%} of the image is no background (saturation above 0.")


def test_no_colour_no_background(folder):
    _, fcn, _ = network("unpadded")
    grey = np.repeat(noise(60, 60, 1), 3, axis=2)
    with pytest.raises(InputError) as same:
        fullconv.scan(fcn, grey, folder / "map", mask="auto")
    assert str(same.value) == (
        "the array: background cannot be told from tissue: the saturation is the same everywhere.\n"
        "Scan without a mask, or give one as an image."
    )


def test_otsu_is_the_threshold_that_splits_best():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0.1, 0.03, 700), rng.normal(0.6, 0.08, 300)]).clip(0, 1)

    def spread(threshold: float) -> float:
        parts = (values[values <= threshold], values[values > threshold])
        return sum(((part - part.mean()) ** 2).sum() for part in parts if len(part))

    best = min(spread(step / 256) for step in range(1, 256))
    assert spread(otsu(values)) <= 1.01 * best


@pytest.mark.parametrize("size", [(50, 70), (513, 300), (37, 1)])
@pytest.mark.parametrize("piece", [64, 1 << 20])
def test_a_thumbnail_is_a_mean_over_boxes(size, piece, monkeypatch):
    monkeypatch.setattr("fullconv.scanning.sight.background.PIECE", piece)
    pixels = noise(*size, 3)
    picture, lost, known = thumbnail(ArraySource(pixels), longest=16)
    step = -(-max(size) // 16)
    assert picture.shape[:2] == tuple(-(-n // step) for n in size)
    for row, col in np.ndindex(*picture.shape[:2]):
        part = pixels[row * step : (row + 1) * step, col * step : (col + 1) * step]
        assert np.allclose(picture[row, col], part.mean(axis=(0, 1)) / 255, atol=1e-6)
    assert not lost.any()
    assert known.all()
