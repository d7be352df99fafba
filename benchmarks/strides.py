"""The two ways to a finer stride, and shifting the image, for the same map.

    python benchmarks/strides.py --models resnet18 --size 512 --stride 8

`dilate` and `fragments` are the methods of `fullconv.convert`; shift-and-stitch runs the FCN of the
native stride once for every shift of the image.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import fullconv
from bench import networks, report
from bench.report import Row, figure, listed, markdown, with_range
from bench.timing import Side, in_turn, run_on
from fullconv.api.costs import macs
from fullconv.api.stitching import shift_and_stitch

TITLE = "Ways to a finer stride"
METHODS = ("dilate", "fragments")
STITCHED = "shift-and-stitch"


def compare(name: str, options: Any) -> list[Row]:
    """One network, three ways."""
    model = networks.build(name, options.device)
    native = fullconv.convert(model, networks.WINDOW)
    shifted: Any = networks.optimized(native)
    for known in ("stride", "window"):
        # What runs the shifted images asks for the geometry, which the best form may not carry.
        if not hasattr(shifted, known):
            setattr(shifted, known, getattr(native, known))
    image = networks.image_of(options.size, options.device)
    sides = {
        STITCHED: Side(
            lambda _: shift_and_stitch(shifted, image, options.stride),
            warm_up=lambda: shifted(image),
        )
    }
    shifts = range(0, native.stride[0], options.stride)
    shapes = [(1, 3, options.size - dy, options.size - dx) for dy in shifts for dx in shifts]
    work = {STITCHED: sum(macs(native, shape) for shape in shapes)}
    for method in METHODS:
        fcn = fullconv.convert(model, networks.WINDOW, stride=options.stride, method=method)
        fast = networks.optimized(fcn)
        sides[method] = Side(partial(run_on, fast, image))
        work[method] = macs(fcn, shapes[0])
    times = in_turn(sides, options.rounds, options.device, title=f"{name} on {options.size}²")
    return [
        {
            "model": name,
            "size": options.size,
            "stride": options.stride,
            "cells": len(fcn.grid(shapes[0][2:])),
            "way": way,
            "gmacs": work[way] / 1e9,
            "seconds": report.kept(times.of(way)),
            "ratio": report.kept(times.ratio(way, METHODS[0])),
        }
        for way in (*METHODS, STITCHED)
    ]


def measure(options: argparse.Namespace) -> list[Row]:
    """Every network."""
    return [row for name in options.models for row in compare(name, options)]


def section(rows: Sequence[Row]) -> str:
    """The table and what it says."""
    head = ("network", "image", "stride", "cells", "way", "GMAC", "s", "time ÷ dilate")
    lines = [
        (
            networks.NAMES.get(row["model"], row["model"]),
            f"{row['size']}²",
            str(row["stride"]),
            f"{row['cells']:,}",
            row["way"],
            figure(row["gmacs"]),
            with_range(row["seconds"]),
            with_range(row["ratio"]),
        )
        for row in rows
    ]
    return f"{markdown(head, lines)}\n\n{sentence(rows)}"


def sentence(rows: Sequence[Row]) -> str:
    """The fastest way of every network."""
    parts = []
    for name in dict.fromkeys(row["model"] for row in rows):
        ways = sorted(
            (row for row in rows if row["model"] == name), key=lambda r: r["seconds"]["median"]
        )
        factor = ways[1]["seconds"]["median"] / ways[0]["seconds"]["median"]
        parts.append(
            f"{ways[0]['way']} for {networks.NAMES.get(name, name)} ({ways[1]['way']} takes "
            f"{factor:.2f} times as long)"
        )
    return f"Fastest: {listed(parts)}."


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = report.parser(__doc__, rounds=3)
    add = parser.add_argument
    models = ["resnet18", "vgg16", "mobilenet_v2"]
    add("--models", nargs="+", default=models, help="classifiers of torchvision")
    add("--size", type=int, default=512, help="side of the image, px (512)")
    add("--stride", type=int, default=8, help="px between windows (8)")
    return report.run("strides", parser.parse_args(arguments), measure, section, arguments)


if __name__ == "__main__":
    sys.exit(main())
