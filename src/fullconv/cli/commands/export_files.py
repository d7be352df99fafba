"""What `fullconv export` writes, and what it answers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fullconv.errors import LISTED, UsageError
from fullconv.geometry import times
from fullconv.storage.files import atomic
from fullconv.storage.folders import check_folder
from fullconv.storage.maps import ScoreMapStore
from fullconv.storage.maps.exports import Exported, export, format_of
from fullconv.storage.maps.exports.channels import Channels
from fullconv.storage.maps.exports.ome_zarr import KIND, is_export
from fullconv.storage.maps.exports.placement import Placement, number
from fullconv.storage.outputs import check_writable


@dataclass(frozen=True, slots=True)
class Target:
    """Where to write, and in which format."""

    path: Path
    form: str

    @classmethod
    def named(cls, output: str, form: str | None) -> Target:
        """From the words of the command. Raises UsageError for an ending that is not known."""
        path = Path(output)
        if form is None and path.suffix.lower() == ".png":
            form = "png"
        if form == "png":
            if path.suffix.lower() != ".png":
                raise UsageError(f"-o {output} must be a name that ends in .png.")
            return cls(path, form)
        return cls(path, format_of(path, form))

    def check(self, folder: str) -> None:
        """Raise what writing would raise of its place, before the work is done."""
        inside = os.path.realpath(folder) + os.sep
        if os.path.realpath(self.path).startswith(inside):
            raise UsageError(
                f"{self.path} lies in the map that is written.",
                where="-o",
                hint="Name another place: what is in a map belongs to it.",
            )
        if self.form == "ome-zarr":
            check_folder(self.path, replaces=is_export, kind=KIND)
        else:
            check_writable(self.path)

    def write(
        self,
        given: ScoreMapStore,
        numbers: list[int] | None,
        threshold: float | None,
        image: str | None,
    ) -> Exported:
        """Write it; Ctrl-C leaves nothing behind."""
        if self.form != "png":
            return export(given, self.path, format=self.form, classes=numbers, threshold=threshold)
        return self._picture(given, numbers, threshold, image)

    def _picture(
        self,
        given: ScoreMapStore,
        numbers: list[int] | None,
        threshold: float | None,
        image: str | None,
    ) -> Exported:
        from fullconv.evaluate.pictures.mapped import class_picture, open_level, winner_picture
        from fullconv.storage.maps.exports.given import check_axes

        check_axes(given)
        channels = Channels.of(given, numbers)
        with open_level(_image(given, image)) as source:
            if len(channels) == 1:
                picture = class_picture(given, source, channels.numbers[0], threshold=threshold)
            else:
                picture = winner_picture(given, source, numbers, threshold=threshold)
        with atomic(self.path) as part:
            picture.save(part)
        facts = {"picture": [picture.height, picture.width], "threshold": threshold}
        return Exported(self.path, self.form, channels.listed, facts)


def _image(given: ScoreMapStore, image: str | None) -> str:
    """The image to paint over."""
    if image is not None:
        return image
    if not given.about.source or not os.path.exists(given.about.source):
        raise UsageError(
            f"the map was made of {given.about.source or 'an image without a name'}, which is not "
            "there.",
            where="--image",
            hint="Name the image that was scanned.",
        )
    return given.about.source


def as_text(given: ScoreMapStore, folder: str, made: Exported) -> str:
    """The answer for people."""
    placement = Placement.of(given.about)
    rows, cols, _ = given.shape
    sides = times([number(side) for side in placement.step])  # type: ignore[misc]
    top, left = (number(edge) for edge in placement.corner)
    count = len(made.channels)
    of = f"class {made.channels[0].name}" if count == 1 else f"{count:,} classes"
    lines = [
        f"{folder}: {rows:,}×{cols:,} cells, {given.about.values} of {of}",
        f"cells of {sides} px from row {top}, column {left} on, at full resolution",
        _facts(made),
        f"written: {made.path}",
    ]
    return "\n".join(line for line in lines if line)


def _facts(made: Exported) -> str:
    facts = made.facts
    if "levels" in facts:
        return f"levels: {', '.join(times(level) for level in facts['levels'])}"
    if "polygons" in facts:
        parts = [f"{count:,} of {name}" for name, count in facts["polygons_of"].items()]
        shown = parts[:LISTED] + [f"and {len(parts) - LISTED:,} more classes"] * (
            len(parts) > LISTED
        )
        return f"polygons: {', '.join(shown) or 'none'}"
    if "picture" in facts:
        return f"a picture of {times(facts['picture'])} px"
    known = "px of the image" if not facts["crs"] else facts["crs"].split('"')[1]
    return f"reference system: {known}"


def as_data(given: ScoreMapStore, folder: str, made: Exported) -> dict[str, Any]:
    """The answer for programs."""
    placement = Placement.of(given.about)
    return {
        "map": folder,
        "complete": given.complete,
        "format": made.format,
        "shape": list(given.shape[:2]),
        "values": given.about.values,
        "classes": [{"class": c.number, "name": c.name} for c in made.channels],
        "corner": [number(edge) for edge in placement.corner],
        "cell": [number(side) for side in placement.step],
        "mpp": None if placement.mpp is None else [float(size) for size in placement.mpp],
        **made.facts,
        "written": [str(made.path)],
    }
