from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

import fullconv
from fullconv.errors import FullconvError, InputError, UsageError
from fullconv.evaluate.maps.heatmap import heatmap
from fullconv.evaluate.preparation import check_preparation, grid_of, prepared
from fullconv.hosts.torch_fx.fcn import About
from fullconv.storage.images import Image

PIXELS = np.random.default_rng(3).integers(0, 256, (21, 34, 3), np.uint8)
NAMES = ("ape", "bee", "cow", "dog")


def network(*end: nn.Module, outputs: int = 4, channels: int = 3) -> fullconv.FCN:
    torch.manual_seed(0)
    body = nn.Conv2d(channels, 5, 3, stride=2), nn.ReLU(), nn.Flatten()
    model = nn.Sequential(*body, nn.Linear(5 * 5 * 5, outputs), *end)
    return fullconv.convert(model.eval(), 12)


@pytest.fixture
def fcn() -> fullconv.FCN:
    made = network()
    made.about = About("net", NAMES, (0.5, 0.4, 0.3), (0.2,))
    return made


def by_hand(fcn: fullconv.FCN, mean, std) -> torch.Tensor:
    """The map `(K, rows, cols)` of PIXELS."""
    x = (PIXELS / np.float32(255) - np.float32(mean)) / np.float32(std)
    with torch.no_grad():
        return fcn(torch.from_numpy(x).permute(2, 0, 1)[None])[0]


def test_scores_are_the_fcn_s_and_probabilities_their_softmax(fcn):
    made = heatmap(fcn, PIXELS, "cow")
    expected = by_hand(fcn, (0.5, 0.4, 0.3), (0.2,))
    assert made.scores.dtype == np.float32
    assert np.array_equal(made.scores, expected.numpy())
    np.testing.assert_allclose(made.probabilities, expected.softmax(0).numpy(), atol=1e-6)
    assert made.grid == fcn.grid((21, 34))
    assert made.scores.shape == (4, *made.grid.shape) == (4, 5, 12)
    assert (made.index, made.name) == (2, "cow")
    assert np.array_equal(made.values, made.probabilities[2])


def test_the_peak_is_the_highest_cell_and_its_window(fcn):
    made = heatmap(fcn, PIXELS, 1)
    value, box = made.peak
    assert value == made.values.max()
    row, col = np.unravel_index(made.values.argmax(), made.values.shape)
    assert (
        box == made.grid.box(int(row), int(col)) == (2 * row, 2 * col, 2 * row + 12, 2 * col + 12)
    )


def test_without_a_class_the_most_probable_anywhere(fcn):
    made = heatmap(fcn, PIXELS)
    assert made.probabilities[made.index].max() == made.probabilities.max()


def test_a_file_an_image_and_an_array_are_the_same(fcn, tmp_path):
    PIL.Image.fromarray(PIXELS).save(tmp_path / "a.png")
    maps = [
        heatmap(fcn, source, 0).scores
        for source in (
            PIXELS,
            Image(Path("x"), PIXELS),
            tmp_path / "a.png",
            str(tmp_path / "a.png"),
        )
    ]
    assert all(np.array_equal(scores, maps[0]) for scores in maps)


def test_geometry_tells_where_cells_lie_and_is_json(fcn):
    made = heatmap(fcn, PIXELS, 0)
    geometry = made.geometry()
    assert geometry == {
        "format": "fullconv-map-1", "image": "array", "image_size": [21, 34], "size": [21, 34],
        "window": [12, 12], "stride": [2, 2], "offset": [0, 0], "shape": [4, 5, 12],
        "axes": ["class", "row", "col"], "values": "scores", "classes": list(NAMES),
        "scales": ["1x"], "flip": False,
    }  # fmt: skip


def test_the_overlay_holds_the_image_at_its_own_scale(fcn):
    made = heatmap(fcn, PIXELS, 0).overlay()
    top, left, bottom, right = made.box
    assert (bottom - top, right - left) == (21, 34)
    assert made.image().size == (34, 21)
    untinted = heatmap(fcn, PIXELS, 0).overlay(opacity=0).image()
    assert np.array_equal(np.asarray(untinted), PIXELS)


