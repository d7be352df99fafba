"""AlexNet's map of 10×10 cells, as in the FCN paper, and where the time goes, layer by layer.

    python benchmarks/paper.py

Long, Shelhamer & Darrell 2015, section 3.1: a map of 10×10 from 500 px takes 22 ms, one crop 1.2
ms: more than 5 times as fast as the crops. torchvision's AlexNet gives 10×10 cells on 512 px. Crops
are classified one by one and in batches. The profile times every layer on its own, in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import fullconv
from bench import networks, report
from bench.report import Row, figure, markdown, percent, with_range
from bench.timing import Side, in_turn, progress, wait
from fullconv.api.costs import ceiling
from fullconv.api.sliding import score_cells

TITLE = "The FCN paper's AlexNet"
PAPER = 5.0
"""Long et al. 2015: "more than 5 times faster"."""

REST = "rest"

Layers = dict[str, tuple[int, float]]
"""MACs and seconds of every layer that has MACs, and of the rest."""


def profile(network: nn.Module, x: Tensor, rounds: int, device: str) -> Layers:
    """MACs and median seconds of the leaf modules of `network` on `x`, and what is left."""
    taken: dict[str, list[float]] = defaultdict(list)
    work: dict[str, int] = defaultdict(int)
    begun: list[float] = []
    handles = []

    def before(*_: Any) -> None:
        wait(device)
        begun.append(time.perf_counter())

    def after(name: str, layer: nn.Module, out: Tensor) -> None:
        wait(device)
        taken[name].append(time.perf_counter() - begun.pop())
        weight = getattr(layer, "weight", None)
        work[name] = 0 if weight is None else out.numel() * weight[0].numel()

    for name, layer in network.named_modules():
        if not list(layer.children()):
            handles.append(layer.register_forward_pre_hook(before))
            handles.append(
                layer.register_forward_hook(lambda m, _, out, name=name: after(name, m, out))
            )
    totals = []
    with torch.inference_mode():
        network(x)
        taken.clear()
        for _ in range(rounds):
            before()
            network(x)
            wait(device)
            totals.append(time.perf_counter() - begun.pop())
    for handle in handles:
        handle.remove()
    layers = {name: (work[name], statistics.median(taken[name])) for name in taken if work[name]}
    rest = statistics.median(totals) - sum(seconds for _, seconds in layers.values())
    return {**layers, REST: (0, max(0.0, rest))}


def measure(options: argparse.Namespace) -> list[Row]:
    """The comparison (first row), then one row per layer."""
    name, size, stride = "alexnet", options.size, 32
    model = networks.build(name, options.device)
    fcn = fullconv.convert(model, networks.WINDOW)
    fast, slow = networks.optimized(fcn), networks.optimized_classifier(model)
    image = networks.image_of(size, options.device)
    grid = fcn.grid((size, size))
    cells = list(grid)

    def slide(batch: int) -> Tensor:
        return score_cells(slow, image[0], grid, cells, batch)

    times = in_turn(
        {
            "FCN": Side(lambda _: fast(image)),
            "one by one": Side(lambda _: slide(1)),
            "batches": Side(lambda _: slide(options.batch)),
        },
        options.rounds,
        options.device,
        title=f"AlexNet on {size}²",
    )
    row: Row = {
        "cells": list(grid.shape),
        "size": size,
        "stride": stride,
        "batch": options.batch,
        "fcn": report.kept(times.of("FCN")),
        "single": report.kept(times.of("one by one")),
        "batches": report.kept(times.of("batches")),
        "ratio_single": report.kept(times.ratio("one by one", "FCN")),
        "ratio_batches": report.kept(times.ratio("batches", "FCN")),
        "ceiling": ceiling(model, fcn, (size, size)),
    }
    progress("AlexNet, layer by layer")
    side = networks.WINDOW
    crops = torch.stack([image[0, :, :side, :side]] * options.batch)
    dense = profile(fast, image, options.rounds, options.device)
    batch = profile(slow, crops, options.rounds, options.device)
    progress("")
    return [row, *layer_rows(dense, batch, len(cells) / options.batch)]


def layer_rows(dense: Layers, batch: Layers, batches: float) -> list[Row]:
    """One row per layer: both sides for all cells; `batches` batches make up all crops."""
    rows = []
    names = [name for name in {**dense, **batch} if name != REST]
    for name in [*names, REST]:
        macs, seconds = dense.get(name, (0, 0.0))
        slow_macs, slow_seconds = batch.get(name, (0, 0.0))
        rows.append(
            {
                "layer": name,
                "fcn_gmac": macs / 1e9,
                "fcn": seconds,
                "crops_gmac": slow_macs * batches / 1e9,
                "crops": slow_seconds * batches,
            }
        )
    return rows


def section(rows: Sequence[Row]) -> str:
    """Both tables and what they say."""
    row, layers = rows[0], rows[1:]
    head = ("side", "s", "ratio to the FCN", "ceiling", "ratio ÷ ceiling")
    sides = [("FCN, one pass", with_range(row["fcn"]), "1", "", "")]
    for name, key in (("one by one", "single"), (f"in batches of {row['batch']}", "batches")):
        ratio = row[f"ratio_{key}"]
        sides.append(
            (
                f"crops {name}",
                with_range(row[key]),
                with_range(ratio),
                figure(row["ceiling"]),
                figure(ratio["median"] / row["ceiling"]),
            )
        )
    return "\n\n".join(
        [markdown(head, sides), sentence(row), profile_table(layers), why(row, layers)]
    )


def profile_table(layers: Sequence[Row]) -> str:
    """Share of the time and rate of every layer, on both sides."""
    head = (
        "layer", "GMAC FCN", "GMAC crops", "ratio", "time FCN", "time crops", "GMAC/s FCN",
        "GMAC/s crops",
    )  # fmt: skip
    totals = {key: sum(layer[key] for layer in layers) for key in ("fcn", "crops")}
    lines = [
        (
            layer["layer"],
            figure(layer["fcn_gmac"]) if layer["fcn_gmac"] else "–",
            figure(layer["crops_gmac"]) if layer["crops_gmac"] else "–",
            divided(layer["crops_gmac"], layer["fcn_gmac"]),
            *(percent(layer[key] / totals[key]) for key in totals),
            *(divided(layer[f"{key}_gmac"], layer[key]) for key in totals),
        )
        for layer in layers
    ]
    return markdown(head, lines)


def divided(a: float, b: float) -> str:
    """`a / b`, or – where either is nothing."""
    return figure(a / b) if a and b else "–"


def sentence(row: Row) -> str:
    """Whether the paper's factor is reached, against both kinds of crops."""
    single, batches = row["ratio_single"]["median"], row["ratio_batches"]["median"]
    reached = [
        f"{figure(ratio)} over crops {name} ({'more' if ratio > PAPER else 'not more'} than 5)"
        for name, ratio in (("one by one", single), (f"in batches of {row['batch']}", batches))
    ]
    rows, cols = row["cells"]
    return (
        f"For {rows}×{cols} cells the factor is {reached[0]} and {reached[1]}; the MACs allow "
        f"{figure(row['ceiling'])}."
    )


