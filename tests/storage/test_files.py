import errno
import os
import stat
import subprocess
import sys
import textwrap

import pytest

from fullconv.errors import FullconvError
from fullconv.storage.files import atomic, make_folder, put


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir())


def half_write(target, error):
    with atomic(target) as part:
        part.write_bytes(b"half")
        if error:
            raise error


def test_the_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "map.png"
    with atomic(target) as part:
        assert part.parent == tmp_path
        assert part.suffix == ".png"
        assert part.read_bytes() == b""
        part.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert leftovers(tmp_path) == ["map.png"]


def test_a_string_and_a_relative_path_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with atomic("out.json") as part:
        part.write_text("{}")
    assert (tmp_path / "out.json").read_text() == "{}"


@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyboardInterrupt(), FileNotFoundError(2, "x", "y")]
)
def test_an_error_in_the_block_leaves_everything_as_it_was(error, tmp_path):
    target = tmp_path / "map.tif"
    target.write_bytes(b"old")
    with pytest.raises(type(error)) as caught:
        half_write(target, error)
    assert caught.value is error
    assert target.read_bytes() == b"old"
    assert leftovers(tmp_path) == ["map.tif"]


def test_writers_at_once_do_not_meet(tmp_path):
    target = tmp_path / "a.txt"
    with atomic(target) as one, atomic(target) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert target.read_text() == "one"  # the outer block ends last
    assert leftovers(tmp_path) == ["a.txt"]


def test_the_content_is_on_the_disk_before_the_name_changes(tmp_path, monkeypatch):
    done = []
    real = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (done.append("flush"), real[0](number)))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("rename"), real[1](*names)))
    with atomic(tmp_path / "a") as part:
        part.write_text("x")
    assert done == ["flush", "rename", "flush"]  # the file, then its name in the folder


def test_permissions_are_those_of_any_new_file_or_of_the_old_one(tmp_path):
    plain, new, old = tmp_path / "plain", tmp_path / "new", tmp_path / "old"
    plain.touch()
    old.touch()
    old.chmod(0o640)
    for target in (new, old):
        with atomic(target) as part:
            part.write_text("x")
    assert new.stat().st_mode == plain.stat().st_mode
    assert stat.S_IMODE(old.stat().st_mode) == 0o640


def test_a_link_keeps_leading_to_the_file(tmp_path):
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "a.txt", tmp_path / "link.txt"
    link.symlink_to(real)
    with atomic(link) as part:
        part.write_text("x")
    assert link.is_symlink()
    assert real.read_text() == "x"
    assert leftovers(real.parent) == ["a.txt"]


def failure(path) -> str:
    with pytest.raises(FullconvError) as caught, atomic(path):
        pytest.fail("the block must not run")
    assert caught.value.exit_code == 1
    assert str(caught.value).startswith(f"{path}: cannot be written: ")
    return str(caught.value).removeprefix(f"{path}: cannot be written: ")


def test_a_missing_folder(tmp_path):
    assert failure(tmp_path / "no" / "a.png") == (
        f"the folder {tmp_path / 'no'} does not exist.\nCreate it first, or name another place."
    )


def test_a_directory(tmp_path):
    assert failure(tmp_path) == "it is a directory.\nName a file in it."


def test_a_device_stays_what_it_is(tmp_path):
    assert failure("/dev/null").startswith("it is not a regular file.\nThe output replaces what")
    os.mkfifo(tmp_path / "pipe")
    assert failure(tmp_path / "pipe").endswith("a device or pipe must stay. Name a file.")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_write_protected_file(tmp_path, monkeypatch):
    target = tmp_path / "a.png"
    target.write_bytes(b"precious")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everything
    assert failure(target) == (
        "the file that is there is write-protected.\n"
        "Change its permissions, remove it, or name another file."
    )
    assert target.read_bytes() == b"precious"


def test_a_folder_without_permission(tmp_path, monkeypatch):
    def denied(path, *args):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", denied)
    assert failure(tmp_path / "a.png") == (
        "Permission denied.\nCheck the permissions of the folder and the path."
    )


def test_a_name_that_is_too_long(tmp_path):
    assert failure(tmp_path / ("x" * 300)).startswith("File name too long.\n")


@pytest.mark.parametrize("moment", ["in the block", "when flushing", "when renaming"])
def test_a_full_disk(moment, tmp_path, monkeypatch):
    target = tmp_path / "a.png"
    target.write_bytes(b"old")

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    inside = OSError(errno.ENOSPC, "No space left on device")
    if moment != "in the block":
        monkeypatch.setattr(os, "fsync" if moment == "when flushing" else "replace", full)
        inside = None
    with pytest.raises(FullconvError) as caught:
        half_write(target, inside)
    assert str(caught.value) == (
        f"{target}: cannot be written: No space left on device.\n"
        "Free some space there, or write to another disk."
    )
    assert target.read_bytes() == b"old"
    assert leftovers(tmp_path) == ["a.png"]


def test_a_file_that_outgrows_the_limit_of_the_system(tmp_path):
    """The real thing: the kernel refuses the write half-way."""
    code = f"""
        import resource
        from fullconv.errors import FullconvError
        from fullconv.storage.files import atomic, make_folder, put
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            with atomic({str(tmp_path / "a.bin")!r}) as part:
                part.write_bytes(bytes(5000))
        except FullconvError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        f"{tmp_path / 'a.bin'}: cannot be written: File too large.\n"
        "The disk or the system limits the size of a file; write to another disk.\n"
    )
    assert leftovers(tmp_path) == []


def test_errors_about_other_files_are_not_claimed(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a.txt"):
        (tmp_path / "other.txt").read_text()
    assert leftovers(tmp_path) == []


def test_a_temporary_file_that_was_taken_away(tmp_path):
    with (
        pytest.raises(FullconvError, match="No such file or directory"),
        atomic(tmp_path / "a.txt") as part,
    ):
        part.unlink()


def test_a_file_that_holds_it_already_is_not_written(tmp_path):
    target = tmp_path / "a.json"
    put(target, b"old")
    before = target.stat()
    put(target, b"old")
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    put(target, b"new")
    assert target.read_bytes() == b"new"
    assert leftovers(tmp_path) == ["a.json"]


def test_folders_are_made_with_those_above_and_flushed_into_them(tmp_path, monkeypatch):
    flushed = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda h: (flushed.append(os.fstat(h).st_ino), fsync(h)))
    make_folder(tmp_path / "a" / "b")
    assert flushed == [tmp_path.stat().st_ino, (tmp_path / "a").stat().st_ino]
    make_folder(tmp_path / "a" / "b")
    assert len(flushed) == 2


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "b"):
        with pytest.raises(FullconvError, match="this folder cannot be made: ") as caught:
            make_folder(path)
        assert caught.value.where == str(path)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(FullconvError, match="No space left on device") as caught:
        make_folder(tmp_path / "new")
    assert caught.value.hint == "Free some space there, or write to another disk."
