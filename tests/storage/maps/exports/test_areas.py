"""Areas of cells against SciPy's labels, and against the polygons of GDAL and shapely."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from fullconv.storage.maps.exports.areas import NONE, Tracer

shapely = pytest.importorskip("shapely")


def traced(labels, values=None):
    """Every area of a label image."""
    labels = np.asarray(labels, np.int64)
    values = np.zeros(labels.shape) if values is None else values
    tracer, found = Tracer(), []
    for row, own in zip(labels, values, strict=True):
        found += tracer.feed(row, own)
    return [*found, *tracer.close()]


def polygon(area):
    """With x = column and y = row."""
    outer, *holes = [[(col, row) for row, col in ring] for ring in area.rings]
    return shapely.Polygon(outer, holes)


label_images = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(NONE, 1))
)


@given(label_images)
def test_areas_are_the_connected_cells_of_each_label(labels):
    expected = []
    for label in (0, 1):
        parts, count = ndimage.label(labels == label)
        for part in range(1, count + 1):
            cells = {tuple(cell) for cell in np.argwhere(parts == part).tolist()}
            expected.append((label, cells))
    found = []
    for area in traced(labels):
        shape = polygon(area)
        inside = {
            (row, col)
            for row, col in np.ndindex(labels.shape)
            if shape.contains(shapely.Point(col + 0.5, row + 0.5))
        }
        assert shape.is_valid, shapely.is_valid_reason(shape)
        assert shape.area == area.cells == len(inside)
        assert shape.exterior.is_ccw
        assert not any(hole.is_ccw for hole in shape.interiors)
        found.append((area.label, inside))
    key = lambda entry: (entry[0], sorted(entry[1]))  # noqa: E731
    assert sorted(found, key=key) == sorted(expected, key=key)


@given(label_images)
def test_rings_turn_at_every_corner_and_come_to_none_twice(labels):
    for area in traced(labels):
        for ring in area.rings:
            assert len(set(ring)) == len(ring) >= 4
            steps = np.diff([*ring, ring[0]], axis=0)
            assert ((steps == 0).sum(1) == 1).all()
            along = steps[:, 0] == 0
            assert (along != np.roll(along, 1)).all()


@given(label_images)
def test_polygons_are_those_of_gdal(labels):
    features = pytest.importorskip("rasterio.features")
    expected = [
        (int(value), shapely.geometry.shape(shape))
        for shape, value in features.shapes(
            labels.astype(np.int16), mask=labels != NONE, connectivity=4
        )
    ]
    found = [(area.label, polygon(area)) for area in traced(labels)]
    assert len(found) == len(expected)
    for label, shape in expected:
        assert any(label == other and shape.equals(own) for other, own in found)


def test_what_an_area_encloses_by_a_corner_is_a_hole():
    area = next(a for a in traced([[0, 0, 0], [0, 1, 0], [0, 0, 1]]) if a.label == 0)
    assert [len(ring) for ring in area.rings] == [6, 4]
    assert polygon(area).is_valid
    assert polygon(area).area == 7


def test_measures_are_those_of_the_cells():
    rng = np.random.default_rng(0)
    labels, values = rng.integers(-1, 2, (40, 31)), rng.normal(size=(40, 31))
    cells = {}
    for label in (0, 1):
        parts, count = ndimage.label(labels == label)
        for part in range(1, count + 1):
            own = values[parts == part]
            cells[round(own.max(), 12)] = (label, len(own), own.mean())
    found = traced(labels, values)
    assert len(found) == len(cells)
    for area in found:
        label, count, mean = cells[round(area.highest, 12)]
        assert (area.label, area.cells) == (label, count)
        assert area.mean == pytest.approx(mean, abs=1e-12)


def test_an_area_is_given_as_soon_as_it_has_ended():
    tracer = Tracer()
    rows = [[0, NONE, 0], [0, NONE, NONE], [NONE, NONE, 0], [0, 0, 0]]
    ended = [[area.cells for area in tracer.feed(np.array(row), np.zeros(3))] for row in rows]
    assert ended == [[], [1], [2], []]
    assert [area.cells for area in tracer.close()] == [4]
    assert tracer.idle


def test_the_memory_of_finished_areas_is_let_go():
    import tracemalloc

    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 2, 200) for _ in range(20)]
    blank = np.full(200, NONE)
    peaks = []
    for times in (1, 6):
        tracemalloc.start()
        tracer = Tracer()
        for _ in range(times):
            for row in [*rows, blank]:
                for _area in tracer.feed(row, np.zeros(200)):
                    pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_branches_that_meet_at_the_last_row_are_one_area():
    comb = np.full((30, 31), NONE)
    comb[:, ::2] = 0
    comb[-1] = 0
    (area,) = traced(comb)
    assert area.cells == (comb == 0).sum() == polygon(area).area
    assert len(area.rings) == 1
