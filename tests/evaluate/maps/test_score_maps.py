"""Scales and mirror images, against what is written out by hand in float64."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import fullconv
from fullconv.evaluate.maps.heatmap import heatmap
from fullconv.evaluate.preparation import prepared
from fullconv.hosts.torch_fx.fcn import About

PIXELS = np.random.default_rng(3).integers(0, 256, (30, 47, 3), np.uint8)


def classifier(kernel: int = 3) -> nn.Module:
    """Nothing pads: 12 px to 5 channels of 5×5, four scores."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 5, kernel, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(5 * 5 * 5, 4)
    ).double().eval()  # fmt: skip


def crops(model: nn.Module, x: torch.Tensor, stride: int = 2) -> torch.Tensor:
    """The probabilities `(K, rows, cols)` of every window of 12 px, each classified by itself."""
    _, _, height, width = x.shape
    rows, cols = (height - 12) // stride + 1, (width - 12) // stride + 1
    out = torch.empty(4, rows, cols, dtype=torch.float64)
    with torch.no_grad():
        for i in range(rows):
            for j in range(cols):
                top, left = i * stride, j * stride
                out[:, i, j] = model(x[:, :, top : top + 12, left : left + 12])[0].softmax(0)
    return out


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    from pathlib import Path

    from fullconv.storage.images import Image

    return prepared(Image(Path("x"), PIXELS), (0.0,), (1.0,)).double()


@pytest.mark.parametrize("stride", [2, 1])
def test_flipping_averages_every_window_with_its_mirror_image(image, stride):
    model = classifier()
    fcn = fullconv.convert(copy.deepcopy(model), 12, stride=stride)
    made = heatmap(fcn, PIXELS, 0, flip=True)
    straight = crops(model, image, stride)
    expected = torch.empty_like(straight)
    with torch.no_grad():
        for i, j in np.ndindex(*straight.shape[1:]):
            window = image[:, :, i * stride : i * stride + 12, j * stride : j * stride + 12]
            mirrored = model(torch.flip(window, [3]))[0].softmax(0)
            expected[:, i, j] = (straight[:, i, j] + mirrored) / 2
    np.testing.assert_allclose(made.probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(torch.tensor(made.scores).softmax(0), straight, atol=1e-6)
    assert made.fused
    assert made.flip
    assert not heatmap(fcn, PIXELS, 0).fused


def test_every_scale_is_the_map_of_the_image_at_that_size(image):
    model = classifier()
    fcn = fullconv.convert(copy.deepcopy(model), 12)
    made = heatmap(fcn, PIXELS, 0, scales=[20, "1.5x", 30])
    assert [m.grid.size for m in made.maps] == [(20, 31), (45, 71), (30, 47)]
    for m in made.maps:
        resized = torch.nn.functional.interpolate(
            image.float(), size=m.grid.size, mode="bilinear", antialias=True
        ).double()
        np.testing.assert_allclose(m.probabilities, crops(model, resized), atol=1e-5)
    assert np.array_equal(made.maps[2].scores, heatmap(fcn, PIXELS, 0).scores)
    assert made.scores is made.maps[0].scores
    assert made.probabilities is made.maps[0].probabilities
    assert made.grid is made.maps[0].grid


def symmetric() -> nn.Module:
    model = classifier(4)  # reaches both ends of a window
    with torch.no_grad():
        for layer, shape in ((model[0], None), (model[3], (4, 5, 5, 5))):
            weight = layer.weight if shape is None else layer.weight.view(shape)
            weight.copy_((weight + weight.flip(-1)) / 2)
    return model


@pytest.mark.parametrize("flip", [False, True])
def test_a_symmetric_image_has_a_symmetric_map(flip):
    """With a network that cannot tell left from right: no half pixel is lost anywhere."""
    half = PIXELS[:, :20]
    pixels = np.concatenate([half, half[:, ::-1]], axis=1)  # 40 px wide
    # At every one of the widths 40, 60 and 80 windows end at the border.
    fcn = fullconv.convert(symmetric(), 12)
    made = heatmap(fcn, pixels, 1, scales=["1x", "1.5x", "2x"], flip=flip)
    for m in made.maps:
        assert m.grid.axes[1].span(m.grid.shape[1] - 1)[1] == m.grid.size[1]
        np.testing.assert_allclose(m.probabilities, m.probabilities[..., ::-1], atol=1e-6)
    values = made.pixels()
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values, values[:, ::-1], atol=1e-6)
    assert values.std() > 1e-3


def test_a_mirror_image_has_the_mirrored_map_under_flip():
    fcn = fullconv.convert(classifier(), 12)
    width = 12 + 2 * 15
    pixels = np.ascontiguousarray(PIXELS[:, :width])
    one = heatmap(fcn, pixels, 1, flip=True).pixels()
    two = heatmap(fcn, np.ascontiguousarray(pixels[:, ::-1]), 1, flip=True).pixels()
    np.testing.assert_allclose(one, two[:, ::-1], atol=1e-6)


class Brightness(nn.Module):
    """The mean of the window's left half against 1/2: its probability rises with the place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 4, stride=4, bias=False)
        self.pool = nn.AvgPool2d(4)
        nn.init.constant_(self.conv.weight, 1 / 16)

    def forward(self, x):
        return self.pool(self.conv(x)).flatten(1)


def test_a_ramp_in_the_image_is_found_again_at_every_scale():
    """A network that gives the mean of its window sees a ramp as the ramp: at its pixels, exactly.

    Half a pixel of drift would be a quarter of a grey level.
    """
    ramp = np.arange(256, dtype=np.uint8).repeat(2)  # 512 px
    pixels = np.broadcast_to(ramp[None, :, None], (160, 512, 1)).copy()
    fcn = fullconv.convert(Brightness().eval(), 16)
    fcn.about = About("mean", ("brightness",))
    for scales in (None, ["0.5x"], ["1.25x"], ["1x", "0.5x", "1.25x", "2x"]):
        made = heatmap(fcn, pixels, scales=scales)
        values = np.log(made.pixels() / (1 - made.pixels()))  # the logistic function undone
        middle = (np.arange(512) + 0.5) / 2 - 0.5  # grey levels at the centres
        inner = slice(48, -48)
        wrong = np.abs(values[:, inner] * 255 - middle[inner])
        assert wrong.max() < 0.02, scales
