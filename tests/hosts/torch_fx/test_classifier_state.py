"""`fcn.to_classifier_state()` against the classifier's own state dict, bit for bit."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from networks import LeNet, Net, noise, ready


def hwc(x):
    return x.permute(0, 2, 3, 1).flatten(1)


def stem(out: int, cells: int = 2) -> nn.Conv2d:
    return {2: nn.Conv2d(1, out, 4, stride=4), 6: nn.Conv2d(1, out, 3)}[cells]


# Each: members, forward; all take 1×8×8.
NETWORKS = {
    "c·h·w": (
        {"stem": stem(4), "fc": nn.Linear(16, 5), "out": nn.Linear(5, 3)},
        lambda m, x: m.out(m.fc(m.stem(x).flatten(1)).relu()),
    ),
    "h·w·c": (
        {"stem": stem(4), "fc": nn.Linear(16, 5, bias=False)},
        lambda m, x: m.fc(hwc(m.stem(x))),
    ),
    "w·c·h": (
        {"stem": nn.Conv2d(1, 4, (3, 4), stride=(2, 4)), "fc": nn.Linear(24, 5)},
        lambda m, x: m.fc(m.stem(x).permute(0, 3, 1, 2).flatten(1)),
    ),
    "a vector": (
        {"stem": stem(4), "fc": nn.Linear(4, 5), "norm": nn.BatchNorm1d(5)},
        lambda m, x: m.norm(m.fc(m.stem(x).mean((2, 3)))),
    ),
    "bins": (
        {"stem": stem(4, 6), "pool": nn.AdaptiveAvgPool2d(4), "fc": nn.Linear(64, 5)},
        lambda m, x: m.fc(m.pool(m.stem(x)).flatten(1)),
    ),
    "bins, h·w·c": (
        {"stem": stem(4, 6), "pool": nn.AdaptiveAvgPool2d((4, 6)), "fc": nn.Linear(96, 5)},
        lambda m, x: m.fc(hwc(m.pool(m.stem(x)))),
    ),
    "functional": (
        {"stem": stem(4), "matrix": nn.Parameter(torch.randn(5, 16)), "shift": torch.randn(5)},
        lambda m, x: F.linear(m.stem(x).flatten(1), m.matrix, m.shift),
    ),
    "a layer in two shapes": (
        {"stem": stem(4), "fc": nn.Linear(16, 16)},
        lambda m, x: m.fc(m.fc(hwc(m.stem(x))).relu()),
    ),
    "a layer three times": (
        {"stem": stem(4), "fc": nn.Linear(4, 4), "out": nn.Linear(4, 2)},
        lambda m, x: m.out(m.fc(m.fc(m.fc(m.stem(x).mean((2, 3))).tanh()).tanh())),
    ),
    "one weight, two layers, two shapes": (
        {"stem": stem(4), "left": nn.Linear(16, 16), "right": nn.Linear(16, 16)},
        lambda m, x: m.right(m.left(m.stem(x).flatten(1)).relu()),
    ),
    "one weight, two layers, one shape": (
        {"stem": stem(4), "left": nn.Linear(4, 4), "right": nn.Linear(4, 4)},
        lambda m, x: m.right(m.left(m.stem(x).mean((2, 3))).relu()),
    ),
    "one weight, in a layer and by itself": (
        {"own": nn.Parameter(torch.randn(4, 4)), "stem": stem(4), "right": nn.Linear(4, 4)},
        lambda m, x: F.linear(m.right(m.stem(x).mean((2, 3))).relu(), m.own),
    ),
    "one weight, in a layer and in a spare one": (
        {"left": nn.Linear(4, 4), "stem": stem(4), "right": nn.Linear(4, 4)},
        lambda m, x: m.right(m.stem(x).mean((2, 3))),
    ),
    "one layer, two names": (
        {"stem": stem(4), "body": nn.Sequential(nn.Linear(16, 3))},
        lambda m, x: m.fc(m.stem(x).flatten(1)),
    ),
}  # fmt: skip
TIED = [name for name in NETWORKS if name.startswith("one weight")]


def build(name: str) -> nn.Module:
    members, forward = NETWORKS[name]
    net = Net(forward, **copy.deepcopy(members))
    if name in TIED:
        net.right.weight = net.own if hasattr(net, "own") else net.left.weight
    if name == "one layer, two names":
        net.fc = net.body[0]
    return ready(net)


def assert_state(fcn: fullconv.FCN, expected: dict) -> None:
    state = fcn.to_classifier_state()
    assert type(state) is type(expected)
    assert list(state) == list(expected)
    for key, value in expected.items():
        assert state[key].shape == value.shape, key
        assert state[key].dtype == value.dtype, key
        assert torch.equal(state[key], value), key
        assert not state[key].requires_grad


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_the_classifiers_own(name, tmp_path):
    model = build(name)
    fcn = fullconv.convert(model, 8)
    expected = model.state_dict()
    assert_state(fcn, expected)
    for key, value in fcn.to_classifier_state().items():
        assert value.data_ptr() == expected[key].data_ptr(), f"{key} was copied"
    assert_state(copy.deepcopy(fcn), expected)
    fullconv.save(fcn, tmp_path / "net.safetensors")
    loaded = fullconv.load(tmp_path / "net.safetensors")
    assert_state(loaded, expected)
    assert_state(copy.deepcopy(loaded), expected)
    assert_state(fcn.to(memory_format=torch.channels_last), expected)
    assert_state(fcn.half(), build_half(expected))


def build_half(state: dict) -> dict:
    cast = copy.copy(state)
    for key, value in state.items():
        cast[key] = value.half() if value.is_floating_point() else value
    return cast


@pytest.mark.parametrize("name", NETWORKS)
def test_there_and_back(name):
    """Both directions, through FCNs with numbers of their own, and strictly."""
    model, other = build(name), build(name)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.normal_()
    fcn = copy.deepcopy(fullconv.convert(model, 8))
    fcn.load_state_dict(other.state_dict())
    assert_state(fcn, other.state_dict())
    model.load_state_dict(fcn.to_classifier_state())
    x = noise(2, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(model(x), other(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_numbers_are_held_once(name):
    """Two parameters over the same numbers would be stepped twice."""
    model = build(name)
    for fcn in (fullconv.convert(model, 8), copy.deepcopy(fullconv.convert(model, 8)).float()):
        ours, theirs = list(fcn.parameters()), list(model.parameters())
        assert len(ours) == len({p.data_ptr() for p in ours}) == len(theirs)
        assert sum(p.numel() for p in ours) == sum(p.numel() for p in theirs)


def test_metadata_comes_along():
    model = ready(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    )
    state = fullconv.convert(model, 4).to_classifier_state()
    assert state._metadata["1"] == model.state_dict()._metadata["1"]


def test_an_fcn_cast_to_what_it_is_stays_the_classifiers():
    model = ready(LeNet())
    fcn = fullconv.convert(model, 28)
    before = dict(fcn.named_parameters())
    fcn.double().cpu()
    assert all(fcn.get_parameter(name) is parameter for name, parameter in before.items())
    fcn.float()
    assert not any(fcn.get_parameter(name) is p for name, p in before.items())


@pytest.mark.parametrize("dims", [1, 3])
def test_other_numbers_of_axes(dims):
    convolution = {1: nn.Conv1d, 3: nn.Conv3d}[dims](1, 2, 2)
    model = ready(nn.Sequential(convolution, nn.Flatten(), nn.Linear(2 * 3**dims, 4)))
    fcn = fullconv.convert(model, 4)
    assert fcn.get_parameter("2.weight").ndim == 2 + dims
    assert_state(fcn, model.state_dict())
