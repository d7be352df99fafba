"""The halves of the photographs never meet, and the mosaic is made of held-out px only."""

from __future__ import annotations

import importlib.util
import itertools
import sys

import numpy as np
import pytest

from fullconv.bundled import photographs
from fullconv.bundled.photographs import PHOTOGRAPHS, panels
from fullconv.bundled.textures import CLASSES, WINDOW
from fullconv.errors import MissingExtraError

with_photographs = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None,
    reason="scikit-image, which holds the photographs, is not installed",
)


def overlap(a, b):
    """The px that two boxes share."""
    heights = min(a[2], b[2]) - max(a[0], b[0])
    widths = min(a[3], b[3]) - max(a[1], b[1])
    return max(0, heights) * max(0, widths)


def cut(image, box):
    top, left, bottom, right = box
    return image[top:bottom, left:right]


def test_every_class_is_a_photograph_in_order():
    assert tuple(PHOTOGRAPHS) == CLASSES == tuple(sorted(CLASSES))


@pytest.mark.parametrize("name", CLASSES)
def test_halves_do_not_overlap_and_hold_windows(name):
    photograph = PHOTOGRAPHS[name]
    assert overlap(photograph.train, photograph.test) == 0
    for top, left, bottom, right in (photograph.train, photograph.test):
        assert bottom - top > WINDOW
        assert right - left > WINDOW


@with_photographs
@pytest.mark.parametrize("name", CLASSES)
def test_halves_are_boxes_of_the_photograph(name):
    photograph = PHOTOGRAPHS[name]
    whole = getattr(importlib.import_module("skimage.data"), photograph.function)()
    for box, half in (
        (photograph.train, photographs.train_half(name)),
        (photograph.test, photographs.test_half(name)),
    ):
        assert half.dtype == np.uint8
        assert half.shape == (box[2] - box[0], box[3] - box[1], 3)
        expected = cut(whole, box)
        for channel in range(3):
            source = expected if whole.ndim == 2 else expected[..., channel]
            assert np.array_equal(half[..., channel], source)


def test_luminance_keeps_grey_and_weighs_colours():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(photographs.luminance(np.stack([grey] * 3, -1)), grey)
    primaries = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert photographs.luminance(primaries).tolist() == [[76, 150, 29]]


@pytest.mark.parametrize("seed", range(5))
def test_panels_tile_the_mosaic(seed):
    covered = np.zeros((1024, 1024), int)
    for panel in panels(seed):
        cut(covered, panel.place)[:] += 1
        assert panel.place[2] - panel.place[0] == panel.source[2] - panel.source[0]
        assert panel.place[3] - panel.place[1] == panel.source[3] - panel.source[1]
    assert (covered == 1).all()


def test_no_region_is_used_twice():
    for a, b in itertools.combinations(panels(), 2):
        assert a.name != b.name or overlap(a.source, b.source) == 0


@pytest.mark.parametrize("seed", range(5))
def test_panels_side_by_side_differ_in_class(seed):
    for a, b in itertools.combinations(panels(seed), 2):
        grown = (a.place[0] - 1, a.place[1], a.place[2] + 1, a.place[3])
        widened = (a.place[0], a.place[1] - 1, a.place[2], a.place[3] + 1)
        if overlap(grown, b.place) or overlap(widened, b.place):
            assert a.name != b.name


def test_the_seed_decides_the_places():
    assert panels(3) == panels(3)
    assert panels(3) != panels(4)
    assert {(p.name, p.source) for p in panels(3)} == {(p.name, p.source) for p in panels(4)}


@with_photographs
@pytest.mark.parametrize("seed", [0, 7])
def test_the_mosaic_shows_the_panels_pixel_for_pixel(seed):
    image, labels = photographs.mosaic(seed)
    assert (image.shape, image.dtype) == ((1024, 1024, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((1024, 1024), np.int64)
    for panel in panels(seed):
        source = cut(photographs.test_half(panel.name), panel.source)
        assert np.array_equal(cut(image, panel.place), source)
        assert (cut(labels, panel.place) == CLASSES.index(panel.name)).all()
    assert set(np.unique(labels)) == set(range(len(CLASSES)))


@with_photographs
def test_the_mosaic_is_the_same_every_time():
    for first, second in zip(photographs.mosaic(), photographs.mosaic(0), strict=True):
        assert np.array_equal(first, second)


def test_without_scikit_image_the_error_names_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(MissingExtraError) as caught:
        photographs.mosaic()
    assert str(caught.value) == (
        "The demo needs scikit-image, which is not installed.\n"
        "Install it with: pip install 'fullconv[demo]'"
    )
