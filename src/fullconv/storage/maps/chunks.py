"""Chunks as bytes: zarr compresses them in memory, so that each file can be written durably."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from fullconv.storage.maps.layout import Index, Layout

LEVEL = 3
"""Of zstd, fixed: with one thread and one level the same scores always give the same bytes."""
AXES = {1: ("position",), 2: ("row", "col"), 3: ("slice", "row", "col")}


class Encoder:
    """The arrays of a map in memory, a chunk at a time.

    Attributes:
        documents: `zarr.json` of each array.
    """

    def __init__(self, layout: Layout) -> None:
        import zarr
        from zarr.codecs import Crc32cCodec, ZstdCodec
        from zarr.storage import MemoryStore

        self._layout = layout
        self._store: dict[str, Any] = {}
        self._arrays: dict[str, Any] = {}
        for name, (dtype, fill) in layout.arrays.items():
            last = "class" if layout.top is None else "rank"
            names = AXES.get(len(layout.cells))
            self._arrays[name] = zarr.create_array(
                MemoryStore(self._store),
                name=name,
                shape=(*layout.cells, layout.stored),
                chunks=(*layout.chunk, layout.stored),
                dtype=dtype,
                fill_value=fill,
                compressors=[ZstdCodec(level=LEVEL, checksum=False), Crc32cCodec()],
                # All files of an array in one folder: there are no others to make durable.
                chunk_key_encoding={"name": "default", "separator": "."},
                dimension_names=None if names is None else (*names, last),
                config={"write_empty_chunks": True},
            )
        self.documents = {name: bytes(self._taken(f"{name}/zarr.json")) for name in layout.arrays}

    def encode(self, index: Index, blocks: Mapping[str, npt.NDArray[Any]]) -> dict[str, memoryview]:
        """The files of a chunk, by their paths in the map, from what is stored in each array."""
        place = tuple(slice(*span) for span in self._layout.span(index))
        for name, block in blocks.items():
            self._arrays[name][place] = block
        return {file: self._taken(file) for file in self._layout.files(index)}

    def _taken(self, key: str) -> memoryview:
        return memoryview(self._store.pop(key).as_numpy_array())
