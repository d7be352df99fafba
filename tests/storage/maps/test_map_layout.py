from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullconv.errors import UsageError
from fullconv.storage.maps import Layout


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 5)), min_size=1, max_size=3), st.data()
)
def test_chunks_cover_every_cell_once(sides, data):
    cells, chunk = tuple(n for n, _ in sides), tuple(c for _, c in sides)
    layout = Layout((*cells, 4), chunk, "float32")
    seen = np.zeros(cells, int)
    for index in layout:
        assert index in layout
        seen[tuple(slice(*span) for span in layout.span(index))] += 1
    assert (seen == 1).all()
    assert len(list(layout)) == len(layout)
    assert tuple(n for n in layout.counts) not in layout

    spans = tuple(tuple(sorted(data.draw(st.tuples(*2 * [st.integers(0, n)])))) for n in cells)
    wanted = {
        index
        for index in layout
        if all(
            max(a, c) < min(b, d) for (a, b), (c, d) in zip(layout.span(index), spans, strict=True)
        )
    }
    assert set(layout.over(spans)) == wanted


def test_a_chunk_is_a_file_of_each_array():
    layout = Layout((100, 90, 1000), (10, 30), "float16", ("top", 5))
    assert layout.files((3, 2)) == ("scores/c.3.2.0", "classes/c.3.2.0")
    assert (layout.stored, layout.numbers, layout.top) == (5, (), 5)
    assert layout.chunk_bytes == 10 * 30 * 5 * 2
    chosen = Layout((100, 90, 1000), (10, 30), "uint8", (7, 3))
    assert chosen.files((0, 0)) == ("scores/c.0.0.0",)
    assert (chosen.stored, chosen.numbers, chosen.top) == (2, (7, 3), None)
    every = Layout((100, 90, 4), (10, 30), "float32")
    assert (every.stored, every.numbers, every.top) == (4, (0, 1, 2, 3), None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((4, 4, 2), (2,), "float32"), "has chunks of 2 sides, not (2,)."),
        (((2,), (), "float32"), "has chunks of 0 sides, not ()."),
        (((4, 0, 2), (2, 2), "float32"), "must be made of positive whole numbers."),
        (((4, 4, 2), (2, 0), "float32"), "must be made of positive whole numbers."),
        (((4, 4.0, 2), (2, 2), "float32"), "must be made of positive whole numbers."),
        (((4, 4, 2), (2, 2), "int8"), "dtype='int8' must be one of float32, float16, uint8."),
        (((4, 4, 2), (2, 2), "uint8", (2,)), "class 2 is to be stored, and there are 2, numbered"),
        (
            ((4, 4, 2), (2, 2), "uint8", ("top", 3)),
            "the best 3 classes are to be stored, and there",
        ),
        (((4, 4, 65536), (2, 2), "uint8", ("top", 3)), "of 65,536 classes the best cannot be told"),
        (
            ((10**5, 10**5, 1000), (10**3, 10**3), "float32"),
            "takes 4,000,000,000 bytes, and at most",
        ),
    ],
)
def test_sizes_that_fit_no_map_are_refused(arguments, message):
    with pytest.raises(UsageError) as caught:
        Layout(*arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("index", [(0,), (0, 0, 0), (5, 0), (-1, 0), (0.0, 0), [0, 0], "00"])
def test_what_is_no_chunk(index):
    layout = Layout((10, 10, 2), (2, 5), "float32")
    assert index not in layout
    assert len(layout) == prod(layout.counts) == len(list(product(range(5), range(2))))
