"""Files are written whole or not at all: nobody ever finds half an output."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fullconv.errors import FullconvError

# What to do about the errors that name no file of their own, but can only mean the one written.
FULL = "Free some space there, or write to another disk."
PARTS = ".fullconv-*.part*"
"""What `atomic` leaves in a folder when the process is killed; nobody writes to it any more."""
REMEDIES = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: "The disk or the system limits the size of a file; write to another disk.",
    errno.EROFS: "The disk is read-only; write to another one.",
    errno.EIO: "The disk reports a fault; write to another one.",
}


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, which takes its place when the block ends well.

    The temporary file exists, is empty, and has the suffix of `path`. When the block ends it is
    flushed to the disk and renamed, so that readers see the old content or the new, also after a
    power cut. When the block raises, it is removed and `path` is left as it was. An existing file
    keeps its permissions; a symbolic link stays a link, and the file it leads to is replaced.

    Raises FullconvError if the folder is missing or cannot be written to, `path` is a directory, a
    device or write-protected, or the disk is full. Other errors of the block pass unchanged.
    """
    target = Path(os.path.realpath(path))
    mode = _checked(Path(path), target)
    part = target.with_name(f".fullconv-{secrets.token_hex(8)}.part{target.suffix}")
    try:
        # Not tempfile: that makes private files, and what is written is to have usual permissions.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        if mode is not None:
            part.chmod(mode)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise unwritable(Path(path), error) from error

    try:
        yield part
        _flush(part)
        os.replace(part, target)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError) and _concerns(error, part, target):
            raise unwritable(Path(path), error) from error
        raise
    _flush_folder(target.parent)  # the rename too must reach the disk


def put(path: Path, content: bytes) -> None:
    """Write a file as `atomic` does, unless it holds this content already."""
    with suppress(OSError):
        if path.read_bytes() == content:
            return
    with atomic(path) as part:
        part.write_bytes(content)


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are not there, each on the disk when this returns.

    Raises FullconvError if that cannot be, or a file is in the way.
    """
    above = [path, *path.parents]
    try:
        missing = above[: next(n for n, folder in enumerate(above) if folder.exists())]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            _flush_folder(folder.parent)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file is in its place")
    except OSError as error:
        hint = REMEDIES.get(error.errno or 0, "Check its permissions, or name another folder.")
        raise FullconvError(
            f"this folder cannot be made: {error.strerror or error}.", where=str(path), hint=hint
        ) from error


def _checked(path: Path, target: Path) -> int | None:
    """Permissions of the file to be replaced, None if there is none. Raises FullconvError."""
    try:
        if not target.parent.is_dir():
            raise FullconvError(
                f"cannot be written: the folder {target.parent} does not exist.",
                where=str(path),
                hint="Create it first, or name another place.",
            )
        status = target.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unwritable(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise FullconvError(
            "cannot be written: it is a directory.", where=str(path), hint="Name a file in it."
        )
    if not stat.S_ISREG(status.st_mode):
        raise FullconvError(
            "cannot be written: it is not a regular file.",
            where=str(path),
            why="The output replaces what is there, and a device or pipe must stay.",
            hint="Name a file.",
        )
    if not os.access(target, os.W_OK):
        raise FullconvError(
            "cannot be written: the file that is there is write-protected.",
            where=str(path),
            hint="Change its permissions, remove it, or name another file.",
        )
    return stat.S_IMODE(status.st_mode)


def _flush(part: Path) -> None:
    """Wait until the file's content is on the disk."""
    with part.open("r+b") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; not every system can say so."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _concerns(error: OSError, part: Path, target: Path) -> bool:
    """Whether an error raised in the block is about the file being written."""
    if error.filename is None:
        return error.errno in REMEDIES
    return {str(error.filename), str(error.filename2)} & {str(part), str(target)} != set()


def unwritable(path: Path, error: OSError) -> FullconvError:
    """What to say of an output that the system does not let us write."""
    hint = REMEDIES.get(error.errno or 0, "Check the permissions of the folder and the path.")
    return FullconvError(
        f"cannot be written: {error.strerror or error}.", where=str(path), hint=hint
    )
