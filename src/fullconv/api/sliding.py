"""The slow reference: every window cut out and classified by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fullconv.errors import UsageError
from fullconv.geometry import Grid, per_axis
from fullconv.hosts.torch_fx.fcn import tensors_of
from fullconv.hosts.torch_fx.read import spatial_dims
from fullconv.hosts.torch_fx.tracing import in_eval

Progress = Callable[[int, int], None]
"""Called with how many windows are done, and of how many."""


def sliding(
    model: nn.Module,
    image: Tensor,
    window: int | Sequence[int],
    stride: int | Sequence[int],
    batch_size: int = 32,
    *,
    progress: Progress | None = None,
) -> Tensor:
    """Scores of every window, by running the classifier on crops.

    Works for any model and answers what the crop alone would get: a zero-padded network sees its
    own zero border around every crop, which an FCN's map does not.

    Args:
        model: `(N, C, *window)` to `(N, K)`; run in inference mode.
        image: `(N, C, *space)`, or `(C, *space)` for one image.
        window: px, one number or one per axis.
        stride: px between neighbouring windows, likewise.
        batch_size: crops per call of the model.

    Returns:
        The score map `(N, K, *cells)`, as the FCN gives it.

    Raises:
        InputError: the image is smaller than the window.
        UsageError: the numbers of axes do not fit.
    """
    dims = len(window) if isinstance(window, Sequence) else spatial_dims(model, image.ndim - 2)
    if image.ndim == dims + 1:
        image = image[None]
    if image.ndim != dims + 2:
        raise UsageError(
            f"an image of shape {tuple(image.shape)} does not have {dims} spatial axes."
        )
    if batch_size < 1:
        raise UsageError(f"batch_size={batch_size} must be positive.")
    sizes = per_axis(window if isinstance(window, int) else tuple(window), dims, "window")
    steps = per_axis(stride if isinstance(stride, int) else tuple(stride), dims, "stride")
    grid = Grid(tuple(image.shape[2:]), sizes, steps)
    cells = list(grid)
    maps = [score_cells(model, one, grid, cells, batch_size, progress) for one in image]
    # Per image (rows * cols, K) -> (K, rows, cols)
    return torch.stack([scores.T.reshape(-1, *grid.shape) for scores in maps])


def score_cells(
    model: nn.Module,
    image: Tensor,
    grid: Grid,
    cells: Sequence[tuple[int, ...]],
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Tensor:
    """Scores `(len(cells), K)` of the crops of `image` `(C, *space)` at the given cells."""
    answers = []
    with in_eval(model), torch.no_grad():
        for first in range(0, len(cells), batch_size):
            crops = cut(image, grid, cells[first : first + batch_size])
            scores = tensors_of(model(crops))[0]
            answers.append(scores.reshape(len(crops), -1))
            if progress is not None:
                progress(min(first + batch_size, len(cells)), len(cells))
    return torch.cat(answers)


def cut(image: Tensor, grid: Grid, cells: Sequence[tuple[int, ...]]) -> Tensor:
    """The crops `(len(cells), C, *window)` of `image` `(C, *space)` at the given cells."""
    dims = len(grid.window)
    crops = []
    for cell in cells:
        box = grid.box(*cell)
        span = tuple(slice(a, b) for a, b in zip(box[:dims], box[dims:], strict=True))
        crops.append(image[(slice(None), *span)])
    return torch.stack(crops)
