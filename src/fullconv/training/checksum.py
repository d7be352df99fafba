"""A checksum of a network: whether it is the one that a training began with."""

from __future__ import annotations

import hashlib

from torch import nn

from fullconv.hosts.torch_fx.identity import step, without_places
from fullconv.hosts.torch_fx.read import read
from fullconv.hosts.torch_fx.tracing import in_eval


def digest(model: nn.Module, window: int | tuple[int, ...], *, weights: bool) -> str:
    """A checksum of the layers of a network, of what `forward` does with them, and of its weights
    where they matter.

    Raises RefusedError for a network that cannot be traced at its window.
    """
    found = hashlib.sha256(without_places(str(model)).encode())
    with in_eval(model):
        traced = read(model, window)
    for node in traced.graph.nodes:
        found.update(step(node).encode())
    tensors = {**model.state_dict(), **traced.constants}
    for name, tensor in tensors.items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if weights or name in traced.constants:
            found.update(tensor.detach().cpu().double().contiguous().numpy().tobytes())
    return found.hexdigest()
