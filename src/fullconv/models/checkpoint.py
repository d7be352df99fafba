"""Reading a weights file without running anything that is in it.

What a file is, is told by its first bytes, never by its name. Two formats are read: safetensors,
and PyTorch checkpoints through `torch.load(weights_only=True)`, which builds tensors and plain
containers and nothing else. Archives that hold programs are refused unread.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from fullconv.errors import InputError, RefusedError, near
from fullconv.models.pickle_names import pickled_names

# Before this release a crafted checkpoint could get past weights_only.
_SAFE_TORCH = "2.10"
_HEADER_LIMIT = 100_000_000  # bytes of JSON that safetensors itself accepts
_PLAIN = re.compile(r"torch\._utils\.|torch\.(storage\.)?\w+Storage$|collections\.OrderedDict$")
_NESTS = ("state_dict", "model_state_dict", "model")
_RESAVE = (
    "If you trust it, open it where it was made and save the tensors alone: "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')."
)
# What only archives of whole programs hold, below the archive's top folder.
_PROGRAMS = {
    "constants.pkl": "a TorchScript archive",
    "archive_format": "an exported program (.pt2)",
    "serialized_exported_program.json": "an exported program (.pt2)",
    ".data/extern_modules": "a torch.package archive",
}


def read_state(path: Path) -> Mapping[str, torch.Tensor]:
    """The tensors of a weights file by name, on the CPU, taken out of the usual nesting.

    A checkpoint's `_metadata` (layer versions) stays attached.

    Raises InputError if the file cannot be read, is cut short or holds no tensors, and RefusedError
    if loading it would run code.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        hint = ""
        if isinstance(error, FileNotFoundError) and path.parent.is_dir():
            hint = near(path.name, [entry.name for entry in path.parent.iterdir()])
        reason = f"cannot be read: {error.strerror}."
        raise InputError(reason, where=str(path), hint=hint) from None
    if not start:
        raise InputError("the file is empty.", where=str(path))
    header = int.from_bytes(start[:8], "little")
    if start[8:] == b"{" and header < _HEADER_LIMIT:
        return _safetensors(path)
    if start[:4] == b"PK\x03\x04":
        _check_archive(path)
        return _tensors(_unpickled(path), path)
    if start[:1] == pickle.PROTO:
        return _tensors(_unpickled(path), path)
    raise InputError(
        "is neither a safetensors file nor a PyTorch checkpoint.",
        where=str(path),
        hint="Pass a .safetensors file, or a state_dict saved with torch.save.",
    )


def _damaged(path: Path, error: BaseException) -> InputError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return InputError(
        f"is cut short or damaged ({reason}).",
        where=str(path),
        hint="Delete it, and fetch or copy it again.",
    )


def _safetensors(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from error


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] or name for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError) as error:
        raise _damaged(path, error) from error
    for name, kind in _PROGRAMS.items():
        if name in names:
            raise RefusedError(
                f"is {kind}: it holds a program, and loading it would run code.",
                where=str(path),
                hint=_RESAVE,
            )
    if "data.pkl" not in names:
        raise InputError(
            "is a zip archive, but not a PyTorch checkpoint.",
            where=str(path),
            hint="Pass a .safetensors file, or a state_dict saved with torch.save.",
        )


def _unpickled(path: Path) -> Any:
    if torch.torch_version.TorchVersion(torch.__version__) < _SAFE_TORCH:
        raise RefusedError(
            f"torch {torch.__version__} cannot read a pickle checkpoint safely.",
            where=str(path),
            hint="Install torch 2.10 or newer, or pass a .safetensors file.",
        )
    try:
        # As a stream: torch.load judges a path by its name.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about protocols it then refuses, and old storages
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from None
    except Exception as error:  # damaged bytes surface as almost any type
        raise _damaged(path, error) from error


def _refused(path: Path, error: pickle.UnpicklingError) -> RefusedError | InputError:
    names, whole = pickled_names(path)
    stated = re.search(r"GLOBAL (\S+)", str(error))
    culprit = stated[1] if stated and (whole or stated[1] in names) else ""
    # Of the newer protocols the reader stops before the name. The refusal stands; this words it.
    culprit = culprit or next((name for name in names if not _PLAIN.match(name)), "")
    if not (culprit or whole):
        return _damaged(path, EOFError("the pickle breaks off"))
    return RefusedError(
        f"would run code when loaded: its pickle calls {culprit}."
        if culprit
        else "is pickled so that it cannot be read without running it.",
        where=str(path),
        why="Nothing of it was executed.",
        hint=_RESAVE,
    )


def _tensors(loaded: Any, path: Path) -> Mapping[str, torch.Tensor]:
    nest = loaded
    while isinstance(nest, Mapping):
        inner = next((nest[k] for k in _NESTS if isinstance(nest.get(k), Mapping)), None)
        if inner is None:
            break
        nest = inner
    state: dict[str, torch.Tensor] = {}
    if isinstance(nest, Mapping):
        # Epoch counters and the like may lie beside the tensors.
        state = {str(key): value for key, value in nest.items() if torch.is_tensor(value)}
    if not state:
        found = f"the keys {', '.join(map(str, nest))}" if isinstance(nest, Mapping) else repr(nest)
        raise InputError(
            "holds no tensors by name.",
            where=str(path),
            why=f"Found {found[:200] if nest else 'nothing'}.",
            hint="Save model.state_dict(), not something else.",
        )
    named = _Named(state)
    versions = getattr(nest, "_metadata", None)
    named._metadata = versions if isinstance(versions, Mapping) else None
    return named


class _Named(dict[str, torch.Tensor]):
    """A state dict with room for the attribute that PyTorch keeps layer versions in."""

    _metadata: Any = None
