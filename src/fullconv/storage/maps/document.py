"""`zarr.json` of a map: what it is, and whether it is complete.

The folder is a group of Zarr 3. All that fullconv says of it is under "fullconv" in the group's
attributes; the metadata of its arrays is there once more, consolidated, so that programs that
list the group need not look for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fullconv.errors import InputError, UsageError
from fullconv.storage.description import read_description, to_text
from fullconv.storage.maps.about import MapAbout
from fullconv.storage.maps.faults import from_lists, to_lists
from fullconv.storage.maps.layout import SKIPPED, TOP, Layout
from fullconv.storage.sources.source import Fault

NAME = "zarr.json"
KEY = "fullconv"
FORMAT, VERSION = "fullconv score map", 1


@dataclass(frozen=True)
class Document:
    """What a map says of itself.

    Attributes:
        about: what made it, and where it lies.
        layout: its sizes.
        complete: whether all its chunks are there.
        faults: what could not be read of the source, once it is complete.
    """

    about: MapAbout
    layout: Layout
    complete: bool = False
    faults: tuple[Fault, ...] = ()

    def to_bytes(self, arrays: Mapping[str, bytes]) -> bytes:
        """The file, with the metadata of these arrays."""
        attributes = {
            "format": FORMAT,
            "version": VERSION,
            "complete": self.complete,
            **sizes(self.layout),
            **({"skipped": SKIPPED, "one": TOP} if self.layout.dtype == "uint8" else {}),
            **self.about.to_dict(),
            "faults": to_lists(self.faults),
        }
        value = {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {KEY: attributes},
            "consolidated_metadata": {
                "kind": "inline",
                "must_understand": False,
                "metadata": {name: json.loads(text) for name, text in arrays.items()},
            },
        }
        # What UTF-8 cannot write, halves of a surrogate pair in a file's name, becomes \udcff.
        return to_text(value).encode("utf-8", "backslashreplace")


def sizes(layout: Layout) -> dict[str, Any]:
    """The sizes of a map as its attributes have them."""
    return {"shape": list(layout.shape), "chunk": list(layout.chunk), "dtype": layout.dtype}


def read_document(root: Path) -> Document:
    """What the map in a folder says of itself.

    Raises InputError if there is no map, or another version of fullconv made it.
    """
    try:
        if not root.is_dir():
            found = "is a file, and a map is a folder" if root.exists() else "there is no such map"
            raise InputError(f"{found}.", where=str(root))
        given = read_description(root / NAME) if (root / NAME).exists() else {}
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", where=str(root)) from error
    attributes = given.get("attributes")
    attributes = attributes.get(KEY) if isinstance(attributes, dict) else None
    if not isinstance(attributes, dict) or attributes.get("format") != FORMAT:
        raise InputError(
            "is no score map of fullconv.",
            where=str(root),
            why=f"Its {NAME} names another format." if given else f"There is no {NAME} in it.",
        )
    if attributes.get("version") != VERSION:
        raise InputError(
            f"is a score map of version {attributes.get('version')}, and this fullconv reads "
            f"version {VERSION}.",
            where=str(root),
            hint="Read it with the fullconv that made it.",
        )
    try:
        about = MapAbout.from_dict(attributes)
        return Document(
            about,
            Layout(
                tuple(attributes["shape"]),
                tuple(attributes["chunk"]),
                attributes["dtype"],
                about.kept,
            ),
            attributes["complete"] is True,
            from_lists(attributes["faults"]),
        )
    except (KeyError, TypeError, ValueError, UsageError, InputError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(
            "is damaged, or was changed.", where=str(root / NAME), why=f"It says: {reason}."
        ) from error
