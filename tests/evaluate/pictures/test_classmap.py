"""The winning class of the nearest window, pixel by pixel."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fullconv.evaluate.pictures.classmap import class_map, palette
from fullconv.geometry import Grid


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 23), st.integers(0, 11))
def test_every_pixel_has_the_colour_of_the_nearest_window(window, stride, more, seed):
    size = (window + more, window + more // 2)
    grid = Grid(size, (window, window), (stride, stride))
    scores = np.random.default_rng(seed).normal(size=(3, *grid.shape))
    image = np.zeros((*size, 3), np.uint8)
    shown = np.asarray(class_map(image, scores, grid, ("a", "b", "c"), opacity=1.0))
    shades = np.rint(palette(3)).astype(np.uint8)
    centers = [[i * stride + window / 2 for i in range(n)] for n in grid.shape]
    for y in range(size[0]):
        for x in range(size[1]):
            windows = [
                any(i * stride <= p < i * stride + window for i in range(n))
                for p, n in zip((y, x), grid.shape, strict=True)
            ]
            if not all(windows):
                assert (shown[y, x] == 0).all()
                continue
            gaps = [np.abs(np.array(c) - (p + 0.5)) for c, p in zip(centers, (y, x), strict=True)]
            near = [np.flatnonzero(gap == gap.min()) for gap in gaps]
            fits = {int(scores[:, i, j].argmax()) for i in near[0] for j in near[1]}
            assert any((shown[y, x] == shades[k]).all() for k in fits)


def test_colours_differ():
    shades = palette(12)
    gaps = np.linalg.norm(shades[:, None] - shades[None], axis=2)
    assert gaps[~np.eye(12, dtype=bool)].min() > 20
