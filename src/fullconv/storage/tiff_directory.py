"""The directories of a TIFF, checked before a reader follows them."""

from __future__ import annotations

import struct
from typing import BinaryIO

from fullconv.errors import InputError
from fullconv.storage.raster import FETCH_AGAIN, count, cut_short

VALUE_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
METADATA = 700  # tags from here on are XMP and private ones: no image depends on them


def check_directory(file: BinaryIO, length: int) -> None:
    """Refuse a file whose first directory, or a value of it, reaches past the end.

    tifffile leaves out a tag that it cannot read, and so decodes without the predictor, say.
    """
    order, number, counter = _forms(file)
    entry = "HHQ" if number == "Q" else "HHI"
    wide = struct.calcsize(order + number)
    file.seek(wide)
    head = file.read(wide)
    if len(head) < wide:
        raise cut_short(f"its header has {count(length, 'byte')}")
    (start,) = struct.unpack(order + number, head)
    file.seek(start)
    first = file.read(struct.calcsize(counter))
    entries = struct.unpack(counter, first)[0] if len(first) == struct.calcsize(counter) else 0
    size = struct.calcsize(order + entry) + wide
    end = start + len(first) + entries * size
    if not entries or end > length:
        raise cut_short(
            f"its directory reaches to byte {max(end, start + size):,}, and the file has "
            f"{count(length, 'byte')}"
        )
    table = file.read(entries * size)
    for position in range(0, len(table), size):
        tag, kind, values = struct.unpack_from(order + entry, table, position)
        extent = VALUE_SIZES.get(kind, 1) * values
        (place,) = struct.unpack_from(order + number, table, position + size - wide)
        if tag < METADATA and extent > wide and place + extent > length:
            raise cut_short(
                f"its tag {tag} reaches to byte {place + extent:,}, and the file has "
                f"{count(length, 'byte')}"
            )
    file.seek(0)


def _forms(file: BinaryIO) -> tuple[str, str, str]:
    """Byte order, and the forms of a place in the file and of the number of entries."""
    file.seek(0)
    head = file.read(4)
    order = "<" if head[:2] == b"II" else ">"
    return (order, "Q", order + "Q") if b"+" in head[2:] else (order, "I", order + "H")


def check_chain(file: BinaryIO) -> None:
    """Refuse directories that lead back to one before: who follows them never comes to an end."""
    order, number, counter = _forms(file)
    wide, entry = struct.calcsize(order + number), 20 if number == "Q" else 12
    place, seen = wide, set[int]()
    while True:
        file.seek(place)
        data = file.read(wide)
        start = struct.unpack(order + number, data)[0] if len(data) == wide else 0
        if start in seen:
            raise InputError(
                f"its directory at byte {start:,} follows itself: the images form a circle.",
                hint=FETCH_AGAIN,
            )
        seen.add(start)
        file.seek(start)
        data = file.read(struct.calcsize(counter))
        if not start or len(data) < struct.calcsize(counter):
            return
        place = start + len(data) + struct.unpack(counter, data)[0] * entry
