"""Everything a scan needs, opened, checked and planned, before a chunk is computed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fullconv.errors import InputError, UsageError
from fullconv.evaluate.preparation import check_preparation
from fullconv.evaluate.words import check_choice
from fullconv.geometry import Box, times
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.streaming.reading import Streamed, streamed
from fullconv.hosts.torch_fx.tracing import in_eval
from fullconv.scanning.description import Keep, described, kept_of
from fullconv.scanning.plan import ScanPlan
from fullconv.scanning.proof import prove
from fullconv.scanning.room import Room, budget_of
from fullconv.scanning.sight.background import mask_of, tissue
from fullconv.scanning.sight.mask import Mask
from fullconv.scanning.sight.spans import Sight
from fullconv.scanning.work.pixels import Preparation
from fullconv.storage.maps import MapAbout
from fullconv.storage.maps.about import VALUES, Kept
from fullconv.storage.maps.layout import DTYPES
from fullconv.storage.sources import ArraySource, Source, open_source
from fullconv.storage.sources.source import checked, extent, slices

Given = str | os.PathLike[str] | npt.NDArray[Any] | Source
"""A file, pixels `(*space, channels)`, or anything else that boxes of pixels can be read from."""
AUTO = "auto"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of a scan; see `fullconv.scan`."""

    region: Box | None = None
    level: int | None = None
    mpp: float | None = None
    mask: Given | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    keep: Keep = "all"
    values: str = "scores"
    dtype: str = "float32"
    max_memory: int | None = None
    strip: int | None = None
    band: int | None = None

    def check(self) -> None:
        """Raise UsageError for what no scan can be."""
        check_choice("values", self.values, VALUES)
        check_choice("dtype", self.dtype, DTYPES)
        if self.dtype == "uint8" and self.values != "probabilities":
            raise UsageError(
                "dtype='uint8' holds probabilities, from 0 to 1, and scores are asked for.",
                hint="Ask for values='probabilities', or for float32 or float16.",
            )
        for name in ("strip", "band", "max_memory"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name}={value} must be a positive whole number.")


@dataclass(frozen=True, eq=False)
class Ready:
    """A scan that can begin.

    Attributes:
        fcn: the network, in inference mode while this is open.
        network: its stages.
        source: of pixels.
        preparation: of pixels.
        plan: of strips and bands.
        room: memory beside the maps.
        sight: what cells look at.
        mask: where to look, None for everywhere.
        kept: which classes are stored.
        values: scores or probabilities.
        difference: of the stream from one pass on a small image, relative to the largest score.
    """

    fcn: FCN
    network: Streamed
    source: Source
    preparation: Preparation
    plan: ScanPlan
    room: Room
    sight: Sight
    mask: Mask | None
    kept: Kept
    values: str
    difference: float

    def about(self) -> MapAbout:
        """What the map says of itself; the weights and some of the source are read for it."""
        identity = None if self.mask is None else self.mask.identity
        return described(
            self.fcn, self.source, self.plan, self.preparation,
            kept=self.kept, values=self.values, mask=identity,
        )  # fmt: skip


@contextmanager
def opened(
    fcn: FCN, given: Given, asked: Request, there: dict[str, int] | None, say: Say
) -> Iterator[Ready]:
    """Open and check all that a scan takes, prove its stream, and plan it.

    `there` are strip, band and steps of a map that is gone on with.
    """
    if not isinstance(fcn, FCN):
        raise UsageError(
            f"a scan needs an FCN, not a {type(fcn).__name__}.",
            hint="Make one with fullconv.convert(model, window).",
        )
    asked.check()
    kept = kept_of(asked.keep, fcn)
    mean = fcn.about.mean if asked.mean is None else tuple(asked.mean)
    std = fcn.about.std if asked.std is None else tuple(asked.std)
    check_preparation(fcn.plan.channels, mean, std)
    preparation = Preparation.of(fcn, mean, std)
    with in_eval(fcn), ExitStack() as stack:
        network = streamed(fcn)
        difference = prove(network)
        source = _source(given, fcn, asked, stack)
        grid = _grid(fcn, source)
        sight = Sight(network.course, network.course.cells(source.size), fcn.window, fcn.stride)
        mask = _mask(given, source, asked, sight, stack, say)
        room = Room(fcn, source, preparation, kept, asked.dtype, asked.max_memory, grid)
        plan = room.plan(network.course, *_sizes(asked, there or {}))
        yield Ready(
            fcn, network, source, preparation, plan, room, sight, mask, kept, asked.values,
            difference,
        )  # fmt: skip


