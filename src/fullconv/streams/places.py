"""What a stage reads along every axis when it makes some of its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fullconv.streams.course import Cells, Stage

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """Where along one axis a stage works: cells `start` to `stop` of `cells`.

    Attributes:
        start, stop, cells: see above.
        read: what it needs of its inputs; it begins before the first cell and ends after the last
            where that is padding.
        given: cells of the inputs.
        pad: padding on both sides that is left to the op itself.
    """

    start: int
    stop: int
    cells: int
    read: Span
    given: int
    pad: int

    @property
    def wanted(self) -> Span:
        """What must be gathered: `read`, without the padding that is left to the op."""
        return (0, self.given) if self.pad else self.read

    @property
    def pads(self) -> bool:
        """Whether gathering it takes padding."""
        return self.wanted[0] < 0 or self.wanted[1] > self.given


def places(stage: Stage, spans: Sequence[Span], cells: Mapping[str, Cells]) -> tuple[Place, ...]:
    """The places of a stage that makes the cells of `spans`, one per axis."""
    found = []
    rows = zip(spans, cells[stage.name], cells[stage.inputs[0]], stage.reaches, strict=True)
    for axis, ((start, stop), own, given, reach) in enumerate(rows):
        read = reach.start(start, given), reach.stop(stop, given)
        pad = stage.pads[axis] if stage.pads else 0
        found.append(
            Place(start, stop, own, read, given, pad if read == (-pad, given + pad) else 0)
        )
    return tuple(found)
