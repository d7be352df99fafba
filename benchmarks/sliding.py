"""The FCN against the classifier on crops, for the same cells, next to the ceiling of the MACs.

    python benchmarks/sliding.py --models alexnet --sizes 512 --strides 32
    python benchmarks/sliding.py                       # four networks, two sizes, three strides

Both sides in their best form: channels last, batch norms folded on both or on neither, and crops in
batches of the size that runs fastest. Sliding includes cutting and stacking the crops, the FCN all
that its call does. Where sliding takes too long, a sample of its batches is timed, other ones in
every round, and counted up.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import fullconv
from bench import networks, report
from bench.report import Row, figure, listed, markdown, span, with_range
from bench.timing import Side, clock, in_turn, sampled
from fullconv.api.costs import ceiling, macs
from fullconv.api.sliding import score_cells
from fullconv.geometry import Grid

TITLE = "FCN against sliding"
LEAST, SECONDS = 3, 4.0
"""Of a sample, per round: batches at least; seconds, about."""
BATCHES = (1, 4, 8, 16, 32)
"""Sizes that are tried: large ones fall out of a CPU's cache, small ones keep it waiting."""


@dataclass(frozen=True, slots=True)
class Crops:
    """Sliding, cut into batches: all of them in every round, or a sample.

    Attributes:
        batches: the cells of every batch.
        rounds: for every round, which batches.
        times: what the seconds of a round count for.
    """

    batches: list[list[tuple[int, ...]]]
    rounds: list[list[int]]
    times: float

    @property
    def timed(self) -> int:
        """How many different batches are timed."""
        return len({batch for batches in self.rounds for batch in batches})


