"""A folder that one process at a time works in, or a file that one at a time writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fullconv.errors import FullconvError
from fullconv.storage.files import REMEDIES

NAME = ".lock"


@contextmanager
def locked(folder: Path, *, leave: bool = True) -> Iterator[None]:
    """Hold a folder while the block runs; whatever ends the process lets go of it.

    The hidden file in it by which it is held stays there, unless told not to `leave` it.

    Raises FullconvError if another process holds it, or it cannot be written to.
    """
    lock = folder / NAME
    with _held(folder, lock, "works in this folder", "another folder"):
        try:
            yield
        finally:
            if not leave:
                with suppress(OSError):
                    lock.unlink()


@contextmanager
def locked_file(file: Path) -> Iterator[None]:
    """Hold a file, which need not be there, while the block runs, by a hidden file beside it.

    Raises FullconvError if another process holds it, or its folder cannot be written to.
    """
    lock = file.with_name(f".{file.name}{NAME}")
    with _held(file, lock, "writes this file", "another file"):
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()


@contextmanager
def _held(what: Path, lock: Path, doing: str, other: str) -> Iterator[None]:
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise FullconvError(
            f"cannot be written to: {error.strerror}.",
            where=str(what),
            hint=REMEDIES.get(error.errno or 0, f"Check its permissions, or name {other}."),
        ) from error
    try:
        if not _taken(handle) or not _there(handle, lock):
            raise FullconvError(
                f"another process {doing}.",
                where=str(what),
                hint=f"Wait until it has ended, or name {other}.",
            )
        yield
    finally:
        os.close(handle)  # which lets go of it


def _there(handle: int, lock: Path) -> bool:
    """Whether the file that is held still lies there: who held it before may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle), lock.stat())
    except OSError:
        return False


def _taken(handle: int) -> bool:
    """Whether the lock could be taken, without waiting."""
    if os.name == "nt":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
