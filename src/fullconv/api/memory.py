"""How much memory a pass takes, told before it is made, and what a limit lets through."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from fullconv.api.counting import course, peak_bytes
from fullconv.api.machine import available_bytes, parse_bytes, written_bytes
from fullconv.errors import InputError, UsageError
from fullconv.geometry import times
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.optimized.network import OptimizedFCN
from fullconv.hosts.torch_fx.runtime.product import SMALL, ProductConv

__all__ = ["Budget", "available_bytes", "parse_bytes", "peak_bytes", "written_bytes"]

MIB = 2**20
BASE = 32 * MIB
"""Kernels that are compiled, threads, small things."""
RETAINED = {True: 64 * MIB, False: 160 * MIB}
"""At most this much of what was freed stays with the allocator, in maps channels last or not: it
keeps blocks under 32 MiB. Measured by `benchmarks/memory.py`."""


class Budget:
    """What fits into `limit` bytes of memory beside the weights of `fcn`.

    Without a limit, nine tenths of what the machine, or the GPU that holds the network, has left at
    that moment, less the `beside` bytes that the caller will hold while passes run.

    The bounds are those of a CPU. What the libraries of a GPU take as workspace is not in them.

    Raises UsageError for a limit that is not positive.
    """

    def __init__(self, fcn: FCN, limit: int | None = None, beside: int = 0) -> None:
        if limit is not None and limit < 1:
            raise UsageError(f"limit={limit} must be a positive number of bytes.")
        self._fcn = fcn
        self._given = limit is not None
        self.limit = max(0, int(0.9 * free_bytes(fcn)) - beside) if limit is None else limit
        self._exact: dict[tuple[int, ...], int] = {}

    def needed(self, size: tuple[int, ...], images: int = 1) -> int:
        """Bytes that a pass over `images` images of `size` px takes.

        An upper bound; near the limit and above, mostly within 1.5 times what is taken. Raises
        InputError if the image is below the window.
        """
        size = tuple(size)
        cells = images * len(self._fcn.grid(size))
        rough = _predicted(self._fcn, size, images)
        if rough is not None:
            # The prediction is that of convolutions. A map has as many cells as windows, or more.
            patches = _patches(self._fcn) if cells <= SMALL else 0
            bound = self.with_allocator(int(1.05 * rough) + patches)
            if bound < 0.8 * self.limit:
                return bound
        return self._counted(size, images)

    def admit(self, size: tuple[int, ...], images: int = 1, where: str = "") -> None:
        """Let a pass through, or raise InputError that names the largest size that would fit.

        `where` names the image in the message.
        """
        needed = self.needed(size, images)
        if needed <= self.limit:
            return
        many = "" if images == 1 else f"{images} images of "
        left = "allowed" if self._given else "free"
        more = "raise the limit (max_memory, --max-memory)" if self._given else "free some memory"
        largest = self.largest(size, images)
        if largest is None:
            fits = f"Not even one window, {times(self._fcn.window)} px, fits."
            hint = f"{more[0].upper()}{more[1:]}."
        else:
            fits = f"At most {times(largest)} px of this shape fit."
            hint = f"Scale the image down, cut it, or {more}."
        raise InputError(
            f"a pass over {many}{times(size)} px needs {written_bytes(needed)} of memory, and "
            f"{written_bytes(self.limit)} is {left}.",
            where=where,
            why=fits,
            hint=hint,
        )

    def images(self, size: tuple[int, ...], most: int, where: str = "") -> int:
        """How many images of `size` px, 1 to `most`, fit in one pass. Raises as `admit` does."""
        self.admit(size, where=where)
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
        last = -(-(size[long] - window[long]) // step)

        def shrunk(steps: int) -> tuple[int, ...]:
            length = max(window[long], size[long] - steps * step)
            sides = (max(w, n * length // size[long]) for n, w in zip(size, window, strict=True))
            return tuple(sides)

        def fits(steps: int) -> bool:
            return self._fits(shrunk(steps), images)

        low, high = -1, last
        while high - low > 1:  # between: what is predicted to fit first
            middle = (low + high) // 2
            rough = _predicted(self._fcn, shrunk(middle), images)
            right = rough is not None and self.with_allocator(rough) <= self.limit
            low, high = (low, middle) if right else (middle, high)
        # From there in ever longer steps to where it changes.
        at, reach = high, 1
        if fits(at):
            while at > 0 and fits(max(0, at - reach)):
                at, reach = max(0, at - reach), 2 * reach
            low, high = max(0, at - reach) if at else -1, at
        else:
            while at < last and not fits(min(last, at + reach)):
                at, reach = min(last, at + reach), 2 * reach
            if at == last:
                return None
            low, high = at, min(last, at + reach)
        while high - low > 1:  # low does not fit, high does
            middle = (low + high) // 2
            low, high = (low, middle) if fits(middle) else (middle, high)
        return shrunk(high)

    def _fits(self, size: tuple[int, ...], images: int) -> bool:
        return self.needed(size, images) <= self.limit

    def _counted(self, size: tuple[int, ...], images: int) -> int:
        key = (images, *size)
        if key not in self._exact:
            shape = (images, self._fcn.plan.channels, *size)
            self._exact[key] = self.with_allocator(peak_bytes(self._fcn, shape))
        return self._exact[key]

    def with_allocator(self, peak: int) -> int:
        """Bytes that a pass takes in all which has `peak` bytes alive at once, as `peak_bytes`."""
        return BASE + peak + min(peak, RETAINED[isinstance(self._fcn, OptimizedFCN)])


def _predicted(fcn: FCN, size: tuple[int, ...], images: int) -> int | None:
    """The most bytes alive in a pass, from what passes over a few other sizes hold.

    That of whole strides, at least as large as `size`, so that no map is smaller than thought.
    Where a layer may be a convolution or a product, it is a convolution. None where the ops differ
    from size to size.
    """
    one = _along(fcn, size, 1)
    two = _along(fcn, size, 2) if images > 1 else one
    if one is None or two is None or len(one) != len(two):
        return None
    return int((one + (images - 1) * (two - one)).max())


def _along(fcn: FCN, size: tuple[int, ...], images: int) -> Tensor | None:
    """Bytes alive during each op, `(ops,)`: linear in every side, at every op by itself."""
    found = _courses(fcn, images)
    if found is None:
        return None
    for length, window, stride, small in zip(size, *_samples(fcn), strict=True):
        strides = -(-(length - window) // stride)
        share = (strides - small) / (FACTOR * small - small)
        found = torch.lerp(found[0], found[1], share)
    return found


FACTOR = 4
"""How many times larger the longer of the two sides sampled is, in strides."""


def _samples(fcn: FCN) -> tuple[tuple[int, ...], tuple[int, ...], list[int]]:
    """Window and native stride, px per axis, and the strides beyond the window to sample at.

    At least 16 windows long and more than 256 cells, so that all sizes take the same way through
    what treats small maps differently. In native strides, so that maps grow by whole cells.
    """
    window, stride = fcn.window, fcn.plan.native_stride
    strides = [max(32, -(-15 * w // s)) for w, s in zip(window, stride, strict=True)]
    return window, stride, strides


def _courses(fcn: FCN, images: int) -> Tensor | None:
    """`course` where each side is the smaller or the larger sampled, `(2, …, 2, ops)`.

    Kept as long as the network lives in the same form. None where the ops differ.
    """
    first = next(fcn.parameters(), torch.empty(0))
    key = (images, first.dtype, first.device, first.stride())
    known = _KNOWN.setdefault(fcn, {})
    if key not in known:
        sizes: list[tuple[int, ...]] = [()]
        for window, stride, small in zip(*_samples(fcn), strict=True):
            sides = [window + stride * strides for strides in (small, FACTOR * small)]
            sizes = [(*size, side) for size in sizes for side in sides]
        found = [course(fcn, (images, fcn.plan.channels, *size)) for size in sizes]
        alike = len({len(one) for one in found}) == 1
        shape = (*(2 for _ in fcn.window), -1)
        known[key] = torch.tensor(found, dtype=torch.float64).reshape(shape) if alike else None
    return known[key]


_KNOWN: weakref.WeakKeyDictionary[FCN, dict[object, Tensor | None]] = weakref.WeakKeyDictionary()


def _patches(fcn: FCN) -> int:
    """The most bytes that a matrix product takes and a convolution in its place does not."""
    weights = [m.weight for m in fcn.modules() if isinstance(m, ProductConv)]
    return max((SMALL * w[0].numel() * w.element_size() for w in weights), default=0)


def free_bytes(fcn: FCN) -> int:
    """Bytes left where the network is."""
    device = next(fcn.parameters(), torch.empty(0)).device
    if device.type != "cuda":
        return available_bytes()
    # What PyTorch holds ready for tensors to come is used to the driver, and free to us.
    ready = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + ready
