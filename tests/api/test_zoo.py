"""Well-known classifiers, whole: converted, and compared with their own bodies and heads.

The bodies are run on a larger image by the networks' own layers, the heads slid over them here.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import fullconv
from by_hand import (
    assert_at_window,
    assert_same,
    assert_untouched,
    crop_map,
    head_map,
    numbers,
    portrait,
    whole_windows,
)
from fullconv.errors import MissingExtraError
from fullconv.models.torchvision_import import import_timm, import_torchvision
from networks import LeNet, TinyVGG, drawn, noise, ready


def _torchvision(name: str, **arguments) -> nn.Module:
    try:
        models = import_torchvision().models
    except MissingExtraError:
        pytest.skip("torchvision is not installed")
    if name == "googlenet":
        arguments |= {"aux_logits": False}
    if name.startswith(("vgg", "googlenet")):
        arguments |= {"init_weights": False}
    return getattr(models, name)(weights=None, **arguments)


def _timm(name: str, **arguments) -> nn.Module:
    try:
        timm = import_timm()
    except MissingExtraError:
        pytest.skip("timm is not installed")
    return timm.create_model(name, **arguments)


def _features(model: nn.Module, x: Tensor) -> Tensor:
    return model.features(x)


def _vgg_head(model: nn.Module, x: Tensor) -> Tensor:
    return model.classifier(torch.flatten(model.avgpool(x), 1))


def _resnet_body(model: nn.Module, x: Tensor) -> Tensor:
    x = model.maxpool(F.relu(model.bn1(model.conv1(x))))
    return model.layer4(model.layer3(model.layer2(model.layer1(x))))


def _mean_head(linear: str) -> Callable[[nn.Module, Tensor], Tensor]:
    return lambda model, x: model.get_submodule(linear)(x.flatten(2).mean(2))


def _densenet_body(model: nn.Module, x: Tensor) -> Tensor:
    return F.relu(model.features(x))


def _googlenet_body(model: nn.Module, x: Tensor) -> Tensor:
    if model.transform_input:
        scale = x.new_tensor([0.229, 0.224, 0.225]) / 0.5
        shift = (x.new_tensor([0.485, 0.456, 0.406]) - 0.5) / 0.5
        x = x * scale[:, None, None] + shift[:, None, None]
    x = model.maxpool1(model.conv1(x))
    x = model.maxpool2(model.conv3(model.conv2(x)))
    x = model.maxpool3(model.inception3b(model.inception3a(x)))
    for name in "abcde":
        x = model.get_submodule(f"inception4{name}")(x)
    return model.inception5b(model.inception5a(model.maxpool4(x)))


def _squeezenet_body(model: nn.Module, x: Tensor) -> Tensor:
    return F.relu(model.classifier[1](model.features(x)))


def _squeezenet_head(model: nn.Module, x: Tensor) -> Tensor:
    return x.mean((2, 3))


def _same_body(model: nn.Module, x: Tensor) -> Tensor:
    """The body of a network with "same" padding, padded everywhere as it is at 224 px.

    There every stride of 2 meets an even size: one cell less before than after.
    """
    twin = copy.deepcopy(model)
    for name, module in twin.named_modules():
        if type(module).__name__ != "Conv2dSame":
            continue
        (kernel, _), (stride, _) = module.kernel_size, module.stride
        total = kernel - stride if stride > 1 else kernel - 1
        pad = (total // 2, total - total // 2)
        conv = nn.Conv2d(
            module.in_channels, module.out_channels, kernel, stride, groups=module.groups,
            bias=module.bias is not None, dtype=torch.float64,
        )  # fmt: skip
        conv.weight, conv.bias = module.weight, module.bias
        twin.set_submodule(name, nn.Sequential(nn.ZeroPad2d((*pad, *pad)), conv))
    return twin.forward_features(x)


def _method(name: str) -> Callable[[nn.Module, Tensor], Tensor]:
    return lambda model, x: getattr(model, name)(x)


@dataclass
class Entry:
    """A classifier with its geometry: window and stride in px, head in cells of the body's map."""

    build: Callable[[], nn.Module]
    body: Callable[[nn.Module, Tensor], Tensor]
    head: Callable[[nn.Module, Tensor], Tensor]
    cells: int
    window: int = 224
    stride: int = 32
    channels: int = 3


def _vgg(name: str) -> Entry:
    return Entry(lambda: _torchvision(name), _features, _vgg_head, 7)


def _resnet(name: str) -> Entry:
    return Entry(lambda: _torchvision(name), _resnet_body, _mean_head("fc"), 7)


