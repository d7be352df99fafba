"""The FCN against the same network written by hand as convolutions: what the library adds.

    python benchmarks/hand_written.py --models alexnet --sizes 256
    python benchmarks/hand_written.py      # two networks, 512² and the window with one stride more

By hand: the classifier's features, then convolutions with its fully-connected weights, as an
`nn.Sequential`. Both channels last. On a small image the library's share of a call is largest. An
optimized FCN runs its head as a matrix product where the map is small; a third side leaves that
out, so that both do the same work and the rest is what the library itself costs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

import fullconv
from bench import networks, report
from bench.report import Row, figure, listed, markdown, percent, span, tiny, with_range
from bench.timing import Side, in_turn, run_on
from fullconv.errors import UsageError
from fullconv.hosts.torch_fx.runtime import product

TITLE = "The library against a hand-written FCN"
CELLS = {"alexnet": 6, "vgg16": 7}
"""Feature map cells per axis at the window: the kernel of the first fully-connected layer."""


def by_hand(name: str, model: nn.Module) -> nn.Sequential:
    """AlexNet or VGG-16 as convolutions, with the classifier's numbers."""
    layers: list[nn.Module] = list(model.features)  # type: ignore[arg-type]
    cells = CELLS[name]
    for layer in model.classifier:  # type: ignore[union-attr]
        if isinstance(layer, nn.Linear):
            channels = layer.in_features // cells**2
            conv = nn.Conv2d(channels, layer.out_features, cells)
            weight = layer.weight.detach().view(layer.out_features, channels, cells, cells)
            conv.weight, conv.bias = nn.Parameter(weight), layer.bias
            layers.append(conv)
            cells = 1  # what follows sees single cells
        else:
            layers.append(layer)
    return nn.Sequential(*layers).eval().to(memory_format=torch.channels_last)


def as_convolutions(fast: nn.Module, image: torch.Tensor, _: int = 0) -> object:
    """The FCN with its head as convolutions on small maps too."""
    small, product.SMALL = product.SMALL, 0
    try:
        return fast(image)
    finally:
        product.SMALL = small


def measure(options: argparse.Namespace) -> list[Row]:
    """Every network and size."""
    rows = []
    for name in options.models:
        if name not in CELLS:
            raise UsageError(f"{name!r} is not written by hand here; {listed(list(CELLS))} are.")
        model = networks.build(name, options.device)
        fast = networks.optimized(fullconv.convert(model, networks.WINDOW))
        hand = by_hand(name, model)
        for size in options.sizes:
            image = networks.image_of(size, options.device)
            with torch.inference_mode():
                difference = networks.relative_difference(fast(image), hand(image))
            times = in_turn(
                {
                    "FCN": Side(partial(run_on, fast, image)),
                    "alike": Side(partial(as_convolutions, fast, image)),
                    "by hand": Side(partial(run_on, hand, image)),
                },
                options.rounds,
                options.device,
                at_least=options.at_least,
                title=f"{name} on {size}²",
            )
            rows.append(
                {
                    "model": name,
                    "size": size,
                    "fcn": report.kept(times.of("FCN")),
                    "hand": report.kept(times.of("by hand")),
                    "alike": report.kept(times.ratio("alike", "by hand")),
                    "ratio": report.kept(times.ratio("FCN", "by hand")),
                    "difference": difference,
                }
            )
    return rows


def section(rows: Sequence[Row]) -> str:
    """The table and what it says."""
    head = (
        "network", "image", "by hand, s", "FCN, s", "FCN ÷ by hand", "same layers ÷ by hand",
        "difference",
    )  # fmt: skip
    lines = [
        (
            networks.NAMES[row["model"]],
            f"{row['size']}²",
            with_range(row["hand"]),
            with_range(row["fcn"]),
            with_range(row["ratio"]),
            with_range(row["alike"]),
            tiny(row["difference"]),
        )
        for row in rows
    ]
    return f"{markdown(head, lines)}\n\n{sentence(rows)}"


def sentence(rows: Sequence[Row]) -> str:
    """What the library adds at most."""
    added = [row["alike"]["median"] - 1 for row in rows]
    ratios = [row["ratio"]["median"] for row in rows]
    worst = rows[added.index(max(added))]
    return (
        f"With the same layers the library adds {span(added, lambda share: percent(share, 1))}, "
        f"most for {networks.NAMES[worst['model']]} on {worst['size']}². With its heads as matrix "
        f"products the FCN takes {span(ratios, figure)} of the time of the hand-written network. "
        "*Difference* is the largest one between the two maps, relative to the largest score."
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = report.parser(__doc__, rounds=9)
    add = parser.add_argument
    add("--models", nargs="+", default=["alexnet", "vgg16"], help="alexnet, vgg16")
    add("--sizes", nargs="+", type=int, default=[256, 512], help="sides of the image, px")
    add("--at-least", type=float, default=0.3, help="s per measurement; shorter work repeats (0.3)")
    return report.run("hand_written", parser.parse_args(arguments), measure, section, arguments)


if __name__ == "__main__":
    sys.exit(main())
