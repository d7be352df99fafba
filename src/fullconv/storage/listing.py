"""From what a person names (files, folders, patterns) to the image files that are meant."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from fullconv.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", ".webp", ".gif")
"""What the names of images end in; only asked for files that nobody named one by one."""


def image_files(names: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The files that are named: themselves, all images in a folder, all that match a pattern.

    Folders are searched through, folders in them too, in the order of the names; what is hidden or
    has not the name of an image is passed over. A file that exists is never taken for a pattern.
    Each file comes once, where it was first named.

    Raises InputError for a folder without images, one that cannot be read, and a pattern that
    nothing matches. A file that is named and not there is left to whoever reads it.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        text = os.fspath(name)
        if path.is_dir():
            files = images_in(path)
            if not files:
                raise InputError(
                    "there is no image in this folder.",
                    where=text,
                    why=f"Names of images end in {', '.join(SUFFIXES)}.",
                    hint="Name the files one by one if theirs do not.",
                )
        elif glob.has_magic(text) and not path.exists():
            files = sorted(map(Path, glob.glob(text, recursive=True)))
            files = [file for file in files if file.is_file()]
            if not files:
                raise InputError("no file matches this pattern.", where=text)
        else:
            files = [path]
        found.update(dict.fromkeys(files))
    return list(found)


def images_in(folder: Path) -> list[Path]:
    """The images in a folder and in those in it, by their names; what is hidden is passed over.

    Raises InputError if one of the folders cannot be read.
    """
    files = []
    for parent, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [
            Path(parent, name)
            for name in sorted(names)
            if not name.startswith(".") and name.lower().endswith(SUFFIXES)
        ]
    return files


def _unreadable(error: OSError) -> None:
    """Raise what `os.walk` would pass over."""
    raise InputError(
        f"this folder cannot be read: {error.strerror}.",
        where=str(error.filename),
        hint="Allow it, or name the folders or files beside it one by one.",
    ) from error