# --- what the network ends in ---


def test_a_single_score_becomes_a_probability_by_the_logistic_function():
    fcn = network(outputs=1)
    made = heatmap(fcn, PIXELS)
    assert (made.index, made.name) == (0, "class 0")
    np.testing.assert_allclose(made.probabilities, torch.tensor(made.scores).sigmoid(), atol=1e-6)


class Call(nn.Module):
    """A function of a tensor as the end of a network."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize(
    "end",
    [
        [nn.Sigmoid()],
        [Call(torch.sigmoid)],
        [Call(torch.nn.functional.sigmoid)],
        [Call(lambda x: x.sigmoid())],
        [Call(lambda x: x.sigmoid_())],
        [nn.Sigmoid(), nn.Dropout(), nn.Identity()],
        [nn.Sigmoid(), nn.Flatten()],
    ],
    ids=["module", "torch", "functional", "method", "in place", "dropout", "flatten"],
)
def test_a_network_that_ends_in_the_logistic_function_is_left_so(end, outputs):
    made = heatmap(network(*end, outputs=outputs), PIXELS)
    assert np.array_equal(made.probabilities, made.scores)
    assert 0 < made.scores.min() < made.scores.max() < 1


@pytest.mark.parametrize("end", [nn.Softmax(1), Call(lambda x: x.softmax(-1))])
def test_a_network_that_ends_in_a_softmax_is_left_so(end):
    made = heatmap(network(end), PIXELS)
    assert np.array_equal(made.probabilities, made.scores)
    np.testing.assert_allclose(made.probabilities.sum(0), 1, atol=1e-5)


def test_a_network_that_ends_in_a_log_softmax():
    made = heatmap(network(nn.LogSoftmax(1)), PIXELS)
    np.testing.assert_allclose(made.probabilities, np.exp(made.scores), atol=1e-6)


def test_half_precision_and_double_precision(fcn):
    expected = heatmap(fcn, PIXELS, 0).scores
    for kind, tolerance in ((torch.float16, 0.05), (torch.bfloat16, 0.2), (torch.float64, 1e-4)):
        made = heatmap(network_like(fcn).to(kind), PIXELS, 0)
        assert made.scores.dtype == np.float32
        np.testing.assert_allclose(made.scores, expected, atol=tolerance)


def network_like(fcn: fullconv.FCN) -> fullconv.FCN:
    import copy

    return copy.deepcopy(fcn)


def test_a_network_in_training_mode_is_run_for_inference():
    fcn = network(nn.Dropout(0.9))
    expected = heatmap(fcn, PIXELS, 0).scores
    fcn.train()
    assert np.array_equal(heatmap(fcn, PIXELS, 0).scores, expected)
    assert fcn.training


def test_no_gradients_are_kept(fcn):
    heatmap(fcn, PIXELS, 0)
    assert all(parameter.grad is None for parameter in fcn.parameters())


# --- what cannot be ---


def test_only_an_fcn_has_a_map():
    with pytest.raises(UsageError, match="needs an FCN, not a Linear"):
        heatmap(nn.Linear(1, 1), PIXELS)


def test_a_network_of_one_axis_has_no_picture():
    model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.Flatten(), nn.Linear(40, 2))
    with pytest.raises(UsageError, match="an image has two spatial axes, and this network has 1"):
        heatmap(fullconv.convert(model.eval(), 12), PIXELS)


def test_an_image_below_the_window_is_named(fcn):
    small = Image(Path("small.png"), PIXELS[:11])
    for call in (lambda: heatmap(fcn, small), lambda: grid_of(fcn, small)):
        with pytest.raises(InputError, match=r"^small\.png: the image is 11×34 px, smaller than"):
            call()


@pytest.mark.parametrize(
    "pixels", [PIXELS[..., 0], PIXELS[..., :1], PIXELS / 255, PIXELS.astype(np.int16), PIXELS[None]]
)
def test_pixels_of_another_shape_or_type(pixels, fcn):
    with pytest.raises(InputError, match=r"the network takes \(H, W, 3\) uint8\."):
        heatmap(fcn, pixels)


def test_an_image_of_other_channels(fcn):
    with pytest.raises(InputError, match=r"^g: the image has 1 channels, and the network takes 3"):
        heatmap(fcn, Image(Path("g"), PIXELS[..., :1]))


def test_weights_that_are_not_numbers_are_named(fcn):
    with torch.no_grad():
        fcn.get_parameter("0.bias")[2] = float("nan")
    with pytest.raises(InputError, match=r"^0\.bias: holds numbers that are not finite") as caught:
        heatmap(fcn, PIXELS, 0)
    assert "They make 240 of 240 scores not finite either." in str(caught.value)


def test_an_overflow_is_told_from_bad_weights(fcn):
    fcn = network_like(fcn).half()
    with torch.no_grad():
        fcn.get_parameter("0.weight").fill_(60000)
    with pytest.raises(InputError, match="All weights are finite, so a layer overflowed") as caught:
        heatmap(fcn, PIXELS, 0)
    assert "The network works in float16" in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")],
)
def test_memory_that_does_not_suffice(error, fcn, monkeypatch):
    def full(self, image):
        raise error

    monkeypatch.setattr(type(fcn), "__call__", full)
    with pytest.raises(FullconvError, match="the memory does not suffice for an image of 21×34 px"):
        heatmap(fcn, PIXELS, 0)


def test_other_errors_pass(fcn, monkeypatch):
    def wrong(self, image):
        raise RuntimeError("a mistake")

    monkeypatch.setattr(type(fcn), "__call__", wrong)
    with pytest.raises(RuntimeError, match="a mistake"):
        heatmap(fcn, PIXELS, 0)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5, 0.5), (1.0,), "mean has 2 numbers, but the network takes 3 channels."),
        ((0.5,), (1.0,) * 4, "std has 4 numbers, but the network takes 3 channels."),
        ((), (1.0,), "mean has 0 numbers"),
        ((0.5,), (0.0,), "std=0 cannot be."),
        ((0.5,), (1.0, -1.0, 1.0), "std=1,-1,1 cannot be."),
        ((float("nan"),), (1.0,), "mean=nan cannot be."),
        ((0.5,), (float("inf"),), "std=inf cannot be."),
    ],
)
def test_a_preparation_that_cannot_be(mean, std, message):
    with pytest.raises(UsageError) as caught:
        check_preparation(3, mean, std)
    assert str(caught.value).startswith(message)


def test_preparing_is_subtracting_and_dividing():
    image = Image(Path("x"), PIXELS)
    x = prepared(image, (0.5, 0.25, 0.0), (0.5, 1.0, 2.0))
    assert x.shape == (1, 3, 21, 34)
    assert x.dtype == torch.float32
    expected = (PIXELS / 255 - [0.5, 0.25, 0]) / [0.5, 1, 2]
    np.testing.assert_allclose(x[0].permute(1, 2, 0), expected, atol=1e-6)
    assert np.array_equal(image.pixels, PIXELS)


def test_the_bundled_classifier(tmp_path):
    weights = Path(fullconv.__file__).parent / "bundled" / "textures.safetensors"
    if not weights.exists():
        pytest.skip("the bundled weights are not there")
    from fullconv.bundled import textures

    fcn = fullconv.convert(textures.load(), textures.WINDOW)
    fcn.about = About("textures", textures.CLASSES, textures.MEAN, textures.STD)
    grey = np.random.default_rng(0).integers(0, 256, (80, 100, 1), np.uint8)
    made = heatmap(fcn, grey, textures.CLASSES[0])
    assert made.name == textures.CLASSES[0]
    assert made.grid.shape == made.values.shape
