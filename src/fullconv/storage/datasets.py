"""Labelled images: a folder with one sub-folder per class, or arrays in an .npz file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fullconv.errors import InputError, UsageError
from fullconv.storage import MAX_PIXELS
from fullconv.storage.arrays import read_arrays
from fullconv.storage.class_folders import Resolve, read_folders
from fullconv.storage.images import Image, luminance, read_image

Labels = npt.NDArray[np.int64]


class Dataset(Protocol):
    """Images with the numbers of their classes."""

    @property
    def labels(self) -> Labels:
        """The right class of every image, `(N,)`."""

    @property
    def names(self) -> Sequence[str]:
        """What to call every image in messages."""

    @property
    def files(self) -> Sequence[Path]:
        """The files that it is read from."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was taken for granted when it was opened, for people."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> Image:
        """Image `index`. Raises InputError if it cannot be read."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageFiles:
    """Image files with their labels; read one by one, when asked for."""

    files: tuple[Path, ...]
    labels: Labels
    channels: int
    remarks: tuple[str, ...] = ()
    max_pixels: int = MAX_PIXELS

    @property
    def names(self) -> Sequence[str]:
        """The paths."""
        return tuple(map(str, self.files))

    def __len__(self) -> int:
        return len(self.files)

    def image(self, index: int) -> Image:
        """Image `index`, with the channels asked for. Raises InputError if it cannot be read."""
        return read_image(self.files[index], channels=self.channels, max_pixels=self.max_pixels)


@dataclass(frozen=True, slots=True, eq=False)
class ImageArray:
    """Images of one size in memory, `(N, H, W, 1 or 3)` uint8, with their labels."""

    path: Path
    pixels: npt.NDArray[np.uint8]
    labels: Labels
    channels: int
    remarks: tuple[str, ...] = ()

    @property
    def names(self) -> Sequence[str]:
        """The file and the place in it."""
        return tuple(f"{self.path}[{index}]" for index in range(len(self)))

    @property
    def files(self) -> Sequence[Path]:
        """The one file."""
        return (self.path,)

    def __len__(self) -> int:
        return len(self.pixels)

    def image(self, index: int) -> Image:
        """Image `index`: grey is repeated for three channels, RGB becomes luminance for one."""
        pixels = self.pixels[index]
        if pixels.shape[2] == 3 and self.channels == 1:
            pixels = luminance(pixels)
        elif pixels.shape[2] != self.channels:
            pixels = np.repeat(pixels, self.channels, axis=2)
        return Image(Path(f"{self.path}[{index}]"), pixels)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some images of another data set, in the order of `indices`."""

    whole: Dataset
    indices: npt.NDArray[np.int64]
    remarks: tuple[str, ...] = ()

    @property
    def labels(self) -> Labels:
        """The right class of every image of the part, `(N,)`."""
        labels: Labels = self.whole.labels[self.indices]
        return labels

    @property
    def names(self) -> Sequence[str]:
        """As in the whole."""
        names = self.whole.names
        return tuple(names[index] for index in self.indices)

    @property
    def files(self) -> Sequence[Path]:
        """Of the whole."""
        return self.whole.files

    def __len__(self) -> int:
        return len(self.indices)

    def image(self, index: int) -> Image:
        """Image `index` of the part. Raises InputError if it cannot be read."""
        return self.whole.image(int(self.indices[index]))


def open_dataset(
    path: str | os.PathLike[str],
    *,
    resolve: Resolve,
    outputs: int,
    split: str = "test",
    channels: int = 3,
    max_pixels: int = MAX_PIXELS,
) -> Dataset:
    """The labelled images at `path`.

    Args:
        path: a folder whose sub-folders are the classes, each by its name or number (if as many
            sub-folders as scores have names that are no classes, they are the classes in sorted
            order); or an .npz file with `x_test` and `y_test`, `images` and `labels`, or `x` and
            `y`: pixels `(N, H, W)`, `(N, H, W, 1)` or `(N, H, W, 3)` uint8, labels `(N,)`.
        resolve: from the name of a sub-folder to the number of its class.
        outputs: how many classes there are.
        split: of an .npz file that has several: "test" for `x_test`, "train" for `x_train`.
        channels: of the images that come out, as for `read_image`.
        max_pixels: refuse larger files, before they are decoded.

    Raises InputError for what is no such folder or file, holds no images, or has labels that are
    no classes, naming all that is wrong with them.
    """
    where = Path(path)
    if outputs < 1:
        raise UsageError(f"outputs={outputs}: a data set has at least one class.")
    if where.is_dir():
        files, labels, remarks = read_folders(where, resolve, outputs)
        return ImageFiles(files, labels, channels, (*remarks, *_remarks(labels)), max_pixels)
    if not where.exists():
        raise InputError(
            "there is no such folder or file.", where=str(where), hint="Check the path."
        )
    pixels, labels = read_arrays(where, split, channels)
    _check_range(labels, outputs, str(where))
    return ImageArray(where, pixels, labels, channels, _remarks(labels))


def spread(dataset: Dataset, count: int, *, seed: int = 0) -> Dataset:
    """At most `count` images, drawn at random and as evenly over the classes as they allow.

    The same seed draws the same images, in the order of the data set.
    """
    if count < 1:
        raise UsageError(f"count={count} must be at least 1.")
    if count >= len(dataset):
        return dataset
    random = np.random.default_rng(seed)
    order = random.permutation(len(dataset))
    labels = dataset.labels[order]
    turn = np.empty(len(order), np.int64)  # of an image among those of its class
    for label in np.unique(labels):
        own = labels == label
        turn[own] = np.arange(int(own.sum()))
    chosen = np.sort(order[np.argsort(turn, kind="stable")[:count]])
    remark = f"{count:,} of {len(dataset):,} images, drawn evenly over the classes"
    return Part(dataset, chosen, (*dataset.remarks, remark))


def _check_range(labels: Labels, outputs: int, where: str) -> None:
    """Raise InputError for labels that are no classes."""
    bad = (labels < 0) | (labels >= outputs)
    if bad.any():
        first = int(bad.argmax())
        raise InputError(
            f"{int(bad.sum()):,} of {len(labels):,} labels are no classes: label {first} is "
            f"{labels[first]}.",
            where=where,
            why=f"The network has classes 0 to {outputs - 1}.",
            hint="Labels that begin at 1 must be counted down first."
            if labels.min() == 1 and labels.max() == outputs
            else "",
        )


def _remarks(labels: Labels) -> tuple[str, ...]:
    classes = np.unique(labels)
    if len(classes) > 1:
        return ()
    return (f"all images are of one class, {classes[0]}: this says nothing of the others",)
