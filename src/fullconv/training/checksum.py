"""A checksum of a network: whether it is the one that a training began with."""

from __future__ import annotations

import hashlib
import re

from torch import fx, nn

from fullconv.hosts.torch_fx.read import read
from fullconv.hosts.torch_fx.tracing import in_eval

_PLACE = re.compile(r" at 0x[0-9a-fA-F]+")  # of an object in memory


def digest(model: nn.Module, window: int | tuple[int, ...], *, weights: bool) -> str:
    """A checksum of the layers of a network, of what `forward` does with them, and of its weights
    where they matter.

    Raises RefusedError for a network that cannot be traced at its window.
    """
    found = hashlib.sha256(_PLACE.sub("", str(model)).encode())
    with in_eval(model):
        traced = read(model, window)
    for node in traced.graph.nodes:
        found.update(_PLACE.sub("", _step(node)).encode())
    tensors = {**model.state_dict(), **traced.constants}
    for name, tensor in tensors.items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if weights or name in traced.constants:
            found.update(tensor.detach().cpu().double().contiguous().numpy().tobytes())
    return found.hexdigest()


def _step(node: fx.Node) -> str:
    """What a node computes, of which others."""
    called = getattr(node.target, "__qualname__", node.target)
    return f"{node.name} = {node.op} {called} {node.args} {node.kwargs}\n"
