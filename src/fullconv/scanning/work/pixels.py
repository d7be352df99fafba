"""From the pixels of a source to what a stream reads, one strip ahead of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fullconv.geometry import Box
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.optimized.network import OptimizedFCN
from fullconv.storage.sources import Region, Source
from fullconv.storage.sources.source import slices

Floats = npt.NDArray[np.float32]
Note = Callable[[Box, Region], None]


@dataclass(frozen=True, eq=False)
class Preparation:
    """How pixels become numbers: scaled to 0..1, less the mean, divided by the std.

    What could not be read, or is no data, becomes 0, which is what pads an image at its borders.

    Attributes:
        mean, std: one number for each channel, or one for all.
        dtype, device: of what the network is given.
        last: whether the channels of a px lie side by side in memory.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: torch.dtype
    device: torch.device
    last: bool

    @classmethod
    def of(cls, fcn: FCN, mean: tuple[float, ...], std: tuple[float, ...]) -> Preparation:
        """What a network wants."""
        weight = next(fcn.parameters(), torch.empty(0))
        fast = isinstance(fcn, OptimizedFCN)
        dtype = fcn.optimization.dtype if isinstance(fcn, OptimizedFCN) else weight.dtype
        return cls(mean, std, dtype, weight.device, fast and len(fcn.window) > 1)

    def numbers(self, region: Region, box: Box) -> Floats:
        """The pixels of a box, `(*space, C)`, without any help of PyTorch: for another thread."""
        pixels = region.pixels
        if self.last:
            numbers = np.empty(pixels.shape, np.float32)
        else:
            numbers = np.moveaxis(
                np.empty((pixels.shape[-1], *pixels.shape[:-1]), np.float32), 0, -1
            )
        top = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
        np.divide(pixels, np.float32(top), out=numbers, dtype=np.float32)
        numbers -= np.asarray(self.mean, np.float32)
        numbers /= np.asarray(self.std, np.float32)
        for fault in region.faults:
            numbers[slices(fault.box, box[: len(box) // 2])] = 0
        if region.missing is not None:
            numbers[region.missing] = 0
        return numbers

    def tensor(self, numbers: Floats) -> Tensor:
        """Numbers `(*space, C)` as an image `(1, C, *space)` where the network is."""
        image = torch.from_numpy(np.moveaxis(numbers, -1, 0)[None])
        return image.to(self.device, self.dtype)

    def bytes_of(self, pixels: int, channels: int) -> int:
        """Bytes of the numbers of a strip, with a copy in another type if that is needed."""
        copies = 0 if self.dtype == torch.float32 and self.device.type == "cpu" else 1
        return pixels * channels * (4 + copies * self.dtype.itemsize)


class Feed:
    """Reads boxes of a source in order, the next one while the network works. A context manager.

    Called as a stream calls it; `note` is told of every box that is handed on, with what was read
    of it, in the caller's thread.
    """

    def __init__(
        self, source: Source, boxes: Iterator[Box], preparation: Preparation, note: Note
    ) -> None:
        self._source, self._boxes = source, boxes
        self._preparation, self._note = preparation, note
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fullconv-reads")
        self._next: Future[tuple[Box, Region, Floats]] | None = None

    def __enter__(self) -> Feed:
        self._ahead()
        return self

    def __exit__(self, *failure: Any) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._next = None

    def __call__(self, spans: tuple[tuple[int, int], ...]) -> Tensor:
        """The numbers `(1, C, *lengths)` of the next box.

        Raises InputError if the source changed or can no longer be read.
        """
        assert self._next is not None, "more was asked for than was planned"
        box, region, numbers = self._next.result()
        if box != (*(start for start, _ in spans), *(stop for _, stop in spans)):
            raise AssertionError(f"{spans} are read, and {box} was planned")
        self._note(box, region)
        del region
        image = self._preparation.tensor(numbers)
        self._ahead()
        return image

    def _ahead(self) -> None:
        box = next(self._boxes, None)
        self._next = None if box is None else self._pool.submit(self._read, box)

    def _read(self, box: Box) -> tuple[Box, Region, Floats]:
        region = self._source.read(box)
        self._source.check()  # after it, so that nothing of a file that changed is scored
        numbers = self._preparation.numbers(region, box)
        # What was read is told without the pixels, which need not wait.
        told = Region(region.pixels[:0], region.faults, region.missing)
        return box, told, numbers
