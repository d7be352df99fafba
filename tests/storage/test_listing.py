import errno
import os
from pathlib import Path

import pytest

from fullconv.errors import InputError
from fullconv.storage.class_folders import read_folders
from fullconv.storage.listing import image_files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "deep/c.tiff", ".git/d.png",
                 "odd[1].png"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_is_its_images_in_order_folders_in_it_last(folder):
    assert image_files([folder]) == [
        folder / name for name in ("a.JPG", "b.png", "odd[1].png", "deep/c.tiff")
    ]


def test_a_pattern_is_what_it_matches(folder):
    assert image_files(["*.png"]) == [Path("b.png"), Path("odd[1].png")]
    assert image_files(["**/*.tiff"]) == [Path("deep/c.tiff")]


def test_a_file_that_is_there_is_no_pattern(folder):
    assert image_files(["odd[1].png"]) == [Path("odd[1].png")]


def test_each_file_once_where_it_was_first_named(folder):
    assert image_files(["b.png", "*.png", Path("b.png")]) == [Path("b.png"), Path("odd[1].png")]


def test_a_named_file_is_left_to_its_reader(folder):
    assert image_files(["not there.png", "notes.txt"]) == [Path("not there.png"), Path("notes.txt")]


def test_nothing_found(folder):
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=r"^empty: there is no image in this folder\.\nNames of"):
        image_files(["empty"])
    with pytest.raises(InputError) as caught:
        image_files(["*.webp"])
    assert str(caught.value) == "*.webp: no file matches this pattern."
    with pytest.raises(InputError, match="no file matches"):
        image_files(["dee[p]"])  # a folder is no file


@pytest.fixture
def locked(folder, monkeypatch) -> Path:
    """A folder that may not be read, for root neither."""
    real = os.scandir

    def scandir(path):
        if Path(path).name.endswith("deep"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return folder


def test_a_folder_that_cannot_be_read_is_not_passed_over(locked):
    for named, where in ((".", os.path.join(".", "deep")), ("deep", "deep")):
        with pytest.raises(InputError) as caught:
            image_files([named])
        assert str(caught.value) == (
            f"{where}: this folder cannot be read: Permission denied.\n"
            "Allow it, or name the folders or files beside it one by one."
        )


def test_nor_is_one_of_the_folders_of_a_class(locked, tmp_path):
    (tmp_path / "set" / "cat" / "deep").mkdir(parents=True)
    (tmp_path / "set" / "cat" / "a.png").touch()
    with pytest.raises(InputError, match=r"deep: this folder cannot be read: Permission denied\."):
        read_folders(tmp_path / "set", resolve=lambda name: 0, outputs=1)


def test_hidden_folders_may_be_locked(locked):
    (locked / "deep").rename(locked / ".deep")
    assert len(image_files([locked])) == 3
