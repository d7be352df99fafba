"""CIFAR-10 as the studies use it: lossy JPEG copies, decoded once into one .npz file."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from fullconv.errors import InputError
from fullconv.storage.files import atomic

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def images(data: Path, cache: Path, say: Callable[[str], None]) -> Path:
    """The images as arrays `x_train, y_train, x_test, y_test` in one npz file, decoded once."""
    path = cache / "cifar10.npz"
    if not path.exists():
        source = data / "datasets" / "cifar10_jpeg.npz"
        if not source.exists():
            raise InputError(
                "the data set is not there.",
                where=str(source),
                hint="Name the folder that holds datasets/cifar10_jpeg.npz in $FULLCONV_DATA.",
            )
        say("decoding the images")
        with np.load(source, allow_pickle=False) as packed:
            arrays = {f"y_{split}": packed[f"y_{split}"] for split in ("train", "test")}
            for split in ("train", "test"):
                arrays[f"x_{split}"] = _decoded(packed, split)
        with atomic(path) as part:
            np.savez(part, **arrays)
    return path


def _decoded(packed: npt.NDArray, split: str) -> npt.NDArray[np.uint8]:
    header, scan, ends = (packed[k] for k in ("jpeg_header", f"scan_{split}", f"off_{split}"))
    front = header.tobytes()
    return np.stack(
        [
            np.asarray(PIL.Image.open(io.BytesIO(front + scan[a:b].tobytes())).convert("RGB"))
            for a, b in itertools.pairwise(ends)
        ]
    )


def data_folder() -> Path:
    """Where the data sets lie: `$FULLCONV_DATA`, else beside the checkout."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    return Path(os.environ.get("FULLCONV_DATA", beside))
