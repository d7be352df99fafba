"""Before anything is scanned: the stream is measured against one pass, on a small image."""

from __future__ import annotations

import torch
from torch import Tensor

from fullconv.errors import RefusedError
from fullconv.evaluate.scoring import check_finite
from fullconv.hosts.torch_fx.fcn import tensors_of
from fullconv.hosts.torch_fx.optimized.network import OptimizedFCN
from fullconv.hosts.torch_fx.streaming.reading import Streamed
from fullconv.hosts.torch_fx.streaming.stream import Stream
from fullconv.streams.bands import band
from fullconv.streams.schedule import Schedule

TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-4,
    torch.float16: 1e-2,
    torch.bfloat16: 1e-1,
}
"""Largest difference, relative to the largest score, that is rounding. Libraries sum in another
order for other sizes; a row or a column too far makes scores of noise differ by about 1."""
CELLS = 5  # rows and columns of the map


def prove(network: Streamed) -> float:
    """Stream noise in strips and two bands, and compare with one pass: the largest difference.

    Relative to the largest score. Raises RefusedError if it is more than rounding, and InputError
    for weights that make scores which are no numbers.
    """
    fcn = network.fcn
    size = tuple(w + (CELLS - 1) * s for w, s in zip(fcn.window, fcn.stride, strict=True))
    weight = next(fcn.parameters(), torch.empty(0))
    dtype = next(iter(network.samples.values())).dtype
    drawn = torch.randn(
        (1, fcn.plan.channels, *size),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float32,
    )
    image = drawn.to(weight.device, dtype)
    with torch.inference_mode():
        given = fcn.prepared(image) if isinstance(fcn, OptimizedFCN) else image
        # Not by calling it, which may compile it for this size.
        whole = tensors_of(type(fcn).forward(fcn, given))[0].double()
    check_finite(fcn, whole, "an image of noise")
    streamed = _streamed(network, image, tuple(whole.shape[2:])).double()
    scale = max(float(whole.abs().max()), torch.finfo(dtype).tiny)
    found = float((whole - streamed).abs().max()) / scale
    if not found <= TOLERANCE.get(dtype, TOLERANCE[torch.float32]):
        raise RefusedError(
            f"scores of a streamed image differ from those of one pass by {found:.1e} of the "
            "largest.",
            why="A scan must give the map of one pass, and this network's would not be that.",
            hint="Score the image as a whole, with fcn(image) or fullconv heatmap, and report the "
            "network.",
        )
    return found


def _streamed(network: Streamed, image: Tensor, grid: tuple[int, ...]) -> Tensor:
    """The map of an image in strips of two rows and in two bands."""
    size = tuple(image.shape[2:])
    schedule = Schedule(network.course, size, 2, grid[0])
    columns = grid[1] if len(grid) > 1 else 1
    bands = []
    for start, stop in [(0, 1)] if columns == 1 else [(0, columns // 2), (columns // 2, columns)]:
        wanted = band(network.course, size, schedule.cells, start, stop)

        def read(spans: tuple[tuple[int, int], ...]) -> Tensor:
            return image[(slice(None), slice(None), *(slice(*span) for span in spans))]

        strips = Stream(network, schedule, wanted).run(read)
        bands.append(torch.cat([strip.answers[0] for strip in strips], dim=2))
    return torch.cat(bands, dim=3) if len(bands) > 1 else bands[0]
