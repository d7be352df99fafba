"""`fullconv heatmap`: where in an image a class is."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fullconv.cli.answers import say, show
from fullconv.cli.interrupt import at_once
from fullconv.cli.loading import (
    Numbers,
    describe,
    files_read,
    load_fcn,
)
from fullconv.cli.options import (
    SAVED_TOO,
    Asked,
    classes_option,
    flip_option,
    json_option,
    model_options,
    pixels_option,
    preparation_options,
    scales_option,
)
from fullconv.cli.speed import Speed, memory_option, speed_options
from fullconv.errors import UsageError

if TYPE_CHECKING:
    from fullconv.evaluate.scales import Scale


@click.command(
    short_help="Show where in an image a class is.",
    epilog=SAVED_TOO,
)
@model_options
@click.argument("image")
@click.option(
    "--class",
    "target",
    metavar="NAME|NUMBER",
    help="The class to show [the most probable one anywhere].",
)
@click.option(
    "--top",
    type=click.IntRange(1),
    metavar="K",
    help="Show the K classes with the highest probability anywhere, side by side.",
)
@scales_option("as it is")
@flip_option(False)
@click.option(
    "--threshold",
    type=float,
    metavar="P",
    help="List and draw a box around every connected region whose probability reaches P.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE.png",
    help="The picture, .png or .jpg [IMAGE-heatmap.png in this folder].",
)
@click.option(
    "--map",
    "map_path",
    metavar="FILE.npy",
    help="Also write the raw scores (class, row, col), and beside them, as .json, where "
    "the cells lie. With --flip or several scales: the fused probabilities of the classes shown "
    "(class, H, W) at every pixel of the image, NaN where no window lies.",
)
@classes_option
@preparation_options
@memory_option
@pixels_option
@speed_options
@json_option
def heatmap(
    asked: Asked,
    image: str,
    target: str | None,
    top: int | None,
    scales: tuple[Scale, ...] | None,
    flip: bool,
    threshold: float | None,
    output: str | None,
    map_path: str | None,
    classes: str | None,
    mean: Numbers,
    std: Numbers,
    max_memory: int | None,
    max_pixels: int,
    speed: Speed,
    as_json: bool,
) -> None:
    """Show where in IMAGE a class is: the probability at every window, painted over it.

    The picture shows one class, or the --top ones, as probabilities from 0 to 1. Several --scales
    are averaged at every pixel of the image.
    """
    from fullconv.cli.commands.heatmap_answer import Shown, as_data, as_text
    from fullconv.cli.commands.heatmap_files import HeatmapFiles
    from fullconv.evaluate.maps.heatmap import heatmap as make_heatmap
    from fullconv.evaluate.maps.regions import check_threshold
    from fullconv.evaluate.scales import left_out

    if top is not None and target is not None:
        raise UsageError(
            "--top and --class exclude each other.",
            why="One shows the most probable classes, the other a certain one.",
        )
    if threshold is not None:
        check_threshold(threshold)
    files = HeatmapFiles.named(image, output, map_path)
    files.check({"the image": Path(image), **files_read(asked, classes)})
    fcn = load_fcn(asked)
    describe(fcn, classes, mean, std)
    fcn = speed.ready(fcn)
    say(f"scoring {image} ...")
    with at_once(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # skipped scales, said below
        made = make_heatmap(
            fcn,
            image,
            target,
            scales=scales,
            flip=flip,
            max_pixels=max_pixels,
            max_memory=max_memory,
        )
        if made.skipped:
            say(left_out(image, made.skipped, fcn.window))
        shown = Shown.of(made, top, threshold, mapped=map_path is not None)
    written = files.write(shown)
    show(as_text(shown, written), as_data(shown, asked.model, written), as_json)
