from pathlib import Path

import pytest

from fullconv.errors import InputError
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
