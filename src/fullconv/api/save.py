"""FCNs on disk: numbers as safetensors, everything else as JSON beside them. No code in either."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from fullconv.errors import FullconvError, InputError, RefusedError, UsageError
from fullconv.hosts.torch_fx.fcn import FCN, About
from fullconv.hosts.torch_fx.optimized.network import OptimizedFCN
from fullconv.hosts.torch_fx.saved.program import fill, skeleton, to_program
from fullconv.storage.description import is_sealed, read_description, sealed, write_description
from fullconv.storage.files import atomic
from fullconv.storage.outputs import check_replaceable, check_writable, kept
from fullconv.surgery.plan import Plan

FORMAT = "fullconv-1"
_KEYS = ("geometry", "input", "model", "classes", "plan", "program", "weights_sha256")


def save(fcn: FCN, path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write an FCN as `path` (safetensors) and its description beside it (`.json`).

    The description says what the network is, for people and for `load`: the MODEL it came from, its
    geometry, how images are prepared, class names, surgery plan and program. If writing fails, the
    files that were there stay as they were.

    Returns both paths. Raises UsageError if `path` does not end in .safetensors or the `.json`
    beside it is something else, FullconvError if the network holds code (hooks) or a file cannot be
    written.
    """
    if not isinstance(fcn, FCN):
        raise UsageError(
            f"only an FCN can be saved here, not a {type(fcn).__name__}.",
            hint="Make one with fullconv.convert(model, window).",
        )
    if isinstance(fcn, OptimizedFCN):
        raise UsageError(
            "an optimized FCN is not saved.",
            hint="Save the FCN it came from; once loaded, it is optimized again in a moment.",
        )
    path, beside = _pair(path)
    check_target(path)
    program, numbers = to_program(fcn)
    description: dict[str, Any] = {
        "format": FORMAT,
        "model": fcn.about.form,
        "geometry": _geometry(fcn),
        "input": {
            "channels": fcn.plan.channels,
            "mean": list(fcn.about.mean),
            "std": list(fcn.about.std),
            "shortest": fcn.about.shortest,
        },
        "plan": fcn.plan.to_dict(),
        "classes": fcn.about.classes,
        "weights_sha256": "",
        "program": program,
    }
    skeleton(program, fcn.plan)  # what cannot be read again is not written
    try:
        _about(description, fcn.plan)
    except ValueError as error:
        raise UsageError(f"what fcn.about says does not fit the network: {error}.") from error
    with kept(path), atomic(beside) as text, atomic(path) as part:
        _write_numbers(numbers, part)
        description["weights_sha256"] = _digest(part)
        write_description(text, sealed(description))
    return path, beside


