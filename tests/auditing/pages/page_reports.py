"""Reports to lay out: one with everything a report can have, and the parts of it."""

from __future__ import annotations

import numpy as np

from fullconv.auditing.pages.report import Report
from fullconv.auditing.section import Chart, Picture, Section, Series, Table

SIDES = (224.0, 336.0, 448.0, 896.0)

GROWTH = Chart(
    "Seconds for one image as it grows",
    "side of the image, px",
    "seconds, median of 5",
    (
        Series("dense, one pass", SIDES, (0.1213, 0.2631, 0.5017, 2.1042)),
        Series("crops at the same cells", SIDES, (0.1211, 0.5234, 1.9021, 12.1513)),
        Series("dense, if it grew as its MACs do", SIDES, (0.1213, 0.2729, 0.4852, 1.9408), False),
    ),
    log_x=True,
    log_y=True,
    alt="Both lines rise; that of the crops ends six times as high.",
)
MEMORY = Chart(
    "Peak memory",
    "side of the image, px",
    "MiB",
    (
        Series("forward", SIDES, (61.2, 130.4, 240.8, 944.6)),
        Series("forward and backward", SIDES, (180.5, 402.3, 711.9, 2804.2)),
        Series("largest activation, counted", SIDES, (12.25, 27.56, 49.0, 196.0), False),
    ),
    log_x=True,
    alt="Memory grows with the area.",
)
POOLS = Chart(
    "A pool and the convolution in its place",
    "pooling layer",
    "milliseconds",
    (
        Series("pool, forward", (0, 1, 2, 3, 4), (3.21, 1.62, 0.81, 0.43, 0.12)),
        Series("convolution, forward", (0, 1, 2, 3, 4), (31.1, 28.3, 26.9, 25.2, 6.4)),
        Series("convolution, by its MACs", (0, 1, 2, 3, 4), (26.1, 26.1, 26.1, 26.1, 6.5), False),
    ),
    bars=True,
    ticks=("features.4", "features.9", "features.16", "features.23", "features.30"),
    alt="The convolutions take ten times as long as the pools.",
)
STRIDES = Chart(
    "What finer strides cost",
    "stride, px",
    "times the MACs of the native stride",
    (Series("dilated", (0, 1, 2, 3), (1.0, 3.14, 11.2, 42.5)),),
    bars=True,
    ticks=("32", "16", "8", "4"),
)


def picture(height: int = 240, width: int = 320) -> Picture:
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows % 256, columns % 256, (rows + columns) % 256], -1).astype(np.uint8)
    return Picture(
        pixels, "Where the top class changes, cat.jpg", "A photo with 3 of 36 cells marked."
    )


def rich_report() -> Report:
    """A report with all kinds of content."""
    same = Section(
        "function",
        "Is it the same function?",
        verdict=(
            "At the window yes: the largest difference is 3.1×10⁻¹⁵ of the largest score.",
            "On larger images cells and crops differ, since the network pads: the top class changes in 8.3 % of the cells.",
        ),
        text=("Zero padding reaches 6 cells into the map from every border.",),
        tables=(
            Table(
                ("image", "cells", "top class changes", "largest difference", "mean difference"),
                (
                    (
                        "photos/a-very-long-name-of-a-photo-that-somebody-took-on-holiday.jpg",
                        "36",
                        "3",
                        "4.31",
                        "0.212",
                    ),
                    ("cat.jpg", "81", "7", "5.02", "0.198"),
                ),
                "Cells against crops, image by image",
            ),
        ),
        pictures=(picture(), picture(300, 200)),
        facts={"largest": 3.1e-15, "changed": float("nan")},
        how=(
            "In float64, on 64 cells of each image.",
            "Differences are relative to the largest score.",
        ),
    )
    parameters = Section(
        "parameters",
        "How many parameters does it have?",
        verdict=(
            "The exact conversion keeps all 138,357,544; 89.4 % of them are in the FC layers.",
        ),
        tables=(
            Table(
                ("network", "parameters", "MB", "of which head"),
                (
                    ("the classifier", "138,357,544", "553.4", "123,642,856 (89.4 %)"),
                    ("the FCN, exact", "138,357,544", "553.4", "123,642,856 (89.4 %)"),
                    ("1×1 convolution and global average", "15,227,688", "60.9", "513,000 (3.4 %)"),
                ),
                "Parameters before and after",
            ),
        ),
    )
    growth = Section(
        "growth",
        "What does a larger image cost?",
        verdict=(
            "Time grows with the area (exponent 1.03); at 896 px one pass is 5.8 times as fast as the crops.",
        ),
        text=("The ceiling of the speed-up, by MACs, is 35 at stride 32.",),
        tables=(
            Table(
                (
                    "image",
                    "cells",
                    "GMACs",
                    "forward, s",
                    "crops, s",
                    "forward and backward, s",
                    "peak, MiB",
                ),
                tuple(
                    (f"{int(s)}×{int(s)}", c, m, f, k, b, p)
                    for s, c, m, f, k, b, p in zip(
                        SIDES,
                        ("1", "16", "64", "484"),
                        ("15.5", "34.9", "62.0", "247.9"),
                        ("0.1213", "0.2631", "0.5017", "2.1042"),
                        ("0.1211", "0.5234", "1.9021", "12.1513"),
                        ("0.39", "0.84", "1.62", "6.8"),
                        ("61.2", "130.4", "240.8", "944.6"),
                        strict=True,
                    )
                ),
                "Cost by size",
            ),
        ),
        charts=(GROWTH, MEMORY),
        skipped=("1792 px needs about 11.0 GiB and 7.2 GiB are free: not run.",),
        how=(
            "Median of 5 rounds after one to warm up, 2 threads.",
            "MACs are counted, not measured.",
        ),
    )
    pools = Section(
        "pools",
        "What if pools become strided convolutions?",
        verdict=("A training step takes 1.21 times as long, with 4,390,000 more parameters.",),
        charts=(POOLS,),
        how=("Each layer alone, on its input at the window.",),
    )
    coarse = Section(
        "coarseness",
        "How coarse is the map?",
        charts=(STRIDES,),
        verdict=("One cell for every 32 px.",),
    )
    empty = Section(
        "batching",
        "Can images of different sizes share a batch?",
        skipped=("Only one image was given.",),
    )
    return Report(
        "torchvision:vgg16",
        "Yes: the network can be made fully convolutional exactly.",
        (("Window", "224×224 px"), ("Weights", "random"), ("Machine", "2 threads, PyTorch 2.13.0, CPU")),
        ("The pretrained weights could not be fetched: the weights are random. Figures of scores say nothing about the trained network.",),
        (same, parameters, growth, coarse, pools, empty),
        {"model": "torchvision:vgg16", "sections": {"function": {"changed": float("nan")}}},
    )  # fmt: skip
