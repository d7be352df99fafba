"""What a map says of the scan that made it, and what of that is taken over to go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import fullconv
from fullconv.errors import UsageError
from fullconv.evaluate.class_names import find_class
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.identity import digest
from fullconv.scanning.plan import ScanPlan
from fullconv.scanning.work.pixels import Preparation
from fullconv.storage.maps import MapAbout
from fullconv.storage.maps.about import Kept
from fullconv.storage.maps.document import NAME, read_document
from fullconv.storage.sources import Source

Keep = str | Sequence[int | str] | tuple[str, int]
"""`"all"`, classes by name or number, or `("top", k)`."""


def kept_of(keep: Keep, fcn: FCN) -> Kept:
    """Which classes are stored. Raises UsageError for classes that are not there."""
    if isinstance(keep, str):
        if keep == "all":
            return "all"
        raise UsageError(
            f'keep={keep!r} must be "all", a list of classes, or ("top", k).',
            hint=f"To keep one class, write keep=[{keep!r}].",
        )
    listed = list(keep)
    if len(listed) == 2 and listed[0] == "top" and isinstance(listed[1], int):
        return ("top", listed[1])
    count, names = fcn.plan.outputs, fcn.about.classes
    numbers = tuple(dict.fromkeys(find_class(entry, names, count) for entry in listed))
    if not numbers:
        raise UsageError("keep names no class.", hint='Write keep="all" to keep all of them.')
    return numbers


def sizes_there(target: Path) -> dict[str, int] | None:
    """Strip, band and steps of the map that is in a folder, None if there is none.

    The plan is kept when a scan goes on, whatever memory there is then: other strips would give
    other last digits. Raises InputError for a map that cannot be read.
    """
    if not (target / NAME).is_file():
        return None
    there = read_document(target)
    settings = there.about.settings
    strip, band = settings.get("strip"), settings.get("band")
    if type(strip) is not int or type(band) is not int or min(strip, band) < 1:
        return None  # the map of another program: the writer says what differs
    return {"strip": strip, "band": band, "steps": -(-there.layout.chunk[0] // strip)}


def described(
    fcn: FCN,
    source: Source,
    plan: ScanPlan,
    preparation: Preparation,
    *,
    kept: Kept,
    values: str,
    mask: str | None,
) -> MapAbout:
    """What a map says of its scan."""
    sizes = [plan.height, plan.width, plan.steps]
    text = json.dumps([fcn.plan.to_dict(), *sizes], sort_keys=True)
    return MapAbout(
        window=fcn.window,
        stride=fcn.stride,
        size=source.size,
        model=digest(fcn),
        plan=hashlib.sha256(text.encode()).hexdigest(),
        source=source.name,
        fingerprint=source.fingerprint(),
        frame=asdict(source.frame),
        classes=fcn.about.classes,
        kept=kept,
        values=values,
        settings={
            "mean": list(preparation.mean),
            "std": list(preparation.std),
            "numbers": str(preparation.dtype).removeprefix("torch."),
            "device": preparation.device.type,
            "mask": mask,
            "strip": plan.height,
            "band": plan.width,
        },
        made_by=f"fullconv {fullconv.__version__}",
    )
