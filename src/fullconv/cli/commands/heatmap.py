"""`fullconv heatmap`: where in an image a class is."""

from __future__ import annotations

from pathlib import Path

import click

from fullconv.cli.answers import say, show
from fullconv.cli.interrupt import at_once
from fullconv.cli.loading import (
    Numbers,
    as_path,
    describe,
    load_fcn,
)
from fullconv.cli.options import (
    MODEL_FORMS,
    Asked,
    classes_option,
    json_option,
    model_options,
    pixels_option,
    preparation_options,
)


@click.command(
    short_help="Show where in an image a class is.",
    epilog=MODEL_FORMS + " Here it may also be a network written by fullconv convert.",
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
    "the cells lie.",
)
@classes_option
@preparation_options
@pixels_option
@json_option
def heatmap(
    asked: Asked,
    image: str,
    target: str | None,
    output: str | None,
    map_path: str | None,
    classes: str | None,
    mean: Numbers,
    std: Numbers,
    max_pixels: int,
    as_json: bool,
) -> None:
    """Show where in IMAGE a class is: the probability at every window, painted over it.

    The picture shows one class, as probabilities from 0 to 1; --map keeps the raw scores of all.
    """
    from fullconv.cli.commands.heatmap_files import HeatmapFiles
    from fullconv.evaluate.heatmap import heatmap as make_heatmap
    from fullconv.geometry import times

    files = HeatmapFiles.named(image, output, map_path)
    files.check({"the image": Path(image), "the class names": as_path(classes),
                 "the weights": as_path(asked.weights),
                 "the network": Path(asked.model)})  # fmt: skip
    fcn = load_fcn(asked)
    describe(fcn, classes, mean, std)
    say(f"scoring {image} ...")
    with at_once():
        made = make_heatmap(fcn, image, target, max_pixels=max_pixels)
    written = files.write(made)
    value, box = made.peak
    rows, cols = made.grid.shape
    text = (
        f"{image}: {times(made.grid.size)} px, a map of {rows}×{cols} windows "
        f"({times(made.grid.window)} px, every {times(made.grid.stride)} px)\n"
        f"{made.name}: at most {value:.3f}, in rows {box[0]} to {box[2]}, "
        f"columns {box[1]} to {box[3]}\n"
        f"written: {', '.join(written)}"
    )
    data = {
        **made.geometry(), "model": asked.model, "class": made.index, "name": made.name,
        "peak": value, "peak_box": list(box), "written": written,
    }  # fmt: skip
    show(text, data, as_json)
