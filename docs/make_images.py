"""Draws the pictures of the README with the bundled classifier: `python docs/make_images.py`."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import PIL.Image

import fullconv
from fullconv.bundled import photographs, textures
from fullconv.demo import run
from fullconv.hosts.torch_fx.fcn import About
from fullconv.storage.images import Image

HEIGHT = 480
WIDTH = 1100
GAP = 12
SCALES = (0.75, 1.0, 1.5)
SHOWN = 3

FOLDER = Path(__file__).with_name("images")


def main() -> None:
    """What the demo writes, side by side; and the best classes at several scales."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = [PIL.Image.open(path) for path in run(Path(folder), say=print).written]
        scaled = [p.resize((p.width * HEIGHT // p.height, HEIGHT)) for p in pictures]
    width = sum(p.width for p in scaled) + GAP * (len(scaled) - 1)
    row = PIL.Image.new("RGB", (width, HEIGHT), "white")
    left = 0
    for picture in scaled:
        row.paste(picture, (left, 0))
        left += picture.width + GAP
    row.save(FOLDER / "demo.jpg", quality=88)
    figure = several()
    figure.resize((WIDTH, figure.height * WIDTH // figure.width)).save(
        FOLDER / "heatmap.jpg", quality=88
    )


def several() -> PIL.Image.Image:
    """The classes that are surest of a place in the mosaic, at three scales and mirrored."""
    mosaic, _ = photographs.mosaic()
    fcn = fullconv.convert(textures.load(), textures.WINDOW)
    fcn.about = About("textures", textures.CLASSES, textures.MEAN, textures.STD)
    grey = Image(Path("mosaic"), photographs.luminance(mosaic)[..., None])
    found = fullconv.heatmap(fcn.optimize(), grey, scales=SCALES, flip=True)
    return replace(found, image=Image(Path("mosaic"), mosaic)).figure(SHOWN)


if __name__ == "__main__":
    main()
