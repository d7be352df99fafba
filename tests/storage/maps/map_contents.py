"""A small map whose scores anybody can compute again, chunk by chunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fullconv.storage.maps import MapAbout, MapWriter
from fullconv.storage.sources import Fault

CELLS, K, CHUNK = (15, 17), 6, (8, 9)
SHAPE = (*CELLS, K)
WINDOW, STRIDE = (32, 32), (8, 8)
SIZE = tuple((n - 1) * s + w + 5 for n, s, w in zip(CELLS, STRIDE, WINDOW, strict=True))
MODEL, PLAN, SOURCE = "a" * 64, "b" * 64, "c" * 64


def about(**changes: Any) -> MapAbout:
    facts: dict[str, Any] = {
        "window": WINDOW, "stride": STRIDE, "size": SIZE, "model": MODEL, "plan": PLAN,
        "source": "slide.svs", "fingerprint": SOURCE, "made_by": "fullconv 0.1.0",
        "classes": tuple("abcdef"), "settings": {"mask": None, "precision": "float32"},
        "frame": {"origin": ["0", "0"], "scale": ["4", "4"], "mpp": [0.25, 0.25]},
    }  # fmt: skip
    return MapAbout(**{**facts, **changes})


def whole(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Probabilities of every cell; some cells have none."""
    random = np.random.default_rng(7)
    scores = random.random(shape, dtype=np.float32)
    scores /= scores.sum(axis=-1, keepdims=True)
    scores[random.random(shape[:-1]) < 0.2] = np.nan
    scores[:8, :9] = np.nan  # a whole chunk of nothing
    return scores


WHOLE = whole()


def block(writer: MapWriter, index: tuple[int, ...]) -> np.ndarray:
    return WHOLE[tuple(slice(*span) for span in writer.layout.span(index))]


def faults(index: tuple[int, ...]) -> list[Fault]:
    """Neighbouring chunks see the same faults, in another order."""
    if index == (1, 0):
        return []
    shared = Fault((40, 40, 48, 56), "tile 7 is cut short")
    return [Fault((0, 0, 8, 8), "missing"), shared] if index[1] else [shared]


def begin(
    path: Path, dtype: str = "float32", chunk: tuple[int, int] = CHUNK, **changes: Any
) -> MapWriter:
    return MapWriter.create_or_resume(path, about(**changes), SHAPE, chunk, dtype)


def fill(path: Path, dtype: str = "float32", **changes: Any) -> MapWriter:
    """Write what is missing and finish."""
    with begin(path, dtype, **changes) as writer:
        for index in writer.layout:
            if index not in writer.done:
                writer.write(index, block(writer, index), faults(index))
        writer.finish()
    return writer


def tree(root: Path) -> dict[str, bytes | None]:
    """Everything in a folder: the content of files, None for folders."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
    }
