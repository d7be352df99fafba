"""The executor: an image in, strip after strip, and the rows of the score map out.

Every map keeps the rows that the next rows of others still need, and no others. Zeros are put
beside a map at the true borders of the image only. What is computed in which step, and on which
rows, is the schedule's; see `fullconv.streams.schedule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fullconv.hosts.torch_fx.optimized.network import FORMATS, OptimizedFCN
from fullconv.hosts.torch_fx.streaming.piece import Part, Place, Span, gathered
from fullconv.hosts.torch_fx.streaming.reading import Streamed
from fullconv.streams.bands import Band
from fullconv.streams.course import Stage
from fullconv.streams.schedule import Schedule

Read = Callable[[tuple[Span, ...]], Tensor]
"""Gives `(N, C, *lengths)` for half-open spans of px, one per axis, inside the image."""


@dataclass(frozen=True)
class Strip:
    """Rows of the score map: step `number`, rows `start` to `stop`, one tensor for each answer."""

    number: int
    start: int
    stop: int
    answers: tuple[Tensor, ...]


class Stream:
    """Passes of a network over a band of an image, from one step to another."""

    def __init__(
        self, network: Streamed, schedule: Schedule, band: Band, *, images: int = 1
    ) -> None:
        self._network, self._schedule, self._band = network, schedule, band
        self._images = images
        self._course = network.course
        self._readers = self._course.readers()
        self._parts: dict[str, list[Part]] = {}
        self._read_last: dict[str, list[str]] = {}
        for name, readers in self._readers.items():
            if readers and name not in self._course.answers:
                self._read_last.setdefault(readers[-1].name, []).append(name)

    def run(self, read: Read, start: int = 0, stop: int | None = None) -> Iterator[Strip]:
        """The strips of steps `start` to `stop`, in order; every row of the image is read once.

        However a map is cut into passes, the same rows come out: each step computes the same
        pieces, or what of them is needed for the steps asked for.
        """
        schedule = self._schedule
        stop = schedule.count if stop is None else stop
        begins = schedule.begins(start)
        self._parts = {stage.name: [] for stage in self._course.stages}
        with torch.inference_mode():
            for step in range(min(begins.values()), stop):
                for stage in self._course.stages:
                    if step >= begins[stage.name]:
                        self._make(stage, step, read)
                    for name in self._read_last.get(stage.name, ()):
                        self._let_go(name, step)
                if step >= start:
                    yield self._strip(step)
                for name in self._course.answers:
                    self._let_go(name, step)
        self._parts = {}

    def _make(self, stage: Stage, step: int, read: Read) -> None:
        """The rows of one map that a step makes."""
        first, last = self._schedule.made(stage.name, step)
        if first >= last:
            return
        spans = ((first, last), *self._band.spans[stage.name])
        if not stage.inputs:
            self._parts[stage.name].append(Part(first, self._prepared(read(spans))))
            return
        worker = self._network.workers[stage.name]
        sources = self._network.sources[stage.name]
        cells, given = self._schedule.cells[stage.name], self._schedule.cells[sources[0]]
        places = tuple(
            Place(a, b, n, (reach.start(a, m), reach.stop(b, m)), m)
            for (a, b), n, m, reach in zip(spans, cells, given, worker.reaches, strict=True)
        )
        wanted, pads = _left_to_op(places, worker.pads)
        pieces = [
            gathered(
                self._parts[name],
                [low for low, _ in self._band.spans[name]],
                wanted,
                self._schedule.cells[name],
                worker.fill,
                self._network.sample(name, self._images),
            )
            for name in sources
        ]
        made = worker.run(pieces, places, pads)
        if tuple(made.shape[2:]) != tuple(stop - start for start, stop in spans):
            raise AssertionError(f"{stage.where}: {tuple(made.shape)} are not the cells {spans}")
        self._parts[stage.name].append(Part(first, made))

    def _prepared(self, image: Tensor) -> Tensor:
        fcn = self._network.fcn
        if isinstance(fcn, OptimizedFCN):
            layout = FORMATS.get(len(fcn.window), torch.contiguous_format)
            return image.to(dtype=fcn.optimization.dtype, memory_format=layout)
        return image

    def _let_go(self, name: str, step: int) -> None:
        """Of a map whose last reader has read, keep the rows that later steps need."""
        if not self._parts[name]:
            return
        first = self._schedule.needed(name, self._readers[name], step)
        kept = []
        for part in self._parts[name]:
            if part.end <= first:
                continue
            if part.row < first:  # a copy, so that the rows before it are let go of
                rest = part.tensor[:, :, first - part.row :]
                part = Part(first, rest.clone(memory_format=torch.preserve_format))
            kept.append(part)
        self._parts[name] = kept

    def _strip(self, step: int) -> Strip:
        start, stop = self._schedule.made(self._course.answers[0], step)
        found = []
        for name in self._course.answers:
            part = self._parts[name][-1]
            assert (part.row, part.end) == (start, stop)
            found.append(part.tensor)
        return Strip(step, start, stop, tuple(found))


def _left_to_op(
    places: Sequence[Place], pads: Sequence[int]
) -> tuple[tuple[Span, ...], tuple[int, ...]]:
    """What is gathered along each axis, and the padding that the op itself can do there."""
    wanted, left = [], []
    for place, pad in zip(places, pads or (0,) * len(places), strict=True):
        whole = pad > 0 and place.read == (-pad, place.given + pad)
        wanted.append((0, place.given) if whole else place.read)
        left.append(pad if whole else 0)
    return tuple(wanted), tuple(left)
