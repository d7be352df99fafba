import errno
import os

import pytest

from fullconv.errors import FullconvError, UsageError
from fullconv.storage.folders import atomic_folder, check_folder, scratch


def marked(folder):
    return (folder / "mark").exists()


def write(target, error=None):
    with atomic_folder(target, replaces=marked, kind="marked folder") as part:
        (part / "mark").write_text(str(target.exists()))
        (part / "inner").mkdir()
        if error:
            raise error


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_appears_when_the_block_ends(tmp_path):
    write(tmp_path / "a")
    assert (tmp_path / "a" / "mark").read_text() == "False"
    write(tmp_path / "a")
    assert (tmp_path / "a" / "mark").read_text() == "True"
    assert names(tmp_path) == ["a"]
    plain = tmp_path / "plain"
    plain.mkdir()
    assert (tmp_path / "a").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(2, "x", "y")])
def test_an_error_in_the_block_leaves_everything_as_it_was(error, tmp_path):
    write(tmp_path / "a")
    (tmp_path / "a" / "old").touch()
    with pytest.raises(type(error)) as caught:
        write(tmp_path / "a", error)
    assert caught.value is error
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["inner", "mark", "old"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_no_more(number, tmp_path):
    with pytest.raises(FullconvError) as caught:
        write(tmp_path / "a", OSError(number, os.strerror(number)))
    assert str(caught.value).startswith(
        f"{tmp_path / 'a'}: cannot be written: {os.strerror(number)}.\n"
    )
    assert names(tmp_path) == []


def test_if_it_cannot_take_its_place_the_old_one_comes_back(tmp_path, monkeypatch):
    write(tmp_path / "a")
    (tmp_path / "a" / "old").touch()
    rename, calls = os.rename, []

    def failing(one, other):
        calls.append(other)
        if len(calls) == 2:
            raise PermissionError(errno.EACCES, "Permission denied", str(one))
        rename(one, other)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(FullconvError, match="cannot be written: Permission denied."):
        write(tmp_path / "a")
    assert names(tmp_path) == ["a"]
    assert "old" in names(tmp_path / "a")


def test_what_is_something_else_stays(tmp_path):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    (tmp_path / "empty").mkdir()
    for name in ("file", "full"):
        for call in (write, lambda path: check_folder(path, replaces=marked, kind="marked folder")):
            with pytest.raises(UsageError) as caught:
                call(tmp_path / name)
            assert str(caught.value) == (
                f"{tmp_path / name}: is there already, and is no marked folder.\n"
                "What is written would take its place. Choose another name, or move it away."
            )
    check_folder(tmp_path / "empty", replaces=marked, kind="")
    write(tmp_path / "empty")
    assert (tmp_path / "file").read_text() == "precious"
    assert names(tmp_path) == ["empty", "file", "full"]


def test_a_link_keeps_leading_to_the_folder(tmp_path):
    write(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "mark").read_text() == "True"
    assert names(tmp_path) == ["link", "real"]


def test_a_scratch_folder_is_gone_afterwards(tmp_path):
    with pytest.raises(ValueError, match="no"), scratch(tmp_path / "a.tif") as folder:
        assert folder.parent == tmp_path
        (folder / "x").write_text("x")
        raise ValueError("no")
    assert names(tmp_path) == []
    missing = pytest.raises(FullconvError, match="the folder .* does not exist")
    with missing, scratch(tmp_path / "no" / "a"):
        pytest.fail("the block must not run")
