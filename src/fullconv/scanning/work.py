"""The scan itself: band by band, the chunks that are missing, each written when it is whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import prod

import numpy as np
import numpy.typing as npt

from fullconv.api.machine import give_back_freed, resident_bytes
from fullconv.errors import FullconvError, IncompleteError, InputError
from fullconv.evaluate.scoring import check_finite, is_out_of_memory, probabilities_of
from fullconv.geometry import Box
from fullconv.hosts.torch_fx.streaming.stream import Stream, Strip
from fullconv.scanning.gaps import Gaps, joined
from fullconv.scanning.opening import Ready
from fullconv.scanning.passes import Pass, boxes, macs_of_pass, passes
from fullconv.scanning.pixels import Feed
from fullconv.scanning.summary import Standing, written
from fullconv.storage.maps import MapWriter
from fullconv.storage.maps.layout import Index, Span
from fullconv.storage.sources import Fault, Region

Progress = Callable[[Standing], None]
OnFault = Callable[[Fault], None]


class Work:
    """What is left to do of a map, and what was done of it.

    Attributes:
        computed: chunks.
        cells, blank: of the chunks computed; of all chunks written those without a score.
        macs: multiply-accumulates done.
        seconds: that it took.
    """

    def __init__(
        self,
        ready: Ready,
        target: MapWriter,
        *,
        strict: bool = False,
        progress: Progress | None = None,
        on_fault: OnFault | None = None,
    ) -> None:
        self._ready, self._target = ready, target
        self._strict, self._progress, self._on_fault = strict, progress, on_fault
        self.computed = self.cells = self.blank = 0
        self.macs = self.seconds = 0.0
        self._began = time.perf_counter()
        self._told: set[Fault] = set()
        self._there = sum(self._cells_of(index) for index in target.done)

    def run(self) -> None:
        """Write every chunk that is missing, and mark the map complete.

        Raises InputError if the source changed, and of what cannot be read if it is strict;
        IncompleteError if the target can no longer be written to.
        """
        plan, done = self._ready.plan, self._target.done
        down, across = plan.chunks
        wanted = []
        for number in range(across):
            missing = [self._index(i, number) not in done for i in range(down)]
            wanted.append([want and self._looked_at(i, number) for i, want in enumerate(missing)])
        self._work = sum(
            self._cells_of(self._index(i, number))
            for number, column in enumerate(wanted)
            for i, want in enumerate(column)
            if want
        )
        for number in range(across):
            self._leave_blank(number, wanted[number])
            for part in passes(plan, wanted[number]):
                try:
                    self._pass(number, part, wanted[number])
                except (MemoryError, RuntimeError) as error:
                    if not is_out_of_memory(error):
                        raise
                    raise _short_of_memory(self._ready) from error
        if not self._target.complete:
            _kept(self._target.finish)
        self.seconds = time.perf_counter() - self._began

    def _index(self, down: int, across: int) -> Index:
        return (down, across, 0)[: len(self._ready.plan.grid)]

    def _cells_of(self, index: Index) -> int:
        return prod(stop - start for start, stop in self._target.layout.span(index))

    def _looked_at(self, down: int, across: int) -> bool:
        """Whether a chunk has any cell to look at."""
        mask = self._ready.mask
        spans = self._target.layout.span(self._index(down, across))
        return mask is None or bool(mask.look(*spans).any())

    def _leave_blank(self, number: int, wanted: list[bool]) -> None:
        """Write the chunks of a band that have no cell to look at."""
        for i, want in enumerate(wanted):
            index = self._index(i, number)
            if want or index in self._target.done:
                continue
            spans = self._target.layout.span(index)
            self._write(index, self._empty(spans), [])
            self._there += self._cells_of(index)
            self._report(0)

    def _empty(self, spans: tuple[Span, ...]) -> npt.NDArray[np.float32]:
        shape = (*(stop - start for start, stop in spans), self._target.layout.shape[-1])
        return np.full(shape, np.nan, np.float32)

    def _pass(self, number: int, part: Pass, wanted: list[bool]) -> None:
        """Stream over a part of a band, and write the wanted chunks."""
        ready, plan, layout = self._ready, self._ready.plan, self._target.layout
        band = plan.band(number)
        gaps = Gaps(ready.sight, layout.span(self._index(0, number))[1:])
        before = self.macs
        reader = boxes(plan, band, part)
        stream = Stream(ready.network, plan.schedule, band)
        with Feed(ready.source, reader, ready.preparation, self._noting(gaps)) as feed:
            block, look, faults = None, None, list[Fault]()
            for strip in stream.run(feed, part.start, part.stop):
                i = strip.number // plan.steps
                if wanted[i]:
                    index = self._index(i, number)
                    spans = layout.span(index)
                    if block is None:
                        block, faults = self._empty(spans), []
                        look = None if ready.mask is None else ready.mask.look(*spans)
                    first = strip.start - spans[0][0]
                    rows = slice(first, first + strip.stop - strip.start)
                    self._fill(block[rows], strip)
                    seen = None if look is None else look[rows]
                    faults += gaps.blank(block[rows], strip.start, seen)
                    if seen is not None:
                        block[rows][~seen] = np.nan
                    if strip.stop == spans[0][1]:
                        self._write(index, block, faults)
                        self.computed += 1
                        self.cells += self._cells_of(index)
                        block = None
                        self._report(0)
                    else:
                        self._report(block[: rows.stop, ..., 0].size)
                if strip.stop < plan.grid[0]:
                    gaps.forget(strip.stop)
        self.macs = before + macs_of_pass(plan, band, part)

    def _fill(self, rows: npt.NDArray[np.float32], strip: Strip) -> None:
        """Scores of a strip, `(rows, *columns, K)`."""
        scores = strip.answers[0]
        check_finite(self._ready.fcn, scores, self._ready.source.name)
        if self._ready.values == "probabilities":
            scores = probabilities_of(self._ready.fcn, scores)
        rows[...] = np.moveaxis(scores[0].float().cpu().numpy(), 0, -1)

    def _noting(self, gaps: Gaps) -> Callable[[Box, Region], None]:
        def note(box: Box, region: Region) -> None:
            for fault in region.faults:
                if self._strict:
                    raise InputError(
                        f"px could not be read: {written(fault)}.",
                        where=self._ready.source.name,
                        why=f"{len(self._target.done):,} chunks are written and kept.",
                        hint="Repair the file, or scan without strict: what looks at these px "
                        "then has no score.",
                    )
                if self._on_fault is not None and fault not in self._told:
                    self._told.add(fault)
                    self._on_fault(fault)
            gaps.note(box, region)

        return note

    def _write(self, index: Index, block: npt.NDArray[np.float32], faults: list[Fault]) -> None:
        self.blank += int(np.isnan(block[..., 0]).sum())
        _kept(lambda: self._target.write(index, block, joined(faults)))
        give_back_freed()  # or what lies between blocks in use grows from strip to strip

    def _report(self, cells: int) -> None:
        """Say how far it is; `cells` are those of a chunk that is not whole yet."""
        if self._progress is None:
            return
        plan = self._ready.plan
        scale = prod(plan.size) / prod(plan.grid)
        new = (self.cells + cells) * scale
        seconds = time.perf_counter() - self._began
        rate = new / seconds if seconds else 0.0
        left = (self._work * scale - new) / rate if rate else None
        px = round((self._there + self.cells + cells) * scale)
        done = len(self._target.done)
        self._progress(Standing(px, prod(plan.size), rate, seconds, left, done, resident_bytes()))


def _kept(write: Callable[[], None]) -> None:
    """Write, and say of what cannot be written that it can be gone on with."""
    try:
        write()
    except IncompleteError:
        raise
    except FullconvError as error:
        if type(error) is not FullconvError:
            raise
        raise IncompleteError(
            error.what, where=error.where, why=error.why, hint=error.hint
        ) from error


def _short_of_memory(ready: Ready) -> FullconvError:
    return FullconvError(
        "the memory did not suffice for a strip of the image.",
        where=ready.source.name,
        why="Something else took what was free when the scan was planned.",
        hint="Free some memory: the same call goes on. Or begin another map with less "
        "(max_memory, --max-memory).",
    )
