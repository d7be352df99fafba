"""Pools of the body that look at the whole map: which are found, and what they see."""

import pytest

from blueprints import blueprint, plan, square
from fullconv.blueprint import (
    AdaptivePool,
    Combine,
    Concat,
    Convolution,
    Elementwise,
    Expand,
    Linear,
    Permute,
    Pool,
    Reduce,
    Reshape,
)
from fullconv.errors import RefusedError
from fullconv.surgery.edits import Bypass, PoolContext, SetPool
from fullconv.surgery.planner import make_plan

MEAN = (Reduce("average", (2, 3)), (3,))
MUL = Combine("mul")
BODY = (Convolution(3, square(3)), (3, 6, 6))
LOCAL = PoolContext("average", (6, 6), (1, 1), True, (1, 2))
POOL = (AdaptivePool("average", (1, 1)), (3, 1, 1))
FC = (Convolution(3, square(1)), (3, 1, 1))

# --- which pools are context ops ---


@pytest.mark.parametrize(
    ("pooled", "edit"),
    [
        ([POOL], LOCAL),
        ([(Reduce("average", (2, 3), True), (3, 1, 1))], LOCAL),
        ([(Pool("average", square(6, 6)), (3, 1, 1))], LOCAL),
        ([(Pool("average", square(6)), (3, 1, 1))], LOCAL),
        ([(AdaptivePool("max", (1, 1)), (3, 1, 1))], PoolContext("max", (6, 6), (1, 1), True, (1, 2))),
        ([(Reduce("max", (2, 3), True), (3, 1, 1))], PoolContext("max", (6, 6), (1, 1), True, (1, 2))),
        ([(Reduce("average", (3,), True), (3, 6, 1))], PoolContext("average", (1, 6), (1, 1), True, (2,))),
        ([POOL, (Reshape("flatten"), (3,)), (Linear(3, 3), (3,)), (Reshape("view"), (3, 1, 1))], LOCAL),
        ([POOL, (Permute((0, 2, 3, 1)), (1, 1, 3)), (Linear(3, 3), (1, 1, 3)), (Permute((0, 3, 1, 2)), (3, 1, 1))], LOCAL),
        ([(Reduce("average", (2, 3)), (3,)), (Reshape("unsqueeze"), (3, 1, 1))], LOCAL),
    ],
)  # fmt: skip
@pytest.mark.parametrize("sees", ["window", "image"])
def test_squeeze_excite(pooled, edit, sees):
    """Pooled over the map, a little network, and back to every cell."""
    last = f"n{len(pooled) + 2}"
    steps = (
        BODY,
        *pooled,
        (Elementwise("sigmoid"), pooled[-1][1]),
        (MUL, (3, 6, 6), ["n1", last]),
        MEAN,
    )
    made = make_plan(blueprint((8, 8), *steps), context=sees)
    kind = edit.kind
    local = sees == "window"
    assert made.edits["n2"] == PoolContext(kind, edit.kernel, edit.dilation, local, edit.axes)
    assert [(c.node, c.kind, c.size) for c in made.contexts] == [
        ("n2", f"{kind} over the map", (6, 6))
    ]
    assert (made.context, made.exact_windows, made.stride) == (sees, False, (1, 1))
    assert [cut.node for cut in made.cuts] == [f"n{len(steps) - 1}"], "it belongs to the body"
    # The last pool takes in the map once; a local op adds its box along the axes it pools.
    beyond = [5 if local and axis in edit.axes else 0 for axis in (1, 2)]
    assert made.receptive_field == tuple(8 + more for more in beyond)


def test_the_order_of_the_factors_does_not_matter():
    steps = (BODY, POOL, (MUL, (3, 6, 6), ["n2", "n1"]), MEAN)
    assert plan((8, 8), *steps).edits["n2"] == LOCAL


def test_one_context_after_another():
    """Also where the first one's result is what the second one pools."""
    steps = (
        BODY,
        POOL,
        (MUL, (3, 6, 6), ["n1", "n2"]),
        POOL,
        FC,
        (MUL, (3, 6, 6), ["n3", "n5"]),
        MEAN,
    )
    made = plan((8, 8), *steps)
    assert [c.node for c in made.contexts] == ["n2", "n4"]
    assert made.receptive_field == (18, 18)


def test_a_context_of_a_context():
    """A vector that is itself pooled again, as nested gates do."""
    steps = (
        BODY,
        (Reduce("average", (3,), True), (3, 6, 1)),
        (Reduce("average", (2,), True), (3, 1, 1)),
        (MUL, (3, 6, 1), ["n2", "n3"]),
        (MUL, (3, 6, 6), ["n1", "n4"]),
        MEAN,
    )
    made = plan((8, 8), *steps)
    assert [c.node for c in made.contexts] == ["n2", "n3"]


def test_two_pools_that_are_added_first():
    """CBAM: mean and maximum through the same layers."""
    steps = (
        BODY,
        (AdaptivePool("average", (1, 1)), (3, 1, 1), ["n1"]),
        (AdaptivePool("max", (1, 1)), (3, 1, 1), ["n1"]),
        (Combine("add"), (3, 1, 1), ["n2", "n3"]),
        (MUL, (3, 6, 6), ["n1", "n4"]),
        MEAN,
    )
    made = plan((8, 8), *steps)
    assert {c.node for c in made.contexts} == {"n2", "n3"}


