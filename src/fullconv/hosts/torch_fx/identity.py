"""Which network it is, as a checksum: what it computes, with which numbers, in which form."""

from __future__ import annotations

import hashlib
import re
from itertools import chain

import torch
from torch import Tensor, fx

from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.optimized.network import OptimizedFCN

PART = 1 << 24  # numbers of a tensor that are hashed at a time

_PLACE = re.compile(r" at 0x[0-9a-fA-F]+")  # of an object in memory


def without_places(text: str) -> str:
    """How an object prints, without where in memory it lies."""
    return _PLACE.sub("", text)


def step(node: fx.Node) -> str:
    """What a node computes, of which others."""
    called = getattr(node.target, "__qualname__", node.target)
    return without_places(f"{node.name} = {node.op} {called} {node.args} {node.kwargs}\n")


def digest(fcn: FCN) -> str:
    """SHA-256, in hex, of an FCN: its plan, layers and graph, and every number in it.

    The same network optimized, or in another type, gives other last digits: it is another one.
    Little memory is taken, whatever the size of the weights.
    """
    found = hashlib.sha256()
    if isinstance(fcn, OptimizedFCN):
        found.update(repr(fcn.optimization).encode())
    found.update(repr(fcn.plan.to_dict()).encode())
    for node in fcn.graph.nodes:
        found.update(step(node).encode())
        if node.op == "call_module":  # what a layer is beside its numbers: strides, slopes
            found.update(without_places(repr(fcn.get_submodule(str(node.target)))).encode())
    for name, tensor in chain(fcn.named_parameters(), fcn.named_buffers()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        for part in _parts(tensor.detach()):
            found.update(part.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _parts(tensor: Tensor) -> list[Tensor]:
    """The numbers of a tensor in order, in parts, in types that numpy has."""
    parts = list(tensor) if tensor.numel() > PART and tensor.ndim > 1 else [tensor]
    halves = tensor.dtype == torch.bfloat16
    return [part.contiguous().view(torch.int16) if halves else part for part in parts]
