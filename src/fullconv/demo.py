"""The whole job on what comes with the package: convert, prove, map a mosaic, compare, draw."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch

from fullconv.api.convert import convert
from fullconv.api.costs import ceiling
from fullconv.api.sliding import sliding
from fullconv.api.verify import Certificate, verify
from fullconv.bundled import photographs, textures
from fullconv.errors import FullconvError
from fullconv.evaluate.classmap import class_map
from fullconv.evaluate.heatmap import Heatmap, heatmap
from fullconv.geometry import Grid, times
from fullconv.hosts.torch_fx.fcn import About
from fullconv.storage.files import atomic
from fullconv.storage.images import Image
from fullconv.surgery.plan import Plan

BATCH = 32
REPEATS = 5
SHOWN = "grass"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What the demo found.

    Attributes:
        plan, certificate: of the bundled classifier.
        image: size of the mosaic, px; cells: of its map.
        fcn_seconds: median time of the FCN over the mosaic.
        sliding_seconds: time of the classifier on all of the same windows, batches of 32.
        ceiling: the MACs of sliding divided by those of the FCN.
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
            f"{self.speedup:.1f} times faster (its arithmetic allows {self.ceiling:.1f})\n"
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
    x = torch.from_numpy(grey).float().permute(2, 0, 1)[None] / 255  # (1, 1, H, W)
    x = (x - textures.MEAN[0]) / textures.STD[0]
    certificate = verify(model, fcn, x)
    say(f"[3/5] the FCN over {times(mosaic.shape[:2])} px, {REPEATS} times")
    seconds = []
    with torch.inference_mode():
        fcn(x)  # the first call prepares kernels
        for _ in range(REPEATS):
            start = time.perf_counter()
            scores = fcn(x)
            seconds.append(time.perf_counter() - start)
    grid = fcn.grid(mosaic.shape[:2])
    say(f"[4/5] sliding: the classifier on each of {len(grid):,} windows")
    start = time.perf_counter()
    slow = sliding(model, x, fcn.window, fcn.stride, BATCH, progress=_tenths(say))
    sliding_seconds = time.perf_counter() - start
    say("[5/5] drawing")
    made = heatmap(fcn, Image(Path("mosaic"), grey), SHOWN)
    right, inside = _judge(made.scores, grid, labels)
    return Report(
        plan=fcn.plan,
        certificate=certificate,
        image=grid.size,
        cells=grid.shape,
        fcn_seconds=statistics.median(seconds),
        sliding_seconds=sliding_seconds,
        ceiling=ceiling(model, fcn, grid.size),
        difference=float((scores - slow).abs().max() / slow.abs().max()),
        accuracy=float(right.mean()),
        inside=float(right[inside].mean()),
        inside_cells=int(inside.sum()),
        written=_draw(folder, mosaic, made),
    )


def _tenths(say: Say) -> Callable[[int, int], None]:
    """Progress in tenths."""
    told = 0

    def progress(done: int, total: int) -> None:
        nonlocal told
        if done * 10 // total > told:
            told = done * 10 // total
            say(f"      {told}0 %")

    return progress


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
    shown = Heatmap(
        Image(Path("mosaic"), mosaic),
        made.scores,
        made.probabilities,
        made.grid,
        made.index,
        made.classes,
    )
    pictures = {
        "mosaic.png": PIL.Image.fromarray(mosaic),
        "classes.png": class_map(mosaic, made.scores, made.grid, textures.CLASSES),
        f"{SHOWN}.png": shown.overlay().picture,
    }
    for name, picture in pictures.items():
        with atomic(folder / name) as part:
            picture.save(part)
    return tuple(str(folder / name) for name in pictures)
