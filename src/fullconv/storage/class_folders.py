"""A folder of images with one sub-folder per class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fullconv.errors import FullconvError, InputError, UsageError, listed
from fullconv.storage.listing import SUFFIXES, images_in

Resolve = Callable[[str], int]
"""The number of the class that a folder is named after; raises UsageError if there is none."""

SPLITS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))
LISTED = 5  # sub-folders shown in a message


def read_folders(
    path: Path, resolve: Resolve, outputs: int
) -> tuple[tuple[Path, ...], npt.NDArray[np.int64], tuple[str, ...]]:
    """The images in the sub-folders of `path`, their classes, and what was taken for granted.

    Raises InputError if there are no sub-folders, no images in them, some are no classes, or a
    folder cannot be read.
    """
    entries = entries_of(path)
    folders = [entry for entry in entries if entry.is_dir()]
    if not folders:
        loose = sum(entry.suffix.lower() in SUFFIXES for entry in entries)
        raise InputError(
            f"holds no sub-folders{f', but {loose:,} images' if loose else ''}.",
            where=str(path),
            why="The images of a class lie in a sub-folder with its name or number.",
            hint="Make one per class, or name an .npz file.",
        )
    numbers, remarks = _numbers(path, folders, resolve, outputs)
    files: list[Path] = []
    labels: list[int] = []
    for folder, number in zip(folders, numbers, strict=True):
        found = images_in(folder)
        if not found:
            remarks.append(f"{folder}: no image in it")
        files += found
        labels += [number] * len(found)
    if not files:
        raise InputError(
            f"holds no images in its {len(folders)} sub-folders.",
            where=str(path),
            why=f"Names of images end in {', '.join(SUFFIXES)}.",
        )
    return tuple(files), np.array(labels, np.int64), tuple(remarks)


def entries_of(path: Path) -> list[Path]:
    """What lies in a folder, sorted, but hidden files. Raises InputError if it cannot be read."""
    try:
        return sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", where=str(path)) from error


def _numbers(
    path: Path, folders: list[Path], resolve: Resolve, outputs: int
) -> tuple[list[int], list[str]]:
    """The class of every sub-folder, and what there is to say about how it was found."""
    numbers: list[int] = []
    strange: dict[str, FullconvError] = {}
    for folder in folders:
        try:
            numbers.append(resolved(folder.name, resolve))
        except UsageError as error:
            strange[folder.name] = error
    if not strange:
        return numbers, []
    if not numbers and len(folders) == outputs:
        first, last = folders[0].name, folders[-1].name
        return list(range(outputs)), [
            f"{path}: the {outputs} sub-folders are taken for the classes in sorted order, "
            f"{first} for 0 to {last} for {outputs - 1}; their names are no classes of the network"
        ]
    splits = [name for name in strange if name.lower() in SPLITS]
    if splits:
        raise InputError(
            f"its sub-folders are parts of a data set: {', '.join(splits)}.",
            where=str(path),
            hint=f"Name one of them: {path / splits[-1]}.",
        )
    lines = [f"{name}: {error.what}" for name, error in strange.items()]
    raise InputError(
        f"{len(strange)} of {len(folders)} sub-folders are no classes of the network:"
        f"{listed(lines, LISTED)}",
        where=str(path),
        why="The images of a class lie in a sub-folder with its name or number.",
        hint=next(iter(strange.values())).hint,
    )


def resolved(name: str, resolve: Resolve) -> int:
    """The class of a sub-folder; `tabby_cat` may stand for `tabby cat`."""
    try:
        return resolve(name)
    except UsageError:
        if "_" not in name:
            raise
        try:
            return resolve(name.replace("_", " "))
        except UsageError:
            pass
        raise
