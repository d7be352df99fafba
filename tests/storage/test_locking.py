import errno
import os

import pytest

from fullconv.errors import FullconvError
from fullconv.storage.locking import locked, locked_file


@pytest.mark.parametrize("leave", [True, False])
def test_a_folder_is_held_by_one_at_a_time(leave, tmp_path):
    with locked(tmp_path, leave=leave):
        assert (tmp_path / ".lock").exists()
        with (
            pytest.raises(FullconvError, match="another process works in this folder"),
            locked(tmp_path),
        ):
            pass
    assert (tmp_path / ".lock").exists() == leave
    with locked(tmp_path, leave=leave):
        pass


def test_a_file_is_held_by_one_at_a_time(tmp_path):
    with locked_file(tmp_path / "a"):
        with (
            pytest.raises(FullconvError, match="another process writes this file"),
            locked_file(tmp_path / "a"),
        ):
            pass
        with locked_file(tmp_path / "b"):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "Free some space there, or write to another disk."),
        (errno.EROFS, "The disk is read-only; write to another one."),
        (errno.EACCES, "Check its permissions, or name another folder."),
    ],
)
def test_a_folder_that_cannot_be_held(number, hint, tmp_path, monkeypatch):
    def refused(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(FullconvError) as caught, locked(tmp_path):
        pass
    assert caught.value.what == f"cannot be written to: {os.strerror(number)}."
    assert caught.value.hint == hint
