"""Where pixels come from: any box of an image of any size, in bounded memory.

What is done to pixels, and nothing else, is what `storage.images` does: EXIF orientation, palettes,
CMYK and YCbCr to RGB, transparency over white, grey and RGB into each other. A box of a source
equals that box of `read_image` for every file that both read.

Damage of a header raises InputError when a file is opened; damage of a part of the pixels is a
`Fault` of exactly that part, and the rest is read. Nothing is read as black or grey instead.

A fingerprint is a SHA-256 of what is read from where (region, level, channels) and of the content:
of all bytes of a file up to 8 MiB and of arrays, otherwise of the length, 64 parts of 64 KiB spread
evenly over the file, head and tail among them, and the tables of where its tiles and strips lie.
"""

from fullconv.geometry import Box
from fullconv.storage.sources.arrays import ArraySource, DrawnSource
from fullconv.storage.sources.opening import open_source
from fullconv.storage.sources.source import Fault, Frame, Region, Source

__all__ = [
    "ArraySource", "Box", "DrawnSource", "Fault", "Frame", "Region", "Source", "open_source",
]  # fmt: skip
