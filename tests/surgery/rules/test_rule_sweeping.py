"""Convolutions, pools and padding."""

import pytest

from blueprints import blueprint, edits, plan, square
from fullconv.blueprint import AdaptivePool, Convolution, Linear, Pad, Pool, Reduce, Reshape
from fullconv.errors import RefusedError
from fullconv.geometry import Sweep
from fullconv.surgery.edits import Resweep, SetPool
from fullconv.surgery.planner import make_plan
from fullconv.surgery.rules import sweeping

OPS = set(sweeping.RULES)


def mean(channels: int):
    """An end for networks whose middle is the point."""
    return Reduce("average", (2, 3)), (channels,)


def average(sweeps, counted=((0, 0), (0, 0))) -> Pool:
    """An average pool that counts no other padding than its own, here none."""
    return Pool("average", sweeps, counted=counted)


def test_layers_of_the_body_stay_as_they_are():
    steps = (
        (Convolution(8, square(3)), (8, 30, 30)),
        (Pool("max", square(3, 2)), (8, 14, 14)),
        (Convolution(8, square(3, 2, dilation=2), 2), (8, 5, 5)),
        (Pool("average", square(2, 1)), (8, 4, 4)),
        mean(8),
    )
    made = plan((32, 32), *steps)
    assert list(made.edits) == ["n5"]
    assert (made.stride, made.untouched, made.padded) == ((4, 4), 4, ())


@pytest.mark.parametrize(
    ("op", "pads"),
    [
        (Convolution(3, square(3, 1, 1)), True),
        (Convolution(3, (Sweep(3, 1, (0, 1)), Sweep(2))), True),
        (Pool("max", square(3, 2, 1)), True),
        (Pool("average", square(3, 2, ceil=True)), True),  # 10 cells: the fifth hangs over
        (Pool("max", square(2, 2, ceil=True)), False),  # 10 cells: nothing hangs over
        (Pool("max", square(2, 2)), False),
        (Pad(((0, 0), (0, 0), (1, 0), (0, 0))), True),
        (Pad(((0, 0), (0, 0), (0, 0), (0, 1)), "reflect"), True),
        (Pad(((0, 0), (2, 1), (0, 0), (0, 0))), False),
        (Pad(((0, 0), (0, 0), (-1, 0), (0, -2))), False),
    ],
)
def test_what_sees_beyond_the_window(op, pads):
    channels, sizes = 3, [10, 10]
    if isinstance(op, Pad):
        channels += sum(op.amounts[1])
        sizes = [10 + sum(amount) for amount in op.amounts[2:]]
    else:
        sizes = [sweep.count(10) for sweep in op.sweeps]
    made = plan((10, 10), (op, (channels, *sizes)), mean(channels))
    assert made.padded == (("n1",) if pads else ())


# --- a kernel that takes in the whole map ---


@pytest.mark.parametrize(
    ("op", "edit"),
    [
        (Convolution(4, square(8)), None),
        (Convolution(4, square(8, 8)), Resweep(square(8))),
        (Convolution(4, square(4, 2, dilation=2)), None),
        (Pool("average", square(8, 8)), SetPool(average(square(8)))),
        (Pool("max", square(8, 8)), SetPool(Pool("max", square(8)))),
        (Pool("max", square(8)), None),
        (Pool("average", square(9, 9, ceil=True)), SetPool(average(square(8)))),
        (Pool("max", square(4, 9, dilation=2)), None),
    ],
)
def test_at_the_end_it_steps_from_window_to_window(op, edit):
    channels = op.out_channels if isinstance(op, Convolution) else 3
    made = plan((8, 8), (op, (channels, 1, 1)))
    # The taps of a dilated kernel that reach seven cells do not take in the eighth.
    covers = op.sweeps[0].extent >= 8
    assert made.native_stride == (1, 1) if covers else (op.sweeps[0].stride,) * 2
    assert made.edits == ({} if edit is None else {"n1": edit})


def test_a_dilated_kernel_that_hangs_over_keeps_its_stride():
    made = plan((8, 8), (Pool("max", square(5, 9, dilation=2, ceil=True)), (3, 1, 1)))
    assert (made.native_stride, made.edits, made.padded) == ((9, 9), {}, ("n1",))


@pytest.mark.parametrize(
    "op",
    [
        Convolution(3, square(3, 2)),
        Convolution(3, square(2, 2)),
        Pool("max", square(3, 2)),
        Pool("max", square(2, 2)),
    ],
)
def test_a_small_kernel_that_happens_to_cover_is_down_sampling(op):
    side = op.sweeps[0].kernel
    made = plan((side, side), (op, (3, 1, 1)), (Reshape("flatten"), (3,)), (Linear(3, 2), (2,)))
    assert made.native_stride == (2, 2)
    assert "n1" not in made.edits


def test_an_average_pool_is_a_head_however_small():
    made = plan((2, 2), (Pool("average", square(2, 2)), (3, 1, 1)))
    assert made.edits == {"n1": SetPool(average(square(2)))}


