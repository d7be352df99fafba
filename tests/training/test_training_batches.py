"""The batches of an epoch."""

import numpy as np
import pytest
import torch

from fullconv.errors import InputError
from fullconv.training import Recipe, train
from fullconv.training.batches import epoch_batches, steps_of
from learnable import samples


def batches(found, recipe, seed=0):
    return list(epoch_batches(found, recipe, np.random.default_rng(seed)))


def test_every_image_comes_once_in_batches_of_nearly_equal_size():
    found, recipe = samples(50), Recipe(batch=16)
    parts = batches(found, recipe)
    assert [len(images) for images, _ in parts] == [13, 13, 12, 12]
    assert steps_of(found, recipe) == 4
    images, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    everything = {image.numpy().tobytes(): int(n) for image, n in zip(images, labels, strict=True)}
    expected = found.prepared(found.pixels)
    assert everything == {
        image.numpy().tobytes(): int(n) for image, n in zip(expected, found.labels, strict=True)
    }
    assert labels.tolist() != found.labels.tolist()  # not in their order


def test_the_same_seed_gives_the_same_batches():
    found, recipe = samples(20), Recipe(batch=7, flip=True, shift=3)
    one, again, other = (batches(found, recipe, seed) for seed in (3, 3, 4))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[0][0], other[0][0])


def test_flips_and_shifts_are_those_of_the_definition():
    """Against every flip and shift of a reflected border, made one by one with NumPy."""
    found = samples(40)
    random = np.random.default_rng(5)
    found.pixels.copy_(torch.from_numpy(random.integers(0, 256, found.pixels.shape, np.uint8)))
    ways = {}
    for index, image in enumerate(found.pixels[:, 0].numpy()):
        padded = np.pad(image, 2, mode="reflect")
        for top in range(5):
            for left in range(5):
                cut = padded[top : top + 16, left : left + 16]
                ways[cut.tobytes()] = (index, top, left, False)
                ways[np.ascontiguousarray(cut[:, ::-1]).tobytes()] = (index, top, left, True)
    seen = []
    for seed in range(20):
        for images, _ in batches(found, Recipe(flip=True, shift=2), seed):
            pixels = ((images * 0.2 + 0.47) * 255).round().to(torch.uint8)
            seen += [ways[image.numpy().tobytes()] for image in pixels[:, 0]]
    assert {way[1] for way in seen} == {way[2] for way in seen} == set(range(5))
    assert 300 < sum(way[3] for way in seen) < 500  # half of 800
    assert sorted(way[0] for way in seen[:40]) == list(range(40))


def test_images_that_are_too_small_to_be_shifted_so_far():
    with pytest.raises(InputError) as error:
        train(torch.nn.Identity(), samples(4), Recipe(shift=16))
    assert str(error.value) == (
        "images of 16×16 px cannot be shifted by 16 px.\n"
        "What moves in is the reflection of the image. Shift by at most 15 px."
    )
