"""A file as a source: upright, at the channels asked for, the region asked for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fullconv.errors import InputError
from fullconv.geometry import Box, times
from fullconv.storage.images import BLOCK, ORIENTATIONS
from fullconv.storage.raster import FETCH_AGAIN, Array
from fullconv.storage.sources.channels import in_channels
from fullconv.storage.sources.source import (
    Frame,
    Region,
    Source,
    checked,
    extent,
    hashed,
    moved,
    placed,
    slices,
)
from fullconv.storage.sources.stored import Stored

SMALL = 8 << 20  # bytes up to which a file's fingerprint is that of all its bytes
SAMPLE, SAMPLES = 1 << 16, 64  # of a larger one so many bytes at so many places


@dataclass(frozen=True, slots=True)
class Turn:
    """How stored px lie in the upright image of `size` px: axes change places, then are flipped."""

    size: tuple[int, ...]
    swapped: bool = False
    flipped: tuple[bool, ...] = (False, False)

    @classmethod
    def of(cls, orientation: int, stored: tuple[int, ...]) -> Turn:
        """That of an EXIF orientation, for an image stored with `stored` px."""
        swapped, down, right = ORIENTATIONS.get(orientation, ORIENTATIONS[1])
        if len(stored) != 2:
            return cls(stored, flipped=(False,) * len(stored))
        return cls(stored[::-1] if swapped else stored, swapped, (down < 0, right < 0))

    def _flip(self, box: Box) -> Box:
        dims = len(self.size)
        spans = list(zip(box[:dims], box[dims:], self.size, self.flipped, strict=True))
        starts = (size - stop if flip else start for start, stop, size, flip in spans)
        stops = (size - start if flip else stop for start, stop, size, flip in spans)
        return (*starts, *stops)

    def stored(self, box: Box) -> Box:
        """A box of the upright image in px as stored."""
        box = self._flip(box)
        return (box[1], box[0], box[3], box[2]) if self.swapped else box

    def upright(self, box: Box) -> Box:
        """A box of px as stored in the upright image."""
        return self._flip((box[1], box[0], box[3], box[2]) if self.swapped else box)

    def turned(self, block: Array) -> Array:
        """A view of a stored block `(*space, …)`, upright."""
        block = block.swapaxes(0, 1) if self.swapped else block
        return block[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that a format has opened.

    Attributes:
        stored: its pixels.
        frame: where they lie, rows and columns as stored.
        orientation: EXIF orientation, 1 to 8.
        tables: gives what a fingerprint is to contain beside bytes of the file.
        files: the files that make it up, for `Source.check` and the fingerprint.
    """

    stored: Stored
    frame: Frame
    orientation: int = 1
    tables: Callable[[], object] = lambda: None
    files: tuple[Path, ...] = ()


