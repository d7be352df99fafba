"""Draws the picture of the README from what the demo writes: `python docs/make_images.py`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import PIL.Image

from fullconv.demo import run

HEIGHT = 480
GAP = 12


def main() -> None:
    """Mosaic, winning classes and one class, side by side."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = [PIL.Image.open(path) for path in run(Path(folder), say=print).written]
        scaled = [p.resize((p.width * HEIGHT // p.height, HEIGHT)) for p in pictures]
    width = sum(p.width for p in scaled) + GAP * (len(scaled) - 1)
    row = PIL.Image.new("RGB", (width, HEIGHT), "white")
    left = 0
    for picture in scaled:
        row.paste(picture, (left, 0))
        left += picture.width + GAP
    row.save(Path(__file__).with_name("images") / "demo.jpg", quality=88)


if __name__ == "__main__":
    main()