def crops_of(grid: Grid, size: int, seconds: float, whole: float, rounds: int) -> Crops:
    """Which batches of `size` crops to time, if one takes `seconds` and all may take `whole`."""
    cells = list(grid)
    batches = [cells[first : first + size] for first in range(0, len(cells), size)]
    full = len(cells) // size  # the last one may be smaller, and stays out of a sample
    per_round = min(full // rounds, max(LEAST, round(SECONDS / seconds)))
    if len(batches) * seconds <= whole or per_round < LEAST:
        return Crops(batches, [list(range(len(batches)))] * rounds, 1.0)
    return Crops(batches, sampled(full, per_round, rounds), len(cells) / (per_round * size))


@dataclass(frozen=True, slots=True)
class Network:
    """A classifier, itself and in its best form, and how many seconds a batch of crops takes."""

    name: str
    model: nn.Module
    slow: nn.Module
    batch: int
    seconds: float


def network_of(name: str, options: Any) -> Network:
    """The network, with the size of batches that takes the least time per crop."""
    model = networks.build(name, options.device)
    slow = networks.optimized_classifier(model)
    crop = networks.image_of(networks.WINDOW, options.device)
    seconds: dict[int, float] = {}
    with torch.inference_mode():
        for batch in options.batch:
            crops = crop.repeat(batch, 1, 1, 1)
            slow(crops)  # prepares kernels
            seconds[batch] = min(clock(lambda: slow(crops), options.device) for _ in range(3))  # noqa: B023
    best = min(seconds, key=lambda batch: seconds[batch] / batch)
    return Network(name, model, slow, best, seconds[best])


def compare(network: Network, size: int, stride: int, options: Any) -> Row:
    """One network, size and stride."""
    name, model, slow = network.name, network.model, network.slow
    fcn = fullconv.convert(model, networks.WINDOW, stride=stride)
    fast = networks.optimized(fcn)
    image = networks.image_of(size, options.device)
    grid = fcn.grid((size, size))
    check(model, slow, fcn, fast, image)

    def slide(cells: Sequence[tuple[int, ...]]) -> Tensor:
        return score_cells(slow, image[0], grid, cells, network.batch)

    crops = crops_of(grid, network.batch, network.seconds, options.whole, options.rounds)
    times = in_turn(
        {
            "FCN": Side(lambda _: fast(image)),
            "sliding": Side(
                lambda i: [slide(crops.batches[batch]) for batch in crops.rounds[i]],
                warm_up=lambda: None,  # a batch has been run before
                times=crops.times,
            ),
        },
        options.rounds,
        options.device,
        title=f"{networks.NAMES.get(name, name)} on {size}², stride {stride}",
    )
    limit = ceiling(model, fcn, (size, size))
    dense = macs(fcn, (1, fcn.plan.channels, size, size))
    ratio = times.ratio("sliding", "FCN")
    return {
        "model": name,
        "size": size,
        "stride": stride,
        "cells": len(grid),
        "batch": network.batch,
        "batches": len(crops.batches),
        "timed": crops.timed,
        "fcn": report.kept(times.of("FCN")),
        "sliding": report.kept(times.of("sliding")),
        "ratio": report.kept(ratio),
        "ceiling": limit,
        "share": report.kept(ratio.scaled(1 / limit)),
        "fcn_gmacs": dense / times.of("FCN").median / 1e9,
        "sliding_gmacs": dense * limit / times.of("sliding").median / 1e9,
    }


def check(
    model: nn.Module, slow: nn.Module, fcn: nn.Module, fast: nn.Module, image: Tensor
) -> None:
    """Both sides compute the classifier: what is fast because it is wrong is no result.

    At the window; and the FCN on the image that is timed, where its layers may go other ways.
    """
    crop = image[:, :, : networks.WINDOW, : networks.WINDOW]
    with torch.inference_mode():
        for side, reference, given in (
            (slow, model, crop),
            (fast, model, crop),
            (fast, fcn, image),
        ):
            wanted = networks.scores_of(reference, given)
            scores = networks.scores_of(side, given).reshape(wanted.shape)
            difference = networks.relative_difference(scores, wanted)
            if not difference < 1e-3:
                raise fullconv.FullconvError(f"a side is {difference:.1g} from the classifier.")


def measure(options: argparse.Namespace) -> list[Row]:
    """Every network, size and stride."""
    rows = []
    for name in options.models:
        network = network_of(name, options)
        for size in options.sizes:
            for stride in options.strides:
                rows.append(compare(network, size, stride, options))
                ratio, limit = with_range(rows[-1]["ratio"]), figure(rows[-1]["ceiling"])
                report.say(f"{name}, {size}², stride {stride}: ratio {ratio}, ceiling {limit}")
    return rows


def section(rows: Sequence[Row]) -> str:
    """The table and what it says."""
    head = (
        "network", "image", "stride", "cells", "crops per batch", "batches timed", "FCN, s",
        "sliding, s", "ratio", "ceiling", "ratio ÷ ceiling", "GMAC/s FCN", "GMAC/s sliding",
    )  # fmt: skip
    lines = [
        (
            networks.NAMES.get(row["model"], row["model"]),
            f"{row['size']}²",
            str(row["stride"]),
            f"{row['cells']:,}",
            str(row["batch"]),
            "all" if row["timed"] == row["batches"] else f"{row['timed']} of {row['batches']}",
            with_range(row["fcn"]),
            with_range(row["sliding"]),
            with_range(row["ratio"]),
            figure(row["ceiling"]),
            with_range(row["share"]),
            figure(row["fcn_gmacs"]),
            figure(row["sliding_gmacs"]),
        )
        for row in rows
    ]
    return f"{markdown(head, lines)}\n\n{sentence(rows)}"


def sentence(rows: Sequence[Row]) -> str:
    """The shares of the ceiling by network, and what lies above it."""
    parts = []
    for name in dict.fromkeys(row["model"] for row in rows):
        shares = [row["share"]["median"] for row in rows if row["model"] == name]
        parts.append(f"{networks.NAMES.get(name, name)} {span(shares, '{:.2f}'.format)}")
    above = [row for row in rows if row["share"]["median"] > 1]
    said = f"Share of the ceiling that is reached: {listed(parts)}."
    if above:
        said += (
            f" In {len(above)} of {len(rows)} rows the ratio is above the ceiling: there the FCN "
            "does its MACs at a higher rate than the crops do theirs."
        )
    return said


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = report.parser(__doc__, rounds=3)
    add = parser.add_argument
    models = ["alexnet", "vgg16", "resnet50", "mobilenet_v2"]
    add("--models", nargs="+", default=models, help="classifiers of torchvision")
    add("--sizes", nargs="+", type=int, default=[512, 1024], help="sides of the image, px")
    add("--strides", nargs="+", type=int, default=[32, 16, 8], help="px between windows")
    add("--batch", nargs="+", type=int, default=list(BATCHES), help="crops per batch, to try")
    add("--whole", type=float, default=20.0, help="time all crops if they take up to so many s")
    return report.run("sliding", parser.parse_args(arguments), measure, section, arguments)


if __name__ == "__main__":
    sys.exit(main())
