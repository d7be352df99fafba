"""Pixels and labels out of an .npz file, checked; no code in it is ever run."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fullconv.errors import InputError

Array = npt.NDArray[Any]


def read_arrays(
    path: Path, split: str, channels: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Pixels `(N, H, W, 1 or 3)` or `(N, H, W, channels)` and labels `(N,)` of an .npz file.

    Raises InputError if it is none, is damaged, lacks one of the two, or holds them otherwise.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise InputError(
                "is no .npz file.",
                where=str(path),
                hint="Write one with numpy.savez(path, x_test=pixels, y_test=labels), or name a "
                "folder with one sub-folder per class.",
            )
        with np.load(path, allow_pickle=False) as archive:
            x, y = _names(path, list(archive.files), split)
            pixels, labels = archive[x], archive[y]
            for name, array in ((x, pixels), (y, labels)):
                if not isinstance(array, np.ndarray):  # NumPy gives the bytes of any other file
                    raise InputError(f"is damaged: {name} is no array of NumPy.", where=str(path))
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot be read: {reason}.", where=str(path)) from error
    except MemoryError as error:
        raise InputError("does not fit in memory.", where=str(path)) from error
    except (ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        pickled = "allow_pickle" in str(error)
        raise InputError(
            "holds Python objects, which are not read: they can run code."
            if pickled
            else "is damaged, or no .npz file of NumPy.",
            where=str(path),
            why="" if pickled else f"NumPy says: {error}.",
            hint="Images of one size can be an array (N, H, W, 3) of uint8." if pickled else "",
        ) from error
    return (
        _checked_pixels(pixels, f"{path}: {x}", channels),
        _checked_labels(labels, len(pixels), f"{path}: {y}", x),
    )


def _names(path: Path, there: list[str], split: str) -> tuple[str, str]:
    """The names under which pixels and labels are held."""
    pairs = [(f"x_{split}", f"y_{split}"), ("images", "labels"), ("x", "y")]
    for pair in pairs:
        if all(name in there for name in pair):
            return pair
    splits = [
        name.removeprefix("x_")
        for name in there
        if name.startswith("x_") and f"y_{name.removeprefix('x_')}" in there
    ]
    raise InputError(
        f"holds no images with labels of the split {split!r}; it holds "
        f"{', '.join(there) or 'nothing'}.",
        where=str(path),
        why=f"They are {' or '.join(' and '.join(pair) for pair in pairs)}.",
        hint=f"Name the split {splits[0]}." if splits else "",
    )


def _checked_pixels(pixels: Array, where: str, channels: int) -> npt.NDArray[np.uint8]:
    """The pixels with an axis for channels."""
    shape = "×".join(map(str, pixels.shape))
    if pixels.dtype != np.uint8:
        raise InputError(
            f"is an array of {pixels.dtype}.",
            where=where,
            why="Pixels are uint8, from 0 to 255; how others were scaled cannot be known.",
            hint="Save them as uint8.",
        )
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or pixels.shape[3] not in {1, 3, channels}:
        first = pixels.ndim == 4 and pixels.shape[1] in {1, 3, channels}
        raise InputError(
            f"is an array of shape {shape}"
            f"{', with its channels before height and width' if first else ''}.",
            where=where,
            why="Images are (N, H, W), (N, H, W, 1) or (N, H, W, 3).",
            hint="Turn it with pixels.transpose(0, 2, 3, 1)." if first else "",
        )
    if 0 in pixels.shape:
        raise InputError(f"holds no images: its shape is {shape}.", where=where)
    if channels not in {1, 3} and pixels.shape[3] != channels:
        raise InputError(
            f"has {pixels.shape[3]} channels, and the network takes {channels}.", where=where
        )
    return pixels


def _checked_labels(labels: Array, count: int, where: str, x: str) -> npt.NDArray[np.int64]:
    """The labels as one number per image."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(
            f"is an array of shape {'×'.join(map(str, labels.shape))}.",
            where=where,
            why="Labels are one number per image, (N,).",
            hint="One number each is labels.argmax(1)." if labels.ndim == 2 else "",
        )
    if labels.dtype.kind not in "iu":
        raise InputError(
            f"is an array of {labels.dtype}.",
            where=where,
            why="Labels are whole numbers, from 0.",
        )
    if len(labels) != count:
        raise InputError(
            f"holds {len(labels):,} labels for the {count:,} images of {x}.", where=where
        )
    if labels.dtype == np.uint64 and (labels > np.iinfo(np.int64).max).any():
        raise InputError("holds labels that are no classes.", where=where)
    return labels.astype(np.int64)
