"""The certificate: measured proof that an FCN equals its classifier, and where it does not."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fullconv.api.head import head_over_body
from fullconv.api.sliding import score_cells
from fullconv.errors import InputError
from fullconv.geometry import times
from fullconv.hosts.torch_fx.fcn import FCN, tensors_of
from fullconv.hosts.torch_fx.read import read
from fullconv.tables import table

TOLERANCE = 1e-10
"""Largest difference, relative to the largest score, that still counts as equal in float64."""

CELLS = 64
"""Windows compared with crops, at most, per image."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was measured, in float64. Differences are relative to the largest score.

    Attributes:
        native: largest difference at the window: one image, one cell (promise 1).
        head: largest difference between the map on a larger image and the classifier's own head
            slid over its own body's feature map (promise 3).
        windows: largest difference between cells and their crops (promise 2).
        windows_mean: mean difference between cells and their crops.
        top1: share of those cells whose highest class is the crop's.
        cells: how many cells were compared with crops.
        images: sizes of the images they came from; `noise` tells they were random.
        noise: whether the images were random numbers, for want of real ones.
        padded: nodes that see something that is not image at a window's rim.
        contexts: nodes that look at the whole map, and `context`, what they see in the FCN.
        window, stride: of the FCN, px per axis.
        tolerance: what counts as equal.
    """

    native: float
    head: float
    windows: float
    windows_mean: float
    top1: float
    cells: int
    images: tuple[tuple[int, ...], ...]
    noise: bool
    padded: tuple[str, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    contexts: tuple[str, ...] = ()
    context: str = "window"
    tolerance: float = TOLERANCE

    @property
    def exact(self) -> bool:
        """Whether every cell must equal the classifier on its crop: nothing pads, all is local."""
        return not self.padded and not self.contexts

    @property
    def ok(self) -> bool:
        """Whether everything that must be equal was measured equal."""
        must = [self.native, self.head, *([self.windows] if self.exact else [])]
        return all(difference <= self.tolerance for difference in must)

    def to_dict(self) -> dict[str, Any]:
        """All figures as JSON-serialisable values."""
        return {"ok": self.ok, "exact": self.exact, **asdict(self)}

    def __str__(self) -> str:
        def verdict(difference: float) -> str:
            return "equal" if difference <= self.tolerance else "DIFFERENT"

        kind = "random image" if self.noise else "image"
        plural = "s" if len(self.images) > 1 else ""
        seen = f"{self.cells} windows of {len(self.images)} {kind}{plural}"
        crops = verdict(self.windows) if self.exact else f"same top class in {self.top1:.1%}"
        why = " ".join(self._why())
        rows = [
            ("at the window", f"{self.native:.1e}", verdict(self.native)),
            ("classifier's head slid over its body", f"{self.head:.1e}", verdict(self.head)),
            (f"crops, {seen}", f"{self.windows:.1e}", crops),
        ]
        head = ("compared with the classifier", "difference", "")
        state = "proven" if self.ok else "NOT EQUAL"
        window = f"window {times(self.window)}, stride {times(self.stride)}"
        return f"{table(head, rows)}\n{state} ({window}, float64). {why}\n"

    def _why(self) -> list[str]:
        """What cells and crops have to do with each other, in words."""
        if self.exact:
            return ["Nothing in the network pads: every cell equals its crop, on any image."]
        said = []
        if self.padded:
            said.append(
                f"The network pads ({len(self.padded)} layers): a crop sees a border where the map "
                "sees the picture around it."
            )
        if self.contexts:
            local = self.context == "window"
            sees = "the window around every cell" if local else "the whole image"
            streams = "The map can be streamed" if local else "The map cannot be streamed"
            said.append(
                f"The network has {len(self.contexts)} context ops, first {self.contexts[0]}: in a "
                f"crop they see all of it, in the map {sees}. {streams}."
            )
        return [*said, "So cells and crops differ. At the window, and head over body, it is exact."]


def verify(
    model: nn.Module,
    fcn: FCN,
    images: Tensor | Sequence[Tensor] | None = None,
    *,
    cells: int = CELLS,
    seed: int = 0,
) -> Certificate:
    """Measure whether `fcn` equals `model`.

    Both are copied to float64 and left as they were. Nothing is assumed: parameters may have been
    changed or loaded since the conversion.

    Args:
        model: the classifier.
        fcn: its FCN.
        images: real images `(C, *space)` or `(N, C, *space)`, prepared as the model wants them; a
            random one is used without.
        cells: how many windows per image are compared with crops at most, spread evenly.
        seed: of the random images.

    Raises InputError for images that are too small or have the wrong shape.
    """
    plan = fcn.plan
    exact_model, exact_fcn = copy.deepcopy(model).double(), copy.deepcopy(fcn).double()
    exact_model.eval()
    exact_fcn.eval()
    device = next((p.device for p in exact_model.parameters()), torch.device("cpu"))
    draw = torch.Generator().manual_seed(seed)

    def random(*size: int) -> Tensor:
        return torch.randn(1, plan.channels, *size, generator=draw, dtype=torch.float64).to(device)

    local = bool(plan.contexts) and plan.context == "window"
    reach = 1 if local else 2  # boxes make the reference slow
    larger = [w + reach * s for w, s in zip(plan.window, plan.native_stride, strict=True)]
    pictures = [random(*larger)] if images is None else _batches(images, plan.channels, len(larger))
    with torch.no_grad():
        x = torch.cat([random(*plan.window), random(*plan.window)])
        native = _largest(exact_fcn(x), tensors_of(exact_model(x)))
        reading = read(exact_model, plan.window, x)
        wide = random(*larger)
        steps = [own // t for own, t in zip(plan.native_stride, plan.stride, strict=True)]
        head = _largest(exact_fcn(wide), head_over_body(reading, plan, wide), steps)
        crops = _Differences()
        for picture in pictures:
            _compare_crops(exact_model, exact_fcn, picture.to(device).double(), cells, crops)
    return Certificate(
        native=native,
        head=head,
        windows=crops.largest,
        windows_mean=crops.mean,
        top1=crops.agreement,
        cells=crops.vectors,
        images=tuple(tuple(picture.shape[2:]) for picture in pictures),
        noise=images is None,
        padded=plan.padded,
        window=plan.window,
        stride=plan.stride,
        contexts=tuple(context.where for context in plan.contexts),
        context=plan.context,
    )


class _Differences:
    """Differences between two sets of score vectors, gathered as they come."""

    def __init__(self) -> None:
        self._largest = self._total = self._scale = 0.0
        self._numbers = self._agreed = self.vectors = 0

    def add(self, ours: Tensor, theirs: Tensor) -> None:
        """Compare `(N, K, ...)` with its reference, the same numbers in whatever shape."""
        if ours.numel() != theirs.numel():
            scores = theirs.numel() * ours.shape[1] // ours.numel()
            raise InputError(
                f"the FCN gives {ours.shape[1]} scores, the model {scores}: they do not "
                "belong together."
            )
        theirs = theirs.reshape(*ours.shape)
        gap = (ours - theirs).abs()
        self._largest = max(self._largest, _number(gap.max()))
        self._scale = max(self._scale, _number(theirs.abs().max()))
        self._total += float(gap.sum())
        self._numbers += gap.numel()
        same = ours.argmax(1) == theirs.argmax(1)
        self._agreed += int(same.sum())
        self.vectors += same.numel()

    @property
    def largest(self) -> float:
        """The largest difference, relative to the largest score of the reference."""
        return self._largest / (self._scale or 1.0)

    @property
    def mean(self) -> float:
        """The mean difference, likewise."""
        return self._total / max(1, self._numbers) / (self._scale or 1.0)

    @property
    def agreement(self) -> float:
        """The share of vectors with the same highest entry."""
        return self._agreed / max(1, self.vectors)


def _largest(ours: Any, theirs: list[Tensor], steps: Sequence[int] = ()) -> float:
    """The largest difference of any answer from its reference, every `steps` cells of the map.

    Each answer is measured by its own largest score: they may be on different scales.
    """
    maps = tensors_of(ours)
    if len(maps) != len(theirs):
        raise InputError(
            f"the FCN gives {len(maps)} answers, the model {len(theirs)}: they do not belong "
            "together."
        )
    found = []
    for scores, reference in zip(maps, theirs, strict=True):
        differences = _Differences()
        every: list[Any] = [slice(None, None, step) for step in steps]
        differences.add(scores[(..., *every)], reference)
        found.append(differences.largest)
    return max(found)


def _number(x: Tensor) -> float:
    """A figure that compares as it should: NaN is as different as can be."""
    value = float(x)
    return float("inf") if value != value else value


def _batches(images: Tensor | Sequence[Tensor], channels: int, dims: int) -> list[Tensor]:
    """Images as a list of `(N, C, *space)`."""
    listed = [images] if isinstance(images, Tensor) else list(images)
    batches = [image[None] if image.ndim == dims + 1 else image for image in listed]
    for image in batches:
        if image.ndim != dims + 2 or image.shape[1] != channels:
            raise InputError(
                f"an image of shape {tuple(image.shape)} does not fit a network of {channels} "
                f"channels and {dims} spatial axes."
            )
    return batches


def _compare_crops(
    model: nn.Module, fcn: FCN, batch: Tensor, cells: int, differences: _Differences
) -> None:
    """Add the differences between cells and crops of a batch, on evenly spread cells."""
    grid = fcn.grid(tuple(batch.shape[2:]))
    every = list(grid)
    last = len(every) - 1
    few = len(every) <= cells
    picked = every if few else [every[i * last // (cells - 1)] for i in range(cells)]
    maps = tensors_of(fcn(batch))[0]  # (N, K, *cells)
    for scores, image in zip(maps, batch, strict=True):
        ours = torch.stack([scores[(slice(None), *cell)] for cell in picked])  # (cells, K)
        differences.add(ours, score_cells(model, image, grid, picked))
