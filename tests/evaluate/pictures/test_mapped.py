"""Maps over their images, px by px against the definition."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from drawn_maps import DrawnMap, about, frame, noise
from fullconv.errors import InputError, UsageError
from fullconv.evaluate.pictures import mapped
from fullconv.evaluate.pictures.colors import colors
from fullconv.evaluate.pictures.mapped import View, class_picture, winner_picture
from fullconv.storage.class_colors import class_color
from fullconv.storage.sources import ArraySource, DrawnSource, Frame


def image_of(size, dtype=np.uint8, place=None):
    """Coloured noise."""
    rng = np.random.default_rng(1)
    pixels = rng.random((*size, 3))
    scaled = pixels * np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else pixels
    source = ArraySource(scaled.astype(dtype))
    if place is not None:
        source.frame = place
    return source


def cell_at(about, places):
    """The cell whose square holds a place of level 0, or None."""
    found = []
    for axis, place in enumerate(places):
        origin, scale = (Fraction(about.frame[key][axis]) for key in ("origin", "scale"))
        middle = about.offset[axis] + Fraction(about.window[axis], 2)
        corner = origin + scale * (middle - Fraction(about.stride[axis], 2))
        index = floor((place - corner) / (scale * about.stride[axis]))
        if not 0 <= index < about.grid.shape[axis]:
            return None
        found.append(index)
    return tuple(found)


CASES = {
    "plain": (about((90, 70), (16, 15), (8, 7), frame=frame()), Frame.plain(2), (90, 70), 4096),
    "offset": (about((90, 70), (16, 15), (8, 7), offset=(3, 2), frame=frame()),
               Frame.plain(2), (90, 70), 4096),
    "reduced": (about((90, 70), (16, 15), (8, 7), frame=frame()), Frame.plain(2), (90, 70), 31),
    "a region": (about((60, 50), (16, 15), (8, 7), frame=frame(origin=(13, 8))),
                 Frame.plain(2), (90, 70), 25),
    "of level 2": (about((40, 30), (8, 8), (3, 4), frame=frame(scale=(4, 4))),
                   Frame.plain(2), (160, 120), 50),
    "over level 1": (about((160, 120), (32, 30), (9, 8), frame=frame()),
                     Frame((Fraction(0),) * 2, (Fraction(2),) * 2), (80, 60), 4096),
}  # fmt: skip


@pytest.mark.parametrize(("given", "place", "size", "side"), CASES.values(), ids=CASES.keys())
def test_every_px_has_the_cell_in_which_its_centre_lies(given, place, size, side):
    drawn = DrawnMap(given, lambda row, col, _: 0.0)
    image = image_of(size, place=place)
    view = View.of(drawn, image, side)
    assert max(view.size) <= side
    seen = set()
    for row, col in np.ndindex(*view.size):
        px = [Fraction(2 * i + 1, 2) * view.factor + start
              for i, start in zip((row, col), view.box, strict=False)]  # fmt: skip
        places = [o + s * p for o, s, p in zip(place.origin, place.scale, px, strict=True)]
        found = int(view.rows[row]), int(view.cols[col])
        assert (found if min(found) >= 0 else None) == cell_at(given, places)
        seen.add(found)
    cells = {cell for cell in seen if min(cell) >= 0}
    if view.factor == 1:
        assert len(cells) == len(given.grid)


def test_the_image_is_reduced_by_means():
    for dtype in (np.uint8, np.uint16, np.float32):
        image = image_of((50, 37), dtype)
        drawn = DrawnMap(about((50, 37), (8, 8), (8, 8), frame=frame()), lambda *_: 0.0)
        view = View.of(drawn, image, 13)
        assert (view.factor, view.size) == (4, (13, 10))
        pixels = image.read((0, 0, 50, 37)).pixels
        top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
        for start, stop in ((0, 5), (5, 13)):
            found = view.pixels(image, start, stop).astype(float)
            for row, col in np.ndindex(*found.shape[:2]):
                part = pixels[4 * (start + row) : 4 * (start + row) + 4, 4 * col : 4 * col + 4]
                expected = part.reshape(-1, 3).mean(0, dtype=float) / top * 255
                assert np.abs(found[row, col] - expected).max() <= 0.501


def test_a_class_in_the_colours_of_its_scores():
    drawn = noise(12, 9, classes=("cat", "dog", "ape"), frame=frame())
    size = drawn.about.size
    image = image_of(size)
    picture = np.asarray(class_picture(drawn, image, 1, opacity=1)).astype(float)
    corner = 12, 12  # where the first square begins
    pixels = image.read((0, 0, *size)).pixels.astype(float)
    place = find(picture, pixels[:10])
    for row, col in np.ndindex(12, 9):
        top, left = 8 * row + corner[0], 8 * col + corner[1]
        there = picture[place[0] + top : place[0] + top + 8, place[1] + left : place[1] + left + 8]
        original = pixels[top : top + 8, left : left + 8]
        score = float(drawn.scores[row, col, 1])
        if np.isnan(score):
            assert (there == original).all()
        else:
            share = 0.15 + 0.85 * score * (2 - score)
            expected = (1 - share) * original + share * colors(score)
            assert np.abs(there - expected).max() < 1.5


def find(picture, rows):
    """Where the first rows of an image lie in a picture."""
    for top, left in np.ndindex(80, 80):
        part = picture[top : top + len(rows), left : left + rows.shape[1]]
        if part.shape == rows.shape and (part == rows).all():
            return top, left
    raise AssertionError("the image is not in the picture")


def test_only_what_reaches_the_threshold_is_tinted():
    drawn = noise(12, 9, frame=frame())
    size = drawn.about.size
    image = image_of(size)
    pixels = image.read((0, 0, *size)).pixels
    picture = np.asarray(class_picture(drawn, image, 0, threshold=0.7))
    top, left = find(picture, pixels[:10])
    changed = (picture[top : top + size[0], left : left + size[1]] != pixels).any(2)
    for row, col in np.ndindex(12, 9):
        part = changed[8 * row + 12 : 8 * row + 20, 8 * col + 12 : 8 * col + 20]
        assert part.any() == (drawn.scores[row, col, 0] >= 0.7)
    everything = np.asarray(winner_picture(drawn, image))[:, : size[1]]
    some = np.asarray(winner_picture(drawn, image, threshold=0.7))[:, : size[1]]
    best = np.nan_to_num(drawn.scores, nan=0).max(2)
    for row, col in np.ndindex(12, 9):
        part = np.s_[8 * row + 12 : 8 * row + 20, 8 * col + 12 : 8 * col + 20]
        assert (some[part] == (everything if best[row, col] >= 0.7 else pixels)[part]).all()


def test_the_winning_class_in_its_colour():
    drawn = noise(12, 9, classes=("cat", "dog", "ape"), frame=frame())
    size = drawn.about.size
    image = image_of(size)
    pixels = image.read((0, 0, *size)).pixels.astype(float)
    picture = np.asarray(winner_picture(drawn, image)).astype(float)
    assert picture.shape[0] == size[0]
    assert picture.shape[1] > size[1]  # the legend
    for row, col in np.ndindex(12, 9):
        part = np.s_[8 * row + 12 : 8 * row + 20, 8 * col + 12 : 8 * col + 20]
        scores = drawn.scores[row, col]
        expected = pixels[part]
        if not np.isnan(scores).all():
            expected = (expected + class_color(int(scores.argmax()))) / 2
        assert np.abs(picture[part] - expected).max() <= 0.51
    border = np.s_[:12]
    assert (picture[border, : size[1]] == pixels[border]).all()
    only = np.asarray(winner_picture(drawn, image, [2]))
    for row, col in ((0, 0), (3, 4), (11, 8)):
        part = np.s_[8 * row + 12 : 8 * row + 20, 8 * col + 12 : 8 * col + 20]
        shown = not np.isnan(drawn.scores[row, col, 0]) and drawn.scores[row, col].argmax() == 2
        assert (only[part] != pixels[part]).any() == shown


def test_a_map_of_nothing_is_the_image():
    given = about((40, 30), (8, 8), (8, 8), frame=frame())
    drawn = DrawnMap(given, lambda *_: np.nan, 2)
    image = image_of((40, 30))
    assert (np.asarray(winner_picture(drawn, image)) == image.read((0, 0, 40, 30)).pixels).all()


def test_bands_change_nothing_and_keep_to_the_budget(monkeypatch):
    drawn = noise(60, 40, frame=frame())
    image = image_of(drawn.about.size)
    whole = np.asarray(winner_picture(drawn, image, side=100))
    one = np.asarray(class_picture(drawn, image, 1, side=100))
    monkeypatch.setattr(mapped, "BUDGET", 20_000)
    drawn.most = 0
    assert (np.asarray(winner_picture(drawn, image, side=100)) == whole).all()
    assert (np.asarray(class_picture(drawn, image, 1, side=100)) == one).all()
    assert 4 * drawn.most <= 20_000


def test_a_large_image_is_read_in_bands(monkeypatch):
    size, most = (4000, 3000), []
    monkeypatch.setattr(mapped, "BUDGET", 2_000_000)

    def draw(box):
        most.append((box[2] - box[0]) * (box[3] - box[1]) * 3)
        return np.zeros((box[2] - box[0], box[3] - box[1], 3), np.uint8)

    image = DrawnSource(size, 3, np.dtype(np.uint8), draw)
    drawn = DrawnMap(about(size, (224, 224), (32, 32), frame=frame()), lambda *_: 0.5)
    picture = class_picture(drawn, image, 0, side=300)
    assert picture.height > 290
    assert max(most) <= mapped.BUDGET


def test_scores_are_shown_over_their_range():
    given = about((40, 30), (8, 8), (8, 8), values="scores", frame=frame())
    image = image_of((40, 30))

    def ends(score):
        return mapped._ends(mapped.Channels.of(DrawnMap(given, score), [0]))

    assert ends(lambda row, col, _: row - 2.5) == (-2.5, 1.5)
    assert ends(lambda row, col, _: 7.0) == (6.5, 7.5)
    assert ends(lambda row, col, _: np.nan) == (-0.5, 0.5)
    assert ends(lambda row, col, _: np.where(row > 1, np.inf, row)) == (0, 1)
    assert class_picture(DrawnMap(given, lambda row, *_: row), image, 0).width > 30


def test_another_image_is_refused():
    drawn = DrawnMap(about((90, 70), (8, 8), (8, 8), frame=frame(origin=(10, 0))), lambda *_: 0.0)
    with pytest.raises(InputError) as caught:
        class_picture(drawn, image_of((80, 70)), 0)
    assert str(caught.value).endswith(
        "the image is 80×70 px, and the map was made of px 10 to 100 of one that is as high.\n"
        "Name the image that was scanned."
    )
    with pytest.raises(UsageError, match="class 4 is not in the map"):
        class_picture(drawn, image_of((100, 70)), 4)


def test_of_a_pyramid_a_coarse_level_is_read(tmp_path):
    import tifffile

    pixels = np.random.default_rng(0).integers(0, 255, (1200, 1000, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(pixels, tile=(256, 256), photometric="rgb", subifds=2)
        for step in (2, 4):
            tiff.write(pixels[::step, ::step], tile=(256, 256), photometric="rgb", subfiletype=1)
    for side, expected in ((1200, 1), (1199, 2), (600, 2), (599, 2), (301, 4), (100, 4)):
        with mapped.open_level(tmp_path / "a.tif", side) as source:
            assert source.frame.scale[0] == expected
