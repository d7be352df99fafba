from itertools import pairwise

import numpy as np
import PIL.Image
import pytest

from fullconv.evaluate.lattice import Layer
from fullconv.evaluate.pictures.figure import INK, PAPER
from fullconv.evaluate.pictures.overlay import painted
from fullconv.evaluate.pictures.panels import (
    Panel,
    arrangement,
    figure,
    panel_size,
    resized_box,
)
from fullconv.geometry import Grid

RNG = np.random.default_rng(3)


def scene(size, count=3, boxes=()):
    """An image and panels over it: the image first, then classes."""
    image = RNG.integers(0, 200, (*size, 3), np.uint8)
    grid = Grid(size, (8, 8), (4, 4))
    layers = [(Layer(RNG.random(grid.shape), grid, size),) for _ in range(count)]
    classes = [Panel(f"class {i}", "0.500", layer, boxes) for i, layer in enumerate(layers)]
    return image, [Panel("photo.png"), *classes]


def columns_and_rows(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which columns and rows hold anything but paper."""
    ink = (picture != PAPER).any(axis=2)
    return ink.any(axis=0), ink.any(axis=1)


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [
        ((64, 64), 5, (320, 320)),
        ((2250, 4000), 5, (576, 1024)),
        ((4000, 2250), 2, (1024, 576)),
        ((500, 700), 5, (500, 700)),
        ((700, 500), 201, (345, 246)),
        ((1000, 1000), 2000, (160, 160)),
        ((5, 10000), 3, (1, 1024)),
    ],
)
def test_panels_are_large_enough_to_see_and_small_enough_to_keep(size, count, expected):
    assert panel_size(size, count) == expected


@pytest.mark.parametrize("count", range(1, 30))
@pytest.mark.parametrize("shape", [(100, 100), (60, 100), (100, 60), (10, 300), (300, 30)])
def test_every_panel_has_a_place_and_no_row_or_column_is_empty(count, shape):
    rows, cols = arrangement(count, *shape)
    assert (rows - 1) * cols < count <= rows * cols


def test_wide_images_are_stacked_and_narrow_ones_put_in_a_row():
    assert arrangement(3, 50, 900) == (3, 1)
    assert arrangement(3, 900, 300) == (1, 3)


@pytest.mark.parametrize("size", [(64, 64), (64, 40), (400, 1200), (2250, 400), (20, 900)])
@pytest.mark.parametrize("count", [1, 4])
def test_nothing_touches_the_edge_of_the_figure(size, count):
    image, panels = scene(size, count)
    wide = [Panel("W" * 400, panel.note, panel.layers) for panel in panels]
    seen = np.asarray(figure(image, wide))
    for used in columns_and_rows(seen):
        assert not used[:2].any()
        assert not used[-2:].any()


def test_panels_lie_side_by_side_each_with_its_own_values():
    """At 400×500 px panels have the image's own size: each is its overlay, pixel for pixel."""
    image, panels = scene((400, 500), 2)
    seen = np.asarray(figure(image, panels))
    expected = [
        image,
        *(np.asarray(painted(image, p.layers, title="").image()) for p in panels[1:]),
    ]
    places = []
    for picture in expected:
        first = np.argwhere((seen[:, :-500] == picture[0, 0]).all(axis=2))
        places += [
            (int(top), int(left))
            for top, left in first
            if np.array_equal(seen[top : top + 400, left : left + 500], picture)
        ]
    assert len(places) == 3
    rows = sorted({top for top, _ in places})
    lefts = sorted({left for _, left in places})
    assert len(rows) * len(lefts) >= 3
    assert all(b - a > 400 for a, b in pairwise(rows))
    assert all(b - a > 500 for a, b in pairwise(lefts))
    assert places[0] == min(places)  # the image itself comes first


def test_a_note_is_never_shortened():
    image, panels = scene((64, 64), 1)
    short, long = (
        np.asarray(figure(image, [panels[0], Panel(title, "0.123", panels[1].layers)]))
        for title in ("cat", "cat " * 100)
    )
    assert short.shape == long.shape
    differ = (short != long).any(axis=2)
    head = np.argwhere(differ)
    assert len(head)
    # What differs are the titles; the last 30 px of the line, where the note ends, are the same.
    ink = (short[:20] == INK).all(axis=2).any(axis=0)
    end = int(np.flatnonzero(ink).max())
    assert not differ[:20, end - 30 :].any()


def test_boxes_are_drawn_where_they_lie_in_the_panel():
    image = np.full((50, 80, 3), 90, np.uint8)
    grid = Grid((50, 80), (8, 8), (4, 4))
    layers = (Layer(np.zeros(grid.shape), grid, (50, 80)),)
    plain, boxed = (
        np.asarray(figure(image, [Panel("a", "", layers, boxes)])).astype(int)
        for boxes in ((), ((10, 20, 40, 60),))
    )
    drawn = np.argwhere((plain != boxed).any(axis=2))
    top, left = np.argwhere((plain == plain[60, 60]).all(axis=2)).min(axis=0)
    # 80 px are 320: the box is 40..160 by 80..240, with a rim of 1 px around it.
    assert (drawn.min(axis=0) - (top, left)).tolist() == [39, 79]
    assert (drawn.max(axis=0) - (top, left)).tolist() == [160, 240]


def test_a_resized_box_is_never_empty():
    assert resized_box((10, 20, 40, 60), (50, 80), (25, 160)) == (5, 40, 20, 120)
    assert resized_box((99, 999, 100, 1000), (100, 1000), (10, 10)) == (9, 9, 10, 10)
    assert resized_box((0, 0, 1, 1), (100, 1000), (10, 10)) == (0, 0, 1, 1)


def test_a_real_photo_of_4000_px(data):
    image = np.asarray(PIL.Image.open(data / "photos" / "drone_4000x2250.jpg"))
    grid = Grid((2250, 4000), (224, 224), (32, 32))
    layers = (Layer(np.zeros(grid.shape, np.float32), grid, (2250, 4000)),)
    made = figure(image, [Panel("drone"), Panel("nothing", "0.000", layers)])
    assert max(made.size) < 2500
