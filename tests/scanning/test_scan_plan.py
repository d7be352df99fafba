"""The plan of a scan: what fits, how many bands that takes, and what they cost."""

import functools
import itertools
import json

import pytest
import torch
from torch import nn

import fullconv
from fullconv.errors import InputError, MissingExtraError, UsageError
from fullconv.hosts.torch_fx.streaming.reading import streamed
from fullconv.models.torchvision_import import import_torchvision
from fullconv.scanning.plan import LOW, TALL, make_plan
from networks import ready

GIB = 2**30


@functools.cache
def network(name: str):
    """An FCN of shapes alone, and its stages."""
    try:
        models = import_torchvision().models
    except MissingExtraError:
        pytest.skip("torchvision is not installed")
    with torch.device("meta"):
        fcn = fullconv.convert(getattr(models, name)().eval(), 224)
    return fcn, streamed(fcn).course


def planned(name: str, size: tuple[int, int], budget: int, **options):
    fcn, course = network(name)
    grid = fcn.grid(size).shape
    return make_plan(course, size, grid, fcn.stride, budget, score=4000, **options)


def vgg_macs(height: int, width: int) -> int:
    """Multiply-accumulates of VGG-16 on an image, layer by layer, written by hand."""
    total, channels = 0, 3
    for count, wide in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(count):
            total += height * width * 9 * channels * wide
            channels = wide
        height, width = height // 2, width // 2
    height, width = height - 6, width - 6
    return total + height * width * (49 * 512 * 4096 + 4096 * 4096 + 4096 * 1000)


def test_one_band_does_nothing_twice():
    plan = planned("vgg16", (20_000, 20_000), 16 * GIB)
    assert plan.bands == 1
    assert plan.needed == vgg_macs(20_000, 20_000)
    assert plan.ratio == pytest.approx(1, abs=1e-3)
    assert plan.macs <= plan.needed  # trailing cells of no whole window are not made
    assert plan.height * 32 <= TALL


@pytest.mark.parametrize("budget", [GIB, 2 * GIB, 4 * GIB])
def test_bands_of_vgg_repeat_next_to_nothing(budget):
    plan = planned("vgg16", (20_000, 20_000), budget)
    assert plan.bytes <= budget
    assert plan.ratio <= 1.05
    assert plan.height * 32 >= LOW
    if plan.bands > 1:
        # What bands share, by hand: the halo of every layer on every seam.
        assert plan.macs == sum(
            plan.schedule.course.macs({n: (rows(plan, n), wide(plan, n, k)) for n in names(plan)})
            for k in range(plan.bands)
        )


def names(plan):
    return plan.course.by_name


def rows(plan, name):
    return plan.schedule.done(plan.schedule.count - 1)[name]


def wide(plan, name, number):
    ((start, stop),) = plan.band(number).spans[name]
    return stop - start


def test_bands_cover_the_map_once_and_their_halo_is_the_receptive_field():
    plan = planned("vgg16", (20_000, 20_000), 1 * GIB)
    assert plan.bands > 1
    edges = [(plan.band(k).start, plan.band(k).stop) for k in range(plan.bands)]
    assert edges[0][0] == 0
    assert edges[-1][1] == plan.grid[1]
    assert all(left[1] == right[0] for left, right in itertools.pairwise(edges))
    (left,), (right,) = (plan.band(k).spans[plan.course.image.name] for k in (0, 1))
    # Cells 32 px apart with a field of 404 px: neighbours share 404 - 32.
    assert left[1] - right[0] == 404 - 32


def test_memory_does_not_depend_on_the_height_of_the_image():
    small = planned("resnet18", (20_000, 20_000), 2 * GIB)
    large = planned("resnet18", (100_000, 20_000), 2 * GIB)
    assert (small.height, small.width) == (large.height, large.width)
    assert small.bytes == large.bytes


def test_too_little_memory_is_told_with_what_it_takes():
    with pytest.raises(InputError) as error:
        planned("vgg16", (20_000, 20_000), 2**20)
    text = str(error.value)
    assert text.startswith("scanning takes at least ")
    assert text.endswith("Allow more memory (max_memory, --max-memory), or free some.")


def lenet_like():
    model = ready(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 9, 3))
    )
    fcn = fullconv.convert(model, 8)
    return fcn, streamed(fcn).course


def test_given_strips_and_bands():
    fcn, course = lenet_like()
    plan = make_plan(
        course, (50, 41), fcn.grid((50, 41)).shape, fcn.stride, GIB, score=12, height=4, width=5
    )
    assert plan.grid == (22, 17)
    assert (plan.height, plan.width, plan.bands, plan.schedule.count) == (4, 5, 4, 6)
    assert plan.chunk == (22, 5)  # chunks are small: several steps are written together
    assert plan.chunks == (1, 4)
    with pytest.raises(UsageError, match="at least one row and one column"):
        make_plan(course, (50, 41), (22, 17), fcn.stride, GIB, score=12, height=0)


def test_as_a_table_and_as_json():
    fcn, course = lenet_like()
    plan = make_plan(
        course, (50, 41), fcn.grid((50, 41)).shape, fcn.stride, GIB, score=12, height=4, width=5
    )
    text = str(plan)
    assert "22×17 cells, 2×2 px apart" in text
    assert "6 of 4 rows (8 px)" in text
    assert "4 of 5 columns" in text
    data = json.loads(json.dumps(plan.to_dict()))
    assert data["strips"] == 6
    assert data["ratio"] == plan.ratio > 1
    image = data["layers"][0]
    assert (image["where"], image["rows_kept"], image["rows_made"]) == ("the image", 2, 8)
    assert image["bytes_of_a_row"] == 8 * max(
        wide(plan, plan.course.image.name, k) for k in range(2)
    )
