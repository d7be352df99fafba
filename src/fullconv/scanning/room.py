"""The memory a scan takes in all, and the plan that fits into it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from math import prod

from fullconv.api.machine import available_bytes, resident_bytes
from fullconv.api.memory import BASE, free_bytes
from fullconv.errors import InputError
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.scanning.plan import ScanPlan, make_plan
from fullconv.scanning.work.pixels import Preparation
from fullconv.storage.amounts import written_bytes
from fullconv.storage.maps import Layout
from fullconv.storage.maps.about import Kept
from fullconv.storage.sources import Source
from fullconv.streams.course import Course

SPLIT, RETAINED = 0.75, 288 << 20
"""Of what is alive, so much again lies between blocks in use, at most RETAINED: strips have blocks
of all sizes below the 32 MiB from which the allocator gives them back, and two threads take them.
Measured with ResNet-18 and 50, MobileNetV2, SqueezeNet and VGG-16, from 800 MiB to 3 GiB."""
SHARE = 0.9
"""Of the memory that is left, a scan takes so much unless told otherwise."""
CHUNK = 1 << 26
"""Px of the image whose scores are written together, at most, where a strip has fewer: so much is
lost if a scan is killed."""
PART = 4
"""Of the memory that is left, opening a file may take one part in so many."""
TRIES = 12


@dataclass(frozen=True)
class Room:
    """What a scan takes beside the maps of the network, and how much there is for all of it.

    Attributes:
        fcn: the network.
        source: of px.
        preparation: of px.
        kept, dtype: what is stored of a cell.
        limit: bytes that the process may have in all; None for 9/10 of what is left.
        grid: cells of the score map.
    """

    fcn: FCN
    source: Source
    preparation: Preparation
    kept: Kept
    dtype: str
    limit: int | None
    grid: tuple[int, ...]

    def beside(self, plan: ScanPlan) -> int:
        """Bytes that a scan takes beside the maps: px, the chunk that is filled, margins."""
        cell = 4 * self.fcn.plan.outputs
        rows, columns = plan.height, plan.width
        chunk = self.layout(plan)
        strip = prod((rows, columns, *plan.grid[2:])) * self.fcn.plan.outputs
        answers = 3 * 4 * strip  # as probabilities, as float32, and what finds NaN
        return (
            self.source.held()
            + self._reading(plan)
            + prod(chunk.chunk) * cell
            + chunk.beside
            + answers
        )

    def _reading(self, plan: ScanPlan) -> int:
        """One strip of px that is read ahead, as stored and as numbers."""
        image = plan.course.image.name
        rows = min(plan.cost().rows[image], plan.size[0])
        spans = plan.band(0 if plan.bands < 3 else 1).spans[image]
        top = (plan.size[0] - rows) // 2
        box = (top, *(a for a, _ in spans), top + rows, *(b for _, b in spans))
        count = rows * prod(b - a for a, b in spans)
        source = self.source
        stored = count * (source.channels * source.dtype.itemsize + 1)  # and what is missing
        return stored + source.beside(box) + self.preparation.bytes_of(count, source.channels)

    def layout(self, plan: ScanPlan) -> Layout:
        """How the map of a plan is stored."""
        chunk = (plan.chunk[0], plan.chunk[1], *plan.grid[2:])[: len(plan.grid)]
        return Layout((*plan.grid, self.fcn.plan.outputs), chunk, self.dtype, self.kept)

    def needed(self, plan: ScanPlan) -> int:
        """Bytes that a scan by this plan takes beyond what the process holds before it."""
        if self.preparation.device.type == "cpu":
            return with_allocator(plan.bytes + self.beside(plan))
        return self.beside(plan)

    def plan(
        self, course: Course, strip: int | None, band: int | None, steps: int | None = None
    ) -> ScanPlan:
        """The plan that fits. `strip`, `band` and `steps` are those of a map that is gone on with.

        Raises InputError if none does, UsageError for a strip or band below 1.
        """
        left = left_of(self.limit)
        on_cpu = self.preparation.device.type == "cpu"
        most = self._most(left) if on_cpu else self._on_device()
        if most <= 0:
            raise too_little(self.limit, self.source.name)
        budget = most
        for _ in range(TRIES):
            try:
                found = self._made(course, budget, strip, band, steps)
            except InputError as error:
                raise too_little(self.limit, self.source.name, error) from error
            fitting = self._written_at_once(found, left) if steps is None else found
            if self.needed(fitting) <= left:
                return fitting
            if not on_cpu:
                break
            # What is beside the maps becomes less as they do.
            taken = fitting.bytes + self.beside(fitting) - self._fixed
            budget = int(fitting.bytes * min(0.97 * most / taken, 0.97))
        raise too_little(self.limit, self.source.name)

    @property
    def _fixed(self) -> int:
        """Bytes beside the maps that are taken whatever the plan."""
        return self.source.held() + 2**22

    def _most(self, left: int) -> int:
        """Bytes that maps and what grows with them may take of those that are left."""
        return bisect_right(range(max(0, left)), left, key=with_allocator) - self._fixed

    def _written_at_once(self, plan: ScanPlan, left: int) -> ScanPlan:
        """The plan with as many of its steps in a chunk as fit, at least one."""
        most = plan.steps
        if self.needed(plan) <= left:
            return plan
        plan = replace(plan, steps=1)
        while 2 * plan.steps < most and self.needed(replace(plan, steps=2 * plan.steps)) <= left:
            plan = replace(plan, steps=2 * plan.steps)
        return plan

    def _made(
        self, course: Course, budget: int, strip: int | None, band: int | None, steps: int | None
    ) -> ScanPlan:
        plan = make_plan(
            course,
            self.source.size,
            self.grid,
            self.fcn.stride,
            budget,
            score=4 * self.fcn.plan.outputs,
            height=strip,
            width=band,
        )
        if steps is None:
            tall, wide = plan.height * plan.stride[0], plan.width * prod(plan.stride[1:2])
            steps = min(plan.steps, max(1, CHUNK // (tall * wide)))
        return replace(plan, steps=steps)

    def _on_device(self) -> int:
        """Bytes for maps on a GPU."""
        free = int(SHARE * free_bytes(self.fcn))
        return free if self.limit is None else min(free, self.limit)


def with_allocator(peak: int) -> int:
    """Bytes that the process takes for `peak` bytes that are alive at once."""
    return BASE + peak + min(int(SPLIT * peak), RETAINED)


def left_of(limit: int | None) -> int:
    """Bytes that the process may take beyond what it holds; `limit` as in `Room`."""
    return int(SHARE * available_bytes()) if limit is None else limit - resident_bytes()


def budget_of(limit: int | None, where: str) -> int:
    """Bytes that opening and reading a file may take. Raises InputError if nothing is left."""
    left = left_of(limit)
    if left <= 0:
        raise too_little(limit, where)
    return max(1, left // PART)


def too_little(limit: int | None, where: str, cause: InputError | None = None) -> InputError:
    """What to say if nothing fits."""
    if limit is None:
        why = f"{written_bytes(max(0, left_of(limit)))} is free for it."
    else:
        why = (
            f"Of the {written_bytes(limit)} allowed the process holds "
            f"{written_bytes(resident_bytes())} already: libraries, weights, the image file."
        )
    least = "" if cause is None else f": {cause.what.removesuffix('.')}"
    return InputError(
        f"the scan does not fit into memory{least}.",
        where=where,
        why=why,
        hint="Allow more memory (max_memory, --max-memory), or free some.",
    )
