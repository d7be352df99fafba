"""A map streamed in strips and bands, put together, for comparison with one pass."""

import torch
from torch import Tensor

from fullconv.hosts.torch_fx.fcn import FCN, tensors_of
from fullconv.hosts.torch_fx.streaming.reading import Streamed, streamed
from fullconv.hosts.torch_fx.streaming.stream import Stream
from fullconv.streams.bands import band
from fullconv.streams.schedule import Schedule


class Reader:
    """Reads spans of a tensor `(N, C, *space)` and counts how often each pixel was asked for."""

    def __init__(self, image: Tensor) -> None:
        self.image = image
        self.times = torch.zeros(image.shape[2:], dtype=torch.int64)

    def __call__(self, spans) -> Tensor:
        box = tuple(slice(start, stop) for start, stop in spans)
        assert all(0 <= a < b <= n for (a, b), n in zip(spans, self.times.shape, strict=True))
        self.times[box] += 1
        return self.image[(slice(None), slice(None), *box)].clone()


def stream(
    fcn: FCN, image: Tensor, height: int, width: int | None = None, network: Streamed | None = None
) -> list[Tensor]:
    """The map of every answer, in strips of `height` rows and bands of `width` columns."""
    network = network or streamed(fcn)
    size = tuple(image.shape[2:])
    grid = fcn.grid(size).shape
    schedule = Schedule(network.course, size, height, grid[0])
    columns = grid[1] if len(grid) > 1 else 1
    width = width or columns
    bands = []
    for start in range(0, columns, width):
        found = band(network.course, size, schedule.cells, start, min(start + width, columns))
        reader = Reader(image)
        strips = list(Stream(network, schedule, found, images=len(image)).run(reader))
        assert [strip.number for strip in strips] == list(range(schedule.count))
        assert strips[0].start == 0
        assert strips[-1].stop == grid[0]
        assert int(reader.times.max()) == 1, "a pixel was read twice in one band"
        bands.append(
            [torch.cat(maps, 2) for maps in zip(*(s.answers for s in strips), strict=True)]
        )
    return [torch.cat(maps, 3) if len(grid) > 1 else maps[0] for maps in zip(*bands, strict=True)]


def one_pass(fcn: FCN, image: Tensor) -> list[Tensor]:
    """What the network itself gives."""
    with torch.no_grad():
        return tensors_of(fcn(image.clone()))


def assert_streams(fcn: FCN, image: Tensor, height: int, width: int | None = None) -> None:
    """The streamed map is that of one pass: shapes equal, numbers to 1e-12 of the largest."""
    expected, found = one_pass(fcn, image), stream(fcn, image, height, width)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        largest = float(theirs.abs().max())
        assert float((ours - theirs).abs().max()) <= 1e-12 * largest
