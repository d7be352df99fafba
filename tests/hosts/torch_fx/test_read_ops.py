"""What the readers make of a call: the op in the words of the blueprint, and what it reads."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fullconv.blueprint import (
    Enlarge,
    Expand,
    FeatureNorm,
    GroupNorm,
    Output,
    PerChannel,
    Permute,
    Reduce,
    Reshape,
    Slice,
    SpaceToDepth,
    Stack,
    Unknown,
)
from fullconv.hosts.torch_fx.read import read
from networks import Net, ready

FULL = (0, None, 1)
ALL = (FULL,) * 4


def nodes(use, **members):
    """The nodes of what `use` does to a map `(2, 6, 4, 4)`, but the ends and the convolution."""
    model = ready(
        Net(
            lambda m, x: use(m, m.conv(x)),
            conv=nn.Conv2d(3, 6, 3),
            each=nn.Parameter(torch.rand(6)),
            **members,
        )
    )
    found = read(model, 6).blueprint.nodes
    return [node for node in found if node.name not in ("x", "conv", "output", "each")]


def op(use, **members):
    (node,) = nodes(use, **members)
    return node.op


def channels(start: int, stop: int) -> Slice:
    return Slice((FULL, (start, stop, 1), FULL, FULL))


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda x: x.split(2, 1), [(0, 2), (2, 4), (4, 6)]),
        (lambda x: torch.split(x, 4, dim=1), [(0, 4), (4, 6)]),
        (lambda x: torch.split(x, [1, 2, 3], 1), [(0, 1), (1, 3), (3, 6)]),
        (lambda x: x.split_with_sizes([5, 1], dim=-3), [(0, 5), (5, 6)]),
        (lambda x: torch.chunk(x, 4, 1), [(0, 2), (2, 4), (4, 6)]),
        (lambda x: x.chunk(2, dim=-3), [(0, 3), (3, 6)]),
        (lambda x: torch.tensor_split(x, 4, dim=1), [(0, 2), (2, 4), (4, 5), (5, 6)]),
        (lambda x: x.tensor_split((1, 4), 1), [(0, 1), (1, 4), (4, 6)]),
    ],
)
def test_pieces(use, expected):
    found = nodes(lambda m, x: tuple(use(x)))
    assert [node.op for node in found] == [channels(*span) for span in expected]
    assert {node.inputs for node in found} == {("conv",)}
    assert [node.shape for node in found] == [(2, b - a, 4, 4) for a, b in expected]


@pytest.mark.parametrize(
    ("use", "axis"),
    [
        (lambda x: x.unbind(1), 1),
        (lambda x: torch.unbind(x, dim=-1), 3),
        (lambda x: torch.unbind(x, -2), 2),
    ],
)
def test_unbind_drops_the_axis(use, axis):
    found = nodes(lambda m, x: tuple(use(x)))
    size = 6 if axis == 1 else 4
    assert len(found) == size
    for index, node in enumerate(found):
        ranges = [*ALL]
        ranges[axis] = (index, index + 1, 1)
        assert node.op == Slice(tuple(ranges), (axis,))


def test_the_last_piece_by_a_negative_number():
    model = ready(Net(lambda m, x: torch.chunk(m.conv(x), 3, 1)[-1], conv=nn.Conv2d(3, 6, 3)))
    assert channels(4, 6) in [node.op for node in read(model, 6).blueprint.nodes]


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda m, x: torch.stack([x, x]), Stack(0)),
        (lambda m, x: torch.stack((x, x), 1), Stack(1)),
        (lambda m, x: torch.stack([x, x], dim=-1), Stack(4)),
        (lambda m, x: x.expand(2, 6, 4, 4), Expand("expand")),
        (lambda m, x: x.expand_as(x), Expand("expand_as")),
        (lambda m, x: torch.broadcast_to(x, (2, 6, 4, 4)), Expand("expand")),
        (lambda m, x: x.narrow(1, 2, 3), channels(2, 5)),
        (lambda m, x: torch.narrow(x, -3, -4, 3), channels(2, 5)),
        (lambda m, x: x.narrow(2, 1, 3), Slice((FULL, FULL, (1, 4, 1), FULL))),
        (lambda m, x: x.movedim(1, -1), Permute((0, 2, 3, 1))),
        (lambda m, x: torch.movedim(x, -1, 1), Permute((0, 3, 1, 2))),
        (lambda m, x: x.moveaxis(2, 3), Permute((0, 1, 3, 2))),
        (lambda m, x: x.movedim((1, 2), (2, 1)), Unknown("Tensor.movedim")),
        (lambda m, x: x[:, :, None], Reshape("index")),
        (lambda m, x: x[..., None, None], Reshape("index")),
        (lambda m, x: x[:, None, 0], None),
        (lambda m, x: F.pixel_unshuffle(x, 2), SpaceToDepth(2)),
        (lambda m, x: torch.pixel_unshuffle(x, 4), SpaceToDepth(4)),
        (lambda m, x: m.op(x), SpaceToDepth(2)),
    ],
)
def test_shapes(use, expected):
    found = op(use, op=nn.PixelUnshuffle(2))
    if expected is None or isinstance(expected, Unknown):
        assert isinstance(found, Unknown)
    else:
        assert found == expected


LAST = {
    lambda m, x: F.layer_norm(x, (4,)): FeatureNorm("layer norm", 1, False),
    lambda m, x: F.layer_norm(x, x.shape[1:], eps=0.1): FeatureNorm("layer norm", 3, False),
    lambda m, x: F.rms_norm(x, (4, 4)): FeatureNorm("RMS norm", 2, False),
    lambda m, x: F.normalize(x, dim=-1): FeatureNorm("normalize", 1, False),
    lambda m, x: F.normalize(x, p=1.0, dim=3): FeatureNorm("normalize", 1, False),
    lambda m, x: m.layer(x): FeatureNorm("layer norm", 1, True),
    lambda m, x: m.bare(x): FeatureNorm("layer norm", 2, False),
    lambda m, x: m.rms(x): FeatureNorm("RMS norm", 1, True),
    lambda m, x: F.group_norm(x, 3): GroupNorm("group norm", 3),
    lambda m, x: m.group(x): GroupNorm("group norm", 2),
    lambda m, x: F.instance_norm(x): GroupNorm("instance norm", 6),
    lambda m, x: m.instance(x): GroupNorm("instance norm", 6),
    lambda m, x: m.tracked(x): PerChannel("InstanceNorm2d", 6),
}


@pytest.mark.parametrize("use", LAST)
def test_norms(use):
    members = {
        "layer": nn.LayerNorm(4),
        "bare": nn.LayerNorm((4, 4), elementwise_affine=False),
        "rms": nn.RMSNorm(4),
        "group": nn.GroupNorm(2, 6),
        "instance": nn.InstanceNorm2d(6),
        "tracked": nn.InstanceNorm2d(6, track_running_stats=True),
    }
    assert op(use, **members) == LAST[use]


@pytest.mark.parametrize(
    ("use", "expected", "reads"),
    [
        (lambda m, x: F.layer_norm(x.movedim(1, 3), (6,), m.each, m.each), FeatureNorm("layer norm", 1, True), 3),
        (lambda m, x: F.rms_norm(x.movedim(1, 3), (6,), weight=m.each), FeatureNorm("RMS norm", 1, True), 2),
        (lambda m, x: F.group_norm(x, 2, bias=m.each, weight=m.each), GroupNorm("group norm", 2), 3),
        (lambda m, x: F.instance_norm(x, weight=m.each, bias=m.each), GroupNorm("instance norm", 6), 3),
        (lambda m, x: F.instance_norm(x, m.each, m.each, use_input_stats=False), PerChannel("instance_norm", 6), 3),
    ],
)  # fmt: skip
def test_norms_read_their_weights(use, expected, reads):
    node = nodes(use)[-1]
    assert node.op == expected
    assert len(node.inputs) == reads
    assert set(node.inputs[1:]) == {"each"}


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda x: x.sum((2, 3)), Reduce("sum", (2, 3))),
        (lambda x: torch.sum(x, dim=-1, keepdim=True), Reduce("sum", (3,), True)),
        (lambda x: x.sum(), Reduce("sum", (0, 1, 2, 3))),
        (lambda x: x.amin((1, 2)), Reduce("min", (1, 2))),
        (lambda x: torch.amin(x, dim=-3, keepdim=True), Reduce("min", (1,), True)),
        (lambda x: x.norm(dim=(2, 3)), Reduce("norm", (2, 3))),
        (lambda x: x.norm(2, 1, True), Reduce("norm", (1,), True)),
        (lambda x: torch.norm(x, "fro", dim=[-2, -1]), Reduce("norm", (2, 3))),
        (lambda x: torch.linalg.vector_norm(x, dim=1), Reduce("norm", (1,))),
        (lambda x: torch.linalg.vector_norm(x, 2, (2, 3), True), Reduce("norm", (2, 3), True)),
        (lambda x: torch.linalg.vector_norm(x, 1, (2, 3)), Unknown("torch.linalg.vector_norm")),
        (lambda x: x.norm(3, (2, 3)), Unknown("Tensor.norm")),
        (lambda x: x.var((2, 3)), Reduce("sample variance", (2, 3))),
        (lambda x: x.var((2, 3), False), Reduce("variance", (2, 3))),
        (lambda x: torch.var(x, dim=1, correction=0, keepdim=True), Reduce("variance", (1,), True)),
        (lambda x: torch.var(x, (2, 3), correction=3), Unknown("torch.var")),
        (lambda x: F.interpolate(x, scale_factor=2), Enlarge("nearest")),
        (lambda x: F.interpolate(x, (8, 8), mode="bilinear"), Enlarge("bilinear")),
        (lambda x: F.interpolate(x, None, 2.0, "nearest-exact"), Enlarge("nearest-exact")),
    ],
)  # fmt: skip
def test_reductions_and_resizes(use, expected):
    found = op(lambda m, x: use(x))
    if isinstance(expected, Unknown):
        assert isinstance(found, Unknown)
        assert found.name.startswith(expected.name)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("wrap", "names"),
    [
        (lambda a, b: a, ()),
        (lambda a, b: (a,), ()),
        (lambda a, b: (a, None), ()),
        (lambda a, b: [a, b], ("0", "1")),
        (lambda a, b: {"main": a, "aux": b}, ("main", "aux")),
        (lambda a, b: (None, {"x": [b, (a, b)]}), ("1.x.0", "1.x.1.0", "1.x.1.1")),
    ],
)
def test_the_names_of_several_answers(wrap, names):
    model = ready(
        Net(lambda m, x: wrap(m.a(x).mean((2, 3)), m.b(x).mean((2, 3))), a=nn.Conv2d(3, 6, 3), b=nn.Conv2d(3, 5, 3))
    )  # fmt: skip
    assert read(model, 6).blueprint.output.op == Output(names)
