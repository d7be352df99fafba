"""What is audited: networks, images and limits as they are given."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

import fullconv
from fullconv.auditing.subject import channels_of, subject_of
from fullconv.errors import InputError, RefusedError, UsageError
from fullconv.hosts.torch_fx.fcn import About
from networks import LeNet, noise


@pytest.fixture
def picture(tmp_path):
    """A grey image of 40×36 px."""
    path = tmp_path / "grey.png"
    pixels = np.arange(40 * 36, dtype=np.uint32).reshape(40, 36) % 251
    PIL.Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def test_a_network_and_its_fcn():
    model = LeNet()
    found = subject_of(model, 28)
    assert found.model is model
    assert (found.window, found.channels, found.shape) == ((28, 28), 1, (1, 1, 28, 28))
    assert found.fcn.plan == fullconv.plan(model, 28)
    assert found.fcn.get_submodule("conv1").weight.data_ptr() == model.conv1.weight.data_ptr()
    assert found.refused is None
    assert (found.images, found.sizes, found.name) == ((), (), "LeNet")


def test_a_network_that_cannot_be_converted():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Unflatten(1, (14, 56)), nn.LSTM(56, 8)
    )
    found = subject_of(model, 16)
    assert found.converted is None
    assert isinstance(found.refused, RefusedError)
    with pytest.raises(RefusedError) as caught:
        _ = found.fcn
    assert caught.value is found.refused
    assert found.channels == channels_of(model, (16, 16)) == 3


def test_images_of_all_kinds_by_name(picture):
    pixels = np.asarray(PIL.Image.open(picture))
    prepared = noise(1, 30, 33)
    about = About(mean=(0.5,), std=(0.25,))
    given = [picture, str(picture), pixels[..., None], prepared, prepared[None]]
    found = subject_of(LeNet(), 28, images=given, about=about).images
    assert [name for name, _ in found] == ["grey.png", "grey.png", "image 3", "image 4", "image 5"]
    expected = torch.tensor(pixels.astype(np.float32) / 255 - 0.5)[None, None] * 4
    for _, image in found[:3]:
        torch.testing.assert_close(image, expected)
    for _, image in found[3:]:
        assert torch.equal(image, prepared[None].float())


def test_a_mapping_names_its_images(picture):
    found = subject_of(LeNet(), 28, images={"one": picture, "two": noise(3, 1, 28, 28)}).images
    assert [name for name, _ in found] == ["one", "two (1)", "two (2)", "two (3)"]
    assert all(image.ndim == 4 and len(image) == 1 for _, image in found)


@pytest.mark.parametrize("single", [True, False])
def test_one_image_is_one_image(single, picture):
    given = picture if single else [picture]
    assert len(subject_of(LeNet(), 28, images=given).images) == 1


def test_tensors_of_one_axis():
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14, 3))
    found = subject_of(model, 16, images=noise(2, 40), sizes=[20, (24,)])
    assert (found.window, found.sizes) == ((16,), ((20,), (24,)))
    assert found.images[0][1].shape == (1, 2, 40)


@pytest.mark.parametrize(
    ("images", "kind", "message"),
    [
        (noise(1, 27, 40), InputError, r"image 1: the image is 27×40 px, smaller than the 28×28"),
        ({"tall": noise(1, 40, 8)}, InputError, r"tall: the image is 40×8 px, smaller than"),
        (noise(3, 40, 40), InputError, r"image 1: .*\(3, 40, 40\) does not fit a network of 1 ch"),
        (noise(40, 40), InputError, r"image 1: .*\(40, 40\) does not fit"),
        (["none.png"], InputError, r"none\.png: "),
    ],
)
def test_images_that_do_not_fit(images, kind, message):
    with pytest.raises(kind, match=message):
        subject_of(LeNet(), 28, images=images)


def test_files_for_a_network_of_one_axis(picture):
    model = nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14, 3))
    with pytest.raises(UsageError, match=r"grey\.png: an image file has two spatial axes.* has 1"):
        subject_of(model, 16, images=picture)


def test_sizes_per_axis_each_once():
    found = subject_of(LeNet(), 28, sizes=[64, (64, 64), (28, 30), 28])
    assert found.sizes == ((64, 64), (28, 30), (28, 28))


@pytest.mark.parametrize(
    ("sizes", "kind", "message"),
    [
        ([27], InputError, r"27×27"),
        ([(64, 8)], InputError, r"64×8"),
        ([(64, 64, 64)], UsageError, r"size=\(64, 64, 64\) names 3 axes, but the network has 2"),
    ],
)
def test_sizes_that_do_not_fit(sizes, kind, message):
    with pytest.raises(kind, match=message):
        subject_of(LeNet(), 28, sizes=sizes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0}, r"seconds=0 must be above 0\."),
        ({"seconds": float("nan")}, r"seconds=nan must be above 0\."),
        ({"max_memory": 0}, r"max_memory=0 must be a positive number of bytes\."),
        ({"context": "both"}, r"context='both' must be one of 'window', 'image'\."),
        ({"window": (28, 28, 28)}, r"window=\(28, 28, 28\) names 3 axes, but the network has 2"),
        ({"window": 0}, r"window=0"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(UsageError, match=message):
        subject_of(LeNet(), **{"window": 28, **options})


def test_what_is_no_network():
    with pytest.raises(UsageError, match=r"must be a torch\.nn\.Module, got str\."):
        fullconv.audit("vgg16")