def test_concatenation_with_the_map():
    """As the image-level features of a pyramid, expanded to the map."""
    steps = (
        BODY,
        POOL,
        (Expand("expand"), (3, 6, 6)),
        (Concat(1), (6, 6, 6), ["n1", "n3"]),
        (Reduce("average", (2, 3)), (6,)),
    )
    made = plan((8, 8), *steps)
    assert made.edits["n2"] == LOCAL
    assert made.edits["n3"] == Bypass()
    assert made.outputs == 6
    named = (
        *steps[:2],
        (Expand("expand_as"), (3, 6, 6), ["n2", "n1"]),
        (MUL, (3, 6, 6), ["n1", "n3"]),
        MEAN,
    )
    assert plan((8, 8), *named).edits["n2"] == LOCAL


def test_a_pool_in_the_head_is_none():
    """Pooled alike, but it meets only what was pooled too."""
    steps = (
        BODY,
        (AdaptivePool("average", (1, 1)), (3, 1, 1), ["n1"]),
        (AdaptivePool("max", (1, 1)), (3, 1, 1), ["n1"]),
        (MUL, (3, 1, 1), ["n2", "n3"]),
    )
    made = plan((8, 8), *steps)
    assert made.contexts == ()
    assert made.edits["n2"] == SetPool(Pool("average", square(6)))


def test_a_context_of_a_dilated_map_sees_cells_of_its_own_phase():
    steps = (
        (Pool("max", square(2, 2)), (3, 6, 6)),
        POOL,
        (MUL, (3, 6, 6), ["n1", "n2"]),
        MEAN,
    )
    network = blueprint((12, 12), *steps)
    assert make_plan(network, stride=1).edits["n2"] == PoolContext(
        "average", (6, 6), (2, 2), True, (1, 2)
    )
    beside = make_plan(network, stride=1, method="fragments").edits
    assert beside["n2"] == LOCAL
    assert (
        make_plan(network, stride=1).receptive_field
        == make_plan(network).receptive_field
        == (22, 22)
    )


# --- refusals ---


def refusal(*steps) -> str:
    with pytest.raises(RefusedError) as refused:
        plan((8, 8), *steps)
    return str(refused.value)


def test_a_pool_for_the_head_and_for_the_map():
    """Its vector is one per window in the head, one per cell in the body: it cannot be both."""
    steps = (
        BODY,
        POOL,
        (MUL, (3, 6, 6), ["n1", "n2"]),
        (AdaptivePool("average", (1, 1)), (3, 1, 1), ["n3"]),
        (Concat(1), (6, 1, 1), ["n2", "n4"]),
    )
    assert refusal(*steps) == (
        "the network's output: is computed from a vector that is pooled for the cells of a map as "
        "well.\nIn the FCN such a vector belongs to one cell, and scores to a whole window. Pool the "
        "map once more for the scores."
    )


def test_a_linear_layer_over_the_whole_map():
    """It has a weight for every position: no box stands for it."""
    steps = (
        BODY,
        (Reshape("flatten"), (108,)),
        (Linear(108, 3), (3,)),
        (Reshape("view"), (3, 1, 1)),
        (MUL, (3, 6, 6), ["n1", "n4"]),
        MEAN,
    )
    assert refusal(*steps) == (
        "n3: makes one vector of the whole map, which then meets a map again at n5.\nIt has a weight "
        "for every position of the window, so no box of a larger map can stand for the whole. Pool "
        "the map first, as squeeze-excite does."
    )


def test_a_map_of_another_size():
    steps = (
        BODY,
        POOL,
        (Pool("max", square(2, 2)), (3, 3, 3), ["n1"]),
        (MUL, (3, 3, 3), ["n2", "n3"]),
        MEAN,
    )
    assert refusal(*steps) == (
        "n4: joins vector of 3 and 3×3×3 map, one of them pooled from a map of another size.\nWhich "
        "box of that map belongs to which cell is not defined. Pool from the map that the result is "
        "joined with."
    )


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (Pool("average", square(4, 4)), "n2: pools a part of a 3×6×6 map to one cell, which then"),
        (
            Pool("average", square(6), divisor=7),
            "n2: divides the sum over the whole map by a number",
        ),
    ],
)
def test_pools_that_are_not_of_the_whole_map(pool, message):
    steps = (BODY, (pool, (3, 1, 1)), (MUL, (3, 6, 6), ["n1", "n2"]), MEAN)
    assert refusal(*steps).startswith(message)


def test_a_kernel_over_a_pooled_vector():
    steps = (
        BODY,
        POOL,
        (Convolution(3, square(3, 1, 1)), (3, 1, 1)),
        (MUL, (3, 6, 6), ["n1", "n3"]),
        MEAN,
    )
    assert refusal(*steps).startswith(
        "n3: has a kernel of 3 with padding (1, 1), over a map that is"
    )
