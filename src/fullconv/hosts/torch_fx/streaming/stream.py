"""The executor: an image in, strip after strip, and the rows of the score map out.

Every map keeps the rows that the next rows of others still need, and no others. Zeros are put
beside a map at the true borders of the image only. What is computed in which step, and on which
rows, is the schedule's; see `fullconv.streams.schedule`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from fullconv.hosts.torch_fx.optimized.network import FORMATS, OptimizedFCN
from fullconv.hosts.torch_fx.streaming.piece import Part, gathered
from fullconv.hosts.torch_fx.streaming.reading import Streamed
from fullconv.streams.bands import Band
from fullconv.streams.course import Stage
from fullconv.streams.places import Span, places
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
        self._course = network.course
        self._readers = self._course.readers()
        self._parts: dict[str, list[Part]] = {}
        self._in_place = {
            name: network.in_place(name, self._readers)
            for name in network.workers
            if name in self._course.by_name
        }
        self._read_last = self._course.read_last()
        self._samples = {name: network.sample(name, images) for name in self._course.by_name}

    def run(
        self, read: Read, start: int = 0, stop: int | None = None
    ) -> Generator[Strip, None, None]:
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
        if not stage.inputs:
            first, last = self._schedule.made(stage.name, step)
            if first < last:
                spans = ((first, last), *self._band.spans[stage.name])
                self._parts[stage.name].append(Part(first, self._prepared(read(spans))))
            return
        for rows in self._schedule.pieces(stage.name, step):
            made = self._computed(stage, (rows, *self._band.spans[stage.name]))
            self._parts[stage.name].append(Part(rows[0], made))

    def _computed(self, stage: Stage, spans: tuple[Span, ...]) -> Tensor:
        """The cells of a map in `spans`, of what is there of its inputs."""
        worker, cells = self._network.workers[stage.name], self._schedule.cells
        where = places(stage, spans, cells)
        pieces = [
            gathered(
                self._parts[name],
                [low for low, _ in self._band.spans[name]],
                [place.wanted for place in where],
                cells[name],
                worker.fill,
                self._samples[name],
            )
            for name in self._network.sources[stage.name]
        ]
        run = self._in_place[stage.name] or worker.run
        made = run(pieces, where, [place.pad for place in where])
        if tuple(made.shape[2:]) != tuple(stop - start for start, stop in spans):
            raise AssertionError(f"{stage.where}: {tuple(made.shape)} are not the cells {spans}")
        return made

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
            parts = self._parts[name]
            assert (parts[0].row, parts[-1].end) == (start, stop)
            tensors = [part.tensor for part in parts]
            found.append(tensors[0] if len(tensors) == 1 else torch.cat(tensors, 2))
        return Strip(step, start, stop, tuple(found))
