"""Reshapes, permutations and indexing."""

from itertools import combinations, permutations
from math import prod

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from blueprints import blueprint, edits, plan, square
from fullconv.blueprint import (
    AdaptivePool,
    Blueprint,
    Convolution,
    Linear,
    Node,
    Output,
    Permute,
    Pool,
    Reduce,
    Reshape,
    Slice,
)
from fullconv.errors import RefusedError
from fullconv.geometry import Axis, Sweep
from fullconv.surgery.edits import Bypass, LinearToConv, TakeChannels
from fullconv.surgery.planner import make_plan
from fullconv.surgery.rules import shapes
from fullconv.surgery.values import Map

OPS = set(shapes.RULES)
FULL = (0, None, 1)


# --- the layout after a reshape ---


def compositions(count: int) -> list[tuple[tuple[int, int], ...]]:
    """All ways to cut `count` things in a row into groups."""
    cuts = [c for n in range(count) for c in combinations(range(1, count), n)]
    return [tuple(zip((0, *c), (*c, count), strict=True)) for c in cuts]


def laid_out(x: Map) -> torch.Tensor:
    """A tensor of different numbers as the classifier lays it out."""
    lengths = [x.length(label) for label in range(len(x.axes) + 1)]
    plain = torch.arange(prod(lengths)).reshape(lengths)
    labels = [label for group in x.layout for label in group]
    missing = [label for label in range(len(lengths)) if label not in labels]
    return plain.permute(*labels, *missing).reshape(x.shape)


@st.composite
def maps(draw) -> Map:
    """Maps of one to three axes, in any order, some axes flattened together."""
    dims = draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(1, 4), min_size=dims + 1, max_size=dims + 1))
    order = draw(st.sampled_from(list(permutations(range(dims + 1)))))
    cut = draw(st.sampled_from(compositions(dims + 1)))
    layout = tuple(tuple(order[a:b]) for a, b in cut)
    return Map(lengths[0], tuple(Axis(n) for n in lengths[1:]), layout)


@given(maps(), st.data())
def test_regrouping(x, data):
    """Found where whole axes can be told apart in the new shape, and only there."""
    numbers = laid_out(x)
    shape, rest = [], prod(x.shape)
    for _ in range(data.draw(st.integers(0, 4))):
        shape.append(data.draw(st.sampled_from([n for n in range(1, rest + 1) if rest % n == 0])))
        rest //= shape[-1]
    shape += [rest] if rest > 1 else []
    new = shapes.regroup(x, tuple(shape))
    labels = [label for group in x.layout for label in group if x.length(label) > 1]
    possible = {
        tuple(prod(x.length(label) for label in labels[a:b]) for a, b in cut)
        for cut in compositions(len(labels))
    }
    wanted = tuple(n for n in shape if n > 1)
    if wanted not in (possible if labels else {()}):
        assert new is None
        return
    assert new is not None
    after = x.laid_out(new)
    assert after.shape == tuple(shape)
    assert torch.equal(laid_out(after), numbers.reshape(shape))
    used = [label for group in new for label in group]
    assert len(used) == len(set(used))


def test_a_vector_becomes_an_ordinary_map_again():
    vector = Map(10, (Axis(1, collapsed=True),) * 2, ((0,),))
    assert shapes.regroup(vector, (10, 1, 1)) == ((0,), (1,), (2,))


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


@pytest.mark.parametrize("shape", [(6, 30), (60, 3), (90, 2), (10, 6, 3), (2, 90)])
def test_reshapes_that_mix(shape):
    with pytest.raises(RefusedError) as refusal:
        plan((6, 10), (Reshape("view"), shape))
    text = "×".join(map(str, shape))
    assert str(refusal.value) == (
        f"n1: view turns 3×6×10 into {text}, which splits or mixes channels and space.\nThe result "
        "has no place in the image. Flatten all of (C, *space) at once, or leave channels and space "
        "apart."
    )


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


# --- indexing ---


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
        assert edits((6, 10), *steps)["n3"] == taken
    else:
        steps.append((Slice((FULL, entry, FULL, FULL)), (count, 4, 8)))
        steps.append((Reduce("max", (2, 3)), (count,)))
        made = plan((6, 10), *steps)
        assert made.edits["n2"] == taken
        assert "channels are axis 1 in every map" in str(made)


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
