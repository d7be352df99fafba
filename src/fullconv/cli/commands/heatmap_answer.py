"""What `fullconv heatmap` answers: the classes it shows, where they are, and their regions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import PIL.Image

from fullconv.evaluate.maps.heatmap import Heatmap, Peak
from fullconv.evaluate.maps.regions import Region
from fullconv.evaluate.scales import AS_IT_IS
from fullconv.geometry import times

LISTED = 20  # regions of a class in the text; the JSON has all


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """The classes that are shown.

    Attributes:
        made: the maps.
        top: how many classes were asked for; None for a single one.
        threshold: of regions, or None.
        peaks: where each class is most probable.
        regions: of each class; empty without a threshold.
    """

    made: Heatmap
    top: int | None
    threshold: float | None
    peaks: tuple[Peak, ...]
    regions: tuple[tuple[Region, ...], ...]

    @classmethod
    def of(cls, made: Heatmap, top: int | None, threshold: float | None) -> Shown:
        """What was asked for."""
        peaks = (made.peak_of(made.index),) if top is None else made.top(top)
        regions = tuple(
            () if threshold is None else made.regions(threshold, peak.index) for peak in peaks
        )
        return cls(made, top, threshold, peaks, regions)

    def picture(self) -> PIL.Image.Image:
        """The overlay, or the figure of several classes."""
        if self.top is None:
            return self.made.overlay(threshold=self.threshold).picture
        return self.made.figure(self.top, threshold=self.threshold)

    def geometry(self) -> dict[str, Any]:
        """Of the map that --map writes."""
        if not self.made.fused:
            return self.made.geometry()
        return self.made.pixel_geometry(peak.index for peak in self.peaks)


def as_text(shown: Shown, written: list[str]) -> str:
    """The answer for people."""
    lines = _maps(shown.made)
    for peak, regions in zip(shown.peaks, shown.regions, strict=True):
        top, left, bottom, right = peak.box
        lines.append(
            f"{peak.name}: at most {peak.probability:.3f}, in rows {top} to {bottom}, "
            f"columns {left} to {right}"
        )
        lines += _regions(regions, shown.threshold)
    return "\n".join([*lines, f"written: {', '.join(written)}"])


def as_data(shown: Shown, model: str, written: list[str]) -> dict[str, Any]:
    """The answer for programs."""
    found = [_entry(peak) for peak in shown.peaks]
    if shown.threshold is not None:
        for entry, regions in zip(found, shown.regions, strict=True):
            entry["regions"] = [asdict(region) for region in regions]
    return {
        **shown.geometry(),
        "model": model,
        **_entry(shown.peaks[0]),
        "maps": [
            {
                "scale": str(m.scale), "size": m.grid.size, "window": m.grid.window,
                "stride": m.grid.stride, "shape": m.grid.shape,
            }
            for m in shown.made.maps
        ],
        "skipped": [str(scale) for scale in shown.made.skipped],
        "threshold": shown.threshold,
        "found": found,
        "written": written,
    }  # fmt: skip


def _entry(peak: Peak) -> dict[str, Any]:
    return {
        "class": peak.index, "name": peak.name, "peak": peak.probability,
        "peak_box": list(peak.box),
    }  # fmt: skip


def _maps(made: Heatmap) -> list[str]:
    """The image and the windows at every scale."""
    head = f"{made.image.path}: {times(made.image.size)} px"
    lines = []
    for m in made.maps:
        rows, cols = m.grid.shape
        scaled = "" if m.scale == AS_IT_IS else f"at {times(m.grid.size)} px "
        lines.append(
            f"{scaled}a map of {rows}×{cols} windows "
            f"({times(m.grid.window)} px, every {times(m.grid.stride)} px)"
        )
    flipped = ["each averaged with that of the mirror image"] if made.flip else []
    if len(lines) == 1:
        return [", ".join([head, *lines, *flipped])]
    return [", ".join([head, *flipped]), *(f"  {line}" for line in lines)]


def _regions(regions: tuple[Region, ...], threshold: float | None) -> list[str]:
    if threshold is None:
        return []
    if not regions:
        return [f"  no pixel reaches {threshold:g}"]
    lines = []
    for region in regions[:LISTED]:
        top, left, bottom, right = region.box
        lines.append(
            f"  rows {top} to {bottom}, columns {left} to {right}: {region.area:,} px, "
            f"at most {region.peak:.3f}, {region.mean:.3f} on average"
        )
    if len(regions) > LISTED:
        lines.append(f"  and {len(regions) - LISTED:,} more (all with --json)")
    return lines
