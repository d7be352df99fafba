"""The whole job on what comes with the package: convert, prove, map a mosaic, compare, draw."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
from torch import nn

from fullconv.api.convert import convert
from fullconv.api.costs import ceiling
from fullconv.api.sliding import sliding
from fullconv.api.verify import Certificate, verify
from fullconv.bundled import photographs, textures
from fullconv.errors import FullconvError
from fullconv.evaluate.maps.heatmap import Heatmap, heatmap
from fullconv.evaluate.pictures.classmap import class_map
from fullconv.evaluate.preparation import prepared
from fullconv.geometry import Grid, times
from fullconv.hosts.torch_fx.fcn import FCN, About
from fullconv.storage.files import atomic
from fullconv.storage.images import Image
from fullconv.surgery.plan import Plan

BATCH = 32
PARTS = 5
SHOWN = "grass"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What the demo found.

    Attributes:
        plan, certificate: of the bundled classifier.
        image: size of the mosaic, px; cells: of its map.
        fcn_seconds: median time of the FCN over the mosaic.
        sliding_seconds: time of the classifier on all of the same windows, batches of 32, in
            turn with the FCN.
        ceiling: the MACs of sliding divided by those of the FCN. The speed-up can exceed it:
            many small calls cost more than their arithmetic.
        difference: largest difference between both maps, float32, relative to the largest score.
        accuracy: share of cells whose class is that of the mosaic under the window's centre.
        inside: the same, for the windows that lie within one panel of the mosaic.
        inside_cells: how many those are.
        written: the pictures.
    """

    plan: Plan
    certificate: Certificate
    image: tuple[int, ...]
    cells: tuple[int, ...]
    fcn_seconds: float
    sliding_seconds: float
    ceiling: float
    difference: float
    accuracy: float
    inside: float
    inside_cells: int
    written: tuple[str, ...]

    @property
    def speedup(self) -> float:
        """How much faster the FCN was than sliding."""
        return self.sliding_seconds / self.fcn_seconds

    def to_dict(self) -> dict[str, Any]:
        """All figures as JSON-serialisable values."""
        own = {k: v for k, v in asdict(self).items() if k not in ("plan", "certificate")}
        return {
            **own,
            "speedup": self.speedup,
            "plan": self.plan.to_dict(),
            "certificate": self.certificate.to_dict(),
        }

    def __str__(self) -> str:
        count = self.cells[0] * self.cells[1]
        return (
            f"{self.plan}\n{self.certificate}\n"
            f"map         {times(self.image)} px give {times(self.cells)} = {count:,} cells\n"
            f"time        FCN {self.fcn_seconds:.2f} s, sliding {self.sliding_seconds:.2f} s: "
            f"{self.speedup:.1f} times faster (MAC ceiling {self.ceiling:.1f})\n"
            f"same map    largest difference {self.difference:.1e} in float32\n"
            f"accuracy    {self.accuracy:.1%} of cells right by the centre of their window; "
            f"{self.inside:.1%} of the {self.inside_cells:,} windows within one panel\n"
            f"pictures    {', '.join(self.written)}\n"
        )


def run(folder: Path, *, say: Say = lambda text: None) -> Report:
    """Run the demo and write its pictures into `folder`.

    Raises MissingExtraError without scikit-image, FullconvError if a picture cannot be written.
    """
    say(f"[1/5] a mosaic of held-out regions of {len(textures.CLASSES)} photographs")
    mosaic, labels = photographs.mosaic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FullconvError(f"cannot be made: {error.strerror}.", where=str(folder)) from error
    say("[2/5] converting the classifier, and proving it in float64")
    model = textures.load()
    fcn = convert(model, textures.WINDOW)
    fcn.about = About("textures", textures.CLASSES, textures.MEAN, textures.STD)
    grey = photographs.luminance(mosaic)[..., None]
    picture = Image(Path("mosaic"), grey)
    x = prepared(picture, textures.MEAN, textures.STD)  # (1, 1, H, W)
    certificate = verify(model, fcn, x)
    grid = fcn.grid(mosaic.shape[:2])
    say(f"[3/5] {len(grid):,} windows: the FCN in one pass, and the classifier on each, in turn")
    fast, slow, difference = _race(model, fcn, x, grid, say)
    say("[4/5] the map, and whether it is right")
    made = heatmap(fcn, picture, SHOWN)
    right, inside = _judge(made.scores, grid, labels)
    say("[5/5] drawing")
    written = _draw(folder, mosaic, made)
    return Report(
        plan=fcn.plan,
        certificate=certificate,
        image=grid.size,
        cells=grid.shape,
        fcn_seconds=fast,
        sliding_seconds=slow,
        ceiling=ceiling(model, fcn, grid.size),
        difference=difference,
        accuracy=float(right.mean()),
        inside=float(right[inside].mean()),
        inside_cells=int(inside.sum()),
        written=written,
    )


def _race(
    model: nn.Module, fcn: FCN, x: torch.Tensor, grid: Grid, say: Say
) -> tuple[float, float, float]:
    """Seconds of the FCN (median) and of sliding (sum), and their largest relative difference.

    Both in turn: sliding goes through the map in parts, between which the FCN maps everything.
    """
    (rows, _), (step, _), (window, _) = grid.shape, grid.stride, grid.window
    fast: list[float] = []
    slow = 0.0
    parts = []
    with torch.inference_mode():
        fcn(x)  # the first call prepares kernels
        for part in range(PARTS):
            first, last = part * rows // PARTS, (part + 1) * rows // PARTS
            strip = x[:, :, first * step : (last - 1) * step + window]
            start = time.perf_counter()
            parts.append(sliding(model, strip, grid.window, grid.stride, BATCH))
            slow += time.perf_counter() - start
            start = time.perf_counter()
            scores = fcn(x)
            fast.append(time.perf_counter() - start)
            say(f"      {(part + 1) * 100 // PARTS} %")
    crops = torch.cat(parts, dim=2)
    return statistics.median(fast), slow, float((scores - crops).abs().max() / crops.abs().max())


def _judge(
    scores: npt.NDArray[np.float32], grid: Grid, labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Per cell: is its class the one under its centre, and is there but one in its window?"""
    winner = scores.argmax(0)
    right = np.zeros(grid.shape, np.bool_)
    inside = np.zeros(grid.shape, np.bool_)
    for cell in grid:
        top, left, bottom, edge = grid.box(*cell)
        window = labels[top:bottom, left:edge]
        right[cell] = winner[cell] == labels[(top + bottom) // 2, (left + edge) // 2]
        inside[cell] = bool((window == window[0, 0]).all())
    return right, inside


def _draw(folder: Path, mosaic: npt.NDArray[np.uint8], made: Heatmap) -> tuple[str, ...]:
    """The mosaic, the winning classes, and one class as a heat map, over the colour picture."""
    shown = replace(made, image=Image(Path("mosaic"), mosaic))
    pictures = {
        "mosaic.png": PIL.Image.fromarray(mosaic),
        "classes.png": class_map(mosaic, made.scores, made.grid, textures.CLASSES),
        f"{SHOWN}.png": shown.overlay().picture,
    }
    for name, picture in pictures.items():
        with atomic(folder / name) as part:
            picture.save(part)
    return tuple(str(folder / name) for name in pictures)
