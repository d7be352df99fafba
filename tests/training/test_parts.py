"""What is trained on and what is tested on."""

import numpy as np
import PIL.Image
import pytest

from fullconv.errors import InputError
from fullconv.evaluate.class_names import find_class
from fullconv.training import open_parts
from learnable import pictures, write


def opened(path, **options):
    options = {"classes": 3, "channels": 1, **options}
    return open_parts(
        path, (16, 16), resolve=lambda name: find_class(name, ("a", "b", "c"), 3), **options
    )


def folders(root, counts: dict[str, int]):
    """Sub-folders with as many images each."""
    pixels, _ = pictures(30)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            PIL.Image.fromarray(pixels[index, :, :, 0]).save(root / name / f"{index}.png")
    return root


def test_an_npz_file_with_both_parts(tmp_path):
    found = opened(write(tmp_path / "d.npz"))
    assert (len(found.train), len(found.test)) == (120, 60)
    mean, std = found.train.statistics()
    assert found.train.mean == found.test.mean == mean
    assert found.train.std == found.test.std == std
    assert found.remarks == (
        f"pixels: mean {mean[0]:.3f}, std {std[0]:.3f} of the training images",
    )
    assert found.unread == ()


def test_a_given_mean_and_std_are_used_for_all_channels(tmp_path):
    found = opened(write(tmp_path / "d.npz"), mean=(0.5,), std=(0.25,), channels=3)
    assert (found.train.mean, found.test.std) == ((0.5,) * 3, (0.25,) * 3)
    assert found.remarks == ()


def test_the_validation_images_are_taken_where_there_are_no_others(tmp_path):
    pixels, labels = pictures(12)
    np.savez(tmp_path / "d.npz", x_train=pixels, y_train=labels, x_val=pixels[:6], y_val=labels[:6])
    assert len(opened(tmp_path / "d.npz").test) == 6


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("x_train", "y_train")])
def test_a_fifth_of_every_class_is_held_out_where_there_is_nothing_to_test_on(tmp_path, names):
    pixels, labels = pictures(50)
    np.savez(tmp_path / "d.npz", **dict(zip(names, (pixels, labels), strict=True)))
    found = opened(tmp_path / "d.npz")
    assert np.bincount(found.test.labels).tolist() == [3, 3, 3]
    assert np.bincount(found.train.labels).tolist() == [14, 14, 13]
    assert found.remarks[0] == (
        f"{tmp_path / 'd.npz'}: nothing to test on in it; 9 of 50 images, a fifth of every class, "
        "are held out of training and tested on"
    )
    again = opened(tmp_path / "d.npz")
    assert again.train.digest() == found.train.digest()
    rows = {row.tobytes() for row in found.train.pixels.numpy()}
    assert not rows & {row.tobytes() for row in found.test.pixels.numpy()}


def test_a_folder_with_both_parts(tmp_path):
    folders(tmp_path / "train", {"a": 4, "b": 3})
    folders(tmp_path / "val", {"B": 2, "0": 1})
    found = opened(tmp_path)
    assert found.train.labels.tolist() == [0] * 4 + [1] * 3
    assert found.test.labels.tolist() == [0, 1, 1]


def test_classes_are_numbered_once_for_both_parts(tmp_path):
    """Three names that the network does not know are counted in order, those to test on alike."""
    folders(tmp_path / "train", {"x": 1, "y": 2, "z": 3})
    folders(tmp_path / "test", {"y": 2, "z": 1})
    found = opened(tmp_path)
    assert found.train.labels.tolist() == [0, 1, 1, 2, 2, 2]
    assert found.test.labels.tolist() == [1, 1, 2]


@pytest.mark.parametrize(
    ("train", "test", "strange"),
    [("xyz", "yz1", "1"), ("xyz", "yzw", "w"), ("ab", "abc", "c"), ("ab", "uvw", "u\n- v\n- w")],
)
def test_classes_to_test_on_that_nothing_learns(tmp_path, train, test, strange):
    folders(tmp_path / "train", dict.fromkeys(train, 2))
    folders(tmp_path / "test", dict.fromkeys(test, 1))
    with pytest.raises(InputError) as error:
        opened(tmp_path)
    count = len(strange.split("- "))
    assert error.value.exit_code == 3
    assert str(error.value) == (
        f"{tmp_path / 'test'}: {count} of 3 classes to test on are none of those in "
        f"{tmp_path / 'train'}:\n- {strange}\n"
        "Nothing learns what they are. Name their sub-folders as those to train on, or take them "
        "away."
    )


def test_a_folder_of_classes(tmp_path):
    found = opened(folders(tmp_path / "all", {"a": 10, "b": 5}))
    assert np.bincount(found.test.labels).tolist() == [2, 1]
    assert "held out" in found.remarks[0]


def test_a_folder_with_a_part_to_train_on_only(tmp_path):
    folders(tmp_path / "train", {"a": 10, "b": 5})
    assert len(opened(tmp_path).test) == 3


def test_limits_take_images_of_all_classes(tmp_path):
    found = opened(write(tmp_path / "d.npz"), limit=30, test_limit=9)
    assert np.bincount(found.train.labels).tolist() == [10, 10, 10]
    assert np.bincount(found.test.labels).tolist() == [3, 3, 3]
    assert "30 of 120 images, drawn evenly over the classes" in found.remarks


def test_images_that_cannot_be_read_are_those_of_both_parts(tmp_path):
    for part in ("train", "test"):
        folders(tmp_path / part, {"a": 3, "b": 3})
        (tmp_path / part / "b" / "z.png").write_bytes(b"no")
    found = opened(tmp_path)
    assert (len(found.train), len(found.test)) == (6, 6)
    assert [one.name for one in found.unread] == [
        str(tmp_path / part / "b" / "z.png") for part in ("train", "test")
    ]


def test_one_class_is_nothing_to_learn(tmp_path):
    with pytest.raises(InputError) as error:
        opened(folders(tmp_path / "all", {"b": 10}))
    assert str(error.value) == (
        f"{tmp_path / 'all'}: all 8 images to train on are of one class, 1.\n"
        "There is nothing to tell apart. Give images of two classes at least."
    )


def test_one_class_that_can_be_read_is_nothing_to_learn(tmp_path):
    folders(tmp_path / "train", {"a": 3, "b": 1})
    folders(tmp_path / "test", {"a": 3, "b": 1})
    (tmp_path / "train" / "b" / "0.png").write_bytes(b"no")
    with pytest.raises(InputError, match="all 3 images to train on are of one class, 0"):
        opened(tmp_path)


def test_labels_that_are_no_classes(tmp_path):
    pixels, labels = pictures(12)
    np.savez(tmp_path / "d.npz", x_train=pixels, y_train=labels + 1, x_test=pixels, y_test=labels)
    with pytest.raises(InputError) as error:
        opened(tmp_path / "d.npz")
    assert "4 of 12 labels are no classes: label 2 is 3." in str(error.value)
    assert "counted down first" in str(error.value)


def test_too_few_to_hold_some_out(tmp_path):
    with pytest.raises(InputError, match="holds 8 images, too few to hold some out for testing"):
        opened(folders(tmp_path / "all", {"a": 4, "b": 4}))


def test_what_is_no_data_set(tmp_path):
    with pytest.raises(InputError, match="there is no such folder or file"):
        opened(tmp_path / "nowhere")
    (tmp_path / "x.npz").write_bytes(b"no")
    with pytest.raises(InputError, match=r"is no \.npz file"):
        opened(tmp_path / "x.npz")
