"""Indexing: some channels, every n-th cell, the only cell there is."""

import pytest

from blueprints import edits, plan, square
from fullconv.blueprint import (
    AdaptivePool,
    Convolution,
    Pool,
    Reduce,
    Slice,
)
from fullconv.errors import RefusedError
from fullconv.surgery.edits import Bypass, TakeChannels
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
