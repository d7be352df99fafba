"""Scans in tests, and what their maps must be: the classifier slid by hand, or one pass."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import by_hand
import fullconv
from fullconv.storage.maps import open_map
from networks import LeNet, TinyVGG, padded_body, ready, unpadded_body


def head(cells: int, classes: int = 4) -> list[nn.Module]:
    return [nn.ReLU(), nn.Flatten(), nn.Linear(5 * cells, classes)]


NETWORKS = {
    "LeNet": (lambda: LeNet(), 28, 1),
    "TinyVGG": (lambda: TinyVGG(), 64, 3),
    "unpadded": (lambda: nn.Sequential(*unpadded_body(), *head(36)), 18, 3),
    "padded": (lambda: nn.Sequential(*padded_body(), *head(36)), 12, 3),
}
"""By name: what makes the network, its window and its channels."""


def network(name: str, **options):
    """A classifier in double precision, and its FCN."""
    build, window, channels = NETWORKS[name]
    torch.manual_seed(1)
    model = ready(build())
    return model, fullconv.convert(model, window, **options), channels


def noise(*shape: int, dtype=np.uint8, seed: int = 0) -> np.ndarray:
    """Pixels of noise."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape, dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def prepared(pixels: np.ndarray, mean=(0.0,), std=(1.0,)) -> Tensor:
    """Pixels `(*space, C)` as `(1, C, *space)` in double precision."""
    top = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    numbers = np.divide(pixels, np.float32(top), dtype=np.float32)
    numbers = (numbers - np.float32(mean)) / np.float32(std)
    return torch.from_numpy(np.moveaxis(numbers, -1, 0)[None].astype(np.float64))


def one_pass(fcn, image: Tensor) -> np.ndarray:
    """The map `(rows, cols, K)` that the network gives at once."""
    with torch.no_grad():
        return np.moveaxis(fcn(image)[0].numpy(), 0, -1)


def slid(model, image: Tensor, window, stride) -> np.ndarray:
    """The map `(rows, cols, K)` of the classifier on every crop."""
    return np.moveaxis(by_hand.crop_map(model, image, window, stride)[0].numpy(), 0, -1)


def assert_map(found: np.ndarray, expected: np.ndarray) -> None:
    """The same cells are NaN, and the others equal in single precision, in which they are kept."""
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    there = ~np.isnan(expected)
    if there.any():
        scale = np.abs(expected[there]).max()
        assert scale > 0
        assert np.abs(found[there] - expected[there]).max() <= 1e-7 * scale


def scanned(fcn, source, target: Path, **options):
    """A scan, and the map it wrote."""
    done = fullconv.scan(fcn, source, target, **options)
    return done, open_map(target).read()


def tree(folder: Path) -> dict[str, bytes]:
    """All files of a folder and their content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder for one example of many."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)
