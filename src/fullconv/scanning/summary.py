"""What a scan did, and how far one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from fullconv.errors import listed
from fullconv.geometry import times
from fullconv.scanning.plan import ScanPlan
from fullconv.scanning.sight.gaps import pixels
from fullconv.storage.amounts import written_bytes
from fullconv.storage.sources import Fault
from fullconv.tables import table

SHOWN = 5  # faults in the table


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a scan is.

    Attributes:
        px, total: of the image, done and in all; what was done by earlier runs counts too.
        rate: px per second in this run; 0 while nothing is done.
        seconds: since this run began.
        left: seconds that are left at this rate, None while there is none.
        chunks: written so far, by all runs.
        memory: bytes that the process holds.
    """

    px: int
    total: int
    rate: float
    seconds: float
    left: float | None
    chunks: int
    memory: int

    @property
    def share(self) -> float:
        """Of the image that is done, 0 to 1."""
        return self.px / self.total

    def to_dict(self) -> dict[str, Any]:
        """All figures as JSON-serialisable values."""
        return {**asdict(self), "share": self.share}


@dataclass(frozen=True)
class ScanSummary:
    """What a scan did; prints as a table.

    Attributes:
        target: the folder of the map.
        source: the name of the image.
        plan: of strips and bands.
        chunks: of the map.
        before: of them were there when this run began.
        computed: of them were computed in this run; the others hold no cell to look at.
        cells: of the chunks computed in this run.
        blank: cells of the chunks written in this run that have no score, masked ones included.
        macs: multiply-accumulates done in this run.
        needed: of them those that one pass would make for the cells computed.
        seconds: that the run took, without what was prepared before it.
        memory: the most bytes that the process held, ever.
        device_memory: the most bytes that PyTorch held on a GPU, None on a CPU.
        faults: px of the image that could not be read and that cells look at, of all runs.
    """

    target: Path
    source: str
    plan: ScanPlan
    chunks: int
    before: int
    computed: int
    cells: int
    blank: int
    macs: float
    needed: float
    seconds: float
    memory: int
    device_memory: int | None
    faults: tuple[Fault, ...]

    @property
    def px(self) -> float:
        """Px of the image that were scored in this run: the share of its cells."""
        return prod(self.plan.size) * self.cells / prod(self.plan.grid)

    @property
    def rate(self) -> float:
        """Megapixels per second."""
        return self.px / 1e6 / self.seconds if self.seconds and self.cells else 0.0

    @property
    def ratio(self) -> float:
        """Multiply-accumulates done for each that is needed; 1 where nothing was to be done."""
        return self.macs / self.needed if self.needed else 1.0

    def summary(self) -> list[tuple[str, str]]:
        """The facts as (name, value) pairs for people."""
        new = self.chunks - self.before
        masked = new - self.computed
        parts = [f"{self.computed:,} computed"]
        parts += [f"{self.before:,} were there"] * (self.before > 0)
        parts += [f"{masked:,} without anything to look at"] * (masked > 0)
        facts = [
            ("image", f"{self.source}, {times(self.plan.size)} px"),
            (
                "score map",
                f"{self.target}, {times(self.plan.grid)} cells, {times(self.plan.stride)} px apart",
            ),
            ("chunks", f"{self.chunks:,}: {', '.join(parts)}"),
        ]
        if new:
            facts.append(("without a score", f"{self.blank:,} of the cells written"))
        if self.computed:
            facts += [
                ("arithmetic", f"{self.macs / 1e12:.3g} TMAC, {self.ratio:.3f} × one pass"),
                ("time", f"{self.seconds:.1f} s, {self.rate:.3g} megapixels a second"),
            ]
        memory = written_bytes(self.memory)
        if self.device_memory is not None:
            memory += f", on the GPU {written_bytes(self.device_memory)}"
        facts.append(("memory", f"{memory} at most"))
        if self.faults:
            facts.append(("not read", f"{pixels(self.faults):,} px in {places(self.faults)}"))
        return facts

    def __str__(self) -> str:
        return table((), self.summary())

    def told(self) -> str:
        """The faults as lines to follow a message."""
        return listed([written(fault) for fault in self.faults], SHOWN)

    def to_dict(self) -> dict[str, Any]:
        """All figures as JSON-serialisable values."""
        names = (
            "source", "chunks", "before", "computed", "cells", "blank", "macs", "needed", "ratio",
            "seconds", "rate", "memory", "device_memory",
        )  # fmt: skip
        return {
            "target": str(self.target),
            **{name: getattr(self, name) for name in names},
            "faults": [{"box": list(fault.box), "why": fault.why} for fault in self.faults],
            "plan": self.plan.to_dict(),
        }


def places(faults: Sequence[Fault]) -> str:
    """How many there are."""
    return f"{len(faults):,} place{'' if len(faults) == 1 else 's'}"


def written(fault: Fault) -> str:
    """A fault for people."""
    dims = len(fault.box) // 2
    names = ("rows", "columns") if dims == 2 else tuple(f"axis {k}:" for k in range(dims))
    spans = zip(names, fault.box[:dims], fault.box[dims:], strict=True)
    return f"{', '.join(f'{name} {a} to {b}' for name, a, b in spans)}: {fault.why}"
