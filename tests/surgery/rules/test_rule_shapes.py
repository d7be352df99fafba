"""Reshapes, permutations, space to depth and repeating."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from blueprints import blueprint, edits, plan, square
from fullconv.blueprint import (
    Blueprint,
    Combine,
    Convolution,
    Expand,
    Linear,
    Node,
    Output,
    Permute,
    Pool,
    Reduce,
    Reshape,
    SpaceToDepth,
)
from fullconv.errors import RefusedError
from fullconv.geometry import Sweep
from fullconv.surgery.edits import Bypass, LinearToConv, Phases
from fullconv.surgery.edits import SpaceToDepth as Blocks
from fullconv.surgery.planner import make_plan
from fullconv.surgery.rules import shapes

OPS = set(shapes.RULES)
FULL = (0, None, 1)


# --- reshape ---


@pytest.mark.parametrize(
    ("shape", "order"),
    [((180,), (0, 1, 2)), ((3, 60), None), ((18, 10), None), ((3, 1, 6, 10), None)],
)
def test_reshapes_only_rename(shape, order):
    steps = [(Reshape("view"), shape)]
    if order is None:
        steps.append((Reshape("flatten"), (180,)))
    made = edits((6, 10), *steps, (Linear(180, 4), (4,)))
    assert made["n1"] == Bypass()
    assert list(made.values())[-1] == LinearToConv(3, 4, (6, 10), (1, 1), (0, 1, 2))


@pytest.mark.parametrize("shape", [(60, 3), (10, 6, 3), (2, 90), (4, 45)])
def test_reshapes_that_mix(shape):
    with pytest.raises(RefusedError) as refusal:
        plan((6, 10), (Reshape("view"), shape))
    text = "×".join(map(str, shape))
    assert str(refusal.value) == (
        f"n1: view turns 3×6×10 into {text}, which mixes channels and space.\nThe result has no "
        "place in the image. Flatten all of (C, *space) at once, or leave channels and space apart."
    )


@pytest.mark.parametrize(("shape", "blocks"), [((6, 30), "3×1"), ((90, 2), "1×2")])
def test_blocks_of_cells_must_become_channels(shape, blocks):
    """An axis may be split in two, on the way to depth; nothing else reads it so."""
    with pytest.raises(RefusedError) as refusal:
        plan((6, 10), (Reshape("view"), shape), (Linear(shape[1], 4), (shape[0], 4)))
    assert f"its cells seen in blocks of {blocks}.\nOnly moving the blocks" in str(refusal.value)
    assert str(refusal.value).startswith("n2: works on a ")


def with_shape(steps, shape: tuple[int, ...], problem: str = "") -> Blueprint:
    """A blueprint whose last node has another shape, batch included, or a problem."""
    *nodes, last, _ = blueprint((6, 10), *steps).nodes
    last = Node(last.name, last.op, last.inputs, shape, last.where, problem)
    return Blueprint((*nodes, last, Node("end", Output(), (last.name,), shape)), (6, 10), 3, 2)


def test_a_reshape_that_mixes_the_batch():
    with pytest.raises(RefusedError, match="n1: view makes 6×6×10 of 2 images.\nImages must stay"):
        make_plan(with_shape([(Reshape("view"), (180,))], (6, 6, 10)))
    with pytest.raises(
        RefusedError, match=r"n1: expects 60 features, but its input is a 3×6×10 map"
    ):
        make_plan(with_shape([(Reshape("view"), (180,))], (6, 60)))


def test_a_view_to_another_number_of_features_names_both():
    with pytest.raises(RefusedError) as refusal:
        make_plan(with_shape([(Reshape("view"), (180,))], (2, 768), "shape is invalid"))
    assert str(refusal.value) == (
        "n1: expects 768 features, but its input is a 3×6×10 map (180).\nThe window given was 6×10; "
        "pass window=16, the size the layer fits (16 px)."
    )


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=4
    ),
    st.integers(1, 5),
    st.integers(0, 9),
)
def test_the_window_that_would_fit(layers, side, extra):
    """The hint names all the windows at which the map has the cells the layer was built for."""
    sweeps = [Sweep(k, s, (p, p)) for k, s, p in layers if 2 * p < k]
    assume(sweeps)

    def cells(pixels: int) -> int:
        for sweep in sweeps:
            if pixels + sum(sweep.padding) < sweep.kernel:
                return 0
            pixels = sweep.count(pixels)
        return pixels

    fitting = [n for n in range(1, 700) if cells(n) == side]
    given_ = next(n for n in range(1, 700) if cells(n) > 0) + extra
    assume(fitting and given_ not in fitting)
    size = given_
    steps = []
    for sweep in sweeps:
        size = sweep.count(size)
        steps.append((Convolution(7, (sweep, sweep)), (7, size, size)))
    steps += [(Reshape("flatten"), (7 * size**2,)), (Linear(7 * side**2, 4), (4,))]
    with pytest.raises(RefusedError) as refusal:
        plan((given_, given_), *steps)
    if "the model was built for" in str(refusal.value):
        # Only where a kernel happens to take in the whole map, and so ends it.
        assert size == 1
        return
    low, high = fitting[0], fitting[-1]
    assert fitting == list(range(low, high + 1))
    place = f"n{len(steps)}"
    words = (
        f"the size the layer fits ({low} px)"
        if low == high
        else f"the sizes the layer fits ({low} to {high} px)"
    )
    found = f"7×{size}×{size} map" if size > 1 else "vector of 7"
    assert str(refusal.value) == (
        f"{place}: expects {7 * side**2} features, but its input is a {found} "
        f"({7 * size**2}).\nThe window given was {given_}×{given_}; pass window={low}, {words}."
    )


def test_no_window_is_made_up_where_none_follows_from_the_numbers():
    steps = ((Reshape("flatten"), (180,)), (Linear(181, 4), (4,)))
    with pytest.raises(RefusedError, match="pass the window the model was built for"):
        plan((6, 10), *steps)


# --- permute ---


def test_permutations_are_remembered():
    steps = (
        (Permute((0, 2, 3, 1)), (6, 10, 3)),
        (Reshape("flatten"), (180,)),
        (Linear(180, 4), (4,)),
    )
    made = edits((6, 10), *steps)
    assert made["n1"] == made["n2"] == Bypass()
    assert made["n3"] == LinearToConv(3, 4, (6, 10), (1, 1), (1, 2, 0))


def test_permutations_undo_each_other():
    steps = (
        (Permute((0, 2, 3, 1)), (6, 10, 3)),
        (Permute((0, 3, 1, 2)), (3, 6, 10)),
        (Convolution(4, square(3)), (4, 4, 8)),
        (Reduce("average", (2, 3)), (4,)),
    )
    assert list(edits((6, 10), *steps)) == ["n1", "n2", "n4"]


def test_a_permutation_that_moves_the_batch():
    with pytest.raises(RefusedError, match="n1: moves the batch.\nImages must stay independent"):
        plan((6, 10), (Permute((1, 0, 2, 3)), (2, 6, 10)))


# --- space to depth ---

UNSHUFFLED = (SpaceToDepth(2), (12, 3, 5))
BY_HAND = (
    (Reshape("view"), (3, 3, 2, 5, 2)),
    (Permute((0, 1, 3, 5, 2, 4)), (3, 2, 2, 3, 5)),
    (Reshape("view"), (12, 3, 5)),
)
BLOCKS = Blocks(square(2, 2), (3,), (0, 1, 2))


def test_pixel_unshuffle_stays_as_it_is():
    made = plan((6, 10), UNSHUFFLED, (Reduce("average", (2, 3)), (12,)))
    assert "n1" not in made.edits
    assert (made.stride, made.receptive_field) == ((2, 2), (6, 10))


def test_space_to_depth_by_reshapes():
    made = plan((6, 10), *BY_HAND, (Reduce("average", (2, 3)), (12,)))
    assert made.edits["n1"] == made.edits["n2"] == Bypass()
    assert made.edits["n3"] == BLOCKS
    assert made.stride == (2, 2)


def test_blocks_slower_than_channels():
    """Swin's and focus layers' order: the place in the block first, then the channel."""
    steps = (BY_HAND[0], (Permute((0, 3, 5, 1, 2, 4)), (2, 2, 3, 3, 5)), BY_HAND[2])
    made = edits((6, 10), *steps, (Reduce("average", (2, 3)), (12,)))
    assert made["n3"] == Blocks(square(2, 2), (3,), (1, 2, 0))


@pytest.mark.parametrize("steps", [[UNSHUFFLED], BY_HAND])
def test_blocks_at_a_finer_stride(steps):
    network = blueprint((6, 10), *steps, (Reduce("average", (2, 3)), (12,)))
    dilated = make_plan(network, stride=1).edits
    assert dilated[f"n{len(steps)}"] == Blocks(square(2, 1), (3,), (0, 1, 2))
    beside = make_plan(network, stride=1, method="fragments").edits
    assert beside[f"n{len(steps)}"] == Phases(Blocks(square(2, 1), (3,), (0, 1, 2)), (1, 1), (2, 2))


def test_blocks_do_not_step_over_phases():
    steps = ((Pool("max", square(2, 2)), (3, 6, 6)), (SpaceToDepth(3), (27, 2, 2)))
    network = blueprint((12, 12), *steps, (Reduce("average", (2, 3)), (27,)))
    apart = make_plan(network, stride=3).edits
    assert apart["n2"] == Blocks(square(3, 3, 0, 2), (3,), (0, 1, 2))
    with pytest.raises(RefusedError, match="n2: would step over a part of the phases in the batch"):
        make_plan(network, stride=3, method="fragments")


# --- repeating what was pooled ---


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            [(Reduce("average", (1,), True), (1, 6, 10)), (Expand("expand"), (3, 6, 10))],
            "n2: repeats a 1×6×10 map as 3×6×10.\nOnly what was pooled from a map can be given back "
            "to all its cells.",
        ),
        (
            [(Reduce("average", (2, 3)), (3,)), (Expand("expand"), (4, 3))],
            "n2: repeats a vector of 3 as 2×4×3.\nIt adds an axis.",
        ),
    ],
)
def test_repeating_that_is_refused(steps, message):
    with pytest.raises(RefusedError) as refusal:
        plan((6, 10), *steps)
    assert str(refusal.value) == message


def test_a_vector_is_given_back_to_its_map():
    steps = (
        (Reduce("average", (2, 3), True), (3, 1, 1)),
        (Expand("expand_as"), (3, 6, 10), ["n1", "n0"]),
        (Combine("sub"), (3, 6, 10), ["n0", "n2"]),
        (Reduce("max", (2, 3)), (3,)),
    )
    made = plan((6, 10), *steps)
    assert made.edits["n2"] == Bypass()
    assert [c.node for c in made.contexts] == ["n1"]


def test_a_vector_given_back_to_another_map():
    """Its box is one of the map it was pooled from."""
    steps = (
        (Reduce("average", (2, 3), True), (3, 1, 1)),
        (Convolution(3, square(3)), (3, 4, 8), ["n0"]),
        (Expand("expand"), (3, 4, 8), ["n1"]),
        (Combine("sub"), (3, 4, 8), ["n2", "n3"]),
        (Reduce("max", (2, 3)), (3,)),
    )
    with pytest.raises(RefusedError, match="n3: repeats a vector of 3 as 3×4×8"):
        plan((6, 10), *steps)
