"""What an op needs along one axis, against looking at every cell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullconv.geometry import Sweep
from fullconv.streams.reach import Mirrored, Nearest, Same, Spread, Swept, boxes, outside


def needed(reach, cells: int) -> list[list[int]]:
    """For every output cell the input cells it is made of, one by one; padding included."""
    count = reach.count(cells)
    if isinstance(reach, Same):
        return [[i] for i in range(count)]
    if isinstance(reach, Swept):
        s = reach.sweep
        return [
            [i * s.stride - s.padding[0] + tap * s.dilation for tap in range(s.kernel)]
            for i in range(count)
        ]
    if isinstance(reach, Spread):
        return [[i // reach.factor] for i in range(count)]
    if isinstance(reach, Nearest):
        firsts = boxes(cells, reach.kernel, reach.dilation)
        return [[f + tap * reach.dilation for tap in range(reach.kernel)] for f in firsts]
    return [[i] for i in outside(cells, reach.before, reach.after, reach.dilation, reach.mode)]


reaches = st.one_of(
    st.just(Same()),
    st.builds(Spread, st.integers(1, 4)),
    st.builds(
        Swept,
        st.builds(
            Sweep,
            st.integers(1, 5),
            st.integers(1, 4),
            st.tuples(st.integers(-2, 3), st.integers(0, 3)),
            st.integers(1, 3),
            st.booleans(),
        ),
    ),
    st.builds(Nearest, st.integers(1, 4), st.integers(1, 2)),
    st.builds(
        Mirrored,
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(1, 2),
        st.sampled_from(["reflect", "replicate"]),
    ),
)


@given(reaches, st.integers(12, 30), st.data())
def test_start_and_stop_enclose_what_is_needed_and_no_more(reach, cells, data):
    every = needed(reach, cells)
    assert len(every) == reach.count(cells)
    if not every:
        return
    first = data.draw(st.integers(0, len(every) - 1))
    stop = data.draw(st.integers(1, len(every)))
    assert reach.start(first, cells) == min(min(entries) for entries in every[first:])
    assert reach.stop(stop, cells) == max(max(entries) for entries in every[:stop]) + 1


@given(reaches, st.integers(12, 30))
def test_rows_above_the_first_need_less_and_less(reach, cells):
    stops = [reach.stop(stop, cells) for stop in range(-6, reach.count(cells) + 1)]
    assert stops == sorted(stops)
    assert stops[0] <= 0 or reach.stop(-100, cells) <= 0


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_mirrored_is_what_pytorch_pads(mode):
    import torch
    import torch.nn.functional as F

    row = torch.arange(7.0).reshape(1, 1, 7)
    assert F.pad(row, (2, 3), mode=mode).flatten().tolist() == list(outside(7, 2, 3, 1, mode))
