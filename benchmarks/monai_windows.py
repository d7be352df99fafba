"""The FCN against MONAI's `sliding_window_inference`, for the same cells.

    python benchmarks/monai_windows.py --models alexnet
    python benchmarks/monai_windows.py          # AlexNet and ResNet-18, 512², stride 32

MONAI blends the answers of overlapping windows into a map that covers the image. To give the score
of every window by itself, each answer is spread over the window's cells (window ÷ stride per axis)
and the weight map keeps the middle one only. Its map then equals `fullconv.sliding`; the largest
difference is measured. Needs MONAI: pip install '.[bench]'.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import fullconv
from bench import networks, report
from bench.report import Row, figure, markdown, span, tiny, with_range
from bench.timing import Side, in_turn
from fullconv.api.costs import ceiling
from fullconv.errors import MissingExtraError, UsageError

TITLE = "FCN against MONAI's sliding window"


def import_monai() -> Callable[..., Any]:
    """MONAI's function. Raises MissingExtraError."""
    try:
        from monai.inferers import sliding_window_inference
    except ModuleNotFoundError as error:
        if error.name != "monai":
            raise
        raise MissingExtraError("MONAI", "bench", "This benchmark") from None
    found: Callable[..., Any] = sliding_window_inference
    return found


def monai_map(
    infer: Callable[..., Any], model: nn.Module, image: Tensor, stride: int, batch: int
) -> Tensor:
    """The scores `(1, K, rows, cols)` of every window of 224 px, `stride` apart, by MONAI.

    Raises UsageError if the windows do not end at the image's edge: MONAI moves the last one then.
    """
    window = networks.WINDOW
    if window % stride or any((size - window) % stride for size in image.shape[2:]):
        raise UsageError(
            f"MONAI's windows would not be {stride} px apart everywhere.",
            hint=f"Take a divisor of {window}, and an image of {window} px and a multiple of it.",
        )
    cells = window // stride
    middle = cells // 2
    first, last = middle * stride, (middle + 1) * stride
    only_middle = torch.zeros(window, window, device=image.device)
    only_middle[first:last, first:last] = 1

    def predictor(crops: Tensor) -> Tensor:
        scores = networks.scores_of(model, crops)  # (B, K)
        return scores[:, :, None, None].repeat(1, 1, cells, cells)

    covered: Tensor = infer(
        image,
        (window, window),
        batch,
        predictor,
        overlap=1 - (stride + 0.5) / window,  # MONAI cuts the step to whole px
        roi_weight_map=only_middle,
    )
    rows, cols = ((size - window) // stride + 1 for size in image.shape[2:])
    return covered[:, :, middle : middle + rows, middle : middle + cols]


def compare(name: str, infer: Callable[..., Any], options: Any) -> Row:
    """One network, three ways."""
    model = networks.build(name, options.device)
    fcn = fullconv.convert(model, networks.WINDOW, stride=options.stride)
    fast, slow = networks.optimized(fcn), networks.optimized_classifier(model)
    image = networks.image_of(options.size, options.device)

    def by_monai(_: int = 0) -> Tensor:
        return monai_map(infer, slow, image, options.stride, options.batch)

    def by_crops(_: int = 0) -> Tensor:
        return fullconv.sliding(slow, image, networks.WINDOW, options.stride, options.batch)

    with torch.inference_mode():
        difference = networks.relative_difference(by_monai(), by_crops())
    times = in_turn(
        {"FCN": Side(lambda _: fast(image)), "MONAI": Side(by_monai), "sliding": Side(by_crops)},
        options.rounds,
        options.device,
        title=f"{name} on {options.size}²",
    )
    return {
        "model": name,
        "size": options.size,
        "stride": options.stride,
        "cells": len(fcn.grid((options.size, options.size))),
        "fcn": report.kept(times.of("FCN")),
        "monai": report.kept(times.of("MONAI")),
        "sliding": report.kept(times.of("sliding")),
        "ratio": report.kept(times.ratio("MONAI", "FCN")),
        "ratio_sliding": report.kept(times.ratio("sliding", "FCN")),
        "ceiling": ceiling(model, fcn, (options.size, options.size)),
        "difference": difference,
    }


def measure(options: argparse.Namespace) -> list[Row]:
    """Every network."""
    infer = import_monai()
    return [compare(name, infer, options) for name in options.models]


def section(rows: Sequence[Row]) -> str:
    """The table and what it says."""
    head = (
        "network", "image", "stride", "cells", "FCN, s", "MONAI, s", "sliding, s",
        "MONAI ÷ FCN", "sliding ÷ FCN", "ceiling", "MONAI and sliding differ",
    )  # fmt: skip
    lines = [
        (
            networks.NAMES.get(row["model"], row["model"]),
            f"{row['size']}²",
            str(row["stride"]),
            f"{row['cells']:,}",
            with_range(row["fcn"]),
            with_range(row["monai"]),
            with_range(row["sliding"]),
            with_range(row["ratio"]),
            with_range(row["ratio_sliding"]),
            figure(row["ceiling"]),
            tiny(row["difference"]),
        )
        for row in rows
    ]
    return f"{markdown(head, lines)}\n\n{sentence(rows)}"


def sentence(rows: Sequence[Row]) -> str:
    """How much faster the FCN is, and whether MONAI computed the crops' scores."""
    ratios = [row["ratio"]["median"] for row in rows]
    worst = max(row["difference"] for row in rows)
    return (
        f"The FCN is {span(ratios)} times as fast as MONAI for the same cells. MONAI's map and "
        f"that of `fullconv.sliding` differ by {tiny(worst)} of the largest score at most."
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = report.parser(__doc__, rounds=5)
    add = parser.add_argument
    add("--models", nargs="+", default=["alexnet", "resnet18"], help="classifiers of torchvision")
    add("--size", type=int, default=512, help="side of the image, px (512)")
    add("--stride", type=int, default=32, help="px between windows (32)")
    add("--batch", type=int, default=32, help="crops per batch (32)")
    return report.run("monai_windows", parser.parse_args(arguments), measure, section, arguments)


if __name__ == "__main__":
    sys.exit(main())
