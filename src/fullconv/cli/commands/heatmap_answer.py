"""What `fullconv heatmap` answers: the classes it shows, where they are, and their regions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import PIL.Image

from fullconv.api.memory import available_bytes, written_bytes
from fullconv.errors import LISTED, InputError
from fullconv.evaluate.maps.heatmap import Heatmap, Peak
from fullconv.evaluate.maps.regions import Region, regions_of
from fullconv.evaluate.maps.score_maps import Floats
from fullconv.evaluate.scales import AS_IT_IS
from fullconv.geometry import times


def _check_memory(classes: int, made: Heatmap) -> None:
    """Raise InputError if the fused maps of so many classes do not fit into what is free."""
    height, width = made.image.size
    needed, free = 4 * classes * height * width, available_bytes()
    if needed > 0.9 * free:
        raise InputError(
            f"the fused map of {classes:,} classes takes {written_bytes(needed)} of memory, and "
            f"{written_bytes(free)} is free.",
            where="--map",
            hint="Ask for fewer classes with --top, or for one scale without --flip, whose raw "
            "scores are written as they are.",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """The classes that are shown.

    Attributes:
        made: the maps.
        top: how many classes were asked for; None for a single one.
        threshold: of regions, or None.
        peaks: where each class is most probable.
        regions: of each class; empty without a threshold.
        values: what --map writes: the raw scores of one pass, `(K, rows, cols)`; of several the
            fused probabilities of what is shown, `(k, H, W)`, which are empty if nothing asks for
            them.
    """

    made: Heatmap
    top: int | None
    threshold: float | None
    peaks: tuple[Peak, ...]
    regions: tuple[tuple[Region, ...], ...]
    values: Floats

    @classmethod
    def of(cls, made: Heatmap, top: int | None, threshold: float | None, *, mapped: bool) -> Shown:
        """What was asked for; `mapped` says whether the map is. Each class is fused once."""
        peaks = (made.peak_of(made.index),) if top is None else made.top(top)
        kept = mapped and made.fused
        if kept:
            _check_memory(len(peaks), made)
        values = np.empty((len(peaks) if kept else 0, *made.image.size), np.float32)
        regions: list[tuple[Region, ...]] = []
        for number, peak in enumerate(peaks):
            found: tuple[Region, ...] = ()
            if kept or threshold is not None:
                fused = made.pixels(peak.index)
                found = () if threshold is None else regions_of(fused, threshold)
                if kept:
                    values[number] = fused
            regions.append(found)
        return cls(
            made, top, threshold, peaks, tuple(regions), values if made.fused else made.scores
        )

    def picture(self) -> PIL.Image.Image:
        """The overlay, or the figure of several classes."""
        if self.top is None:
            return self.made.overlay(regions=self.regions[0]).picture
        known = {peak.index: own for peak, own in zip(self.peaks, self.regions, strict=True)}
        return self.made.figure(self.top, regions=known)

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