def _googlenet(**arguments) -> Entry:
    return Entry(
        lambda: _torchvision("googlenet", **arguments), _googlenet_body, _mean_head("fc"), 7
    )


def _squeezenet(name: str) -> Entry:
    return Entry(lambda: _torchvision(name), _squeezenet_body, _squeezenet_head, 13, stride=16)


VGGS = [f"vgg{layers}{norm}" for layers in (11, 13, 16, 19) for norm in ("", "_bn")]
ZOO = {
    "alexnet": Entry(lambda: _torchvision("alexnet"), _features, _vgg_head, 6),
    **{name: _vgg(name) for name in VGGS},
    **{name: _resnet(name) for name in ("resnet18", "resnet34", "resnet50")},
    "densenet121": Entry(
        lambda: _torchvision("densenet121"), _densenet_body, _mean_head("classifier"), 7
    ),
    "googlenet": _googlenet(),
    "googlenet with its input transformed": _googlenet(transform_input=True),
    "squeezenet1_0": _squeezenet("squeezenet1_0"),
    "squeezenet1_1": _squeezenet("squeezenet1_1"),
    "mobilenet_v2": Entry(
        lambda: _torchvision("mobilenet_v2"), _features, _mean_head("classifier.1"), 7
    ),
    "mobilenetv2_100 with same padding": Entry(
        lambda: _timm("mobilenetv2_100", pad_type="same"),
        _same_body,
        _mean_head("classifier"),
        7,
    ),
    "LeNet-5": Entry(LeNet, _method("body"), _method("head"), 4, 28, 4, 1),
    "Tiny VGG": Entry(TinyVGG, _method("body"), _method("head"), 13, 64, 4),
}
UNPADDED = {"LeNet-5", "Tiny VGG"}


@dataclass
class Case:
    """An entry of the zoo, converted."""

    name: str
    entry: Entry
    model: nn.Module
    before: tuple[dict, dict[str, Tensor]]
    fcn: fullconv.FCN


@pytest.fixture(scope="module", params=ZOO)
def case(request):
    entry = ZOO[request.param]
    model = ready(drawn(entry.build))
    if hasattr(model, "bn1"):
        model.bn1.train()  # a mode of its own, to be left alone
    before = portrait(model), numbers(model)
    fcn = fullconv.convert(model, entry.window)
    converted = Case(request.param, entry, model, before, fcn)
    assert_untouched(model, before)
    model.eval()
    converted.before = portrait(model), before[1]
    return converted


def test_at_the_window(case):
    entry = case.entry
    image = noise(1, entry.channels, entry.window, entry.window, seed=3)
    assert_at_window(case.model, case.fcn, image)


def test_names_and_numbers_are_the_classifiers(case):
    ours, theirs = case.fcn.state_dict(), case.model.state_dict()
    assert list(ours) == list(theirs)
    for name in ours:
        assert ours[name].numel() == theirs[name].numel()
        assert ours[name].data_ptr() == theirs[name].data_ptr(), f"{name} was copied"


