"""Images that a small network learns to tell apart in seconds: stripes, columns and checks."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fullconv.training.samples import Samples

SIDE = 16
CLASSES = 3


def pictures(
    count: int, *, seed: int = 0, side: int = SIDE
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Pixels `(count, side, side, 1)` and labels `(count,)`: patterns at any phase, with noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    rows, cols = np.mgrid[:side, :side] // 2
    phases = random.integers(2, size=(count, 1, 1))
    patterns = np.stack([rows % 2, cols % 2, (rows + cols) % 2])[labels]
    bright = np.abs(patterns - phases)
    pixels = 90 + 60 * bright + random.normal(0, 30, (count, side, side))
    return np.clip(pixels, 0, 255).astype(np.uint8)[..., None], labels


def samples(count: int = 120, *, seed: int = 0, classes: int = CLASSES) -> Samples:
    pixels, labels = pictures(count, seed=seed)
    return Samples(
        torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(labels), classes,
        (0.47,), (0.2,),
    )  # fmt: skip


def network(*end: nn.Module, outputs: int = CLASSES) -> nn.Sequential:
    """A window of 16 px, two max pools, two FC layers."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 16, 12), nn.ReLU(), nn.Dropout(0.1),
        nn.Linear(12, outputs), *end,
    )  # fmt: skip


def write(path: Path, train: int = 120, test: int = 60) -> Path:
    """The images as an .npz file."""
    arrays = {}
    for split, count, seed in (("train", train, 0), ("test", test, 1)):
        arrays[f"x_{split}"], arrays[f"y_{split}"] = pictures(count, seed=seed)
    np.savez(path, **arrays)
    return path
