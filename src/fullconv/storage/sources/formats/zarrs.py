"""Zarr arrays and OME-Zarr images, chunk by chunk.

A chunk that is not there is a fault: whether it was never written, was lost, or held nothing but
the fill value, its place does not tell. Where the array's attributes declare that the fill value
means "no data" (`_FillValue`, as CF has it), such a chunk is missing instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fullconv.errors import InputError, UsageError
from fullconv.geometry import Box
from fullconv.storage.raster import Array, admit_channels, count
from fullconv.storage.sources.channels import spatial_axes
from fullconv.storage.sources.file_source import Opened, sampled_files
from fullconv.storage.sources.levels import chosen_level, level_scale
from fullconv.storage.sources.samples import PRESENT, Absent, brightness, faults, settled
from fullconv.storage.sources.segments import Segmented
from fullconv.storage.sources.source import Fault, Frame, Region, extent

MARKS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
CHANNEL, SPACE, FIRST = "channel", "space", "first"
ROLES = {"c": CHANNEL, "channel": CHANNEL, "band": CHANNEL, "t": FIRST, "time": FIRST}
UNITS = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "meter": 1e6}
"""Micrometres in the units of OME-NGFF that slides use."""


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """A Zarr array, and what each of its axes is: spatial, of channels, or of length 1."""

    array: Any
    roles: tuple[str, ...]

    def of(self, role: str) -> tuple[int, ...]:
        """The axes of a role."""
        return tuple(axis for axis, found in enumerate(self.roles) if found == role)

    @property
    def size(self) -> tuple[int, ...]:
        """Px per spatial axis."""
        return tuple(self.array.shape[axis] for axis in self.of(SPACE))


def is_zarr(path: Path) -> bool:
    """Whether a folder is the root of a Zarr array or group."""
    return any((path / mark).is_file() for mark in MARKS)


def open_zarr(
    path: Path,
    *,
    channels: int,
    level: int | None,
    mpp: float | None,
    budget: int,
    axes: int | None,
) -> Opened:
    """A Zarr array, version 2 or 3, or an OME-Zarr image with its levels.

    Of an OME-Zarr image the axes are those of its metadata. Of an array they are those of its
    dimension names, where it has them; otherwise the last is that of the channels if there is one
    more than `axes`, or are more than two.

    Raises InputError for what is no image: damaged metadata, other channels, time points.
    """
    with _metadata():
        levels, micrometres = _levels(path, axes)
    scales = [level_scale(levels[0].size, one.size) for one in levels]
    sizes = [one.size for one in levels]
    number = chosen_level(sizes, scales, micrometres, level=level, wanted=mpp, where=str(path))
    with _metadata():
        stored = Chunks(levels[number], channels, budget)
    frame = Frame((Fraction(0),) * len(stored.size), scales[number], micrometres)
    heads = tuple(path / mark for mark in MARKS if (path / mark).is_file())

    def tables() -> object:
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return number, sampled_files(files, lambda file: file.relative_to(path).as_posix())

    return Opened(stored, frame, tables=tables, files=heads)


def _levels(path: Path, axes: int | None) -> tuple[list[Level], tuple[float, float] | None]:
    """All levels, finest first, and µm/px (row, column) of the first."""
    import zarr

    root: Any = zarr.open(path, mode="r")
    if isinstance(root, zarr.Array):
        return [Level(root, _roles(root, _named(root), axes))], None
    attributes: dict[str, Any] = dict(root.attrs)
    attributes |= dict(attributes.get("ome", {}))
    if "multiscales" not in attributes:
        names = ", ".join(sorted(root.keys())) or "nothing"
        raise InputError(
            f"is a Zarr group and no OME-Zarr image; it holds {names}.",
            hint="Name one of the arrays in it.",
        )
    about = attributes["multiscales"][0]
    named = [(axis["name"], axis.get("type", "")) for axis in about["axes"]]
    levels = []
    for entry in about["datasets"]:
        array = root[entry["path"]]
        if not isinstance(array, zarr.Array):
            raise InputError(f"its level {entry['path']} is no array.")
        levels.append(Level(array, _roles(array, named, axes)))
    return levels, _mpp(about)


@contextmanager
def _metadata() -> Iterator[None]:
    """Whatever goes wrong while metadata is read, as an InputError."""
    try:
        yield
    except (InputError, UsageError):
        raise
    except Exception as error:
        detail = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(
            "its metadata is damaged, or that of no Zarr image.",
            why=f"The reader says: {detail}.",
            hint="Copy or download it again.",
        ) from error


def _named(array: Any) -> list[tuple[str, str]] | None:
    """Names of the axes of an array, each with an empty type; None where they are not all named."""
    names = getattr(array.metadata, "dimension_names", None)
    return [(name, "") for name in names] if names and all(names) else None


def _roles(array: Any, named: list[tuple[str, str]] | None, axes: int | None) -> tuple[str, ...]:
    """What each axis of an array is."""
    dims: int = array.ndim
    if 0 in array.shape or not dims:
        raise InputError(f"holds no pixels: its shape is ({', '.join(map(str, array.shape))}).")
    if named is None:
        spatial = spatial_axes(array.shape, axes)
        return (SPACE,) * spatial + (CHANNEL,) * (dims - spatial)
    if len(named) != dims:
        raise InputError(f"it names {count(len(named), 'axis')} and its array has {dims}.")
    roles: list[str] = [ROLES.get(name.lower(), ROLES.get(kind, SPACE)) for name, kind in named]
    for axis, (name, _) in enumerate(named):
        if roles[axis] == SPACE and name.lower() == "z" and array.shape[axis] == 1 and axes != 3:
            roles[axis] = FIRST
        if roles[axis] == FIRST and array.shape[axis] > 1:
            raise InputError(
                f"holds {array.shape[axis]} images along its axis {name}.",
                hint="Save the one to be read as an image of its own.",
            )
    if roles.count(CHANNEL) > 1 or SPACE not in roles:
        raise InputError(f"its axes {', '.join(name for name, _ in named)} are those of no image.")
    return tuple(roles)


def _mpp(about: dict[str, Any]) -> tuple[float, float] | None:
    """Micrometres per px (row, column) of level 0, None where they are not said."""
    try:
        scale = next(
            step["scale"]
            for step in about["datasets"][0]["coordinateTransformations"]
            if step["type"] == "scale"
        )
        found = {
            axis["name"]: float(step) * UNITS[axis["unit"]]
            for axis, step in zip(about["axes"], scale, strict=True)
            if axis["name"] in ("x", "y")
        }
        return found["y"], found["x"]
    except (KeyError, StopIteration, ValueError, TypeError):
        return None


class Chunks(Segmented):
    """An array of Zarr, decoded chunk by chunk."""

    def __init__(self, level: Level, channels: int, budget: int) -> None:
        array = level.array
        self._level, self._array = level, array
        self.size, self.dtype = level.size, settled(np.dtype(array.dtype))
        axis = level.of(CHANNEL)
        self.colours = array.shape[axis[0]] if axis else 1
        self._step = array.chunks[axis[0]] if axis else 1  # channels in a chunk
        admit_channels(self.colours, channels)
        self.grain = tuple(array.chunks[axis] for axis in level.of(SPACE))
        deep = math.prod(array.chunks[axis] for axis in level.of(FIRST))
        wider = max(1.0, np.dtype(array.dtype).itemsize / self.dtype.itemsize) * deep
        self._prepare(int(budget / wider), "chunk")
        self._fill = np.asarray(array.fill_value if array.fill_value is not None else 0)
        declared = dict(array.attrs).get("_FillValue")
        self._absent = PRESENT
        if isinstance(declared, int | float) and _same(np.asarray(declared), self._fill).all():
            self._absent = Absent(float(declared))
        self._other = _with_other_fill(array, self._fill)

    def decode(self, index: tuple[int, ...], box: Box) -> Region:
        """See `Segmented.decode`."""
        stored = self._stored(self._array, box)
        if self._absent.nodata is None and self._gone(stored, box):
            place = ", ".join(map(str, index))
            zeros = np.zeros((*extent(box), self.colours), self.dtype)
            why = f"chunk ({place}) is not there; it would be read as {self._fill}"
            return Region(zeros, (Fault(box, why),))
        pixels, missing, wrong = brightness(stored, self._absent)
        return Region(pixels, tuple(faults(stored, wrong, box[: len(self.size)])), missing)

    def _stored(self, array: Any, box: Box) -> Array:
        """A box as stored, `(*space, channels)`."""
        dims, level = len(self.size), self._level
        picked: list[slice | int] = [slice(None) if r == CHANNEL else 0 for r in level.roles]
        for place, axis in enumerate(level.of(SPACE)):
            picked[axis] = slice(box[place], box[dims + place])
        found = np.asarray(array[tuple(picked)])
        kept = [role for role in level.roles if role != FIRST]
        if CHANNEL not in kept:
            return found[..., None]
        return np.moveaxis(found, kept.index(CHANNEL), -1)

    def _gone(self, stored: Array, box: Box) -> bool:
        """Whether a chunk of the segment is not there: whatever the fill value is, it reads so."""
        for start in range(0, self.colours, self._step):
            part = stored[..., start : start + self._step]
            if not _same(part, self._fill).all():
                continue
            again = self._stored(self._other, box)[..., start : start + self._step]
            if not _same(again, self._fill).all():
                return True
        return False


def _same(numbers: Array, value: Array) -> Array:
    """Where numbers are a value, also where it is NaN."""
    found: Array = np.isnan(numbers) if np.isnan(value) else numbers == value
    return found


def _with_other_fill(array: Any, fill: Array) -> Any:
    """The same array, read with another fill value."""
    import zarr

    about = array.metadata.to_dict()
    other = not fill if array.dtype.kind == "b" else (1 if fill == 0 else 0)
    about["fill_value"] = other
    store = array.async_array.store_path if hasattr(array, "async_array") else array.store_path
    return zarr.Array(zarr.AsyncArray(about, store))
