"""Labelled images from folders and arrays: what is read, and what is wrong with what is not."""

import io
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from fullconv.errors import InputError, UsageError
from fullconv.storage.datasets import open_dataset, spread

CLASSES = ("cat", "dog", "hot dog")


def by_name(name: str) -> int:
    """A class by its name or number."""
    if name in CLASSES:
        return CLASSES.index(name)
    if name.isdecimal() and int(name) < len(CLASSES):
        return int(name)
    raise UsageError(f"there is no class {name!r}.", hint="Did you mean cat?")


def opened(path, **options):
    return open_dataset(path, **{"resolve": by_name, "outputs": 3, **options})


def write(path: Path, value: int = 0, mode: str = "RGB", size=(5, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if mode == "RGB" else size
    PIL.Image.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


def arrays(path: Path, **named) -> Path:
    np.savez(path, **named)
    return path


def refused(path, **options) -> str:
    with pytest.raises(InputError) as caught:
        opened(path, **options)
    return str(caught.value)


# --- folders ---


def test_a_folder_of_classes_by_name_and_number(tmp_path):
    files = [
        write(tmp_path / "1" / "b.PNG", 40),
        write(tmp_path / "cat" / "a.png", 10),
        write(tmp_path / "cat" / "deeper" / "z.jpg", 20),
        write(tmp_path / "hot_dog" / "c.bmp", 50),
    ]
    write(tmp_path / "cat" / ".hidden.png")
    write(tmp_path / ".trash" / "x.png")
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "README").write_text("not a folder")
    found = opened(tmp_path)
    assert len(found) == 4
    assert list(found.names) == [str(file) for file in files]
    assert found.labels.tolist() == [1, 0, 0, 2]
    assert found.labels.dtype == np.int64
    assert found.remarks == ()
    assert [int(found.image(i).pixels[0, 0, 0]) for i in range(4)] == [40, 10, 20, 50]
    assert found.image(0).pixels.shape == (5, 4, 3)
    assert opened(tmp_path, channels=1).image(0).pixels.shape == (5, 4, 1)


def test_as_many_strange_folders_as_classes_are_taken_in_order(tmp_path):
    for name in ("n02", "n01", "n03"):
        write(tmp_path / name / "a.png")
    found = opened(tmp_path)
    assert [Path(name).parent.name for name in found.names] == ["n01", "n02", "n03"]
    assert found.labels.tolist() == [0, 1, 2]
    assert found.remarks == (
        f"{tmp_path}: the 3 sub-folders are taken for the classes in sorted order, n01 for 0 to "
        "n03 for 2; their names are no classes of the network",
    )


def test_one_strange_folder_among_known_ones_is_refused(tmp_path):
    for name in ("cat", "dog", "kat"):
        write(tmp_path / name / "a.png")
    assert refused(tmp_path) == (
        f"{tmp_path}: 1 of 3 sub-folders are no classes of the network:\n"
        "- kat: there is no class 'kat'.\n"
        "The images of a class lie in a sub-folder with its name or number. Did you mean cat?"
    )


def test_many_strange_folders_are_counted(tmp_path):
    for index in range(9):
        (tmp_path / f"n{index}").mkdir()
    message = refused(tmp_path)
    assert "9 of 9 sub-folders are no classes" in message
    assert "- n4:" in message
    assert "- n5:" not in message
    assert "- and 4 more" in message


def test_a_folder_of_splits_says_which_to_name(tmp_path):
    write(tmp_path / "train" / "cat" / "a.png")
    write(tmp_path / "val" / "cat" / "a.png")
    assert refused(tmp_path) == (
        f"{tmp_path}: its sub-folders are parts of a data set: train, val.\n"
        f"Name one of them: {tmp_path / 'val'}."
    )


def test_a_folder_without_sub_folders(tmp_path):
    write(tmp_path / "a.png")
    write(tmp_path / "b.png")
    assert "holds no sub-folders, but 2 images.\n" in refused(tmp_path)


def test_sub_folders_without_images(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    assert "holds no images in its 2 sub-folders.\nNames of images end in .png" in refused(tmp_path)
    write(tmp_path / "cat" / "a.png")
    assert opened(tmp_path).remarks == (
        f"{tmp_path / 'dog'}: no image in it",
        "all images are of one class, 0: this says nothing of the others",
    )


def test_a_file_that_is_no_image_is_found_when_it_is_read(tmp_path):
    write(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "b.png").write_bytes(b"nothing")
    found = opened(tmp_path)
    assert len(found) == 2
    with pytest.raises(InputError, match="b.png: this is not an image that can be read"):
        found.image(1)


def test_a_large_file_is_refused_before_it_is_decoded(tmp_path):
    write(tmp_path / "cat" / "a.png", size=(20, 20))
    with pytest.raises(InputError, match="400"):
        opened(tmp_path, max_pixels=399).image(0)


# --- arrays ---

RGB = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)


@pytest.mark.parametrize("names", [("x_test", "y_test"), ("images", "labels"), ("x", "y")])
def test_arrays_under_their_usual_names(names, tmp_path):
    path = arrays(tmp_path / "d.npz", **dict(zip(names, (RGB, np.array([2, 0])), strict=True)))
    found = opened(path)
    assert len(found) == 2
    assert found.labels.tolist() == [2, 0]
    assert found.names[1] == f"{path}[1]"
    np.testing.assert_array_equal(found.image(1).pixels, RGB[1])
    assert str(found.image(1).path) == f"{path}[1]"


def test_a_split_goes_before_other_names(tmp_path):
    path = arrays(
        tmp_path / "d.npz",
        x_train=RGB,
        y_train=np.array([1, 1]),
        x=RGB[:1],
        y=np.array([[2]], "u1"),
    )
    assert opened(path, split="train").labels.tolist() == [1, 1]
    assert opened(path).labels.tolist() == [2]  # (N, 1) is as good


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 4, 5, 1)])
def test_grey_arrays(shape, tmp_path):
    grey = np.arange(40, dtype=np.uint8).reshape(shape)
    path = arrays(tmp_path / "d.npz", x=grey, y=np.array([0, 1]))
    one, three = (opened(path, channels=n).image(1).pixels for n in (1, 3))
    np.testing.assert_array_equal(one[..., 0], grey[1].reshape(4, 5))
    for channel in range(3):
        np.testing.assert_array_equal(three[..., channel], grey[1].reshape(4, 5))


