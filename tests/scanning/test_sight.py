"""What cells look at, against counting px by px."""

import numpy as np
import pytest
import scans
from hypothesis import given
from hypothesis import strategies as st

from fullconv.hosts.torch_fx.streaming.reading import streamed
from fullconv.scanning.sight.spans import Sight, Spans


@st.composite
def spans(draw):
    """Intervals whose starts and stops never decrease."""
    count = draw(st.integers(1, 12))
    starts = sorted(draw(st.lists(st.integers(0, 30), min_size=count, max_size=count)))
    stops = sorted(draw(st.lists(st.integers(0, 30), min_size=count, max_size=count)))
    return Spans(np.array(starts), np.maximum(stops, starts))


@given(spans(), st.integers(-2, 32), st.integers(1, 9))
def test_the_cells_that_touch_some_px(found, start, length):
    place = found.touching(start, start + length)
    pairs = zip(found.starts, found.stops, strict=True)
    hit = [bool(set(range(a, b)) & set(range(start, start + length))) for a, b in pairs]
    inside = range(len(hit))[place]
    # Empty intervals between others may come in: they look at nothing, and are never asked for.
    empty = [a == b for a, b in zip(found.starts, found.stops, strict=True)]
    for cell, touched in enumerate(hit):
        assert (cell in inside) == touched or empty[cell]


@given(spans(), st.integers(0, 20), st.data())
def test_whether_any_flag_lies_in_an_interval(found, first, data):
    shape = (data.draw(st.integers(1, 20)), 3)
    flags = np.array(
        data.draw(st.lists(st.booleans(), min_size=3 * shape[0], max_size=3 * shape[0]))
    ).reshape(shape)
    for axis, given_flags in ((0, flags), (1, flags.T)):
        answer = found.any(given_flags, first, axis)
        for cell, (start, stop) in enumerate(zip(found.starts, found.stops, strict=True)):
            part = [
                given_flags.take(px - first, axis=axis)
                for px in range(start, stop)
                if 0 <= px - first < shape[0]
            ]
            assert np.array_equal(answer.take(cell, axis=axis), np.any(part, axis=0) * np.ones(3))


@given(spans(), spans())
def test_what_two_intervals_share(one, other):
    count = min(len(one.starts), len(other.starts))
    one, other = (Spans(s.starts[:count], s.stops[:count]) for s in (one, other))
    both = one.within(other)
    for cell in range(count):
        shared = range(max(one.starts[cell], other.starts[cell]),
                       min(one.stops[cell], other.stops[cell]))  # fmt: skip
        assert list(range(both.starts[cell], both.stops[cell])) == list(shared)


@pytest.mark.parametrize("name", scans.NETWORKS)
def test_what_cells_see_is_what_the_course_says(name):
    _, fcn, _ = scans.network(name)
    size, course = (131, 117), streamed(fcn).course
    sight = Sight(course, course.cells(size), fcn.window, fcn.stride)
    grid = fcn.grid(size)
    for axis, count in enumerate(grid.shape):
        seen, windows = sight.seen(axis, 0, count), sight.windows(axis, 0, count)
        for cell in range(count):
            place = (cell, 0) if axis == 0 else (0, cell)
            box = grid.box(*place)
            assert (windows.starts[cell], windows.stops[cell]) == (box[axis], box[axis + 2])
        overhang = fcn.plan.overhang[axis] if fcn.plan.overhang else (0, 0)
        assert (seen.starts >= np.maximum(0, windows.starts - overhang[0])).all()
        assert (seen.stops <= np.minimum(size[axis], windows.stops + overhang[1])).all()
        assert (seen.starts >= 0).all()
        assert (np.diff(seen.starts) >= 0).all()
        part = sight.seen(axis, 3, 5)
        assert np.array_equal(part.starts, seen.starts[3:5])
        assert np.array_equal(part.stops, seen.stops[3:5])
