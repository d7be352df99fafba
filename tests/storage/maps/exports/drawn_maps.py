"""Maps whose scores are computed when they are read, so that they can be of any size."""

from fractions import Fraction

import numpy as np

from fullconv.storage.maps.about import MapAbout
from fullconv.storage.maps.layout import Layout


def about(size, window, stride, **more) -> MapAbout:
    given = {
        "model": "0" * 64, "plan": "1" * 64, "fingerprint": "2" * 64, "source": "drawn",
        "values": "probabilities", **more,
    }  # fmt: skip
    return MapAbout(size=size, window=window, stride=stride, **given)


def frame(origin=(0, 0), scale=(1, 1), **more):
    """As a source's frame stands in a map."""
    return {
        "origin": [str(Fraction(value)) for value in origin],
        "scale": [str(Fraction(value)) for value in scale],
        "mpp": None, "crs": "", "transform": None, **more,
    }  # fmt: skip


class DrawnMap:
    """A map of which `score(row, col, number)` gives the scores, with arrays of each."""

    def __init__(self, about, score, count, kept="all"):
        self.about, self._score = about, score
        rows, cols = about.grid.shape
        self.layout = Layout((rows, cols, count), (min(rows, 64), cols), "float32", kept)
        self.numbers = self.layout.numbers
        self.shape = (rows, cols, self.layout.stored)
        self.most = 0  # numbers that were asked for at once

    def read(self, *spans):
        rows, cols = (np.arange(*span) for span in spans)
        block = self._score(rows[:, None, None], cols[None, :, None], np.array(self.numbers))
        block = np.broadcast_to(block, (len(rows), len(cols), len(self.numbers)))
        self.most = max(self.most, block.size)
        return block.astype(np.float32)


def marked(far=True):
    """0.25 everywhere but at the last cell, which is 1, and the first, which has no score."""

    def make(about, count=1):
        last = tuple(n - 1 for n in about.grid.shape)

        def score(row, col, number):
            value = np.where((row == last[0]) & (col == last[1]), 1.0, 0.25)
            return np.where((row == 0) & (col == 0), np.nan, value) + 0.0 * number

        return DrawnMap(about, score, count)

    return make
