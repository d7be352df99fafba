"""Which share of the machine's measured peak the FCN's pass reaches.

    python benchmarks/peak.py --models mobilenet_v2 --size 512
    python benchmarks/peak.py                        # three networks on 1024²

The peak is measured in the same run: the best round of a matrix product (4096³) and of a
convolution (3×3, 256 → 256 channels on 112², channels last), in float32 and in bf16.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

import fullconv
from bench import networks, report
from bench.report import Row, figure, listed, markdown, percent, with_range
from bench.timing import Side, in_turn, run_on
from fullconv.api.costs import macs

TITLE = "Share of the machine's peak"
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
GEMM, CHANNELS, MAP = 4096, 256, 112
AT_LEAST = 0.3


def peaks(options: Any) -> list[Row]:
    """The product and the convolution, in both number formats, in turn."""
    sides, work = {}, {}
    for word, dtype in DTYPES.items():
        factor = torch.randn(options.gemm, options.gemm, device=options.device).to(dtype)
        conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1).to(options.device, dtype)
        conv = conv.to(memory_format=torch.channels_last)
        x = torch.randn(1, CHANNELS, MAP, MAP, device=options.device).to(dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        gemm_name, conv_name = f"product {options.gemm}³, {word}", f"convolution, {word}"
        sides[gemm_name] = Side(partial(run_on, square, factor))
        sides[conv_name] = Side(partial(run_on, conv, x))
        work[gemm_name] = options.gemm**3
        work[conv_name] = conv.weight.numel() * MAP**2
    times = in_turn(sides, max(5, options.rounds), options.device, at_least=AT_LEAST, title="peak")
    return [
        {"what": name, "peak": True, "gmac": work[name] / 1e9, **rate(work[name], times.of(name))}
        for name in sides
    ]


def square(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix times itself."""
    return matrix @ matrix


def rate(work: float, seconds: Any) -> Row:
    """Seconds, and 10⁹ MACs per second, of the best round as well."""
    return {
        "seconds": report.kept(seconds),
        "gmacs": work / seconds.median / 1e9,
        "best": work / seconds.low / 1e9,
    }


def measure(options: argparse.Namespace) -> list[Row]:
    """The peaks, then every network in both number formats."""
    rows = peaks(options)
    for name in options.models:
        fcn = fullconv.convert(networks.build(name, options.device), networks.WINDOW)
        image = networks.image_of(options.size, options.device)
        sides = {}
        for word, dtype in DTYPES.items():
            fast, x = networks.optimized(fcn, dtype), image.to(dtype)
            sides[word] = Side(partial(run_on, fast, x))
        title = f"{name} on {options.size}²"
        times = in_turn(sides, options.rounds, options.device, title=title)
        work = macs(fcn, tuple(image.shape))
        for word in DTYPES:
            best = max(row["best"] for row in rows if row["peak"] and row["what"].endswith(word))
            found = rate(work, times.of(word))
            rows.append(
                {
                    "what": f"{networks.NAMES.get(name, name)} on {options.size}², {word}",
                    "peak": False,
                    "gmac": work / 1e9,
                    **found,
                    "share": found["gmacs"] / best,
                }
            )
    return rows


def section(rows: Sequence[Row]) -> str:
    """The table and what it says."""
    head = ("what", "GMAC", "s", "GMAC/s", "best round", "share of the peak")
    lines = [
        (
            row["what"],
            figure(row["gmac"]),
            with_range(row["seconds"]),
            figure(row["gmacs"]),
            figure(row["best"]),
            "–" if row["peak"] else percent(row["share"]),
        )
        for row in rows
    ]
    return f"{markdown(head, lines)}\n\n{sentence(rows)}"


def sentence(rows: Sequence[Row]) -> str:
    """The peaks and the shares."""
    said = []
    for word in DTYPES:
        best = max(
            (row for row in rows if row["peak"] and row["what"].endswith(word)),
            key=lambda row: row["best"],
        )
        shares = [
            f"{row['what'].partition(' on ')[0]} {percent(row['share'])}"
            for row in rows
            if not row["peak"] and row["what"].endswith(word)
        ]
        peak = f"The measured peak in {word} is {figure(best['best'])} GMAC/s ({best['what']})"
        said.append(f"{peak}; of it {listed(shares)}." if shares else f"{peak}.")
    return " ".join(said)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = report.parser(__doc__, rounds=3)
    add = parser.add_argument
    models = ["vgg16", "resnet50", "mobilenet_v2"]
    add("--models", nargs="*", default=models, help="classifiers of torchvision")
    add("--size", type=int, default=1024, help="side of the image, px (1024)")
    add("--gemm", type=int, default=GEMM, help=f"side of the matrices ({GEMM})")
    return report.run("peak", parser.parse_args(arguments), measure, section, arguments)


if __name__ == "__main__":
    sys.exit(main())
