"""MACs and ceilings against closed forms written from the layers' sizes."""

from fractions import Fraction

import pytest
import torch
from torch import nn

import fullconv
from fullconv.api.costs import ceiling, ceiling_of_large_images, macs, macs_per_pixel
from networks import LeNet

VGG = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


def vgg16_macs(side: int) -> int:
    """Each 3×3 convolution at every cell of its map, which pools halve; then three FC layers."""
    channels, cells, total = 3, side, 0
    for layer in VGG:
        if layer == "M":
            cells //= 2
        else:
            total += 9 * channels * layer * cells**2
            channels = layer
    positions = (cells - 6) ** 2
    return total + positions * (512 * 7 * 7 * 4096 + 4096 * 4096 + 4096 * 1000)


ALEXNET = [  # input and output channels, kernel, stride, padding; a 3×3 pool of stride 2 after some
    (3, 64, 11, 4, 2, True),
    (64, 192, 5, 1, 2, True),
    (192, 384, 3, 1, 1, False),
    (384, 256, 3, 1, 1, False),
    (256, 256, 3, 1, 1, True),
]


def alexnet_macs(side: int) -> int:
    cells, total = side, 0
    for inside, outside, kernel, stride, padding, pool in ALEXNET:
        cells = (cells + 2 * padding - kernel) // stride + 1
        total += inside * outside * kernel**2 * cells**2
        cells = (cells - 3) // 2 + 1 if pool else cells
    return total + (cells - 5) ** 2 * (256 * 36 * 4096 + 4096 * 4096 + 4096 * 1000)


def lenet_macs(side: int) -> int:
    first = side - 4
    second = first // 2 - 4
    map_ = second // 2
    head = (256 * 120 + 120 * 84 + 84 * 10) * (map_ - 3) ** 2
    return 25 * 6 * first**2 + 25 * 6 * 16 * second**2 + head


@pytest.fixture(scope="module")
def on_meta():
    """Networks of torchvision without any numbers in them."""
    from fullconv.models.torchvision_import import import_torchvision

    torchvision = import_torchvision()

    def build(name: str) -> nn.Module:
        with torch.device("meta"):
            model: nn.Module = getattr(torchvision.models, name)()
        return model.eval()

    return build


def test_the_closed_forms_are_those_of_the_papers():
    assert vgg16_macs(224) == 15_470_264_320
    assert alexnet_macs(224) == 714_188_480


@pytest.mark.parametrize(("name", "by_hand"), [("vgg16", vgg16_macs), ("alexnet", alexnet_macs)])
def test_macs_of_large_networks(on_meta, name, by_hand):
    model = on_meta(name)
    fcn = fullconv.convert(model, 224)
    assert macs(model, (1, 3, 224, 224)) == by_hand(224)
    for side in (224, 320, 448, 896):
        assert macs(fcn, (1, 3, side, side)) == by_hand(side)
        grid = fcn.grid((side, side))
        assert ceiling(model, fcn, (side, side)) == pytest.approx(
            len(grid) * by_hand(224) / by_hand(side)
        )


def test_macs_of_lenet():
    model = LeNet().eval()
    fcn = fullconv.convert(model, 28)
    assert macs(model, (1, 1, 28, 28)) == lenet_macs(28) == 281_640
    for side in (28, 32, 60, 100):
        assert macs(fcn, (1, 1, side, side)) == lenet_macs(side)


def test_a_px_of_vgg16_costs_its_layers_divided_by_their_strides(on_meta):
    expected, channels, stride = Fraction(), 3, 1
    for layer in VGG:
        if layer == "M":
            stride *= 2
        else:
            expected += Fraction(9 * channels * layer, stride**2)
            channels = layer
    expected += Fraction(512 * 49 * 4096 + 4096 * 4096 + 4096 * 1000, stride**2)
    fcn = fullconv.convert(on_meta("vgg16"), 224)
    assert macs_per_pixel(fcn) == expected == 426_592


@pytest.mark.parametrize(
    ("name", "ceilings"),
    [
        ("vgg16", {32: 35.4, 16: 76.6, 8: 104.2, 1: 111.8}),
        ("alexnet", {32: 9.7, 16: 11.45, 8: 11.7, 1: 11.7}),
    ],
)
def test_ceilings_of_large_images(on_meta, name, ceilings):
    model = on_meta(name)
    for stride, expected in ceilings.items():
        fcn = fullconv.convert(model, 224, stride=stride)
        assert ceiling_of_large_images(model, fcn) == pytest.approx(expected, rel=0.005)


def test_the_ceiling_of_a_large_image_comes_near_to_it():
    model = LeNet().eval()
    fcn = fullconv.convert(model, 28)
    limit = ceiling_of_large_images(model, fcn)
    near = [ceiling(model, fcn, (side, side)) for side in (100, 1000, 4000)]
    assert near[0] < near[1] < near[2] < limit
    assert near[2] == pytest.approx(limit, rel=0.02)


@pytest.mark.parametrize("dims", [1, 3])
def test_other_numbers_of_axes(dims):
    """One convolution of stride 2 and a head: c·k / 2 to the dims, and as much for the head."""
    conv = getattr(nn, f"Conv{dims}d")
    model = nn.Sequential(conv(3, 4, 2, stride=2), nn.Flatten(), nn.Linear(4 * 3**dims, 5)).eval()
    fcn = fullconv.convert(model, 6)
    each = 12 * 2**dims + 4 * 3**dims * 5
    assert macs_per_pixel(fcn) == Fraction(each, 2**dims)
    window = 12 * 2**dims * 3**dims + 4 * 3**dims * 5
    assert ceiling_of_large_images(model, fcn) == pytest.approx(window / each)


def test_a_network_without_convolutions_has_no_ceiling():
    model = nn.Sequential(nn.AvgPool2d(2), nn.Flatten()).eval()
    fcn = fullconv.convert(model, 2, example=torch.zeros(1, 3, 2, 2))
    assert macs_per_pixel(fcn) == 0
    assert ceiling_of_large_images(model, fcn) == 0