def load(path: str | os.PathLike[str]) -> FCN:
    """The FCN that `save` wrote, ready to run; needs neither the classifier nor its code.

    Raises InputError for missing, damaged or foreign files and RefusedError for a description
    that names anything but fullconv's own list of functions.
    """
    path, beside = _pair(path)
    description = _read(beside, path)
    try:
        plan = Plan.from_dict(description["plan"])
        fcn = skeleton(description["program"], plan)
        fcn.about = _about(description, plan)
        if description["geometry"] != _geometry(fcn):
            raise ValueError("its geometry is not that of its plan")
    except RefusedError as error:
        raise RefusedError(
            error.what,
            where=": ".join(part for part in (str(beside), error.where) if part),
            why=error.why,
            hint="Do not use this file; convert the model again.",
        ) from error
    except Exception as error:  # whatever PyTorch says of settings that make no network
        raise _malformed(beside, error) from error
    numbers = _numbers(path, description["weights_sha256"])
    try:
        fill(fcn, description["program"], numbers)
    except (KeyError, ValueError) as error:
        raise _malformed(beside, error) from error
    return fcn


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise what `save` would raise of `path` itself, before any work is done."""
    path, beside = _pair(path)
    check_writable(path, beside)
    check_replaceable(beside, FORMAT, path.name)


def _pair(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The two files of a saved FCN."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UsageError(
            f"{path} must be a name that ends in .safetensors; the description goes beside it, "
            "ending in .json."
        )
    return path, path.with_suffix(".json")


def _write_numbers(numbers: Mapping[str, Tensor], part: Path) -> None:
    try:
        mode = part.stat().st_mode
        safetensors.torch.save_file(dict(numbers), part, metadata={"format": FORMAT})
        part.chmod(mode)  # safetensors makes a file that only its owner may read
    except safetensors.SafetensorError as error:
        raise FullconvError(f"the weights cannot be written: {error}.") from error


def _geometry(fcn: FCN) -> dict[str, Any]:
    """Where the cells of a map lie: cell `i` stands for the window that begins at `i * stride`."""
    return {
        "window": list(fcn.window),
        "stride": list(fcn.stride),
        "offset": [0] * len(fcn.window),
        "receptive_field": list(fcn.receptive_field),
    }


def _read(beside: Path, path: Path) -> dict[str, Any]:
    """The description, whole and as it was written."""
    if not beside.exists():
        if not path.exists():
            raise InputError("there is no such file.", where=str(path))
        raise InputError(
            "is missing: a saved FCN is two files.",
            where=str(beside),
            hint=f"Keep it beside {path.name}. If that file holds the weights of a classifier, "
            "name the classifier and pass it with --weights.",
        )
    description = read_description(beside)
    found = description.get("format")
    if found != FORMAT:
        ours = isinstance(found, str) and found.startswith("fullconv-")
        raise InputError(
            f"has the format {found}, and this version reads {FORMAT}."
            if ours
            else "is not the description of a saved FCN.",
            where=str(beside),
            hint="Convert the model again." if ours else "",
        )
    missing = [key for key in _KEYS if key not in description]
    if missing:
        raise InputError(f"lacks {', '.join(missing)}.", where=str(beside), hint=_AGAIN)
    if not is_sealed(description):
        raise InputError(
            "was changed or damaged: its checksum is another.",
            where=str(beside),
            why="A number that is wrong in it would make another network.",
            hint="Write it again with fullconv.save or fullconv convert, which take class names "
            "and how images are prepared.",
        )
    return description


_AGAIN = "Write both files again with fullconv.save or fullconv convert."


def _numbers(path: Path, digest: str) -> dict[str, Tensor]:
    try:
        if path.stat().st_size == 0:
            raise InputError("is empty.", where=str(path), hint=_AGAIN)
        if _digest(path) != digest:
            raise InputError(
                f"is not the file that {path.with_suffix('.json').name} describes.",
                where=str(path),
                why="Its checksum is another: it was cut short, changed or replaced.",
                hint=_AGAIN,
            )
        return safetensors.torch.load_file(path)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}.", where=str(path)) from error
    except safetensors.SafetensorError as error:
        raise InputError(f"is no safetensors file: {error}.", where=str(path)) from error


def _about(description: Mapping[str, Any], plan: Plan) -> About:
    """What is known beyond the plan. Raises ValueError for what does not fit it."""
    read, classes = description["input"], description["classes"]
    mean, std = (tuple(float(number) for number in read[key]) for key in ("mean", "std"))
    if read["channels"] != plan.channels or not {len(mean), len(std)} <= {1, plan.channels}:
        raise ValueError(f"a mean {mean} and a std {std} for {plan.channels} channels")
    if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise ValueError(f"a mean {mean} and a std {std}")
    if classes is not None:
        classes = tuple(classes)
        if len(classes) != plan.outputs or not all(isinstance(name, str) for name in classes):
            raise ValueError(f"{len(classes)} class names for {plan.outputs} scores")
    shortest = read.get("shortest")
    if shortest is not None and (type(shortest) is not int or shortest < 1):
        raise ValueError(f"a shortest side of {shortest!r} px")
    return About(str(description["model"]), classes, mean, std, shortest)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _malformed(beside: Path, error: Exception) -> InputError:
    said = (str(error).strip() or "no message").splitlines()[0].rstrip(".")
    return InputError(
        f"does not describe a network that this version can build: {said}.",
        where=str(beside),
        why=f"({type(error).__name__})",
        hint="Convert the model again.",
    )
