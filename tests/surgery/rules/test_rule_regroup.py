"""Where numbers go when a map is seen under another shape, against moving them about by hand."""

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fullconv.geometry import Axis
from fullconv.surgery.rules.regroup import regroup
from fullconv.surgery.values import Map

# --- the classifier's tensor, read off what is known of the FCN's ---


def seen(x: Map, fcn: torch.Tensor) -> torch.Tensor:
    """The FCN's `(C, *cells)` as the classifier sees it: through parts, blocks and layout."""
    dims = len(x.axes)
    lengths, labels = [], []
    parts = x.parts or (x.channels,)
    for place, length in enumerate(parts):
        lengths.append(length)
        labels.append(-place)
    for axis in range(1, dims + 1):
        block = x.blocks[axis - 1] if x.blocks else 1
        lengths += [x.axes[axis - 1].size // block, block]
        labels += [axis, dims + axis]
    wanted = [label for group in x.layout for label in group]
    assert len(wanted) == len(set(wanted)), "a label stands in two places"
    missing = [label for label in labels if label not in wanted]
    assert all(lengths[labels.index(label)] == 1 for label in missing), "numbers are lost"
    places = [labels.index(label) for label in (*wanted, *missing)]
    return fcn.reshape(lengths).permute(places).reshape(x.shape)


def shuffled(fcn: torch.Tensor, parts: tuple[int, ...], order: tuple[int, ...]) -> torch.Tensor:
    """What `ShuffleChannels` does to `(C, *cells)`."""
    cells = range(len(parts), len(parts) + fcn.ndim - 1)
    return fcn.reshape(*parts, *fcn.shape[1:]).permute(*order, *cells).reshape(fcn.shape)


def mixes(x: Map, numbers: torch.Tensor, fcn: torch.Tensor) -> bool:
    """Whether `numbers` cannot be had from the cells, blocks of cells, and channels in any order.

    Tried by hand: every tensor axis must be a product of steps through the FCN's tensor in which
    one step never carries over from one axis into another.
    """
    flat = fcn.flatten()
    where = torch.empty_like(flat)
    where[flat] = torch.arange(len(flat))
    index = torch.stack(torch.unravel_index(where[numbers.flatten()], fcn.shape))
    index = index.reshape(fcn.ndim, *numbers.shape)
    first = index[(slice(None), *(0,) * numbers.ndim)]
    # Separable: the place of a number is the sum of what every tensor axis adds to it.
    total = first.reshape(-1, *(1,) * numbers.ndim).expand_as(index).clone()
    for axis, length in enumerate(numbers.shape):
        line = [slice(None), *(0,) * numbers.ndim]
        line[1 + axis] = slice(None)
        moved = index[tuple(line)] - first[:, None]
        spread = [1] * numbers.ndim
        spread[axis] = length
        total += moved.reshape(-1, *spread)
    return not torch.equal(total, index)


@st.composite
def maps(draw) -> Map:
    """Ordinary maps of one to three axes, with channels of many factors."""
    dims = draw(st.integers(1, 3))
    channels = draw(st.sampled_from([1, 2, 3, 4, 6, 8, 12, 24]))
    return Map.plain(
        channels, tuple(Axis(draw(st.sampled_from([1, 2, 3, 4, 6]))) for _ in range(dims))
    )


def shapes(draw, count: int) -> tuple[int, ...]:
    """A shape of `count` numbers."""
    shape, rest = [], count
    for _ in range(draw(st.integers(0, 5))):
        shape.append(draw(st.sampled_from([n for n in range(1, rest + 1) if rest % n == 0])))
        rest //= shape[-1]
    return (*shape, rest) if rest > 1 or not shape else tuple(shape)


def split(draw, x: Map) -> tuple[int, ...]:
    """A shape like the one that is seen, its tensor axes split or taken together."""
    shape: list[int] = []
    for extent in x.shape:
        outer = draw(st.sampled_from([n for n in range(1, extent + 1) if extent % n == 0]))
        shape += draw(st.sampled_from([[extent], [extent], [outer, extent // outer]]))
    if len(shape) > 1 and draw(st.booleans()):
        at = draw(st.integers(0, len(shape) - 2))
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    return tuple(shape)


@settings(max_examples=400)
@given(maps(), st.data())
def test_every_number_is_where_the_layout_says(x, data):
    """Reshapes and permutations one after the other, on the numbers and on what is known of them."""
    draw = data.draw
    lengths = (x.channels, *(axis.size for axis in x.axes))
    fcn = torch.arange(prod(lengths)).reshape(lengths)
    numbers = fcn.clone()
    for _ in range(draw(st.integers(1, 7))):
        if draw(st.booleans()):
            order = draw(st.permutations(range(len(x.layout))))
            x = x.laid_out(tuple(x.layout[place] for place in order))
            numbers = numbers.permute(order)
            continue
        shape = split(draw, x) if draw(st.booleans()) else shapes(draw, prod(x.shape))
        found = regroup(x, shape)
        if found is None:
            continue
        x, numbers = found.value, numbers.reshape(shape)
        if found.shuffle is not None:
            fcn = shuffled(fcn, *found.shuffle)
        assert x.shape == tuple(shape)
        assert prod(x.parts or (x.channels,)) == x.channels
        assert not x.parts or (len(x.parts) > 1 and min(x.parts) > 1)
        assert not x.blocks or (len(x.blocks) == len(x.axes) and max(x.blocks) > 1)
        assert torch.equal(seen(x, fcn), numbers)


@settings(max_examples=400)
@given(maps(), st.data())
def test_what_is_refused_mixes(x, data):
    """From an ordinary map in any order: if every number's place is a sum over axes, it is found."""
    draw = data.draw
    lengths = (x.channels, *(axis.size for axis in x.axes))
    fcn = torch.arange(prod(lengths)).reshape(lengths)
    order = draw(st.permutations(range(len(lengths))))
    x = x.laid_out(tuple(x.layout[place] for place in order))
    shape = split(draw, x) if draw(st.booleans()) else shapes(draw, prod(x.shape))
    numbers = fcn.permute(order).reshape(shape)
    found = regroup(x, shape)
    if found is None:
        thrice = any(
            _pieces(x.length(label), numbers, fcn, label) > 2 for label in range(1, len(lengths))
        )
        assert mixes(x, numbers, fcn) or thrice
    else:
        assert found.shuffle is None, "nothing has moved the channels"
        assert torch.equal(seen(found.value, fcn), numbers)


def _pieces(length: int, numbers: torch.Tensor, fcn: torch.Tensor, axis: int) -> int:
    """How many tensor axes a spatial axis is spread over; only two have a rule."""
    if length == 1:
        return 0
    index = torch.unravel_index(numbers, fcn.shape)[axis]
    return sum(
        bool((index.select(place, 0) != index.select(place, -1)).any())
        for place in range(index.ndim)
    )


# --- by example ---

AXES = (Axis(6), Axis(10))


def test_flattening_and_vectors():
    assert regroup(Map.plain(8, AXES), (480,)).value.layout == ((0, 1, 2),)
    assert regroup(Map.plain(8, AXES), (8, 60)).value.layout == ((0,), (1, 2))
    assert regroup(Map.plain(8, AXES), (8, 1, 6, 10)).value.layout == ((0,), (), (1,), (2,))
    vector = Map(10, (Axis(1, collapsed=True),) * 2, ((0,),))
    again = regroup(vector, (10, 1, 1))
    assert (again.value.layout, again.value.is_plain) == (((0,), (1,), (2,)), True)


def test_channels_in_parts():
    """`(N, g, C/g, H, W)`: parts are named 0, -1, … slowest first."""
    found = regroup(Map.plain(12, AXES), (3, 4, 6, 10))
    assert (found.value.parts, found.value.layout) == ((3, 4), ((0,), (-1,), (1,), (2,)))
    finer = regroup(found.value, (3, 2, 2, 6, 10)).value
    assert (finer.parts, finer.layout) == ((3, 2, 2), ((0,), (-1,), (-2,), (1,), (2,)))
    assert regroup(finer, (12, 6, 10)).value == Map.plain(12, AXES)


def test_a_shuffle_is_asked_for_where_channels_meet_in_another_order():
    """ShuffleNet's: two groups, taken in turn."""
    parts = regroup(Map.plain(12, AXES), (3, 4, 6, 10)).value
    turned = parts.laid_out(((-1,), (0,), (1,), (2,)))
    found = regroup(turned, (12, 6, 10))
    assert (found.value, found.shuffle) == (Map.plain(12, AXES), ((3, 4), (1, 0)))
    # Apart from each other they may lie in any order.
    assert regroup(turned, (4, 3, 60)).shuffle is None


def test_blocks_of_cells():
    """An axis is split once, into cells and a block; together again it is whole."""
    found = regroup(Map.plain(8, AXES), (8, 3, 2, 5, 2)).value
    assert (found.blocks, found.layout) == ((2, 2), ((0,), (1,), (3,), (2,), (4,)))
    assert regroup(found, (8, 6, 10)).value == Map.plain(8, AXES)
    halves = regroup(Map.plain(8, (Axis(8),)), (8, 4, 2)).value
    assert regroup(halves, (8, 2, 2, 2)) is None


@pytest.mark.parametrize(
    "axis", [Axis(6, collapsed=True), Axis(6, context=6), Axis(6, binned=True)]
)
def test_only_cells_of_their_own_are_split(axis):
    assert regroup(Map.plain(8, (axis,)), (8, 3, 2)) is None
    assert regroup(Map.plain(8, (axis,)), (4, 2, 6)) is not None


@pytest.mark.parametrize("shape", [(60, 8), (5, 96), (8, 4, 15), (7,), (480, 2)])
def test_no_answer(shape):
    assert regroup(Map.plain(8, AXES), shape) is None