def test_rgb_arrays_become_luminance_for_one_channel(tmp_path):
    path = arrays(tmp_path / "d.npz", x=RGB, y=np.array([0, 1]))
    found = opened(path, channels=1).image(1).pixels
    expected = np.asarray(PIL.Image.fromarray(RGB[1]).convert("L"))
    np.testing.assert_array_equal(found[..., 0], expected)


BAD_ARRAYS = {
    "chw": (
        {"x": RGB.transpose(0, 3, 1, 2)},
        "{path}: x: is an array of shape 2×3×4×5, with its channels before height and width.\n"
        "Images are (N, H, W), (N, H, W, 1) or (N, H, W, 3). "
        "Turn it with pixels.transpose(0, 2, 3, 1).",
    ),
    "flat": (
        {"x": RGB.reshape(2, -1)},
        "{path}: x: is an array of shape 2×60.\n"
        "Images are (N, H, W), (N, H, W, 1) or (N, H, W, 3).",
    ),
    "floats": (
        {"x": RGB / 255},
        "{path}: x: is an array of float64.\n"
        "Pixels are uint8, from 0 to 255; how others were scaled cannot be known. "
        "Save them as uint8.",
    ),
    "none": (
        {"x": RGB[:0], "y": np.array([], int)},
        "{path}: x: holds no images: its shape is 0×4×5×3.",
    ),
    "lengths": ({"y": np.array([0, 1, 2])}, "{path}: y: holds 3 labels for the 2 images of x."),
    "one-hot": (
        {"y": np.eye(3, dtype=np.uint8)[:2]},
        "{path}: y: is an array of shape 2×3.\n"
        "Labels are one number per image, (N,). One number each is labels.argmax(1).",
    ),
    "float labels": (
        {"y": np.array([0.0, 1.0])},
        "{path}: y: is an array of float64.\nLabels are whole numbers, from 0.",
    ),
    "out of range": (
        {"y": np.array([0, 3])},
        "{path}: 1 of 2 labels are no classes: label 1 is 3.\nThe network has classes 0 to 2.",
    ),
    "negative": (
        {"y": np.array([-1, 2])},
        "{path}: 1 of 2 labels are no classes: label 0 is -1.\nThe network has classes 0 to 2.",
    ),
    "from one": (
        {"y": np.array([1, 3])},
        "{path}: 1 of 2 labels are no classes: label 1 is 3.\n"
        "The network has classes 0 to 2. Labels that begin at 1 must be counted down first.",
    ),
    "huge": (
        {"y": np.array([0, 2**64 - 1], np.uint64)},
        "{path}: y: holds labels that are no classes.",
    ),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(case, tmp_path):
    named, message = BAD_ARRAYS[case]
    path = arrays(tmp_path / "d.npz", **{"x": RGB, "y": np.array([0, 1]), **named})
    assert refused(path) == message.format(path=path)


def test_a_network_of_other_channels(tmp_path):
    path = arrays(tmp_path / "d.npz", x=RGB, y=np.array([0, 1]))
    assert refused(path, channels=5) == f"{path}: x: has 3 channels, and the network takes 5."
    five = arrays(tmp_path / "e.npz", x=np.zeros((2, 4, 6, 5), np.uint8), y=np.array([0, 1]))
    assert opened(five, channels=5).image(0).pixels.shape == (4, 6, 5)


def test_other_names_and_splits(tmp_path):
    path = arrays(tmp_path / "d.npz", x_train=RGB, y_train=np.array([0, 1]), z=RGB)
    assert refused(path) == (
        f"{path}: holds no images with labels of the split 'test'; it holds x_train, y_train, z.\n"
        "They are x_test and y_test or images and labels or x and y. Name the split train."
    )


def test_pickles_are_never_read(tmp_path):
    path = arrays(tmp_path / "d.npz", x=np.array([RGB, None], object), y=np.array([0, 1]))
    assert refused(path).startswith(
        f"{path}: holds Python objects, which are not read: they can run code."
    )


def test_files_that_are_no_npz(tmp_path):
    text = tmp_path / "a.npz"
    text.write_text("hello")
    assert refused(text).startswith(f"{text}: is no .npz file.\nWrite one with numpy.savez(")
    assert refused(tmp_path / "none.npz").startswith(
        f"{tmp_path / 'none.npz'}: there is no such folder or file."
    )
    other = tmp_path / "b.npz"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("x.npy", b"not an array")
        archive.writestr("y.npy", b"")
    assert refused(other) == f"{other}: is damaged: x is no array of NumPy."


def test_a_damaged_npz(tmp_path):
    whole = io.BytesIO()
    np.savez_compressed(whole, x=RGB, y=np.array([0, 1]))
    broken = bytearray(whole.getvalue())
    broken[60:90] = bytes(30)
    path = tmp_path / "d.npz"
    path.write_bytes(broken)
    assert refused(path).startswith(f"{path}: is damaged, or no .npz file of NumPy.")


# --- parts ---


def test_a_part_is_spread_over_the_classes_and_the_same_every_time(tmp_path):
    labels = np.repeat([0, 1, 2], [50, 5, 100])
    pixels = np.arange(155, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    whole = opened(arrays(tmp_path / "d.npz", x=pixels, y=labels))
    part = spread(whole, 31)
    assert np.bincount(part.labels).tolist() == [13, 5, 13]
    shown = [int(part.image(i).pixels[0, 0, 0]) for i in range(31)]
    assert shown == sorted(set(shown))
    assert labels[shown].tolist() == part.labels.tolist()
    assert part.names[0] == whole.names[shown[0]]
    assert part.remarks == ("31 of 155 images, drawn evenly over the classes",)
    again, other = spread(whole, 31), spread(whole, 31, seed=1)
    assert list(again.names) == list(part.names)
    assert list(other.names) != list(part.names)


def test_a_part_as_large_as_the_whole_is_the_whole(tmp_path):
    whole = opened(arrays(tmp_path / "d.npz", x=RGB, y=np.array([0, 1])))
    assert spread(whole, 2) is whole
    with pytest.raises(UsageError, match="count=0 must be at least 1"):
        spread(whole, 0)
