"""FCNs on disk: numbers as safetensors, everything else as JSON beside them. No code in either."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from fullconv.errors import FullconvError, InputError, UsageError
from fullconv.hosts.torch_fx.fcn import FCN, About
from fullconv.hosts.torch_fx.program import from_program, to_program
from fullconv.storage.files import atomic
from fullconv.surgery.plan import Plan

FORMAT = "fullconv-1"


def save(fcn: FCN, path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write an FCN as `path` (safetensors) and its description beside it (`.json`).

    Returns both paths. Raises UsageError if `path` does not end in .safetensors, FullconvError if
    the network holds code (hooks) or a file cannot be written.
    """
    path = _checked(path)
    tensors = _tensors(fcn)
    program = to_program(fcn)
    with atomic(path) as part:
        safetensors.torch.save_file(tensors, part, metadata={"format": FORMAT})
        digest = _digest(part)
        description = {
            "format": FORMAT,
            "model": fcn.about.form,
            "classes": fcn.about.classes,
            "mean": fcn.about.mean,
            "std": fcn.about.std,
            "geometry": {
                "window": fcn.window,
                "stride": fcn.stride,
                "receptive_field": fcn.receptive_field,
                "offset": [0] * len(fcn.window),
            },
            "sha256": digest,
            "plan": fcn.plan.to_dict(),
            "program": program,
        }
        # The description is written first: weights without one are never left behind.
        with atomic(path.with_suffix(".json")) as beside:
            beside.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    return path, path.with_suffix(".json")


def load(path: str | os.PathLike[str]) -> FCN:
    """The FCN that `save` wrote, ready to run; needs neither the classifier nor its code.

    Raises InputError for missing, damaged or foreign files and RefusedError for a description
    that names anything but fullconv's own list of functions.
    """
    path = _checked(path)
    description = _description(path.with_suffix(".json"))
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError("is empty.", where=str(path), hint="Write it again.")
        if _digest(path) != description["sha256"]:
            raise InputError(
                f"is not the file {path.with_suffix('.json').name} describes.",
                where=str(path),
                why="Its checksum is another: it was cut short, changed or replaced.",
                hint="Write both again with fullconv.save or fullconv convert.",
            )
        tensors = safetensors.torch.load_file(path)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}.", where=str(path)) from error
    except (safetensors.SafetensorError, KeyError) as error:
        raise InputError(f"is not a saved FCN: {error}.", where=str(path)) from error
    try:
        plan = Plan.from_dict(description["plan"])
        fcn = from_program(description["program"], tensors, plan)
        classes = description["classes"]
        fcn.about = About(
            str(description["model"]),
            None if classes is None else tuple(str(name) for name in classes),
            tuple(float(x) for x in description["mean"]),
            tuple(float(x) for x in description["std"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise InputError(
            f"does not describe a network this version can build ({type(error).__name__}: {error}).",
            where=str(path.with_suffix(".json")),
            hint="Convert the model again.",
        ) from error
    return fcn


def _checked(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UsageError(
            f"{path} must end in .safetensors; the description goes beside it, ending in .json."
        )
    return path


def _tensors(fcn: FCN) -> dict[str, Tensor]:
    """Every parameter and buffer, each with memory of its own: safetensors shares none."""
    named = {**dict(fcn.named_parameters(remove_duplicate=False)), **dict(fcn.named_buffers())}
    if any(tensor.is_meta for tensor in named.values()):
        raise FullconvError("the network has no numbers (it is on the meta device).")
    seen: set[int] = set()
    tensors = {}
    for name, tensor in named.items():
        plain = tensor.detach().cpu().contiguous()
        if plain.data_ptr() in seen:
            plain = plain.clone()
        seen.add(plain.data_ptr())
        tensors[name] = plain
    return tensors


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            "is missing: a saved FCN is two files.",
            where=str(path),
            hint="Keep the .json beside its .safetensors.",
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}.", where=str(path)) from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise InputError(f"is not the description of a saved FCN ({FORMAT}).", where=str(path))
    return description
