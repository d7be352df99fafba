"""Trained networks on real images: every cell is its crop, and the map says what the picture shows.

The data are not part of the project; where they are absent these tests are skipped.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import fullconv
from by_hand import assert_same, crop_map
from fullconv.evaluate.maps.heatmap import heatmap
from networks import LeNet, TinyVGG

# The order of Tiny VGG's classes, by the names of its photographs.
TINY_VGG_CLASSES = (
    "boat", "bug", "pizza", "pepper", "bus", "koala", "espresso", "panda", "orange", "car",
)  # fmt: skip


@pytest.fixture(scope="module")
def lenet(data: Path) -> LeNet:
    model = LeNet()
    state = torch.load(data / "weights/lenet_mnist.pth", weights_only=True, map_location="cpu")
    model.load_state_dict(state)
    return model.double().eval()


@pytest.fixture(scope="module")
def digits(data: Path) -> tuple[Tensor, Tensor]:
    """The 10,000 test digits as LeNet wants them, `(10000, 1, 28, 28)`, and their labels."""
    with np.load(data / "datasets/mnist.npz") as archive:
        images, labels = archive["x_test"], archive["y_test"]
    pixels = torch.from_numpy(images).double()[:, None] / 255
    return (pixels - 0.1307) / 0.3081, torch.from_numpy(labels).long()


@pytest.fixture(scope="module")
def tiny_vgg(data: Path) -> TinyVGG:
    model = TinyVGG()
    with np.load(data / "weights/tinyvgg.npz") as archive:
        arrays = dict(archive)
    layers = {name for name, _ in model.named_children()}
    with torch.no_grad():
        for layer in layers:
            kernel, bias = layer_arrays(arrays, layer)
            # Kernels are stored (h, w, in, out), the dense one (in, out).
            order = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
            model.get_submodule(layer).weight.copy_(torch.from_numpy(kernel).permute(order))
            model.get_submodule(layer).bias.copy_(torch.from_numpy(bias))
    return model.double().eval()


def layer_arrays(arrays: dict[str, np.ndarray], layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a layer, by what their names begin and end with."""
    mine = {name: a for name, a in arrays.items() if name.startswith(layer)}
    (kernel,) = (a for a in mine.values() if a.ndim > 1)
    (bias,) = (a for a in mine.values() if a.ndim == 1)
    return kernel, bias


def pixels(path: Path) -> Tensor:
    """An image file as `(1, 3, H, W)` in 0..1, float64."""
    array = np.asarray(PIL.Image.open(path).convert("RGB"))
    return torch.from_numpy(array.copy()).double().permute(2, 0, 1)[None] / 255


def test_lenet_reads_the_test_digits(lenet, digits):
    images, labels = digits
    fcn = fullconv.convert(lenet, 28)
    with torch.no_grad():
        scores = fcn(images)
        assert scores.shape == (10000, 10, 1, 1)
        assert_same(scores[:, :, 0, 0], lenet(images))
    right = (scores[:, :, 0, 0].argmax(1) == labels).double()
    assert right.mean().item() >= 0.98
    # Thousands of the test set differ in how hard they are; the classifier alone is no better.
    assert min(part.mean().item() for part in right.split(1000)) >= 0.965


def test_lenet_reads_a_canvas_of_digits_where_they_are(lenet, digits):
    images, labels = digits
    rows, cols, step = 6, 9, 32  # px from digit to digit; a multiple of the stride
    background = images.min()
    canvas = torch.full((1, 1, 20 + rows * step, 12 + cols * step), background.item()).double()
    places = {}
    for index in range(rows * cols):
        top, left = 8 + index // cols * step, 4 + index % cols * step
        canvas[0, 0, top : top + 28, left : left + 28] = images[index, 0]
        places[top, left] = int(labels[index])
    fcn = fullconv.convert(lenet, 28)
    assert fcn.stride == (4, 4)
    with torch.no_grad():
        scores = fcn(canvas)
    grid = fcn.grid(tuple(canvas.shape[2:]))
    read = 0
    for (top, left), label in places.items():
        row, col, *_ = grid.cells((top, left, top + 28, left + 28))
        assert grid.box(row, col) == (top, left, top + 28, left + 28)
        read += int(scores[0, :, row, col].argmax()) == label
    assert read >= 0.98 * len(places)
    assert_same(scores, crop_map(lenet, canvas, (28, 28), (4, 4)))