class FileSource(Source):
    """The part `region` of an opened file, with `channels` channels."""

    def __init__(
        self, path: Path, opened: Opened, channels: int, region: Sequence[int] | None = None
    ) -> None:
        self.name = str(path)
        self._open = ExitStack()
        self._stored, self._tables = opened.stored, opened.tables
        self._turn = Turn.of(opened.orientation, opened.stored.size)
        whole = self._turn.size
        dims = len(whole)
        self._region = (*(0,) * dims, *whole)
        if region is not None:
            self._region = checked(region, whole, self.name, "region")
            if 0 in extent(self._region):
                raise InputError("the region holds no px.", where=self.name)
        self.size = extent(self._region)
        self.channels, self.dtype = channels, opened.stored.dtype
        frame = opened.frame
        if self._turn.swapped:
            mpp = None if frame.mpp is None else frame.mpp[::-1]
            frame = replace(frame, scale=frame.scale[::-1], mpp=mpp)
        self.frame = frame.cropped(self._region[:dims])
        grain = opened.stored.grain
        self.grain = grain[::-1] if self._turn.swapped else grain
        self._files = {file: _state(file) for file in opened.files}
        self._lock = threading.Lock()  # decoders have a position in their file

    def read(self, box: Box) -> Region:
        """See `Source.read`; one thread at a time reads."""
        box = self.checked(box)
        dims = len(self.size)
        shape = extent(box)
        if 0 in shape:
            return Region(np.zeros((*shape, self.channels), self.dtype))
        corner = self._region[:dims]
        there = self._turn.stored(moved(box, corner))
        with self._lock:
            try:
                found = self._stored.read(there)
            except InputError as error:
                raise placed(error, self.name) from error.__cause__
            except MemoryError as error:
                raise InputError(
                    f"a box of {times(shape)} px does not fit in memory.", where=self.name
                ) from error
            except Exception as error:  # of the system, or of a decoder that met what it cannot
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                raise InputError(
                    f"can no longer be read: {reason}.", where=self.name, hint=FETCH_AGAIN
                ) from error
        back = [-step for step in corner]
        faults = tuple(
            replace(fault, box=moved(self._turn.upright(fault.box), back)) for fault in found.faults
        )
        pixels = in_channels(self._turn.turned(found.pixels), self.channels)
        missing = None if found.missing is None else self._turn.turned(found.missing)
        if faults:
            pixels = np.require(pixels, requirements="W")
            for fault in faults:
                pixels[slices(fault.box, box[:dims])] = 0
        return Region(
            np.ascontiguousarray(pixels),
            faults,
            None if missing is None else np.ascontiguousarray(missing),
        )

    def held(self) -> int:
        """See `Source.held`."""
        return self._stored.held()

    def beside(self, box: Box) -> int:
        """See `Source.beside`."""
        there = self._turn.stored(moved(box, self._region[: len(self.size)]))
        own = self._stored.bytes_of(there)
        turned = any(self._turn.flipped) or self._turn.swapped
        copies = (self._stored.colours != self.channels) + turned
        return self._stored.beside(there) + copies * own + 16 * BLOCK * (copies > 0)

    def fingerprint(self) -> str:
        """See `Source.fingerprint`."""
        with self._lock:
            try:
                found = [_sampled(file) for file in self._files]
                found.append(repr(self._tables()).encode())
            except OSError as error:
                raise InputError(
                    f"can no longer be read: {error.strerror}.", where=self.name, hint=FETCH_AGAIN
                ) from error
        view = (self.size, self.channels, str(self.dtype), self._region, self.frame.scale)
        return hashed(*found, view)

    def check(self) -> None:
        """See `Source.check`."""
        for file, state in self._files.items():
            if _state(file) != state:
                raise InputError(
                    "the file changed while it was read.",
                    where=str(file),
                    why="What was read before and what is read now are not one image.",
                    hint="Start again when nothing writes to it any more.",
                )

    def owns(self, files: ExitStack) -> None:
        """Close `files` when this is closed."""
        self._open.push(files)

    def close(self) -> None:
        """Let go of the file."""
        self._stored.close()
        self._open.close()


def _state(file: Path) -> tuple[int, int] | None:
    """When it was last written to, and its length; None if it is gone."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _sampled(path: Path) -> bytes:
    """All bytes of a small file; of a large one its length, head, tail and places between."""
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        if length <= SMALL:
            return file.read()
        parts = [str(length).encode()]
        for number in range(SAMPLES):
            file.seek((length - SAMPLE) * number // (SAMPLES - 1))
            parts.append(file.read(SAMPLE))
    return b"".join(parts)


def sampled_files(files: Sequence[Path], name: Callable[[Path], str]) -> str:
    """A fingerprint of very many files: names, lengths and the bytes of some of them."""
    step = max(1, len(files) // SAMPLES)
    listed = [(name(file), os.stat(file).st_size) for file in files]
    heads = []
    for file in files[::step]:
        with file.open("rb") as opened:
            heads.append(opened.read(SAMPLE))
    return hashed(listed, *heads)
