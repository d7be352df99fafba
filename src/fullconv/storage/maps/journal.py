"""The journal of a map: which chunks are done, and the checksums of their files.

A line of JSON for each, with a checksum of its own. The first line says of what scan it is. A chunk
is entered when its files are on the disk, so whatever is entered survives a kill or a power cut. A
line that was cut short counts for nothing: its chunk is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fullconv.errors import FullconvError, InputError, listed
from fullconv.storage.description import SEAL, is_sealed, sealed
from fullconv.storage.files import REMEDIES, put
from fullconv.storage.maps.about import MapAbout, differences
from fullconv.storage.maps.faults import from_lists, to_lists
from fullconv.storage.maps.layout import Index, Layout
from fullconv.storage.sources.source import Fault

NAME = "journal.jsonl"
FORMAT = "fullconv map journal 1"


@dataclass(frozen=True)
class Entry:
    """A chunk that is done.

    Attributes:
        index: which one.
        files: its files, as paths inside the map, with the sha256 of each.
        faults: what could not be read of the source where the chunk's cells look.
    """

    index: Index
    files: Mapping[str, str]
    faults: tuple[Fault, ...] = ()

    def line(self) -> bytes:
        """The entry as a line of the journal."""
        value = {"chunk": list(self.index), "files": dict(self.files)}
        return _line({**value, "faults": to_lists(self.faults)})

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Entry:
        """What a line says. KeyError, TypeError, ValueError, AttributeError if it is no entry."""
        files = {str(name): str(digest) for name, digest in value["files"].items()}
        return cls(tuple(map(int, value["chunk"])), files, from_lists(value["faults"]))

    def holds(self, root: Path) -> bool:
        """Whether all its files are there, as they were when the chunk was entered."""
        return all(_digest_of(root / name) == digest for name, digest in self.files.items())


class Journal:
    """The journal of a map that is being written."""

    def __init__(self, path: Path, about: MapAbout, layout: Layout) -> None:
        """The journal at `path`, made if it is not there, and brought into order if it is.

        Raises InputError if it is the journal of another scan or cannot be read, and FullconvError
        if it cannot be made.
        """
        self.path = path
        self._head = _head(about)
        self.entries: dict[Index, Entry] = {}
        if path.exists():
            head, self.entries = _read(path, layout)
            self._check_head(head)
        self.rewrite()

    def _check_head(self, head: Mapping[str, Any] | None) -> None:
        # A first line that is damaged costs nothing: the map itself says what made it, and every
        # chunk that is claimed has its checksum.
        other = [] if head is None else list(differences(head, self._head))
        if other:
            raise InputError(
                f"is the journal of another scan:{listed(other)}",
                where=str(self.path),
                hint="Name another target, or delete this one to begin again.",
            )

    def rewrite(self) -> None:
        """Bring the lines into the order of the chunks, whole or not at all.

        What is on the disk then depends on the entries alone, not on how they came about.
        """
        lines = [self.entries[index].line() for index in sorted(self.entries)]
        content = b"".join([_line(self._head), *lines])
        put(self.path, content)
        self._end = len(content)

    def enter(self, entry: Entry) -> None:
        """Enter a chunk that is on the disk; it is done when this returns.

        Raises FullconvError if it cannot be written; what was entered before stays.
        """
        line = entry.line()
        try:
            with self.path.open("r+b", buffering=0) as file:
                file.truncate(self._end)  # whatever an attempt that failed has left
                file.seek(self._end)
                rest = memoryview(line)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
        except OSError as error:
            hint = REMEDIES.get(error.errno or 0, "Check the permissions of the folder.")
            raise FullconvError(
                f"cannot be written: {error.strerror or error}.", where=str(self.path), hint=hint
            ) from error
        self._end += len(line)
        self.entries[entry.index] = entry


def entered(path: Path, layout: Layout) -> dict[Index, Entry]:
    """The chunks that a journal claims, none if there is none.

    Raises InputError if it cannot be read.
    """
    return _read(path, layout)[1] if path.exists() else {}


def _head(about: MapAbout) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "model": about.model,
        "plan": about.plan,
        "fingerprint": about.fingerprint,
    }


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(sealed(value)).encode() + b"\n"


def _read(path: Path, layout: Layout) -> tuple[dict[str, Any] | None, dict[Index, Entry]]:
    """The first line, None if it is no such line, and the chunks entered.

    Lines that were cut short or damaged are left out; of two for a chunk the later one counts.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", where=str(path)) from error
    first, *rest = content.split(b"\n")
    head = _unsealed(first)
    entries: dict[Index, Entry] = {}
    for value in filter(None, map(_unsealed, rest)):
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            entry = Entry.from_dict(value)
            if entry.index in layout and tuple(entry.files) == layout.files(entry.index):
                entries[entry.index] = entry
    return head, entries


def _unsealed(line: bytes) -> dict[str, Any] | None:
    """What a line says, None if it was cut short or damaged."""
    try:
        value = json.loads(line)
        whole = is_sealed(value)
    except (ValueError, AttributeError, RecursionError):
        return None
    return {key: entry for key, entry in value.items() if key != SEAL} if whole else None


def _digest_of(path: Path) -> str:
    """The sha256 of a file, "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
