"""A disk that is full or read-only, and two processes that write one map."""

import errno
import itertools
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import map_contents
import numpy as np
import pytest
from disk_events import watched

from fullconv.errors import FullconvError, IncompleteError
from fullconv.storage.maps import MapWriter, open_map


def test_a_disk_that_is_full_from_any_step_on(memory_disk):
    """The map goes on from what was written, and nothing half-written is left."""
    wanted = map_contents.fill(memory_disk / "wanted", kept=("top", 2)).path
    errors = 0
    for number in itertools.count(1):
        target, steps, written = memory_disk / f"map{number}", itertools.count(1), set()

        def step(name, argument):
            if next(steps) >= number:  # noqa: B023
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        try:
            with watched(step), map_contents.begin(target, kept=("top", 2)) as writer:
                for index in writer.layout:
                    block = map_contents.block(writer, index)
                    writer.write(index, block, map_contents.faults(index))
                    written.add(index)
                writer.finish()
        except FullconvError as error:
            assert type(error) is FullconvError
            assert error.exit_code == 1
            assert "No space left on device" in error.what
            assert "Free some space there" in error.hint
            if written:
                assert f"{len(written)} of 4 chunks are written and kept." in error.why
                assert error.hint.endswith("The same call then goes on from there.")
            errors += 1
        assert not list(target.rglob(".fullconv-*"))
        if target.exists():
            with map_contents.begin(target, kept=("top", 2)) as writer:
                assert writer.done >= written
        map_contents.fill(target, kept=("top", 2))
        assert map_contents.tree(target) == map_contents.tree(wanted)
        if len(written) == 4 and next(steps) <= number:
            break
    assert errors > 60


@contextmanager
def mounted(folder: Path, size: str):
    """A disk of its own."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remounted(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def noise(writer: MapWriter, index: tuple[int, ...]) -> np.ndarray:
    shape = *(stop - start for start, stop in writer.layout.span(index)), 6
    return np.random.default_rng(index).random(shape, dtype=np.float32)


def large(target: Path) -> MapWriter:
    about = map_contents.about(size=(192 * 8 + 24, 192 * 8 + 24))
    return MapWriter.create_or_resume(target, about, (192, 192, 6), (64, 64), "float32")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a tmpfs")
def test_a_small_disk_fills_up_and_is_made_larger(tmp_path):
    with mounted(tmp_path / "disk", "500k"):
        target, written = tmp_path / "disk" / "map", []
        with (
            pytest.raises(FullconvError, match="No space left on device") as caught,
            large(target) as writer,
        ):
            for index in writer.layout:
                writer.write(index, noise(writer, index))
                written.append(index)
        assert 3 <= len(written) < 9
        assert f"{len(written)} of 9 chunks are written and kept. Free some space" in str(
            caught.value
        )
        with pytest.raises(IncompleteError, match=f"incomplete: {len(written)} of 9 chunks"):
            open_map(target)
        part = open_map(target, incomplete=True)
        assert part.done == set(written)

        remounted(tmp_path / "disk", "size=2M")
        with large(target) as writer:
            assert writer.done == set(written)
            assert writer.remarks == ()
            for index in set(writer.layout) - writer.done:
                writer.write(index, noise(writer, index))
            writer.finish()
        with large(tmp_path / "wanted") as wanted:
            for index in wanted.layout:
                wanted.write(index, noise(wanted, index))
            wanted.finish()
        assert map_contents.tree(target) == map_contents.tree(tmp_path / "wanted")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a tmpfs")
def test_a_disk_that_is_read_only(tmp_path):
    disk = tmp_path / "disk"
    with mounted(disk, "2M"):
        map_contents.fill(disk / "whole")
        with map_contents.begin(disk / "part") as writer:
            writer.write((0, 0), map_contents.block(writer, (0, 0)))
        before = map_contents.tree(disk)
        remounted(disk, "ro")
        for name, what in (
            ("whole", "cannot be written to: Read-only file system."),
            ("part", "cannot be written to: Read-only file system."),
            ("new", "this folder cannot be made: Read-only file system."),
        ):
            with pytest.raises(FullconvError) as caught:
                map_contents.begin(disk / name)
            assert caught.value.what == what
            assert caught.value.hint == "The disk is read-only; write to another one."
            assert caught.value.exit_code == 1
        assert open_map(disk / "whole").read().shape == map_contents.SHAPE
        assert open_map(disk / "part", incomplete=True).done == {(0, 0)}
        remounted(disk, "rw")
        assert map_contents.tree(disk) == before


def test_a_folder_that_must_not_be_written_to(tmp_path, monkeypatch):
    """As for somebody who is not root."""
    open_ = os.open

    def refused(path, flags, *more, **named):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return open_(path, flags, *more, **named)

    map_contents.fill(tmp_path / "map")
    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(
        FullconvError, match=r"cannot be written to: Permission denied\.\nCheck its"
    ):
        map_contents.begin(tmp_path / "map")
    with pytest.raises(FullconvError, match="cannot be written to"):
        map_contents.begin(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_file_that_grows_beyond_what_the_system_allows(tmp_path):
    resource = pytest.importorskip("resource")
    with large(tmp_path / "map") as writer:
        writer.write((0, 0), noise(writer, (0, 0)))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            with pytest.raises(FullconvError, match="File too large") as caught:
                writer.write((0, 1), noise(writer, (0, 1)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "limits the size of a file" in caught.value.hint
        assert writer.done == {(0, 0)}
        writer.write((0, 1), noise(writer, (0, 1)))  # and it goes on
    with large(tmp_path / "map") as writer:
        assert writer.done == {(0, 0), (0, 1)}


SECOND = """
import sys
sys.path[:0] = sys.argv[2:]
import map_contents
from fullconv.errors import FullconvError
try:
    map_contents.begin(map_contents.Path(sys.argv[1]))
except FullconvError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_second_process_is_refused(tmp_path):
    def second() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", SECOND, str(tmp_path / "map"), *sys.path],
            capture_output=True,
            text=True,
            check=False,
        )

    with map_contents.begin(tmp_path / "map") as writer:
        writer.write((0, 0), map_contents.block(writer, (0, 0)))
        before = map_contents.tree(tmp_path)
        done = second()
        assert (done.returncode, done.stdout) == (
            1,
            f"{tmp_path / 'map'}: another process works in this folder.\n"
            "Wait until it has ended, or name another folder.\n",
        )
        assert map_contents.tree(tmp_path) == before
        # Readers need no lock.
        assert open_map(tmp_path / "map", incomplete=True).done == {(0, 0)}
    assert not (tmp_path / "map" / ".lock").exists()
    done = second()
    assert (done.returncode, done.stdout) == (0, "")
