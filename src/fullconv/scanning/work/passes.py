"""Which steps are made for the chunks that are still to be written, and what that takes."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from fullconv.geometry import Box
from fullconv.hosts.torch_fx.streaming.reading import Streamed
from fullconv.hosts.torch_fx.streaming.stream import Read, Stream, Strip
from fullconv.scanning.plan import ScanPlan
from fullconv.streams.bands import Band


@dataclass(frozen=True)
class Pass:
    """Steps of one band that are streamed without a break: `start` to `stop`, half-open."""

    start: int
    stop: int


def passes(plan: ScanPlan, band: Band, wanted: Sequence[bool]) -> list[Pass]:
    """The passes over a band that make the chunks `wanted`, from top to bottom.

    To begin, a pass makes rows above its first again. Where that is more than going on through
    chunks that nobody wants, it goes on.
    """
    found: list[Pass] = []
    for number, want in enumerate(wanted):
        if not want:
            continue
        start = number * plan.steps
        part = Pass(start, min(start + plan.steps, plan.schedule.count))
        if found and (found[-1].stop == start or _goes_on(plan, band, found[-1], part)):
            part = Pass(found.pop().start, part.stop)
        found.append(part)
    return found


def _goes_on(plan: ScanPlan, band: Band, one: Pass, other: Pass) -> bool:
    """Whether a pass over both, and what is between, takes no more than the two by themselves."""
    both, *alone = (
        macs_of_pass(plan, band, part) for part in (Pass(one.start, other.stop), one, other)
    )
    return both <= sum(alone)


def strips(
    network: Streamed, plan: ScanPlan, band: Band, part: Pass, read: Read
) -> Generator[Strip, None, None]:
    """The strips of a pass. To be closed: until then PyTorch is in inference mode."""
    yield from Stream(network, plan.schedule, band).run(read, part.start, part.stop)


def boxes(plan: ScanPlan, band: Band, part: Pass) -> Iterator[Box]:
    """The boxes of px that a pass reads, in order."""
    image, schedule = plan.course.image.name, plan.schedule
    across = band.spans[image]
    for step in range(schedule.begins(part.start)[image], part.stop):
        first, last = schedule.made(image, step)
        if first < last:
            yield (first, *(start for start, _ in across), last, *(stop for _, stop in across))


def macs_of_pass(plan: ScanPlan, band: Band, part: Pass) -> float:
    """Multiply-accumulates of a pass."""
    schedule = plan.schedule
    begins, last = schedule.begins(part.start), schedule.done(part.stop - 1)
    found = 0.0
    for stage in plan.course.stages:
        if stage.name in begins and stage.macs:
            rows = max(0, last[stage.name]) - schedule.made(stage.name, begins[stage.name])[0]
            width = prod(stop - start for start, stop in band.spans[stage.name])
            found += stage.macs * max(0, rows) * width
    return found * plan.images
