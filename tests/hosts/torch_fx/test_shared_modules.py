"""One module called at several places: each call is converted for itself, or refused by name."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from by_hand import (
    assert_at_window,
    assert_same,
    assert_untouched,
    crop_map,
    head_map,
    numbers,
    portrait,
)
from fullconv.errors import RefusedError
from networks import Net, noise, ready


def hwc(x):
    return x.permute(0, 2, 3, 1).flatten(1)


def stem(out: int, cells: int, channels: int = 3) -> nn.Conv2d:
    """From 16 px to `cells` cells, without padding."""
    return {
        2: nn.Conv2d(channels, out, 6, stride=10),
        4: nn.Conv2d(channels, out, 4, stride=4),
        8: nn.Conv2d(channels, out, 2, stride=2),
    }[cells]


# Each: members, forward, stride. All take 3×16×16 and nothing pads.
NETWORKS = {
    "a linear layer, on a flattened map and on a vector": (
        {"stem": stem(4, 2), "fc": nn.Linear(16, 16)},
        lambda m, x: m.fc(m.fc(m.stem(x).flatten(1)).relu()),
        10,
    ),
    "a linear layer, on h·w·c and on a vector": (
        {"stem": stem(4, 2), "fc": nn.Linear(16, 16)},
        lambda m, x: m.fc(m.fc(hwc(m.stem(x))).relu()),
        10,
    ),
    "a linear layer, on a vector and on h·w·c": (
        {"stem": stem(16, 2), "fc": nn.Linear(16, 16)},
        lambda m, x: m.fc(m.stem(x).mean((2, 3))) + m.fc(hwc(m.stem(x)[:, :4])),
        10,
    ),
    "a linear layer, on c·h·w and on h·w·c": (
        {"stem": stem(4, 2), "fc": nn.Linear(16, 5)},
        lambda m, x: m.fc(m.stem(x).flatten(1)) * m.fc(hwc(m.stem(x))),
        10,
    ),
    "a linear layer, three times on vectors": (
        {"stem": stem(6, 4), "fc": nn.Linear(6, 6)},
        lambda m, x: m.fc(m.fc(m.fc(m.stem(x).mean((2, 3))).tanh()).tanh()),
        4,
    ),
    "a linear layer at every cell and on the vector": (
        {"stem": stem(6, 4), "fc": nn.Linear(6, 6)},
        lambda m, x: m.fc(m.fc(m.stem(x).permute(0, 2, 3, 1)).mean((1, 2))),
        4,
    ),
    "a linear layer, and its weight by itself": (
        {"stem": stem(4, 2), "fc": nn.Linear(16, 16)},
        lambda m, x: F.linear(m.fc(hwc(m.stem(x))), m.fc.weight) + m.fc.bias,
        10,
    ),
    "a linear layer folded and not": (
        {"stem": stem(4, 8), "fc": nn.Linear(36, 5), "pool": nn.AdaptiveAvgPool2d(3)},
        lambda m, x: m.fc(m.pool(m.stem(x)).flatten(1)) + m.fc(m.stem(x)[:, :, ::3, ::3].flatten(1)),
        None,
    ),
    "an average pool that shrinks and that ends": (
        {"pool": nn.AvgPool2d(4), "conv": nn.Conv2d(3, 6, 1), "fc": nn.Linear(6, 4)},
        lambda m, x: m.fc(m.pool(m.conv(m.pool(x)).relu()).flatten(1)),
        4,
    ),
    "an adaptive pool to one cell, of two maps": (
        {"a": stem(4, 8), "b": nn.Conv2d(4, 5, 3), "pool": nn.AdaptiveAvgPool2d(1),
         "fc": nn.Linear(9, 4)},
        lambda m, x: m.fc(
            torch.cat([m.pool(m.a(x)).flatten(1), m.pool(m.b(m.a(x))).flatten(1)], 1)
        ),
        2,
    ),
    "an adaptive pool over nothing and over something": (
        {"a": stem(4, 8), "b": nn.Conv2d(4, 4, 2, stride=1), "pool": nn.AdaptiveAvgPool2d((1, None)),
         "fc": nn.Linear(4, 4)},
        lambda m, x: m.fc((m.pool(m.pool(m.a(x)))).mean((2, 3))),
        2,
    ),
    "a flatten of two vectors": (
        {"a": nn.Conv2d(3, 4, 16), "b": nn.Conv2d(3, 5, 16), "flat": nn.Flatten(),
         "fc": nn.Linear(9, 4)},
        lambda m, x: m.fc(torch.cat([m.flat(m.a(x)), m.flat(m.b(x))], 1)),
        1,
    ),
    "a flatten of a map and of what is flat": (
        {"stem": stem(4, 2), "flat": nn.Flatten(), "fc": nn.Linear(16, 5), "out": nn.Linear(5, 3)},
        lambda m, x: m.out(m.flat(m.fc(m.flat(m.stem(x))))),
        10,
    ),
    "a batch norm between linear layers, twice": (
        {"stem": stem(4, 2), "fc": nn.Linear(16, 6), "norm": nn.BatchNorm1d(6),
         "mid": nn.Linear(6, 6), "out": nn.Linear(6, 3)},
        lambda m, x: m.out(m.norm(m.mid(m.norm(m.fc(m.stem(x).flatten(1)))))),
        10,
    ),
    "a softmax inside and at the end": (
        {"stem": stem(4, 2), "fc": nn.Linear(16, 6), "mid": nn.Linear(6, 6),
         "soft": nn.Softmax(dim=1)},
        lambda m, x: m.soft(m.mid(m.soft(m.fc(m.stem(x).flatten(1))))),
        10,
    ),
    "a softmax over the channels of a map and at the end": (
        {"stem": stem(4, 2), "fc": nn.Linear(16, 6), "soft": nn.Softmax(dim=1)},
        lambda m, x: m.soft(m.fc(m.soft(m.stem(x)).flatten(1))),
        10,
    ),
    "a convolution, twice": (
        {"stem": stem(4, 8), "conv": nn.Conv2d(4, 4, 3), "fc": nn.Linear(64, 4)},
        lambda m, x: m.fc(m.conv(m.conv(m.stem(x)).relu()).flatten(1)),
        2,
    ),
    "a convolution that shrinks and that takes in everything": (
        {"stem": nn.Conv2d(3, 5, 7), "conv": nn.Conv2d(5, 5, 4, stride=2), "fc": nn.Linear(5, 3)},
        lambda m, x: m.fc(m.conv(m.conv(m.stem(x)).relu()).flatten(1)),
        2,
    ),
    "a grouped convolution, before and after a regular pool": (
        {"stem": stem(4, 4), "conv": nn.Conv2d(4, 4, 1, groups=2), "fc": nn.Linear(16, 3),
         "pool": nn.AdaptiveAvgPool2d(2)},
        lambda m, x: m.fc(m.conv(m.pool(m.conv(m.stem(x)))).flatten(1)),
        4,
    ),
    "a 2×2 convolution, before and after a regular pool": (
        {"stem": stem(4, 8), "conv": nn.Conv2d(4, 4, 2, groups=4), "fc": nn.Linear(16, 3),
         "pool": nn.AdaptiveMaxPool2d(3)},
        lambda m, x: m.fc(m.conv(m.pool(m.conv(F.max_pool2d(m.stem(x), 2, 1)))).flatten(1)),
        2,
    ),
    "a ReLU that works in place, everywhere": (
        {"stem": stem(4, 2), "relu": nn.ReLU(inplace=True), "fc": nn.Linear(16, 6),
         "out": nn.Linear(6, 3)},
        lambda m, x: m.out(m.relu(m.fc(m.relu(m.stem(x)).flatten(1)))),
        10,
    ),
    "dropout, everywhere": (
        {"stem": stem(4, 2), "drop": nn.Dropout(), "fc": nn.Linear(16, 6), "out": nn.Linear(6, 3)},
        lambda m, x: m.out(m.drop(m.fc(m.drop(m.stem(x)).flatten(1)))),
        10,
    ),
    "a whole block, twice": (
        {"block": nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2)),
         "fc": nn.Linear(12, 3)},
        lambda m, x: m.fc(m.block(m.block(x)).flatten(1)),
        4,
    ),
    "one parameter in two linear layers": (
        {"stem": stem(4, 2), "left": nn.Linear(16, 16), "right": nn.Linear(16, 16)},
        lambda m, x: m.right(m.left(m.stem(x).flatten(1)).relu()),
        10,
    ),
}  # fmt: skip
_tied = NETWORKS["one parameter in two linear layers"][0]
_tied["right"].weight = _tied["left"].weight
REFUSED = {"a linear layer folded and not"}
CONVERTED = [name for name in NETWORKS if name not in REFUSED]


def build(name: str) -> tuple[nn.Module, int]:
    """A network of the table with weights of its own, and its stride."""
    members, forward, stride = NETWORKS[name]
    return ready(Net(forward, **copy.deepcopy(members))), stride


@pytest.mark.parametrize("name", CONVERTED)
def test_equal_to_every_crop(name):
    model, stride = build(name)
    before = portrait(model), numbers(model)
    fcn = fullconv.convert(model, 16)
    assert fcn.stride == (stride, stride)
    assert fcn.plan.exact_windows
    assert_at_window(model, fcn, noise(3, 3, 16, 16))
    image = noise(2, 3, 16 + 2 * stride + 1, 16 + stride)
    with torch.no_grad():
        assert_same(fcn(image), crop_map(model, image, (16, 16), (stride, stride)))
    assert_untouched(model, before)
    assert list(fcn.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize("name", CONVERTED)
def test_weights_loaded_later_reach_every_use(name):
    """The classifier's state dict, and the FCN's own."""
    model, _ = build(name)
    fcn = fullconv.convert(model, 16)
    torch.manual_seed(5)
    state = {
        key: torch.randn_like(value) if value.is_floating_point() and "var" not in key else value
        for key, value in model.state_dict().items()
    }
    if "left.weight" in state:
        state["right.weight"] = state["left.weight"]
    fcn.double()  # numbers of its own
    fcn.load_state_dict(state)
    own = {key: value.clone() for key, value in fcn.state_dict().items()}
    twin = fullconv.convert(model, 16)
    model.load_state_dict(state)
    image = noise(1, 3, 30, 27)
    with torch.no_grad():
        theirs = fullconv.convert(model, 16)(image)
        assert_same(fcn(image), theirs)
        twin.load_state_dict(own)
        assert_same(twin(image), theirs)


def test_a_zero_padded_convolution_twice():
    model = ready(
        Net(
            lambda m, x: m.fc(m.conv(m.conv(m.stem(x)).relu()).flatten(1)),
            stem=stem(4, 4),
            conv=nn.Conv2d(4, 4, 3, padding=1),
            fc=nn.Linear(64, 3),
        )
    )
    fcn = fullconv.convert(model, 16)
    image = noise(1, 3, 27, 22)
    with torch.no_grad():
        features = model.conv(model.conv(model.stem(image)).relu())
        theirs = head_map(lambda x: model.fc(x.flatten(1)), features, (4, 4), (3, 2))
        assert_same(fcn(image), theirs)


def test_an_adaptive_pool_at_two_places_with_two_roles():
    """Of an 8×8 map it is a regular pool, of a 4×4 map nothing at all."""
    model = ready(
        Net(
            lambda m, x: m.fc(m.pool(m.b(m.pool(m.a(x)))).flatten(1)),
            a=stem(4, 8),
            b=nn.Conv2d(4, 5, 1),
            pool=nn.AdaptiveAvgPool2d(4),
            fc=nn.Linear(80, 3),
        )
    )
    fcn = fullconv.convert(model, 16)
    becomes = [step.becomes for step in fcn.plan.steps if step.where.startswith("pool ")]
    assert becomes == ["average pool 2×2, stride 1×1", "(nothing)"]
    image = noise(1, 3, 21, 19)
    with torch.no_grad():
        assert_same(fcn(image), crop_map(model, image, (16, 16), (2, 2)))


def test_a_batch_norm_over_a_sequence_and_over_a_vector():
    """`BatchNorm1d` takes `(N, C, L)` and `(N, C)`: only the second call changes."""
    model = ready(
        Net(
            lambda m, x: m.fc(m.norm(m.norm(m.stem(x)).mean(-1))),
            stem=nn.Conv1d(3, 6, 4, stride=2),
            norm=nn.BatchNorm1d(6),
            fc=nn.Linear(6, 3),
        )
    )
    fcn = fullconv.convert(model, 16)
    image = noise(2, 3, 23)
    with torch.no_grad():
        assert_same(fcn(image), crop_map(model, image, (16,), (2,)))


def test_bins_that_overlap_at_one_place_only_are_refused_by_name():
    model, _ = build("a linear layer folded and not")
    with pytest.raises(RefusedError, match=r"getitem in Net: |add in Net: |fc \(Linear\): "):
        fullconv.plan(model, 16)


def test_concatenated_bins_that_overlap_are_refused():
    model = Net(
        lambda m, x: m.fc(torch.cat([m.pool(m.a(x)).flatten(1), m.pool(m.b(x)).flatten(1)], 1)),
        a=stem(4, 8),
        b=stem(5, 4),
        pool=nn.AdaptiveAvgPool2d(3),
        fc=nn.Linear(81, 3),
    )
    with pytest.raises(RefusedError) as refusal:
        fullconv.plan(model, 16)
    assert str(refusal.value) == (
        "cat in Net: follows adaptive pooling whose bins overlap at this window, giving a 4×3×3 "
        "map.\nSuch bins can be folded only into a linear layer that follows directly. Choose a "
        "window whose map divides evenly into the bins."
    )


def test_the_same_module_under_two_names():
    fc = nn.Linear(4, 4)
    model = ready(
        Net(
            lambda m, x: m.two(m.one(m.stem(x).mean((2, 3))).relu()),
            stem=stem(4, 4),
            one=fc,
            two=fc,
        )
    )
    fcn = fullconv.convert(model, 16)
    assert list(fcn.state_dict()) == list(model.state_dict())
    image = noise(1, 3, 21, 24)
    with torch.no_grad():
        assert_same(fcn(image), crop_map(model, image, (16, 16), (4, 4)))