def _sizes(asked: Request, there: dict[str, int]) -> tuple[int | None, int | None, int | None]:
    """Strip, band and steps of a chunk: those that are there, if nothing else is asked for."""
    strip, band = asked.strip or there.get("strip"), asked.band or there.get("band")
    same = (strip, band) == (there.get("strip"), there.get("band"))
    return strip, band, there.get("steps") if same else None


def _grid(fcn: FCN, source: Source) -> tuple[int, ...]:
    """Cells of the map. Raises InputError, naming the image, if there is no whole window."""
    dims = len(fcn.window)
    if len(source.size) != dims:
        raise InputError(
            f"has {len(source.size)} spatial axes, {times(source.size)} px, and the network takes "
            f"{dims}.",
            where=source.name,
        )
    try:
        return fcn.grid(source.size).shape
    except InputError as error:
        raise InputError(error.what, where=source.name, why=error.why, hint=error.hint) from error


def _source(given: Given, fcn: FCN, asked: Request, stack: ExitStack) -> Source:
    """The source, the part of it that is asked for; closed by `stack` if it was opened here."""
    channels, dims = fcn.plan.channels, len(fcn.window)
    if isinstance(given, str | os.PathLike):
        return stack.enter_context(
            open_source(
                given,
                channels=channels,
                region=asked.region,
                level=asked.level,
                mpp=asked.mpp,
                budget=budget_of(asked.max_memory, str(given)),
                axes=dims,
            )
        )
    unused = [name for name in ("level", "mpp") if getattr(asked, name) is not None]
    if unused:
        raise UsageError(f"{' and '.join(unused)} cannot be given: only files have levels.")
    if isinstance(given, np.ndarray):
        whole = ArraySource(given, axes=dims, channels=channels)
        if asked.region is None:
            return whole
        box = checked(asked.region, whole.size, whole.name, "region")
        if 0 in extent(box):
            raise InputError("the region holds no px.", where=whole.name)
        part = ArraySource(given[slices(box)], axes=dims, channels=channels)
        part.frame = whole.frame.cropped(box[:dims])
        return part
    if not isinstance(given, Source):
        raise UsageError(
            f"a {type(given).__name__} is no image.",
            hint="Name a file, or give pixels (*space, channels) as an array, or a source.",
        )
    if asked.region is not None:
        raise UsageError(
            "region cannot be given with a source.", hint="Open the source with its region."
        )
    if given.channels != channels:
        raise InputError(
            f"has {given.channels} channels, and the network takes {channels}.", where=given.name
        )
    return given


def _mask(
    given: Given, source: Source, asked: Request, sight: Sight, stack: ExitStack, say: Say
) -> Mask | None:
    """The mask that is asked for. It covers the whole image, of which a region is a part."""
    wanted = asked.mask
    if wanted is None:
        return None
    dims = len(source.size)
    whole, corner = source.size, (0,) * dims
    if asked.region is not None:
        corner = tuple(asked.region[:dims])
        whole = _whole(given, asked, dims)
    budget = budget_of(asked.max_memory, source.name)
    if isinstance(wanted, str) and wanted == AUTO:
        image: str | os.PathLike[str] | Source = source
        if isinstance(given, str | os.PathLike):
            image = given
        elif isinstance(given, np.ndarray):
            image = ArraySource(given, axes=dims)
        flags, threshold = tissue(image, budget)
        say(
            f"mask: {flags.mean():.1%} of the image is no background "
            f"(saturation above {threshold:.3f})"
        )
        return Mask(mask_of(flags), whole, corner, sight, AUTO)
    if isinstance(wanted, str | os.PathLike):
        mask: Source = stack.enter_context(
            open_source(wanted, channels=1, budget=budget, axes=dims)
        )
    elif isinstance(wanted, Source):
        mask = wanted
    else:
        mask = ArraySource(wanted, axes=dims, channels=1, name="the mask")
    if len(mask.size) != dims:
        raise InputError(
            f"has {len(mask.size)} spatial axes, and the image {dims}.", where=mask.name
        )
    return Mask(mask, whole, corner, sight, mask.fingerprint())


def _whole(given: Given, asked: Request, dims: int) -> tuple[int, ...]:
    """Px per axis of the image of which a region is scanned."""
    if isinstance(given, np.ndarray):
        return given.shape[:dims]
    assert isinstance(given, str | os.PathLike)
    budget = budget_of(asked.max_memory, str(given))
    with open_source(given, channels=1, level=asked.level, mpp=asked.mpp, budget=budget) as image:
        return image.size
