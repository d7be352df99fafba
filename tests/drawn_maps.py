"""Maps for tests: drawn when they are read, so that they can be of any size, or really stored."""

from fractions import Fraction

import numpy as np

from fullconv.storage.maps import MapAbout, MapWriter, ScoreMapStore, open_map
from fullconv.storage.maps.layout import Layout


def about(size, window, stride, **more) -> MapAbout:
    given = {
        "model": "0" * 64, "plan": "1" * 64, "fingerprint": "2" * 64, "source": "drawn",
        "values": "probabilities", **more,
    }  # fmt: skip
    return MapAbout(size=size, window=window, stride=stride, **given)


def frame(origin=(0, 0), scale=(1, 1), **more):
    """As the frame of a source stands in a map."""
    return {
        "origin": [str(Fraction(value)) for value in origin],
        "scale": [str(Fraction(value)) for value in scale],
        "mpp": None, "crs": "", "transform": None, **more,
    }  # fmt: skip


class DrawnMap:
    """A map of which `score(rows, cols, numbers)` gives the scores, with arrays of each."""

    def __init__(self, about, score, count=1):
        self.about, self._score = about, score
        cells = about.grid.shape
        self.layout = Layout((*cells, count), cells, "float32", about.kept)
        self.numbers = self.layout.numbers
        self.shape = (*cells, self.layout.stored)
        self.most = 0  # numbers that were asked for at once

    def read(self, *spans):
        axes = np.ix_(*(np.arange(*span) for span in spans), self.numbers)
        shape = np.broadcast_shapes(*(axis.shape for axis in axes))
        self.most = max(self.most, int(np.prod(shape)))
        return np.broadcast_to(self._score(*axes), shape).astype(np.float32)


def far_corner(about) -> DrawnMap:
    """0.25 everywhere but at the last cell, which is 1."""
    bottom, right = (n - 1 for n in about.grid.shape)
    return DrawnMap(about, lambda row, col, _: 0.25 + 0.75 * ((row == bottom) & (col == right)))


def noise(rows=53, cols=41, count=3, **more) -> DrawnMap:
    """A small map of distinct numbers, some cells without any, of cells of 8 px."""
    rng = np.random.default_rng(3)
    scores = rng.random((rows, cols, count), dtype=np.float32)
    scores[rng.random((rows, cols)) < 0.1] = np.nan
    given = about((8 * rows + 24, 8 * cols + 24), (32, 32), (8, 8), **more)
    drawn = DrawnMap(given, lambda row, col, number: scores[row, col, number], count)
    drawn.scores = scores
    return drawn


def stored(path, drawn: DrawnMap, dtype="float32", finish=True) -> ScoreMapStore:
    """The same as a map on the disk; without its last chunk if it is not to be finished."""
    rows, cols, count = drawn.layout.shape
    with MapWriter.create_or_resume(
        path, drawn.about, (rows, cols, count), (16, 16), dtype
    ) as made:
        indices = list(made.layout)
        for index in indices if finish else indices[:-1]:
            spans = made.layout.span(index)
            made.write(index, drawn.scores[tuple(slice(*span) for span in spans)])
        if finish:
            made.finish()
    return open_map(path, incomplete=not finish)
