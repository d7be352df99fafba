"""Score maps of any size on disk: written chunk by chunk, durable, resumable, and read in parts.

    with MapWriter.create_or_resume(path, about, (rows, cols, K), (64, 640), "float32") as target:
        for index in target.layout:                # (strip, band)
            if index not in target.done:
                target.write(index, scores(target.layout.span(index)))
        target.finish()
    open_map(path).read((0, 10), (0, 20))          # (10, 20, K)

Names are imported when first used, so that the command line stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fullconv.storage.maps.about import MapAbout
    from fullconv.storage.maps.layout import Layout
    from fullconv.storage.maps.store import ScoreMapStore, open_map
    from fullconv.storage.maps.writer import MapWriter

_HOMES = {
    "Layout": "layout",
    "MapAbout": "about",
    "MapWriter": "writer",
    "ScoreMapStore": "store",
    "open_map": "store",
}

__all__ = ["Layout", "MapAbout", "MapWriter", "ScoreMapStore", "open_map"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fullconv.storage.maps' has no attribute {name!r}")
    return getattr(import_module(f"fullconv.storage.maps.{_HOMES[name]}"), name)