def test_tiny_vgg_knows_its_photographs(tiny_vgg, data):
    fcn = fullconv.convert(tiny_vgg, 64)
    files = sorted((data / "photos/tinyvgg_64px").iterdir())
    assert len(files) == 10
    for file in files:
        with torch.no_grad():
            scores = fcn(pixels(file))
        name = TINY_VGG_CLASSES[int(scores[0, :, 0, 0].argmax())]
        assert file.stem.startswith(name)


def test_tiny_vgg_on_a_larger_photograph_is_its_crops(tiny_vgg, data):
    image = pixels(data / "photos/owl.jpg")[:, :, 100:229, 60:203]
    fcn = fullconv.convert(tiny_vgg, 64)
    assert fcn.stride == (4, 4)
    with torch.no_grad():
        assert_same(fcn(image), crop_map(tiny_vgg, image, (64, 64), (4, 4)))


def test_textures_on_a_larger_photograph_are_their_crops(data):
    from fullconv.bundled import textures

    model = textures.load().double()
    image = pixels(data / "photos/cat_1080p.jpg").mean(1, keepdim=True)[:, :, 300:509, 500:731]
    fcn = fullconv.convert(model, textures.WINDOW)
    with torch.no_grad():
        assert_same(fcn(image), crop_map(model, image, (64, 64), (8, 8)))


@pytest.fixture(scope="module")
def mobilenet(data: Path) -> fullconv.FCN:
    from fullconv.hosts.torch_fx.fcn import About
    from fullconv.models.torchvision_import import import_timm

    timm = import_timm()
    model = timm.create_model("mobilenetv2_100", pad_type="same", num_classes=1001)
    weights = load_file(data / "weights/mobilenetv2_100_same_imagenet1001.safetensors")
    model.load_state_dict(weights)
    names = (data / "labels/imagenet1001.txt").read_text().splitlines()
    fcn = fullconv.convert(model.eval(), 224)
    fcn.about = About("", tuple(name.strip() for name in names), (0.5,), (0.5,))
    return fcn


# Where the animal (its head, for the large ones) is in the photograph: top, left, bottom, right.
PICTURES = {
    "cat_1080p.jpg": ("tabby", (120, 680, 700, 1300)),
    "parrot.jpg": ("macaw", (90, 300, 420, 480)),
    "hot_dog.jpg": ("hotdog", (80, 60, 280, 480)),
}


@pytest.mark.parametrize("file", PICTURES)
def test_mobilenet_finds_what_the_photograph_shows(mobilenet, data, file):
    name, there = PICTURES[file]
    found = heatmap(mobilenet, data / "photos" / file, name)
    probability, box = found.peak
    assert probability > 0.3
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    assert there[0] <= middle[0] <= there[2], f"{file}: the peak {box} is not on {there}"
    assert there[1] <= middle[1] <= there[3], f"{file}: the peak {box} is not on {there}"


# The whole animal or sausage, as it is seen; its best class, and the least share of the pixels of
# probability 1/2 that lie in the box. Beyond the outermost centres of windows, half a window from
# the border, the nearest value holds, so that some of the background counts as well.
OBJECTS = {
    "cat_1080p.jpg": ("Egyptian cat", (110, 180, 1080, 1360), 0.95),
    "parrot.jpg": ("macaw", (95, 95, 900, 465), 0.75),
    "hot_dog.jpg": ("hotdog", (80, 90, 235, 480), 0.85),
}


