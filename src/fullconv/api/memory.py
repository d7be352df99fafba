"""How much memory a pass takes, counted before it is made, and what a limit lets through."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import combinations
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from fullconv.api.machine import available_bytes, parse_bytes, written_bytes
from fullconv.errors import InputError, UsageError
from fullconv.geometry import times
from fullconv.hosts.torch_fx.fcn import FCN, tensors_of
from fullconv.hosts.torch_fx.optimized.network import OptimizedFCN
from fullconv.hosts.torch_fx.tracing import in_eval

__all__ = ["Budget", "available_bytes", "parse_bytes", "peak_bytes", "written_bytes"]

MIB = 2**20
BASE = 32 * MIB
"""Kernels that are compiled, threads, small things."""
RETAINED = {True: 64 * MIB, False: 160 * MIB}
"""At most this much of what was freed stays with the allocator, in maps channels last or not: it
keeps blocks under 32 MiB. Measured by `benchmarks/memory.py`."""

_CONVOLUTION = torch.ops.aten.convolution.default


def peak_bytes(fcn: FCN, shape: Sequence[int]) -> int:
    """The most bytes alive at once while `fcn` runs on an image `(N, C, *space)`.

    Image and scores count, weights do not: they are there already. Counted op by op on fake
    tensors, without running anything, with what convolutions on the CPU take beside. What the
    allocator keeps is not in it; `Budget.needed` adds that. `torch.compile` takes less.

    The image is float32 for an optimized FCN, else in the dtype of the network.

    Raises InputError for a shape the network does not take.
    """
    return max(_course(fcn, tuple(shape)))


def _course(fcn: FCN, shape: tuple[int, ...]) -> list[int]:
    """Bytes alive during each op of a pass."""
    first = next(fcn.parameters(), torch.empty(0))
    fast = isinstance(fcn, OptimizedFCN)
    dtype = torch.float32 if fast else first.dtype
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with in_eval(fcn), torch.no_grad(), fake, _Alive() as alive:
        image = torch.empty(shape, dtype=dtype, device=first.device)
        given = fcn.prepared(image) if isinstance(fcn, OptimizedFCN) else image
        type(fcn).forward(fcn, given)  # the one that is not compiled
    course: list[int] = alive.course
    return course


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every storage from the op that makes it until nobody holds it any more."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.course: list[int] = []
        self._bytes = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an op and count what it makes; views, and work in place, make nothing."""
        out = func(*args, **(kwargs or {}))
        of_weights = any(isinstance(a, Tensor) and not isinstance(a, FakeTensor) for a in args)
        for tensor, result in zip(tensors_of(out), func._schema.returns, strict=False):
            is_view = of_weights and result.alias_info is not None
            self._hold(tensor.untyped_storage(), 0 if is_view else None)
        beside = _beside(out, *args) if func is _CONVOLUTION else 0
        self.course.append(self._bytes + beside)
        return out

    def _hold(self, storage: torch.UntypedStorage, size: int | None) -> None:
        key, size = storage._cdata, storage.nbytes() if size is None else size
        if key not in self._known:
            self._known.add(key)
            self._bytes += size
            weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._bytes -= size


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
) -> int:
    """What a convolution on the CPU takes beside its input, its weights and its output.

    oneDNN puts the weights into an order of its own, and a map that is not channels last too.
    float64 goes without oneDNN, as a matrix product over columns: every cell's input.
    """
    if x.device.type != "cpu":
        return 0
    if x.dtype != torch.float64 and torch._C._has_mkldnn:
        reordered = 0 if _channels_last(x) else max(_size(x), _size(out))
        return _size(weight) + reordered
    kernel = weight.shape[2:]
    joined = _size(out) if groups > 1 else 0  # the groups' results, before they become one map
    if all(k == s == 1 and p == 0 for k, s, p in zip(kernel, stride, padding, strict=True)):
        return joined
    images = 1 if any(d > 1 for d in dilation) else len(x)
    cells = images * prod(out.shape[2:])
    return joined + prod(kernel) * weight.shape[1] * cells * x.element_size()


def _channels_last(x: Tensor) -> bool:
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.ndim in layouts and x.is_contiguous(memory_format=layouts[x.ndim])


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


