"""Labelled images of one size in memory, ready to be trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fullconv.errors import InputError
from fullconv.evaluate.preparation import resized
from fullconv.evaluate.scales import Scale
from fullconv.geometry import times
from fullconv.storage.datasets import Dataset
from fullconv.storage.images import Image

Progress = Callable[[int, int], None]
"""Called with how many images are read, and of how many."""


@dataclass(frozen=True, slots=True)
class Unread:
    """An image that was left out, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Images of one size with their classes.

    Attributes:
        pixels: `(N, C, H, W)` uint8, channels last in memory.
        labels: the number of the class of every image, `(N,)` int64.
        classes: how many classes there are.
        mean, std: for pixels scaled to 0..1, one number per channel.
    """

    pixels: Tensor
    labels: Tensor
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def size(self) -> tuple[int, int]:
        """`(H, W)` px."""
        return self.pixels.shape[2], self.pixels.shape[3]

    def to(self, device: torch.device) -> Samples:
        """The same images on a device."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def prepared(self, pixels: Tensor) -> Tensor:
        """Pixels `(n, C, H, W)` uint8 as a network wants them, float32, laid out as they are."""
        scale = torch.tensor([1 / (255 * std) for std in self.std], device=pixels.device)
        offset = torch.tensor(
            [-mean / std for mean, std in zip(self.mean, self.std, strict=True)],
            device=pixels.device,
        )
        return torch.addcmul(offset.view(-1, 1, 1), pixels.float(), scale.view(-1, 1, 1))

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of all pixels, scaled to 0..1, per channel.

        The deviation of a channel that is the same everywhere is given as 1.
        """
        means, stds = [], []
        levels = torch.arange(256, dtype=torch.float64) / 255
        for channel in range(self.pixels.shape[1]):
            counts = torch.zeros(256, dtype=torch.float64)
            for part in torch.split(self.pixels[:, channel], 4096):
                counts += torch.bincount(part.reshape(-1), minlength=256)
            mean = float(counts @ levels / counts.sum())
            variance = float(counts @ (levels - mean) ** 2 / counts.sum())
            means.append(mean)
            stds.append(variance**0.5 or 1.0)
        return tuple(means), tuple(stds)

    def digest(self) -> str:
        """A checksum of the pixels and labels."""
        found = hashlib.sha256(repr(tuple(self.pixels.shape)).encode())
        for tensor in (self.pixels.permute(0, 2, 3, 1).contiguous(), self.labels):
            found.update(tensor.numpy().data)
        return found.hexdigest()


def gathered(
    dataset: Dataset,
    window: tuple[int, ...],
    classes: int,
    channels: int,
    *,
    resize: bool = False,
    progress: Progress | None = None,
) -> tuple[Samples, list[Unread]]:
    """The images of a data set in memory, and those that cannot be read.

    Args:
        dataset: labelled images.
        window: `(H, W)` px that all of them must have.
        classes: how many there are.
        channels: of an image.
        resize: scale images of another size so that they just cover the window, and cut out its
            centre.
        progress: told how many images are read.

    The samples have mean 0 and std 1: pixels from 0 to 1. Raises InputError for an image of another
    size where `resize` does not say what to do, and if none can be read.
    """
    names = dataset.names
    pixels = np.empty((len(dataset), *window, channels), np.uint8)
    kept: list[int] = []
    unread: list[Unread] = []
    for index in range(len(dataset)):
        try:
            image = dataset.image(index)
        except InputError as error:
            reason = " ".join(part for part in (error.what, error.why) if part)
            unread.append(Unread(names[index], reason))
            continue
        pixels[len(kept)] = _fitted(image, window, names[index], resize)
        kept.append(index)
        if progress is not None:
            progress(index + 1, len(dataset))
    if not kept:
        raise InputError(f"none of the {len(dataset):,} images can be read.", where=names[0])
    there = torch.from_numpy(pixels[: len(kept)]).permute(0, 3, 1, 2)  # (N, H, W, C) in memory
    labels = torch.from_numpy(dataset.labels[kept])
    none, one = (0.0,) * channels, (1.0,) * channels
    return Samples(there, labels, classes, none, one), unread


def _fitted(
    image: Image, window: tuple[int, ...], name: str, resize: bool
) -> npt.NDArray[np.uint8]:
    """The pixels `(*window, C)` uint8 of an image."""
    if image.size == tuple(window):
        return image.as_bytes()
    if not resize:
        raise InputError(
            f"the image is {times(image.size)} px, and the network's window {times(window)}.",
            where=name,
            why="Training takes images of one size.",
            hint="--resize (resize=True) scales every image so that it just covers the window, and "
            "cuts out its centre.",
        )
    share = max(Fraction(w, n) for w, n in zip(window, image.size, strict=True))
    size = Scale(factor=share).size(image.size)
    pixels = torch.from_numpy(image.scaled()).permute(2, 0, 1)[None]  # (1, C, H, W)
    top, left = ((n - w) // 2 for n, w in zip(size, window, strict=True))
    cut = resized(pixels, size)[0, :, top : top + window[0], left : left + window[1]]
    return (cut * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
