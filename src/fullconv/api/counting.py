"""The bytes that a pass holds, op by op, counted without making it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from fullconv.hosts.torch_fx.fcn import FCN, tensors_of
from fullconv.hosts.torch_fx.optimized.network import OptimizedFCN
from fullconv.hosts.torch_fx.tracing import in_eval

__all__ = ["Alive", "course", "peak_bytes"]

_CONVOLUTION = torch.ops.aten.convolution.default
_BATCH_NORM = torch.ops.aten.native_batch_norm.default
_BACKWARD = torch.ops.aten.convolution_backward.default
_NORM_BACKWARD = torch.ops.aten.native_batch_norm_backward.default


def peak_bytes(fcn: FCN, shape: Sequence[int]) -> int:
    """The most bytes alive at once while `fcn` runs on an image `(N, C, *space)`.

    Image and scores count, weights do not: they are there already. Counted op by op on fake
    tensors, without running anything, with what convolutions on the CPU take beside. What the
    allocator keeps is not in it; `Budget.needed` adds that. `torch.compile` takes less. What the
    libraries of a GPU take as workspace is not counted.

    The image is float32 for an optimized FCN, else in the dtype of the network.

    Raises InputError for a shape the network does not take.
    """
    return max(course(fcn, tuple(shape)))


def course(fcn: FCN, shape: tuple[int, ...]) -> list[int]:
    """Bytes alive during each op of a pass on an image of `shape`; see `peak_bytes`.

    An op that takes the larger of two things beside has an entry with each, so that every entry is
    linear in every side of the image.
    """
    first = next(fcn.parameters(), torch.empty(0))
    fast = isinstance(fcn, OptimizedFCN)
    dtype = torch.float32 if fast else first.dtype
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with in_eval(fcn), torch.no_grad(), fake, Alive() as alive:
        image = torch.empty(shape, dtype=dtype, device=first.device)
        given = fcn.prepared(image) if isinstance(fcn, OptimizedFCN) else image
        type(fcn).forward(fcn, given)  # the one that is not compiled
    found: list[int] = alive.course
    return found


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every storage from the op that makes it until nobody holds it any more.

    Attributes:
        bytes: what is alive now.
        course: what was alive during each op so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.course: list[int] = []
        self.bytes = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an op and count what it makes; views, and work in place, make nothing."""
        out: Any
        # Batch norms of fixed statistics; worked out on fake tensors they take long.
        if func is _BATCH_NORM:
            out = (torch.empty_like(args[0]), *(args[0].new_empty(0) for _ in range(2)))
        elif func is _NORM_BACKWARD:
            channels = args[1].shape[1]
            out = (torch.empty_like(args[1]), *(args[1].new_empty(channels) for _ in range(2)))
        else:
            out = func(*args, **(kwargs or {}))
        of_weights = any(isinstance(a, Tensor) and not isinstance(a, FakeTensor) for a in args)
        for tensor, result in zip(tensors_of(out), func._schema.returns, strict=False):
            is_view = of_weights and result.alias_info is not None
            self._hold(tensor.untyped_storage(), 0 if is_view else None)
        ways: tuple[int, ...] = (0,)
        if func is _CONVOLUTION:
            ways = _beside(out, *args)
        elif func is _BACKWARD:  # as the layer itself takes, from its output back to its input
            ways = _beside(args[0], args[1], args[2], None, *args[4:10])
        self.course += [self.bytes + beside for beside in ways]
        return out

    def _hold(self, storage: torch.UntypedStorage, size: int | None) -> None:
        key, size = storage._cdata, storage.nbytes() if size is None else size
        if key not in self._known:
            self._known.add(key)
            self.bytes += size
            weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.bytes -= size


def _beside(
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> tuple[int, ...]:
    """What a convolution on the CPU takes beside its input, its weights and its output.

    Several numbers where it is the largest of them. oneDNN puts the weights into an order of its
    own, and a map that is not channels last too. float64 goes without oneDNN, as a matrix product
    over columns: every cell's input.
    """
    if x.device.type != "cpu":
        return (0,)
    if x.dtype != torch.float64 and torch._C._has_mkldnn:
        reordered = (0,) if _channels_last(x) else (_size(x), _size(out))
        return tuple(_size(weight) + size for size in reordered)
    kernel = weight.shape[2:]
    joined = _size(out) if groups > 1 else 0  # the groups' results, before they become one map
    if all(k == s == 1 and p == 0 for k, s, p in zip(kernel, stride, padding, strict=True)):
        return (joined,)
    images = 1 if any(d > 1 for d in dilation) else len(x)
    cells = images * prod(out.shape[2:])
    return (joined + prod(kernel) * weight.shape[1] * cells * x.element_size(),)


def _channels_last(x: Tensor) -> bool:
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.ndim in layouts and x.is_contiguous(memory_format=layouts[x.ndim])


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