class Budget:
    """What fits into `limit` bytes of memory beside the weights of `fcn`.

    Without a limit, nine tenths of what the machine, or the GPU that holds the network, has left at
    that moment.
    """

    def __init__(self, fcn: FCN, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise UsageError(f"limit={limit} must be a positive number of bytes.")
        self._fcn = fcn
        self.limit = int(0.9 * _free(fcn)) if limit is None else limit
        self._exact: dict[tuple[int, ...], int] = {}

    def needed(self, size: tuple[int, ...], images: int = 1) -> int:
        """Bytes that a pass over `images` images of `size` px takes.

        An upper bound, and mostly within 1.5 times what is taken. Raises InputError if the image is
        below the window.
        """
        size = tuple(size)
        self._fcn.grid(size)
        if max(size) <= 4 * min(size):  # in a narrow one the map's rims weigh more
            rough = self._predicted(size, images)
            if rough < 0.8 * self.limit:
                return rough
        return self._counted(size, images)

    def admit(self, size: tuple[int, ...], images: int = 1, where: str = "") -> None:
        """Let a pass through, or raise InputError that names the largest size that would fit.

        `where` names the image in the message.
        """
        needed = self.needed(size, images)
        if needed <= self.limit:
            return
        many = "" if images == 1 else f"{images} images of "
        largest = self.largest(size, images)
        if largest is None:
            fits = f"Not even one window, {times(self._fcn.window)} px, fits."
            hint = "Raise --max-memory."
        else:
            fits = f"At most {times(largest)} px of this shape fit."
            hint = "Scale the image down, cut it, or raise --max-memory."
        raise InputError(
            f"a pass over {many}{times(size)} px needs {written_bytes(needed)} of memory, and "
            f"{written_bytes(self.limit)} is allowed.",
            where=where,
            why=fits,
            hint=hint,
        )

    def images(self, size: tuple[int, ...], most: int) -> int:
        """How many images of `size` px, 1 to `most`, fit in one pass. Raises as `admit` does."""
        self.admit(size)
        low, high = 1, max(1, most)  # low fits
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fits(size, middle) else (low, middle - 1)
        return low

    def largest(self, size: tuple[int, ...], images: int = 1) -> tuple[int, ...] | None:
        """The largest size of the shape of `size` that fits: its longest axis whole strides less.

        At least the window; None if that does not fit.
        """
        window, long = self._fcn.window, size.index(max(size))
        step = self._fcn.stride[long]

        def shrunk(steps: int) -> tuple[int, ...]:
            length = max(window[long], size[long] - steps * step)
            sides = (max(w, n * length // size[long]) for n, w in zip(size, window, strict=True))
            return tuple(sides)

        low, high = 0, -(-(size[long] - window[long]) // step)
        last = high
        while low < high:  # the first that fits, roughly
            middle = (low + high) // 2
            fits = self._predicted(shrunk(middle), images) <= self.limit
            low, high = (low, middle) if fits else (middle + 1, high)
        while low > 0 and self._fits(shrunk(low - 1), images):
            low -= 1
        while low < last and not self._fits(shrunk(low), images):
            low += 1
        return shrunk(low) if self._fits(shrunk(low), images) else None

    def _fits(self, size: tuple[int, ...], images: int) -> bool:
        return self.needed(size, images) <= self.limit

    def _counted(self, size: tuple[int, ...], images: int) -> int:
        key = (images, *size)
        if key not in self._exact:
            shape = (images, self._fcn.plan.channels, *size)
            self._exact[key] = self._with_allocator(peak_bytes(self._fcn, shape))
        return self._exact[key]

    def _predicted(self, size: tuple[int, ...], images: int) -> int:
        """What a pass takes, by the terms of the network."""
        fixed, terms = _terms(self._fcn)
        products = torch.tensor(_products(size, self._fcn.window), dtype=torch.float64)
        most = float((fixed + images * (products @ terms)).max())
        return self._with_allocator(int(1.05 * most))

    def _with_allocator(self, peak: int) -> int:
        return BASE + peak + min(peak, RETAINED[isinstance(self._fcn, OptimizedFCN)])


def _terms(fcn: FCN) -> tuple[Tensor, Tensor]:
    """From what a few sizes need: at every op, bytes per px, per px of the rim, and constant.

    Each op has its own terms, since which one needs most changes with the size. They are kept as
    long as the network lives in the same form.
    """
    first = next(fcn.parameters(), torch.empty(0))
    form = (first.dtype, first.device, first.stride())
    if fcn not in _KNOWN or _KNOWN[fcn][0] != form:
        window, channels = fcn.window, fcn.plan.channels
        # Large ones, so that all take the same way through ops that treat small maps differently.
        factors = [16 * 4**power for power in range(len(window) + 1)]
        sizes = [tuple(side * factor for side in window) for factor in factors]
        shapes = [(1, channels, *size) for size in sizes]
        courses = [_course(fcn, shape) for shape in (*shapes, (2, *shapes[0][1:]))]
        if len({len(course) for course in courses}) > 1:
            courses = [[max(course)] for course in courses]
        *taken, two = torch.tensor(courses, dtype=torch.float64)  # (ops,) each
        fixed = 2 * taken[0] - two  # whatever the number of images: weights
        bases = torch.tensor([_products(size, window) for size in sizes], dtype=torch.float64)
        terms = torch.linalg.solve(bases, torch.stack(taken) - fixed)  # (terms, ops)
        _KNOWN[fcn] = form, (fixed, terms)
    return _KNOWN[fcn][1]


_KNOWN: weakref.WeakKeyDictionary[FCN, tuple[object, tuple[Tensor, Tensor]]] = (
    weakref.WeakKeyDictionary()
)


def _products(size: Sequence[int], window: Sequence[int]) -> list[float]:
    """For every number of axes, from none to all, the products of so many sides, summed."""
    sides = [side / length for side, length in zip(size, window, strict=True)]
    return [float(sum(map(prod, combinations(sides, n)))) for n in range(len(sides) + 1)]


def _free(fcn: FCN) -> int:
    """Bytes left where the network is."""
    device = next(fcn.parameters(), torch.empty(0)).device
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_bytes()