def why(row: Row, layers: Sequence[Row]) -> str:
    """Where the FCN falls behind the rate of the crops, and what that costs."""
    dense = sum(layer["fcn_gmac"] for layer in layers) / row["fcn"]["median"]
    crops = sum(layer["crops_gmac"] for layer in layers) / row["batches"]["median"]
    lost = {
        layer["layer"]: layer["fcn"] - layer["fcn_gmac"] * layer["crops"] / layer["crops_gmac"]
        for layer in layers
        if layer["fcn_gmac"] and layer["crops_gmac"]
    }
    worst = max(lost, key=lambda name: lost[name])
    said = (
        f"The FCN does its MACs at {figure(dense)} GMAC/s, the crops in batches at "
        f"{figure(crops)}, {figure(dense / crops)} of the ceiling therefore."
    )
    if lost[worst] > 0:
        share = lost[worst] / sum(layer["fcn"] for layer in layers)
        said += (
            f" Most is lost in {worst}: at the rate the crops have there, the FCN would take "
            f"{percent(share)} less time."
        )
    return said


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = report.parser(__doc__, rounds=7)
    parser.add_argument("--size", type=int, default=512, help="side of the image, px (512)")
    parser.add_argument("--batch", type=int, default=32, help="crops per batch (32)")
    return report.run("paper", parser.parse_args(arguments), measure, section, arguments)


if __name__ == "__main__":
    sys.exit(main())