@pytest.fixture(scope="module")
def fine_mobilenet(mobilenet: fullconv.FCN, data: Path) -> fullconv.FCN:
    """The same at stride 8."""
    from fullconv.models.torchvision_import import import_timm

    model = import_timm().create_model("mobilenetv2_100", pad_type="same", num_classes=1001)
    model.load_state_dict(load_file(data / "weights/mobilenetv2_100_same_imagenet1001.safetensors"))
    fcn = fullconv.convert(model.eval(), 224, stride=8)
    fcn.about = mobilenet.about
    return fcn


@pytest.mark.parametrize("file", OBJECTS)
@pytest.mark.parametrize(
    ("network", "scales", "flip"),
    [
        ("mobilenet", [600], False),
        ("mobilenet", [448, 600], True),
        ("fine_mobilenet", [600], False),
    ],
)
def test_heat_maps_sit_on_what_they_show(file, network, scales, flip, data, request):
    name, there, least = OBJECTS[file]
    fcn = request.getfixturevalue(network)
    found = heatmap(fcn, data / "photos" / file, scales=scales, flip=flip)
    assert found.name.split(",")[0] == name  # the most probable class anywhere
    probability, box = found.peak
    assert probability > 0.5
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    assert there[0] <= middle[0] <= there[2], f"{file}: the peak {box} is not on {there}"
    assert there[1] <= middle[1] <= there[3], f"{file}: the peak {box} is not on {there}"
    hot = found.pixels() >= 0.5
    assert hot.sum() == sum(region.area for region in found.regions(0.5)) > 0.002 * hot.size
    share = hot[there[0] : there[2], there[1] : there[3]].sum() / hot.sum()
    if len(scales) == 1:  # of larger windows, fewer lie on the object alone
        assert share >= least
    assert share >= 0.65


@pytest.mark.parametrize("file", PICTURES)
def test_mobilenet_says_what_the_photograph_shows(mobilenet, data, file):
    """The photograph with its shorter side at 256 px, the map averaged: all of it is seen."""
    name, _ = PICTURES[file]
    picture = PIL.Image.open(data / "photos" / file).convert("RGB")
    scale = 256 / min(picture.size)
    small = picture.resize([round(side * scale) for side in picture.size], PIL.Image.BICUBIC)
    found = heatmap(mobilenet, np.asarray(small), name)
    best = int(found.scores.mean(axis=(1, 2)).argmax())
    assert found.classes[best].split(",")[0] in KIN[name]


KIN = {
    "tabby": {"tabby", "tiger cat", "Egyptian cat"},
    "macaw": {"macaw"},
    "hotdog": {"hotdog"},
}


@pytest.mark.parametrize("file", OBJECTS)
def test_mobilenet_says_what_the_photograph_is_at_every_size(mobilenet, data, file):
    """Dense evaluation, mirrored or not, at 256 to 1024 px and over all of them."""
    fast, photo, name = mobilenet.optimize(), data / "photos" / file, OBJECTS[file][0]
    every = (256, 384, 512, 768, 1024)
    for scales in (*every, (256, 384, 512), every):
        for flip in (False, True):
            best, second = fullconv.classify(fast, photo, scales, flip).top(2)
            assert name in best.name, (scales, flip, best, second)
            assert best.probability > second.probability
    # Where the object fills the picture, as at the size of the classifier's tests, it is sure.
    (best,) = fullconv.classify(fast, photo, 256, True).top(1)
    assert best.probability > 0.7


@pytest.mark.parametrize("evaluation", ["centre", "multi-crop", "both"])
@pytest.mark.parametrize("file", OBJECTS)
def test_other_evaluations_agree(mobilenet, data, file, evaluation):
    found = fullconv.classify(
        mobilenet.optimize(), data / "photos" / file, (256, 384, 512), True, evaluation=evaluation
    )
    (best,) = found.top(1)
    assert OBJECTS[file][0] in best.name
    assert best.probability > 0.4
