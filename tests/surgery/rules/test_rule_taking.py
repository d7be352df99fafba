"""Indexing: some channels, every n-th cell, the only cell there is."""

import pytest

from blueprints import blueprint, edits, plan, square
from fullconv.blueprint import (
    AdaptivePool,
    Convolution,
    Pool,
    Reduce,
    Reshape,
    Slice,
)
from fullconv.errors import RefusedError
from fullconv.surgery.edits import Bypass, Phases, TakeCells, TakeChannels
from fullconv.surgery.planner import make_plan
from fullconv.surgery.rules import taking

OPS = set(taking.RULES)
FULL = (0, None, 1)


@pytest.mark.parametrize(
    ("entry", "count"),
    [((1, None, 1), 7), ((0, 3, 1), 3), ((0, None, 3), 3), ((2, 7, 2), 3), ((7, 8, 1), 1)],
)
@pytest.mark.parametrize("flat", [True, False])
def test_channels(entry, count, flat):
    start, stop, step = entry
    taken = TakeChannels(start, 8 if stop is None else stop, step)
    steps = [(Convolution(8, square(3)), (8, 4, 8))]
    if flat:
        steps.append((Reduce("max", (2, 3)), (8,)))
        steps.append((Slice((FULL, entry)), (count,)))
        made = plan((6, 10), *steps)
        assert made.edits["n3"] == taken
        assert "channels are axis 1 in every map" in str(made)
    else:
        steps.append((Slice((FULL, entry, FULL, FULL)), (count, 4, 8)))
        steps.append((Reduce("max", (2, 3)), (count,)))
        assert "n2" not in edits((6, 10), *steps), "as it is, it takes channels of a map"


def test_every_other_cell_is_a_stride():
    steps = (
        (Slice((FULL, FULL, (0, None, 2), (1, None, 2))), (3, 3, 5)),
        (Reduce("average", (2, 3)), (3,)),
    )
    made = plan((6, 10), *steps)
    assert (made.stride, made.padded) == ((2, 2), ())
    assert list(made.edits) == ["n2"]
    assert made.grid((9, 12)).shape == (2, 2)


def test_the_only_cell_there_is():
    steps = (
        (AdaptivePool("average", (1, 1)), (3, 1, 1)),
        (Slice((FULL, FULL, (0, 1, 1), (0, 1, 1)), (2, 3)), (3,)),
    )
    assert edits((6, 10), *steps)["n2"] == Bypass()


@pytest.mark.parametrize(
    ("op", "shape", "message"),
    [
        (
            Slice((FULL, FULL, (2, 3, 1), (0, 1, 1)), (2, 3)),
            (3,),
            "n1: takes single positions of a 3×6×10 map.\nA fixed position of the window has no "
            "equivalent that slides. Pool over space instead.",
        ),
        (
            Slice((FULL, FULL, (0, 4, 1), FULL)),
            (3, 4, 10),
            "n1: takes single positions of a 3×6×10 map.\nA fixed position of the window has no "
            "equivalent that slides. Pool over space instead.",
        ),
        (
            Slice(((0, 1, 1), FULL, FULL, FULL), (0,)),
            (3, 6, 10),
            "n1: indexes the batch.\nImages must stay independent of each other.",
        ),
        (
            Slice((FULL, (0, 2, 1), (0, None, 2), FULL)),
            (2, 3, 10),
            "n1: indexes channels and space at once.\nIndex them one after the other.",
        ),
    ],
)
def test_indexing_that_is_refused(op, shape, message):
    with pytest.raises(RefusedError) as refusal:
        plan((6, 10), (op, shape), (Pool("max", square(1)), shape))
    assert str(refusal.value).startswith(message)


# --- finer strides ---


def every_third(start: int = 0):
    """A stride of 2, then every third cell."""
    span = (start, None, 3)
    side = len(range(start, 12, 3))
    return blueprint(
        (24, 24),
        (Pool("max", square(2, 2)), (3, 12, 12)),
        (Slice((FULL, FULL, span, span)), (3, side, side)),
        (Reduce("average", (2, 3)), (3,)),
    )


@pytest.mark.parametrize(
    ("stride", "step", "start"),
    [(6, None, 1), (3, 3, 2), (2, 1, 1), (1, 1, 2)],
)
def test_a_step_is_given_up_as_a_stride_is(stride, step, start):
    """It begins at the first cell of every phase it is to begin at."""
    made = make_plan(every_third(1), stride=stride)
    assert made.native_stride == (6, 6)
    taken = made.edits.get("n2")
    assert taken == (None if step is None else TakeCells((start, start), (step, step)))


def test_fragments():
    made = make_plan(every_third(), stride=2, method="fragments").edits
    assert made["n2"] == Phases(TakeCells((0, 0), (1, 1)), (1, 1), (3, 3))
    with pytest.raises(RefusedError) as refusal:
        make_plan(every_third(), stride=3, method="fragments")
    assert str(refusal.value) == (
        'n2: would step over a part of the phases in the batch.\nPass method="dilate".'
    )


# --- parts of the channels ---


def test_a_part_of_the_channels():
    """`x.reshape(N, 3, 4, H, W)[:, 1]` and `[:, 1:]`: slices of the channels."""
    body = (Convolution(12, square(3)), (12, 4, 8))
    parts = (Reshape("view"), (3, 4, 4, 8))
    one = (Slice((FULL, (1, 2, 1), FULL, FULL, FULL), (1,)), (4, 4, 8))
    made = plan((6, 10), body, parts, one, (Reduce("average", (2, 3)), (4,)))
    assert made.edits["n3"] == TakeChannels(4, 8, 1)
    assert made.outputs == 4
    two = (Slice((FULL, (1, None, 1), FULL, FULL, FULL)), (2, 4, 4, 8))
    whole = (Reshape("view"), (8, 4, 8))
    made = plan((6, 10), body, parts, two, whole, (Reduce("average", (2, 3)), (8,)))
    assert made.edits["n3"] == TakeChannels(4, 12, 1)
    assert made.outputs == 8


@pytest.mark.parametrize(
    "ranges", [(FULL, FULL, (1, 2, 1), FULL, FULL), (FULL, (0, None, 2), FULL, FULL, FULL)]
)
def test_only_a_run_of_the_first_part_can_be_taken(ranges):
    shape = tuple(
        len(range(*span[:1], n if span[1] is None else span[1], span[2]))
        for span, n in zip(ranges[1:], (3, 4, 4, 8), strict=True)
    )
    steps = ((Convolution(12, square(3)), (12, 4, 8)), (Reshape("view"), (3, 4, 4, 8)))
    with pytest.raises(RefusedError, match="n3: takes some of a part of a 12×4×8 map's channels"):
        plan((6, 10), *steps, (Slice(ranges), shape))
