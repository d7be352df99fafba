"""Folders are written whole or not at all, as files are."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fullconv.errors import FullconvError, UsageError
from fullconv.storage.files import REMEDIES, unwritable


@contextmanager
def atomic_folder(
    path: str | os.PathLike[str], *, replaces: Callable[[Path], bool], kind: str
) -> Iterator[Path]:
    """A new folder beside `path`, which takes its place when the block ends well.

    Where there is a folder already it is replaced if it is empty or `replaces` says so of it;
    `kind` names what that would be. When the block raises, what was written is removed and `path`
    is left as it was. For an instant between two renames there is no folder at `path`.

    Raises UsageError if something else is there, FullconvError if the folder around it is missing
    or cannot be written to, or the disk is full. Other errors of the block pass unchanged.
    """
    target = Path(os.path.realpath(path))
    check_folder(path, replaces=replaces, kind=kind)
    with scratch(path) as part:
        try:
            yield part
            _flush()
        except OSError as error:
            if _concerns(error, part):
                raise unwritable(Path(path), error) from error
            raise
        old = _hidden(target, "old")
        try:
            if target.exists():
                os.rename(target, old)
            try:
                os.rename(part, target)
            except BaseException:
                with suppress(OSError):
                    os.rename(old, target)
                raise
        except OSError as error:
            raise unwritable(Path(path), error) from error
        shutil.rmtree(old, ignore_errors=True)


def check_folder(
    path: str | os.PathLike[str], *, replaces: Callable[[Path], bool], kind: str
) -> None:
    """Raise what writing this folder would raise of its place: before the work, not after it."""
    target = Path(os.path.realpath(path))
    with scratch(path):
        if not target.exists():
            return
        if target.is_dir() and (not any(target.iterdir()) or replaces(target)):
            return
    raise UsageError(
        f"is there already, and is no {kind}.",
        where=str(path),
        why="What is written would take its place.",
        hint="Choose another name, or move it away.",
    )


@contextmanager
def scratch(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A hidden folder beside `path`, on the same disk, that is gone when the block ends.

    Raises FullconvError if there is no folder around `path`, or it cannot be written to.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FullconvError(
            f"cannot be written: the folder {target.parent} does not exist.",
            where=str(path),
            hint="Create it first, or name another place.",
        )
    part = _hidden(target, "part")
    try:
        part.mkdir()
    except OSError as error:
        raise unwritable(Path(path), error) from error
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _hidden(target: Path, ending: str) -> Path:
    return target.with_name(f".fullconv-{secrets.token_hex(8)}.{ending}")


def _flush() -> None:
    """Wait until everything is on the disk: one call instead of one for each of many files."""
    if hasattr(os, "sync"):
        os.sync()


def _concerns(error: OSError, part: Path) -> bool:
    """Whether an error raised in the block is about what is being written."""
    if error.filename is None:
        return error.errno in REMEDIES
    return str(error.filename).startswith(str(part))
