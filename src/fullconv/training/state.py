"""The state of a training on disk: written whole after every epoch; read without running code."""

from __future__ import annotations

import io
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fullconv.errors import InputError
from fullconv.storage.files import atomic

DAMAGE = (RuntimeError, EOFError, OSError, LookupError, TypeError, ValueError, pickle.PickleError)
"""What PyTorch raises of a file that is cut short, changed, or something else."""

AGAIN = "Delete it, and this training begins anew."


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training images.

    Attributes:
        number: from 1.
        loss: its mean over the steps, in training mode.
        error: top-1 error in % on the images as they were fed, in training mode.
        seconds: that it took.
    """

    number: int
    loss: float
    error: float
    seconds: float


def save_state(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    epochs: tuple[Epoch, ...],
    settings: dict[str, Any],
) -> None:
    """Write where a training stands; without an optimiser it is over."""
    state = {
        "network": network.state_dict(),
        "optimizer": None if optimizer is None else optimizer.state_dict(),
        "epochs": [asdict(epoch) for epoch in epochs],
        "settings": settings,
    }
    with atomic(path) as part:
        torch.save(state, part)


def load_state(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: dict[str, Any],
) -> tuple[Epoch, ...]:
    """Put a network and its optimiser where a training stands; the epochs that are done.

    None are where there is no file. Raises InputError for a file that cannot be read, or is of
    another training.
    """
    if not path.exists():
        return ()
    where = str(path)
    try:
        written = io.BytesIO(path.read_bytes())  # or its own errors look like damage
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}.", where=where) from error
    try:
        state = torch.load(written, weights_only=True, map_location="cpu")
        other = state["settings"] != settings
        epochs = tuple(Epoch(**epoch) for epoch in state["epochs"])
    except DAMAGE as error:
        raise InputError(
            "is damaged, or no state of a training.", where=where, hint=AGAIN
        ) from error
    if other:
        raise InputError("is the state of a training with other settings.", where=where, hint=AGAIN)
    try:
        network.load_state_dict(state["network"])
        if state["optimizer"] is not None:
            optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise InputError("is the state of another network.", where=where, hint=AGAIN) from error
    return epochs
