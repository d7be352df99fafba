"""What is audited: networks, images and limits as they are given."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

import fullconv
from fullconv.auditing.images import spread
from fullconv.auditing.subject import subject_of
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
    assert found.channels == 3
    assert found.scores is None


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


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_of_pillow_is_as_its_file(mode, channels, single, tmp_path):
    draw = np.random.default_rng(0)
    colours = PIL.Image.fromarray(draw.integers(0, 256, (40, 36, 4), np.uint8), "RGBA")
    image = colours.convert(mode)
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image.save(path)
    model = nn.Sequential(nn.Conv2d(channels, 2, 3), nn.Flatten(), nn.Linear(2 * 26 * 26, 3))
    ((_, expected),) = subject_of(model, 28, images=path).images
    ((name, found),) = subject_of(model, 28, images=image if single else [image]).images
    assert name == "image 1"
    # Pillow rounds its luminance and what it lays over white in ways of its own.
    assert (found - expected).abs().max() <= 2 / 255


def test_an_image_of_pillow_is_turned_upright(tmp_path):
    image = PIL.Image.new("L", (50, 30))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    with PIL.Image.open(tmp_path / "turned.png") as opened:
        assert subject_of(LeNet(), 28, images=opened).images[0][1].shape == (1, 1, 50, 30)


@pytest.mark.parametrize(("mode", "channels"), [("I", 1), ("F", 1), ("I;16", 1), ("RGB", 2)])
def test_images_of_pillow_that_say_no_white(mode, channels):
    model = nn.Sequential(nn.Conv2d(channels, 2, 3), nn.Flatten(), nn.Linear(2 * 26 * 26, 3))
    with pytest.raises(UsageError, match=rf"a Pillow image of mode {mode} cannot be taken for"):
        subject_of(model, 28, images=PIL.Image.new(mode, (40, 40)))


def test_an_image_of_pillow_whose_file_is_cut_short(picture):
    data = picture.read_bytes()
    picture.write_bytes(data[: len(data) // 2])
    with (
        PIL.Image.open(picture) as image,
        pytest.raises(InputError, match=r"image 1: the image cannot be read: .*truncated"),
    ):
        subject_of(LeNet(), 28, images=image)


@pytest.mark.parametrize(
    ("count", "places"),
    [
        (0, []),
        (1, [0]),
        (2, [0, 1]),
        (4, [0, 1, 2, 3]),
        (7, [0, 2, 4, 6]),
        (1000, [0, 333, 666, 999]),
    ],
)
def test_images_are_taken_evenly(count, places):
    assert spread(range(count), 4) == places


def test_of_many_images_only_those_looked_at_are_read(tmp_path):
    """The others are no images at all."""
    paths = [tmp_path / f"{place:03}.png" for place in range(63)]
    for place, path in enumerate(paths):
        if place % 2:
            path.write_text("no picture")
        else:
            PIL.Image.new("L", (30, 30)).save(path)
    found = subject_of(LeNet(), 28, images=paths)
    assert [name for name, _ in found.images] == [path.name for path in paths[::2]]
    assert len(found.images) == 32
    assert found.given == 63


def test_a_large_batch_counts_as_so_many_images():
    batch = noise(63, 1, 28, 28)
    found = subject_of(LeNet(), 28, images={"batch": batch})
    assert (found.given, len(found.images)) == (63, 32)
    assert found.images[-1][0] == "batch (63)"
    assert torch.equal(found.images[1][1], batch[2:3].float())


def test_tensors_of_one_axis():
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14, 3))
    found = subject_of(model, 16, images=noise(2, 40), sizes=[20, (24,)])
    assert (found.window, found.sizes) == ((16,), ((20,), (24,)))
    assert found.images[0][1].shape == (1, 2, 40)


def one_bad(value: float) -> torch.Tensor:
    """An image of 40×40 px with one number that is not as the others."""
    pixels = noise(1, 40, 40)
    pixels[0, 3, 4] = value
    return pixels


@pytest.mark.parametrize(
    ("images", "kind", "message"),
    [
        (noise(1, 27, 40), InputError, r"image 1: the image is 27×40 px, smaller than the 28×28"),
        ({"tall": noise(1, 40, 8)}, InputError, r"tall: the image is 40×8 px, smaller than"),
        (noise(3, 40, 40), InputError, r"image 1: .*\(3, 40, 40\) does not fit a network of 1 ch"),
        (noise(4, 1, 27, 40), InputError, r"image 1 \(1\): the image is 27×40 px, smaller than"),
        (one_bad(float("nan")), InputError, r"image 1: 1 of 1,600 numbers of the image are not fi"),
        (one_bad(float("-inf")), InputError, r"image 1: 1 of 1,600 numbers of the image are not "),
        (one_bad(1e300), InputError, r"image 1: 1 of 1,600 numbers of the image are not finite"),
        (noise(1, 40, 40) * 1j, InputError, r"image 1: its numbers are complex"),
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


@pytest.mark.parametrize("size", [64, np.int64(64), [64], [np.int64(64)], [[64, 64]]])
def test_one_size_is_one_size(size):
    assert subject_of(LeNet(), 28, sizes=size).sizes == ((64, 64),)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([27], r"sizes: 27×27 px is smaller than the 28×28 window of the classifier\."),
        (27, r"sizes: 27×27 px is smaller"),
        ([(64, 8)], r"sizes: 64×8 px is smaller"),
        ([(64, 64, 64)], r"sizes=\(64, 64, 64\) names 3 axes, but the network has 2"),
        ([64.5], r"sizes: 64\.5 is no size"),
        ([None], r"sizes: None is no size"),
        (["64"], r"sizes: '64' is no size"),
        ([0], r"sizes=0 must be made of positive whole numbers"),
        ("64", r"sizes='64' must be a whole number, or a list of them"),
        (64.5, r"sizes=64\.5 must be a whole number, or a list of them"),
    ],
)
def test_sizes_that_do_not_fit(sizes, message):
    with pytest.raises(UsageError, match=message):
        subject_of(LeNet(), 28, sizes=sizes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0}, r"seconds=0 must be a finite number above 0\."),
        ({"seconds": float("nan")}, r"seconds=nan must be a finite number above 0\."),
        ({"seconds": float("inf")}, r"seconds=inf must be a finite number above 0\."),
        ({"seconds": "soon"}, r"seconds='soon' must be a finite number above 0\."),
        ({"max_memory": "2GiB"}, r"max_memory='2GiB' must be a positive number of bytes\."),
        ({"max_memory": float("nan")}, r"max_memory=nan must be a positive number of bytes\."),
        ({"images": 5}, r"images cannot be of type int\."),
        ({"images": b"a.png"}, r"images cannot be of type bytes\."),
        ({"images": [5]}, r"a int is no image\."),
        ({"images": [None]}, r"a NoneType is no image\."),
        ({"window": None}, r"window"),
        ({"window": 28.5}, r"window=28\.5 must be a whole number, or a list of them\."),
        ({"window": "28"}, r"window='28' must be a whole number, or a list of them\."),
        ({"max_memory": 0}, r"max_memory=0 must be a positive number of bytes\."),
        ({"about": About(classes=("a", "b"))}, r"there are 2 class names for 10 scores\."),
        ({"about": About(mean=(0.1, 0.2))}, r"mean has 2 numbers, but the network takes 1 channel"),
        ({"about": About(std=(0.0,))}, r"std=0 cannot be\."),
        ({"context": "both"}, r"context='both' must be one of 'window', 'image'\."),
        ({"window": (28, 28, 28)}, r"window=\(28, 28, 28\) names 3 axes, but the network has 2"),
        ({"window": 0}, r"window=0"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(UsageError, match=message):
        subject_of(LeNet(), **{"window": 28, **options})


@pytest.mark.parametrize("window", [28, np.int64(28), (28, 28), [28, 28], np.array([28, 28])])
def test_the_window_is_one_number_or_one_per_axis(window):
    assert subject_of(LeNet(), window).window == (28, 28)


def test_what_is_no_network():
    with pytest.raises(UsageError, match=r"must be a torch\.nn\.Module, got str\."):
        fullconv.audit("vgg16")
