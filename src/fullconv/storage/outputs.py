"""What is checked of files before they are written, and how two of them are written as one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fullconv.errors import InputError, UsageError
from fullconv.storage.description import read_description
from fullconv.storage.files import atomic


def check_writable(*paths: str | os.PathLike[str]) -> None:
    """Raise what writing these files would raise of their places: before the work, not after it."""
    for path in paths:
        with suppress(_NothingWrittenError), atomic(path):
            raise _NothingWrittenError


class _NothingWrittenError(Exception):
    """Leaves `atomic` before it replaces anything."""


def check_replaceable(path: Path, form: str, purpose: str) -> None:
    """Raise UsageError if there is a file at `path` and it is no description of this format.

    For files whose name nobody typed: the description beside `purpose`.
    """
    if not path.exists():
        return
    with suppress(InputError):
        if read_description(path).get("format") == form:
            return
    raise UsageError(
        "is there already, and is something else.",
        where=str(path),
        why=f"The description of {purpose} would be written over it.",
        hint="Choose another name, or move that file away.",
    )


@contextmanager
def kept(path: Path) -> Iterator[None]:
    """Put the file at `path` back as it was if the block fails.

    For two files that belong together: the block writes this one, then the other, and both change
    or none.
    """
    target = Path(os.path.realpath(path))
    old = target.with_name(f".fullconv-{secrets.token_hex(8)}.old{target.suffix}")
    there = target.exists()
    try:
        if there:
            try:
                os.link(target, old)
            except OSError:  # a disk without hard links
                shutil.copy2(target, old)
        yield
    except BaseException:
        with suppress(OSError):
            if not there:
                target.unlink()
            elif old.exists() and not old.samefile(target):
                os.replace(old, target)
        raise
    finally:
        with suppress(OSError):
            old.unlink()
