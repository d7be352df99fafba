"""A folder that one process at a time works in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fullconv.errors import FullconvError

NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder while the block runs; whatever ends the process lets go of it.

    Raises FullconvError if another process holds it, or it cannot be written to.
    """
    try:
        handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise FullconvError(
            f"cannot be written to: {error.strerror}.",
            where=str(folder),
            hint="Check its permissions, or name another folder.",
        ) from error
    try:
        if not _taken(handle):
            raise FullconvError(
                "another process works in this folder.",
                where=str(folder),
                hint="Wait until it has ended, or name another folder.",
            )
        yield
    finally:
        os.close(handle)  # which lets go of it


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
