"""Fitting the tensors of a weights file to a network, by name and by shape."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fullconv.errors import InputError, near
from fullconv.geometry import times
from fullconv.models.checkpoint import read_state

_SHOWN = 5
# Heads that only training uses; a network built without them does not miss them.
_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
# The names of DenseNet's layers before attribute names had to be free of dots.
_DENSELAYER = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a weights file into `module`, every tensor of it.

    Raises InputError, with the tensors that do not fit, or what `read_state` raises.
    """
    own = module.state_dict()
    read = read_state(path)
    state = _respelt(read, own)
    shapes = [
        f"{key} is {_size(own[key])} in the network, {_size(tensor)} in the file"
        for key, tensor in state.items()
        if key in own and own[key].shape != tensor.shape
    ]
    kinds = [
        f"{key} is {tensor.dtype}".replace("torch.", "")
        for key, tensor in state.items()
        if key in own and own[key].is_floating_point() and not tensor.is_floating_point()
    ]
    missing = [k for k in own if k not in state and not k.endswith(".num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    if not (shapes or kinds):
        try:
            # PyTorch has the last word on names: a layer may translate those of older versions.
            result = module.load_state_dict(_versioned(state, read, own), strict=False)
        except Exception as error:  # a layer may refuse in a way of its own
            raise InputError(f"cannot be loaded: {error}", where=str(path)) from error
        missing = [key for key in result.missing_keys if key in missing]
        unexpected = list(result.unexpected_keys)
    if missing or unexpected or shapes or kinds:
        raise _misfit(module, path, missing, unexpected, shapes, kinds)
    for key, tensor in module.state_dict().items():
        if torch.is_tensor(tensor) and tensor.is_floating_point() and tensor.isnan().any():
            raise InputError(
                f"{key} holds values that are not numbers (NaN).",
                where=str(path),
                hint="Every score would be NaN; these weights cannot classify.",
            )


def _size(tensor: torch.Tensor) -> str:
    return times(tensor.shape) or "a single number"


def _respelt(state: Mapping[str, torch.Tensor], own: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors under the network's names, where only a known spelling differs."""
    found: dict[str, torch.Tensor] = {}
    for key, tensor in _unwrapped(state, own).items():
        spellings = (key, key.replace("module.", ""), _DENSELAYER.sub(r"\1\2", key))
        name = next((name for name in spellings if name in own), key)
        if name in own or not key.startswith(_AUXILIARY):
            found[key if name in found else name] = tensor
    return found


def _unwrapped(
    state: Mapping[str, torch.Tensor], own: Mapping[str, Any]
) -> Mapping[str, torch.Tensor]:
    """`state` without what a wrapper put before every name (`module.`, `model.`, `_orig_mod.`).

    Only if that brings up names that the network has; otherwise it comes back as it is.
    """
    bare = state
    while not any(key in own for key in bare):
        heads = {key.partition(".")[0] for key in bare}
        if len(heads) != 1 or not all("." in key for key in bare):
            return state
        bare = {key.partition(".")[2]: tensor for key, tensor in bare.items()}
    return bare


def _versioned(
    state: Mapping[str, torch.Tensor], read: Mapping[str, torch.Tensor], own: Mapping[str, Any]
) -> OrderedDict[str, torch.Tensor]:
    """`state` with the layer versions that came with the file, or else the network's own."""
    given = getattr(read, "_metadata", None) if state.keys() <= read.keys() else None
    versioned = OrderedDict(state)
    versioned._metadata = given or getattr(own, "_metadata", None)  # type: ignore[attr-defined]
    return versioned


def _misfit(
    module: nn.Module,
    path: Path,
    missing: Sequence[str],
    unexpected: Sequence[str],
    shapes: Sequence[str],
    kinds: Sequence[str],
) -> InputError:
    lines = [
        f"  {label} ({len(items)}): {', '.join(items[:_SHOWN])}"
        + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")
        for label, items in (
            ("missing in the file", missing),
            ("not in the network", unexpected),
            ("another shape", shapes),
            ("not floating point", kinds),
        )
        if items
    ]
    for key in missing[:3]:
        alike = near(key, unexpected)
        if alike:
            lines.append(f"  {key}: {alike}")
    return InputError(
        f"does not fit {type(module).__name__}.\n" + "\n".join(lines),
        where=str(path),
        hint="Pass the weights of this very architecture, or name the one they belong to.",
    )
