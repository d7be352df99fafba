"""What is checked before a map is begun in a folder, or gone on with."""

from __future__ import annotations

from pathlib import Path

from fullconv.errors import InputError, UsageError, listed
from fullconv.geometry import times
from fullconv.storage.maps import document
from fullconv.storage.maps.about import MapAbout, differences
from fullconv.storage.maps.document import Document, read_document
from fullconv.storage.maps.layout import Layout


def check_fits(about: MapAbout, layout: Layout) -> None:
    """Refuse sizes that are not those of the grid, and a type that cannot hold the values."""
    if about.grid.shape != layout.cells:
        raise UsageError(
            f"a map of {times(layout.cells)} cells is to be written, and the windows on "
            f"{times(about.size)} px make {times(about.grid.shape)}."
        )
    if about.classes is not None and len(about.classes) != layout.shape[-1]:
        raise UsageError(
            f"{len(about.classes):,} names of classes are given, and a cell has "
            f"{layout.shape[-1]:,} scores."
        )
    if layout.dtype == "uint8" and about.values != "probabilities":
        raise UsageError(
            "uint8 holds probabilities, from 0 to 1, and the map is to hold scores.",
            hint="Store probabilities, or store scores as float32 or float16.",
        )


def check_place(root: Path) -> None:
    """Refuse a file, and a folder with something else in it."""
    try:
        if root.exists() and not root.is_dir():
            raise InputError(
                "is a file, and a map is a folder.", where=str(root), hint="Name another target."
            )
        names = {entry.name for entry in root.iterdir()} if root.exists() else set()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", where=str(root)) from error
    if document.NAME not in names and any(name[0] != "." for name in names):
        raise InputError(
            f"this folder holds something else: there is no {document.NAME} in it.",
            where=str(root),
            hint="Name an empty folder, or one that is not there yet.",
        )


def found(root: Path) -> Document | None:
    """What the map in a folder says of itself, None if there is none yet."""
    if not (root / document.NAME).exists():
        return None
    try:
        return read_document(root)
    except InputError as error:
        hint = error.hint or "Name another target."
        raise InputError(error.what, where=error.where, why=error.why, hint=hint) from error


def check_same(root: Path, there: Document, now: Document) -> None:
    """Refuse to go on with a map that was begun otherwise, naming all that differs."""
    other = [
        *differences(there.about.to_dict(), now.about.to_dict()),
        *differences(document.sizes(there.layout), document.sizes(now.layout)),
    ]
    if other:
        raise InputError(
            f"this folder holds a map that was begun otherwise:{listed(other)}",
            where=str(root),
            hint="Name another target, or give the same to go on with this one.",
        )