def test_the_head_slid_over_the_body(case):
    """Promises 3 and 5, on an image whose sides leave 5 px and all but one px over."""
    entry, s = case.entry, case.entry.stride
    size = (entry.window + s + 5 % s, entry.window + s - 1)
    image = noise(1, entry.channels, *size, seed=4)
    with torch.no_grad():
        features = entry.body(case.model, image.clone())
        ours = case.fcn(image.clone())
    counts = tuple((extent - entry.window) // s + 1 for extent in size)
    assert counts == whole_windows(size, (entry.window,) * 2, (s, s)) == (2, 1)
    assert ours.shape[2:] == case.fcn.grid(size).shape == counts
    theirs = head_map(
        lambda part: entry.head(case.model, part), features, [entry.cells] * 2, counts
    )
    assert_same(ours, theirs)


def test_what_it_says_of_itself(case):
    entry, fcn = case.entry, case.fcn
    assert fcn.window == (entry.window,) * 2
    assert fcn.stride == (entry.stride,) * 2
    assert fcn.plan.exact_windows == (case.name in UNPADDED)
    if case.name in UNPADDED:
        assert fcn.receptive_field == fcn.window
    else:
        assert min(fcn.receptive_field) > entry.window


def test_the_classifier_is_left_alone(case):
    """Last: after it was converted and its FCN used."""
    assert_untouched(case.model, case.before)


@pytest.mark.parametrize("name", sorted(UNPADDED))
def test_every_cell_is_its_crop_where_nothing_pads(name):
    entry = ZOO[name]
    model = ready(entry.build())
    fcn = fullconv.convert(model, entry.window)
    window, stride = (entry.window,) * 2, (entry.stride,) * 2
    image = noise(2, entry.channels, entry.window + 14, entry.window + 9)
    with torch.no_grad():
        ours = fcn(image)
    assert ours.shape[2:] == (4, 3)
    assert_same(ours, crop_map(model, image, window, stride))


@pytest.mark.parametrize(("name", "field"), [("vgg16", 404), ("alexnet", 355), ("resnet50", 619)])
def test_receptive_fields_of_the_literature(name, field):
    with torch.device("meta"):
        model = _torchvision(name)
    assert fullconv.plan(model, 224).receptive_field == (field, field)


# --- shapes: sizes people quote ---


@pytest.fixture(scope="module")
def meta_vgg16():
    with torch.device("meta"):
        model = _torchvision("vgg16")
    return fullconv.convert(model, 224)


@pytest.mark.parametrize(("side", "cells"), [(224, 1), (384, 6), (512, 10), (255, 1), (256, 2)])
def test_vgg16_maps_of_the_usual_sizes(meta_vgg16, side, cells):
    """CS231n: 384 px give a 6×6 map."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert meta_vgg16(torch.empty(1, 3, side, side, device="meta")).shape[1:] == (
            1000,
            cells,
            cells,
        )
    grid = meta_vgg16.grid((side, side))
    assert grid.shape == (cells, cells)
    for row in range(cells):
        for col in range(cells):
            top, left = 32 * row, 32 * col
            assert grid.box(row, col) == (top, left, top + 224, left + 224)
            assert max(top, left) + 224 <= side


def test_vgg16_on_an_oblong_image(meta_vgg16):
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert meta_vgg16(torch.empty(3, 3, 500, 300, device="meta")).shape == (3, 1000, 9, 3)
    assert meta_vgg16.grid((500, 300)).shape == (9, 3)


# --- adaptive pooling at other windows than 224 ---


THIN = [8, "M", 16, "M", 32, 32, "M", 64, 64, "M", 64, 64, "M"]
"""VGG-11 with an eighth of its channels."""


def _torchvision_vgg(layers: list[int | str]) -> nn.Module:
    try:
        vgg = import_torchvision().models.vgg
    except MissingExtraError:
        pytest.skip("torchvision is not installed")
    return vgg.VGG(vgg.make_layers(layers), init_weights=False)


def _pooled(name: str) -> nn.Module:
    """A network with its adaptive pooling, and a head of few features."""
    if name == "vgg11":
        features = 64 * 49
        model = drawn(lambda: _torchvision_vgg(THIN))
    else:
        features = 256 * 36
        model = drawn(lambda: _torchvision(name))
    model.classifier = nn.Sequential(
        nn.Dropout(), nn.Linear(features, 12), nn.ReLU(inplace=True), nn.Linear(12, 7)
    )
    return ready(model)


@pytest.mark.parametrize(
    ("name", "window", "cells", "folded"),
    [
        ("vgg11", (224, 224), (7, 7), False),
        ("vgg11", (448, 448), (14, 14), False),
        ("vgg11", (300, 300), (9, 9), True),
        ("vgg11", (192, 192), (6, 6), True),
        ("vgg11", (320, 320), (10, 10), True),
        ("vgg11", (224, 320), (7, 10), True),
        ("vgg11", (448, 224), (14, 7), False),
        ("vgg11", (64, 64), (2, 2), True),
        ("vgg11", (32, 32), (1, 1), True),
        ("alexnet", (224, 224), (6, 6), False),
        ("alexnet", (416, 416), (12, 12), False),
        ("alexnet", (300, 300), (8, 8), True),
        ("alexnet", (192, 192), (5, 5), True),
        ("alexnet", (320, 320), (9, 9), True),
        ("alexnet", (63, 63), (1, 1), True),
    ],
)
def test_adaptive_pooling(name, window, cells, folded):
    model = _pooled(name)
    with torch.no_grad():
        assert model.features(noise(1, 3, *window)).shape[2:] == cells
    fcn = fullconv.convert(model, window)
    assert fcn.window == window
    assert_at_window(model, fcn, noise(1, 3, *window))
    assert any("folded" in step.becomes for step in fcn.plan.steps) == folded
    size = (window[0] + 32 + 5, window[1] + 31)
    image = noise(1, 3, *size, seed=6)
    with torch.no_grad():
        ours = fcn(image)
        features = model.features(image)
    counts = whole_windows(size, window, (32, 32))
    assert counts == (2, 1)
    assert_same(ours, head_map(lambda part: _vgg_head(model, part), features, cells, counts))
