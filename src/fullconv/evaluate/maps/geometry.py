"""Where the cells of a written map lie: what its reader needs, JSON-serialisable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fullconv.evaluate.class_names import class_name
from fullconv.evaluate.maps.score_maps import ScoreMap
from fullconv.storage.images import Image

MAP_FORMAT = "fullconv-map-1"

Classes = tuple[str, ...] | None


def raw_geometry(
    image: Image, maps: Sequence[ScoreMap], classes: Classes, flip: bool
) -> dict[str, Any]:
    """Of the scores at the first scale.

    Cell `(i, j)` stands for the window whose first pixel is `offset + (i, j) * stride`, in px of
    the image scaled to `size`.
    """
    grid, scores = maps[0].grid, maps[0].scores
    return {
        "format": MAP_FORMAT,
        "image": str(image.path),
        "image_size": list(image.size),
        "size": list(grid.size),
        "window": list(grid.window),
        "stride": list(grid.stride),
        "offset": [0, 0],
        "shape": list(scores.shape),
        "axes": ["class", "row", "col"],
        "values": "scores",
        "classes": list(classes) if classes else None,
        "scales": [str(m.scale) for m in maps],
        "flip": flip,
    }


def pixel_geometry(
    image: Image, maps: Sequence[ScoreMap], classes: Classes, flip: bool, indices: Iterable[int]
) -> dict[str, Any]:
    """Of fused probabilities `(k, H, W)` of these classes, one at every pixel of the image."""
    indices = list(indices)
    return {
        **raw_geometry(image, maps, classes, flip),
        "size": list(image.size),
        "window": [1, 1],
        "stride": [1, 1],
        "shape": [len(indices), *image.size],
        "values": "probabilities",
        "indices": indices,
        "names": [class_name(index, classes) for index in indices],
    }
