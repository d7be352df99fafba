"""Calls of a network on images of several sizes: which images go together, and what that takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fullconv.api.costs import macs
from fullconv.api.memory import Budget
from fullconv.auditing.costs.padding import Size
from fullconv.auditing.measuring.noise import drawn
from fullconv.auditing.measuring.timing import clock
from fullconv.evaluate.words import BATCH
from fullconv.hosts.torch_fx.fcn import FCN, tensors_of

COUNTS = (16, 12, 8, 6, 4, 3, 2)
"""How many images there are: the most that fit the seconds."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the network: which images, and the size they are padded to."""

    images: tuple[int, ...]
    size: Size


class Runner:
    """An optimized network, and what its passes over images of any size take."""

    def __init__(self, fcn: FCN, max_memory: int | None) -> None:
        self._fast = fcn.optimize()
        self._fcn, self._budget = fcn, Budget(self._fast, max_memory)
        self._macs: dict[Size, int] = {}
        self.like = next(fcn.parameters(), torch.empty(0))
        self.device = self.like.device
        self.rate = 0.0

    def fits(self, size: Size) -> bool:
        """Whether the memory suffices for one image of that size."""
        return self._budget.needed(size) <= self._budget.limit

    def affordable(self, sizes: Sequence[Size], seconds: float) -> int:
        """How many of the first images can be run all three ways, twice; 0 if not even two."""
        for count in sorted({min(COUNTS[0], len(sizes)), *COUNTS}, reverse=True):
            if count > len(sizes) or count < COUNTS[-1]:
                continue
            if not self.rate:
                self._calibrate()
            some = sizes[:count]
            largest = tuple(map(max, zip(*some, strict=True)))
            work = 2 * sum(map(self.macs, some)) + count * self.macs(largest)
            if 2 * self.rate * work <= seconds:
                return count
        return 0

    def _calibrate(self) -> None:
        image = self.noise([self._fcn.window])[0].to(self.like)
        self._fast(image)  # prepares kernels
        once = clock(lambda: self._fast(image), self.device)
        self.rate = once / max(1, self.macs(self._fcn.window))

    def macs(self, size: Size) -> int:
        """Of a pass over one image."""
        if size not in self._macs:
            self._macs[size] = macs(self._fcn, (1, self._fcn.plan.channels, *size))
        return self._macs[size]

    def noise(self, sizes: Iterable[Size]) -> list[Tensor]:
        """Random images of these sizes."""
        channels = self._fcn.plan.channels
        return [drawn((1, channels, *size), seed=seed) for seed, size in enumerate(sizes)]

    def plans(self, sizes: Sequence[Size], largest: Size) -> dict[str, list[Call]]:
        """The calls of every way; without the padded one where not even one image fits."""
        buckets: dict[Size, list[int]] = {}
        for index, size in enumerate(sizes):
            buckets.setdefault(size, []).append(index)
        made = {
            "single": [Call((index,), size) for index, size in enumerate(sizes)],
            "bucketed": [
                call for size, members in buckets.items() for call in self._cut(members, size)
            ],
        }
        if self.fits(largest):
            made["padded"] = self._cut(range(len(sizes)), largest)
        return made

    def _cut(self, members: Sequence[int], size: Size) -> list[Call]:
        """Images of a size in batches that fit the memory."""
        most = self._budget.images(size, min(BATCH, len(members)))
        return [
            Call(tuple(members[first : first + most]), size)
            for first in range(0, len(members), most)
        ]

    def work(self, calls: Iterable[Call]) -> int:
        """MACs of all calls."""
        return sum(len(call.images) * self.macs(call.size) for call in calls)

    def run(
        self, name: str, calls: Sequence[Call], images: Sequence[Tensor], maps: dict[str, Any]
    ) -> Callable[[int], None]:
        """Run all calls; the maps of the last time are kept in `maps`."""

        def once(_: int) -> None:
            kept = maps.setdefault(name, {})
            for call in calls:
                members = [images[index] for index in call.images]
                scores = tensors_of(self._fast(_together(members, call.size)))[0]
                kept.update(zip(call.images, scores, strict=True))

        return once


def _together(images: Sequence[Tensor], size: Size) -> Tensor:
    """Images as one batch, zeros after the end of those that are smaller."""
    if all(tuple(image.shape[2:]) == size for image in images):
        return images[0] if len(images) == 1 else torch.cat(list(images))
    batch = images[0].new_zeros(len(images), images[0].shape[1], *size)
    for place, image in enumerate(images):
        spans = [slice(0, side) for side in image.shape[2:]]
        batch[place][(slice(None), *spans)] = image[0]
    return batch
