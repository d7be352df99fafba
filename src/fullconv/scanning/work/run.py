"""The scan itself: band by band, the chunks that are missing, each written when it is whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from math import prod

import numpy as np
import numpy.typing as npt

from fullconv.api.machine import give_back_freed, resident_bytes
from fullconv.errors import FullconvError, IncompleteError, InputError
from fullconv.evaluate.scoring import check_finite, is_out_of_memory, probabilities_of
from fullconv.geometry import Box
from fullconv.hosts.torch_fx.streaming.stream import Strip
from fullconv.scanning.opening import Ready
from fullconv.scanning.sight.gaps import Gaps, joined
from fullconv.scanning.summary import Standing, written
from fullconv.scanning.work.chunk import Chunk, empty
from fullconv.scanning.work.passes import Pass, boxes, macs_of_pass, passes, strips
from fullconv.scanning.work.pixels import Feed
from fullconv.storage.maps import MapWriter
from fullconv.storage.maps.layout import Index
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
            for part in passes(plan, plan.band(number), wanted[number]):
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
            self._write(index, empty(index, self._target.layout), [])
            self._there += self._cells_of(index)
            self._report(0)

    def _pass(self, number: int, part: Pass, wanted: list[bool]) -> None:
        """Stream over a part of a band, and write the wanted chunks."""
        ready, plan, layout = self._ready, self._ready.plan, self._target.layout
        band = plan.band(number)
        gaps = Gaps(ready.sight, layout.span(self._index(0, number))[1:])
        reader = boxes(plan, band, part)
        feed = Feed(ready.source, reader, ready.preparation, self._noting(gaps))
        run = strips(ready.network, plan, band, part, feed)
        with feed, closing(run):
            chunk: Chunk | None = None
            for strip in run:
                i = strip.number // plan.steps
                if wanted[i]:
                    chunk = chunk or Chunk(self._index(i, number), layout, ready.mask)
                    chunk.take(self._scores(strip), strip.start, gaps)
                    if chunk.whole:
                        self._write(chunk.index, chunk.block, chunk.faults)
                        self.computed += 1
                        self.cells += chunk.cells
                        chunk = None
                    self._report(chunk.cells if chunk else 0)
                if strip.stop < plan.grid[0]:
                    gaps.forget(strip.stop)
        self.macs += macs_of_pass(plan, band, part)

    def _scores(self, strip: Strip) -> npt.NDArray[np.floating]:
        """What is stored of a strip, `(K, rows, *columns)`."""
        scores = strip.answers[0]
        check_finite(self._ready.fcn, scores, self._ready.source.name)
        if self._ready.values == "probabilities":
            scores = probabilities_of(self._ready.fcn, scores)
        found: npt.NDArray[np.floating] = scores[0].float().cpu().numpy()
        return found

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
