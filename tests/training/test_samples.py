"""Images of one size in memory."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from fullconv.errors import InputError
from fullconv.storage.datasets import ImageArray, ImageFiles
from fullconv.storage.images import Image
from fullconv.training.samples import gathered
from learnable import pictures, samples


def array(pixels, labels, channels=1) -> ImageArray:
    return ImageArray(Path("a.npz"), pixels, labels, channels)


def test_pixels_and_labels_are_those_of_the_data_set_channels_last():
    pixels, labels = pictures(10)
    told = []
    found, unread = gathered(
        array(pixels, labels), (16, 16), 3, 1, progress=lambda *numbers: told.append(numbers)
    )
    assert unread == []
    assert torch.equal(found.pixels, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert found.pixels.permute(0, 2, 3, 1).is_contiguous()
    assert found.labels.tolist() == labels.tolist()
    assert (len(found), found.size, found.classes) == (10, (16, 16), 3)
    assert told[-1] == (10, 10)


def test_preparing_is_scaling_subtracting_and_dividing():
    found = samples(4)
    expected = (found.pixels.double() / 255 - 0.47) / 0.2
    torch.testing.assert_close(found.prepared(found.pixels).double(), expected, atol=1e-6, rtol=0)
    assert found.prepared(found.pixels).is_contiguous(memory_format=torch.channels_last)


def test_mean_and_deviation_are_those_of_all_pixels():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 200, (50, 5, 7, 3), np.uint8)
    pixels[..., 2] = 51
    found, _ = gathered(array(pixels, np.zeros(50, np.int64), 3), (5, 7), 3, 3)
    mean, std = found.statistics()
    assert mean == pytest.approx((pixels / 255).mean((0, 1, 2)))
    assert std[:2] == pytest.approx((pixels / 255).std((0, 1, 2))[:2])
    assert std[2] == 1  # nothing to divide by


def test_the_checksum_tells_pixels_labels_and_shapes_apart():
    one = samples(6)
    assert one.digest() == samples(6).digest()
    other = samples(6)
    other.labels[0] += 1
    assert other.digest() != one.digest()
    other = samples(6)
    other.pixels[5, 0, 15, 15] ^= 1
    assert other.digest() != one.digest()


def test_an_image_of_another_size_is_an_error_that_names_both():
    pixels, labels = pictures(3, side=18)
    with pytest.raises(InputError) as error:
        gathered(array(pixels, labels), (16, 16), 3, 1)
    assert str(error.value) == (
        "a.npz[0]: the image is 18×18 px, and the network's window 16×16.\n"
        "Training takes images of one size. --resize (resize=True) scales every image so that it "
        "just covers the window, and cuts out its centre."
    )
    assert error.value.exit_code == 3


def test_resizing_covers_the_window_and_cuts_out_the_centre():
    pixels = np.zeros((2, 20, 40, 1), np.uint8)
    pixels[:, :, 10:30] = 200  # the middle square
    found, _ = gathered(array(pixels, np.arange(2)), (10, 10), 2, 1, resize=True)
    assert found.size == (10, 10)
    assert bool((found.pixels[..., 1:-1] == 200).all())
    exact, _ = gathered(array(pixels[:, :, 10:30], np.arange(2)), (20, 20), 2, 1, resize=True)
    assert bool((exact.pixels == 200).all())  # what fits is left alone


def test_resizing_enlarges_too_and_keeps_flat_images_flat():
    pixels = np.full((1, 5, 8, 1), 77, np.uint8)
    found, _ = gathered(array(pixels, np.zeros(1, np.int64)), (12, 16), 2, 1, resize=True)
    assert found.size == (12, 16)
    assert bool((found.pixels == 77).all())


def test_deep_pixels_become_bytes():
    deep = Image(Path("a"), np.array([[[0], [257], [65535]]], np.uint16))
    assert deep.as_bytes().ravel().tolist() == [0, 1, 255]
    real = Image(Path("a"), np.array([[[0.0], [0.5], [1.0]]], np.float32))
    assert real.as_bytes().ravel().tolist() == [0, 128, 255]


def test_images_that_cannot_be_read_are_left_out_and_listed(tmp_path):
    for index in range(4):
        PIL.Image.new("L", (8, 8), 60 * index).save(tmp_path / f"{index}.png")
    (tmp_path / "1.png").write_bytes(b"no image")
    files = tuple(tmp_path / f"{index}.png" for index in range(4))
    found, unread = gathered(ImageFiles(files, np.array([0, 1, 2, 1]), 1), (8, 8), 3, 1)
    assert found.labels.tolist() == [0, 2, 1]
    assert found.pixels[:, 0, 0, 0].tolist() == [0, 120, 180]
    assert [one.name for one in unread] == [str(tmp_path / "1.png")]
    assert str(unread[0]).startswith(f"{tmp_path / '1.png'}: ")
    (tmp_path / "9.png").write_bytes(b"")
    with pytest.raises(InputError, match="none of the 1 images can be read"):
        gathered(ImageFiles((tmp_path / "9.png",), np.array([0]), 1), (8, 8), 3, 1)
