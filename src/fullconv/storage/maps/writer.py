"""A score map being written: each chunk durable, then entered in the journal; complete at last.

In this order, so that a process may be killed anywhere: the files of a chunk, each whole under
another name, flushed, renamed, the folder flushed; then the chunk's line in the journal, flushed.
When all are there, the journal in order, and last of all the word that the map is complete.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

import numpy.typing as npt

from fullconv.errors import FullconvError, IncompleteError
from fullconv.geometry import times
from fullconv.storage.files import PARTS, atomic, make_folder, put
from fullconv.storage.locking import locked
from fullconv.storage.maps import document, journal
from fullconv.storage.maps.about import MapAbout
from fullconv.storage.maps.begun import check_fits, check_place, check_same, found
from fullconv.storage.maps.cells import stored
from fullconv.storage.maps.chunks import Encoder
from fullconv.storage.maps.document import Document
from fullconv.storage.maps.faults import collected
from fullconv.storage.maps.journal import Entry, Journal
from fullconv.storage.maps.layout import Index, Layout
from fullconv.storage.sources.source import Fault


class MapWriter:
    """A map that this process alone writes, until it is closed; a context manager.

    Attributes:
        path: its folder.
        about: what it says of itself; `source` and `made_by` are those it was begun with.
        layout: its sizes; iterating over it gives the index of every chunk.
        remarks: what was found amiss when it was opened, a sentence each.
    """

    def __init__(
        self,
        path: Path,
        about: MapAbout,
        layout: Layout,
        held: ExitStack,
        verified: Callable[[int, int], None] | None = None,
    ) -> None:
        """Go on with the map in a folder that `held` keeps for this process, or begin one there.

        See `create_or_resume`, which is how a map is opened.
        """
        self.path, self.layout, self._held = path, layout, held
        there = found(path)
        if there is not None:
            check_same(path, there, Document(about, layout))
            about = replace(about, source=there.about.source, made_by=there.about.made_by)
        self.about = about
        self._encoder = Encoder(layout)
        self._complete = there is not None and there.complete
        self._closed = False
        self._entering = Lock()
        if there is None:
            self._put_document(Document(about, layout))
        for name, content in self._encoder.documents.items():
            make_folder(path / name)
            put(path / name / document.NAME, content)
        self._tidy()
        self._open_journal(begun=there is not None, verified=verified)

    @classmethod
    def create_or_resume(
        cls,
        path: str | os.PathLike[str],
        about: MapAbout,
        shape: Sequence[int],
        chunk: Sequence[int],
        dtype: str = "float32",
        *,
        verified: Callable[[int, int], None] | None = None,
    ) -> MapWriter:
        """Begin a map in a folder, or go on with the one that is there.

        Args:
            path: the folder; made, with those above it, if it is not there.
            about: what the map says of itself.
            shape: `(rows, cols, K)`, K the number of all classes of the network, whichever of them
                are stored; any number of axes before K.
            chunk: `(rows, cols)` of a chunk.
            dtype: "float32", "float16", or "uint8" for probabilities.
            verified: called with how many chunks of how many have been verified.

        What the journal of a map that is there claims is verified: all files are read.

        Raises UsageError for sizes that fit no map; InputError if the folder holds something else,
        or a map of another model, plan, source or shape, naming what differs; FullconvError if
        another process holds it, or it cannot be written to.
        """
        layout = Layout(tuple(shape), tuple(chunk), dtype, about.kept)
        check_fits(about, layout)
        root = Path(path)
        check_place(root)
        new = not root.exists()
        try:
            make_folder(root)
            with ExitStack() as held:
                held.enter_context(locked(root, leave=False))
                writer = cls(root, about, layout, held, verified)
                writer._held = held.pop_all()
            return writer
        except BaseException:
            if new:
                with suppress(OSError):  # unless there is something in it already
                    root.rmdir()
            raise

    @property
    def done(self) -> frozenset[Index]:
        """The chunks that are written; those found on opening were verified then."""
        return frozenset(self._journal.entries)

    @property
    def complete(self) -> bool:
        """Whether the map is marked complete."""
        return self._complete

    def write(self, index: Index, block: npt.NDArray[Any], faults: Iterable[Fault] = ()) -> None:
        """Write a chunk. When this returns, it is on the disk and in the journal.

        A chunk may be written again; what is written last counts. Threads may write different
        chunks at the same time.

        Args:
            index: (strip, band).
            block: scores of all classes, `(rows, cols, K)`, NaN where there are none; the last
                chunks of an axis have fewer rows or columns.
            faults: what could not be read of the source where these cells look.

        Raises IndexError or ValueError for what is no chunk of this map, UsageError for scores that
        its type cannot hold, and FullconvError if it cannot be written; what was written before
        stays.
        """
        self._check_open()
        if index not in self.layout:
            raise IndexError(f"chunk {index} is outside a map of {times(self.layout.counts)}")
        expected = *(stop - start for start, stop in self.layout.span(index)), self.layout.shape[-1]
        if block.shape != expected:
            raise ValueError(f"chunk {index} has the shape {expected}, not {block.shape}")
        files = self._encoder.encode(index, stored(block, self.layout))
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        with self._resumable():
            self._reopen()
            for name, content in files.items():
                with atomic(self.path / name) as part:
                    part.write_bytes(content)
            with self._entering:
                self._journal.enter(Entry(index, digests, collected(faults)))

    def finish(self) -> None:
        """Mark the map complete. Raises IncompleteError if a chunk is missing.

        FullconvError if that cannot be written; the same call may be made again.
        """
        self._check_open()
        done, total = len(self.done), len(self.layout)
        if done < total:
            raise IncompleteError(
                f"{total - done:,} of {total:,} chunks are missing.",
                where=str(self.path),
                hint="Write them before the map is finished.",
            )
        entries = self._journal.entries.values()
        faults = collected(fault for entry in entries for fault in entry.faults)
        with self._resumable():
            self._journal.rewrite()
            self._put_document(Document(self.about, self.layout, True, faults))
        self._complete = True

    def close(self) -> None:
        """Let go of the folder; nothing is written any more."""
        self._closed = True
        self._held.close()

    def __enter__(self) -> MapWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open_journal(self, *, begun: bool, verified: Callable[[int, int], None] | None) -> None:
        """Verify what the journal claims, and take back what is not so."""
        path = self.path / journal.NAME
        self.remarks: tuple[str, ...] = ()
        lost = begun and not path.exists()
        self._journal = Journal(path, self.about, self.layout)
        entries = self._journal.entries
        unsound = []
        for count, entry in enumerate(list(entries.values()), 1):
            if not entry.holds(self.path):
                unsound.append(entry.index)
                del entries[entry.index]
            if verified is not None:
                verified(count, len(entries) + len(unsound))
        if self._complete and len(entries) < len(self.layout):
            self._reopen()
        if unsound:
            self._journal.rewrite()
            which = ", ".join(str(index) for index in unsound[:3])
            more = f" and {len(unsound) - 3:,} more" if len(unsound) > 3 else ""
            noun = "Chunk" if len(unsound) == 1 else "Chunks"
            verb = "is" if len(unsound) == 1 else "are"
            self.remarks += (
                f"{noun} {which}{more} {verb} missing or damaged, and will be written again.",
            )
        if lost:
            self.remarks += (f"There is no {journal.NAME}: all chunks will be written again.",)

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"the map {self.path} was closed, and others may write it")

    def _reopen(self) -> None:
        """Mark a complete map incomplete, before a chunk of it changes."""
        if self._complete:
            self._put_document(Document(self.about, self.layout))
            self._complete = False

    def _put_document(self, value: Document) -> None:
        put(self.path / document.NAME, value.to_bytes(self._encoder.documents))

    def _tidy(self) -> None:
        """Remove what processes that were killed have left."""
        for folder in (self.path, *(self.path / name for name in self.layout.arrays)):
            for stale in folder.glob(PARTS):
                with suppress(OSError):
                    stale.unlink()

    @contextmanager
    def _resumable(self) -> Iterator[None]:
        """Say of what cannot be written that what was written before is kept."""
        try:
            yield
        except FullconvError as error:
            raise FullconvError(
                error.what,
                where=error.where,
                why=f"{len(self.done):,} of {len(self.layout):,} chunks are written and kept.",
                hint=f"{error.hint} The same call then goes on from there.",
            ) from error