def test_one_axis_may_be_taken_in_and_the_other_not():
    op = Pool("average", (Sweep(8, 8), Sweep(2, 2)))
    made = plan((8, 12), (op, (3, 1, 6)), (Reshape("flatten"), (18,)), (Linear(18, 2), (2,)))
    assert made.edits["n1"] == SetPool(average((Sweep(8), Sweep(2, 2))))
    assert made.stride == (1, 2)


def test_a_covering_pool_before_another_kernel_is_not_the_head():
    """Something looks at its neighbours afterwards, at the window only padding."""
    steps = (
        (Pool("average", square(8, 8)), (3, 1, 1)),
        (Convolution(4, square(3, 1, 1)), (4, 1, 1)),
    )
    made = plan((8, 8), *steps)
    assert (made.native_stride, made.edits) == ((8, 8), {})


def test_divisor_and_counting_of_padding_survive():
    op = Pool("average", square(8, 8), False, 5)
    made = edits((8, 8), (op, (3, 1, 1)))
    assert made["n1"] == SetPool(Pool("average", square(8), False, 5))


# --- after adaptive pooling ---


def test_kernels_after_regular_adaptive_pooling_are_dilated():
    steps = (
        (AdaptivePool("average", (4, 4)), (3, 4, 4)),
        (Convolution(5, square(2)), (5, 3, 3)),
        (Pool("max", square(2, 1)), (5, 2, 2)),
        mean(5),
    )
    made = edits((8, 8), *steps)
    assert made["n2"] == Resweep(square(2, 1, 0, 2))
    assert made["n3"] == SetPool(Pool("max", square(2, 1, 0, 2)))
    assert made["n4"] == SetPool(Pool("average", square(2, 1, 0, 2)))


@pytest.mark.parametrize(
    ("op", "side"),
    [
        (Convolution(3, square(3, 1, 1)), 4),
        (Pool("max", square(3, 2, 1)), 2),
        (Pool("average", square(3, 2, ceil=True)), 2),
        (Pad(((0, 0), (0, 0), (1, 1), (1, 1))), 6),
    ],
)
def test_what_reaches_beyond_adaptive_bins_is_refused(op, side):
    steps = ((AdaptivePool("average", (4, 4)), (3, 4, 4)), (op, (3, side, side)), mean(3))
    with pytest.raises(RefusedError) as refusal:
        plan((8, 8), *steps)
    assert str(refusal.value) == (
        "n2: reaches beyond the 4 cells that adaptive pooling made.\nIn the FCN there are cells of "
        "other windows beside them, not the rim it pads. Choose a window at which that pooling does "
        "nothing, or remove the padding."
    )


# --- refusals ---


@pytest.mark.parametrize(
    ("op", "said"),
    [
        (Convolution(3, square(3, 1, 1)), r"n2: has a kernel of 3 with padding \(1, 1\)"),
        (Pool("max", square(3, 1, 1)), r"n2: has a kernel of 3 with padding \(1, 1\)"),
        (Pad(((0, 0), (0, 0), (1, 1), (1, 1))), r"n2: has a kernel of 1 with padding \(1, 1\)"),
    ],
)
def test_a_kernel_over_one_cell_per_window(op, said):
    side = 3 if isinstance(op, Pad) else 1
    steps = ((AdaptivePool("average", (1, 1)), (3, 1, 1)), (op, (3, side, side)))
    with pytest.raises(RefusedError, match=said) as refusal:
        plan((8, 8), *steps)
    assert "In the FCN the neighbouring cells belong to other windows." in str(refusal.value)


@pytest.mark.parametrize(
    "op", [Convolution(4, (Sweep(3),)), Pool("max", (Sweep(3, 1),)), Pad(((0, 0), (0, 0), (1, 1)))]
)
def test_a_kernel_over_a_reshaped_map(op):
    length = 66 if isinstance(op, Pad) else 62
    channels = 4 if isinstance(op, Convolution) else 3
    steps = ((Reshape("view"), (3, 64)), (op, (channels, length)))
    with pytest.raises(RefusedError) as refusal:
        plan((8, 8), *steps)
    assert str(refusal.value) == (
        "n2: works on neighbouring cells, but its input is 3×8×8 map, reshaped or reordered before."
        "\nWhere its cells lie in the image is no longer known. Keep feature maps as (N, C, *space) "
        "up to here."
    )


def test_a_kernel_computed_from_the_image():
    conv = Convolution(3, square(3))
    network = blueprint(
        (8, 8), (Pool("max", square(2, 2)), (3, 4, 4)), (conv, (3, 6, 6), ["n0", "n1"])
    )
    with pytest.raises(RefusedError, match="n2: has weights that are computed from the image"):
        make_plan(network)


def test_padding_of_the_batch():
    pad = Pad(((1, 1), (0, 0), (0, 0), (0, 0)))
    with pytest.raises(RefusedError, match="n1: pads the batch.\nImages must stay independent"):
        plan((8, 8), (pad, (3, 8, 8)))
