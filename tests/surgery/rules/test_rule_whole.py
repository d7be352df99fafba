"""Adaptive pools and reductions over space."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from blueprints import blueprint, edits, plan, square
from fullconv.blueprint import AdaptivePool, Convolution, Linear, Permute, Pool, Reduce, Reshape
from fullconv.errors import RefusedError
from fullconv.geometry import Sweep
from fullconv.surgery.edits import Bypass, LinearToConv, Phases, PoolWindow, SetPool
from fullconv.surgery.planner import make_plan
from fullconv.surgery.rules import whole

OPS = set(whole.RULES)


@given(st.integers(1, 40), st.integers(1, 20))
def test_bins_are_pytorchs(cells, output):
    x = torch.arange(cells, dtype=torch.float64)
    bins = [x[start:stop].mean() for start, stop in whole.spans(cells, output)]
    theirs = F.adaptive_avg_pool1d(x[None, None], output)[0, 0]
    torch.testing.assert_close(torch.stack(bins), theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "edit"),
    [
        ((12, 12), Bypass()),
        ((1, 1), SetPool(Pool("average", square(12)))),
        ((6, 6), SetPool(Pool("average", square(2)))),
        ((4, 12), SetPool(Pool("average", (Sweep(3), Sweep(1))))),
        ((5, 5), Bypass()),
        ((5, 4), SetPool(Pool("average", (Sweep(1), Sweep(3))))),
        ((24, 1), SetPool(Pool("average", (Sweep(1), Sweep(12))))),
    ],
)
def test_adaptive_average_pooling(size, edit):
    features = 3 * size[0] * size[1]
    steps = (
        (AdaptivePool("average", size), (3, *size)),
        (Reshape("flatten"), (features,)),
        (Linear(features, 4), (4,)),
    )
    assert edits((12, 12), *steps)["n1"] == edit


def test_what_the_linear_layer_becomes():
    def after(*size):
        features = 3 * size[0] * size[1]
        steps = (
            (AdaptivePool("average", size), (3, *size)),
            (Reshape("flatten"), (features,)),
            (Linear(features, 4), (4,)),
        )
        return edits((12, 12), *steps)["n3"]

    assert after(12, 12) == LinearToConv(3, 4, (12, 12), (1, 1), (0, 1, 2))
    assert after(6, 4) == LinearToConv(3, 4, (6, 4), (2, 3), (0, 1, 2))
    assert after(1, 1) == LinearToConv(3, 4, (1, 1), (1, 1), (0,))
    folded = after(5, 6)
    assert folded.kernel == (12, 6)
    assert folded.dilation == (1, 2)
    assert folded.taps == (5, 6)
    assert folded.bins == (((0, 3), (2, 5), (4, 8), (7, 10), (9, 12)), ())


@pytest.mark.parametrize("kind", ["average", "max"])
@pytest.mark.parametrize("axes", [(2,), (3,), (2, 3)])
@pytest.mark.parametrize("keepdim", [True, False])
def test_reductions_over_space(kind, axes, keepdim):
    left = tuple(12 for axis in (2, 3) if axis not in axes)
    shape = tuple(1 if axis in axes else 12 for axis in (2, 3)) if keepdim else left
    features = 3 * 12 ** len(left)
    steps = (
        (Reduce(kind, axes, keepdim), (3, *shape)),
        (Reshape("flatten"), (features,)),
        (Linear(features, 4), (4,)),
    )
    made = plan((12, 12), *steps)
    sweeps = tuple(Sweep(12 if axis in axes else 1) for axis in (2, 3))
    assert made.edits["n1"] == SetPool(Pool(kind, sweeps))
    assert made.receptive_field == (12, 12)
    assert [cut.node for cut in made.cuts] == ["n0"]


@pytest.mark.parametrize("kind", ["sum", "norm", "min"])
def test_reductions_that_are_no_usual_pool(kind):
    steps = ((Pool("max", square(2, 2)), (3, 6, 6)), (Reduce(kind, (2, 3)), (3,)))
    assert edits((12, 12), *steps)["n2"] == PoolWindow(kind, (6, 6), (1, 1))
    network = blueprint((12, 12), *steps)
    assert make_plan(network, stride=1).edits["n2"] == PoolWindow(kind, (6, 6), (2, 2))
    beside = make_plan(network, stride=1, method="fragments").edits["n2"]
    assert beside == Phases(PoolWindow(kind, (6, 6), (1, 1)), (2, 2), (1, 1))


@pytest.mark.parametrize(("kind", "edit"), [("norm", PoolWindow), ("sum", Bypass), ("max", Bypass)])
def test_reductions_of_the_only_cell(kind, edit):
    """A norm is no identity: it takes the sign away."""
    steps = ((Convolution(4, square(12)), (4, 1, 1)), (Reduce(kind, (2, 3)), (4,)))
    assert type(edits((12, 12), *steps)["n2"]) is edit


def test_reductions_follow_a_permutation():
    steps = (
        (Permute((0, 3, 1, 2)), (8, 3, 12)),  # W, C, H
        (Reduce("average", (1,)), (3, 12)),
        (Reduce("max", (2,)), (3,)),
    )
    made = edits((12, 8), *steps)
    assert made["n2"] == SetPool(Pool("average", (Sweep(1), Sweep(8))))
    assert made["n3"] == SetPool(Pool("max", (Sweep(12), Sweep(1))))


def test_a_reduction_of_one_cell_does_nothing():
    steps = ((Convolution(4, square(12)), (4, 1, 1)), (Reduce("average", (2, 3)), (4,)))
    assert edits((12, 12), *steps) == {"n2": Bypass()}


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            [(AdaptivePool("max", (5, 5)), (3, 5, 5))],
            "n1: takes maxima over overlapping bins, 12×12 cells to 5×5.\nBins that differ in size "
            "have no equivalent that slides. Choose a window whose map divides evenly.",
        ),
        (
            [(Reduce("average", (1, 2)), (12,))],
            "n1: takes the average over channels and space of a 3×12×12 map at once.\nOnly "
            "reductions over space, or over channels, have a rule. Reduce one after the other.",
        ),
        (
            [(Reshape("flatten"), (432,)), (Reduce("max", (1,)), ())],
            "n2: takes the max over channels and space of a 3×12×12 map at once.\nOnly reductions "
            "over space, or over channels, have a rule. Reduce one after the other.",
        ),
        (
            [(Reduce("average", (0, 2)), (3, 12))],
            "n1: reduces the batch.\nImages must stay independent of each other.",
        ),
        (
            [(AdaptivePool("average", (5, 5)), (3, 5, 5)), (Reduce("average", (2, 3)), (3,))],
            "n2: follows adaptive pooling whose bins overlap at this window, giving a 3×5×5 map.\n"
            "Such bins can be folded only into a linear layer that follows directly. Choose a "
            "window whose map divides evenly into the bins.",
        ),
        (
            [(Reshape("view"), (3, 144)), (AdaptivePool("average", (3,)), (3, 3))],
            "n2: works on neighbouring cells, but its input is 3×12×12 map, reshaped or reordered "
            "before.\nWhere its cells lie in the image is no longer known. Keep feature maps as "
            "(N, C, *space) up to here.",
        ),
    ],
)
def test_refusals(steps, message):
    with pytest.raises(RefusedError) as refusal:
        plan((12, 12), *steps)
    assert str(refusal.value) == message
