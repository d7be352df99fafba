"""The subcommands. Heavy imports stand inside them, so that `fullconv --help` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fullconv.cli.answers import say, show
from fullconv.cli.interrupt import at_once
from fullconv.cli.loading import (
    Numbers,
    as_path,
    describe,
    load_and_convert,
    load_fcn,
    window_of,
)
from fullconv.cli.options import (
    MODEL_FORMS,
    Asked,
    classes_option,
    distinct,
    json_option,
    model_options,
    pixels_option,
    preparation_options,
)
from fullconv.errors import FullconvError, UsageError


@click.command(short_help="Show what would be changed.", epilog=MODEL_FORMS)
@model_options
@json_option
def plan(asked: Asked, as_json: bool) -> None:
    """Show the edits that make MODEL fully convolutional, without making them.

    A plan needs shapes only: no weights are loaded.
    """
    from fullconv.api.convert import plan as make_plan
    from fullconv.models import load_model

    classifier = load_model(asked.model, weights=asked.weights, architecture_only=True)
    say(f"{classifier.form}: weights {classifier.weights}")
    if asked.weights is not None:
        say(f"{asked.weights}: not read, a plan needs shapes only")
    made = make_plan(classifier.module, window_of(classifier, asked), **asked.options)
    show(str(made), {"model": asked.model, **made.to_dict()}, as_json)


@click.command(short_help="Prove that the FCN equals its classifier.", epilog=MODEL_FORMS)
@model_options
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@preparation_options
@pixels_option
@click.option(
    "--cells",
    default=64,
    show_default=True,
    type=click.IntRange(2),
    metavar="N",
    help="Windows per image compared with crops, at most.",
)
@json_option
def check(
    asked: Asked,
    images: tuple[str, ...],
    mean: Numbers,
    std: Numbers,
    max_pixels: int,
    cells: int,
    as_json: bool,
) -> None:
    """Convert MODEL and prove, in float64, that the FCN equals it.

    Cells are compared with crops of the IMAGEs, or of random images without any. Exit code 1 if
    something differs that must not.
    """
    from fullconv.api.verify import verify
    from fullconv.evaluate.preparation import grid_of, prepared
    from fullconv.storage.images import read_image

    classifier, fcn = load_and_convert(asked)
    describe(fcn, None, mean, std)
    read = [read_image(path, channels=fcn.plan.channels, max_pixels=max_pixels) for path in images]
    for image in read:
        grid_of(fcn, image)
    pictures = [prepared(image, fcn.about.mean, fcn.about.std) for image in read]
    say("comparing ...")
    with at_once():
        certificate = verify(classifier.module, fcn, pictures or None, cells=cells)
    show(str(certificate), {"model": asked.model, **certificate.to_dict()}, as_json)
    if not certificate.ok:
        raise FullconvError("the FCN does not equal the classifier.", where=asked.model)


@click.command(short_help="Write the FCN to a file.", epilog=MODEL_FORMS)
@model_options
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE.safetensors",
    help="Where to write; its description goes beside it, as .json.",
)
@classes_option
@preparation_options
@click.option(
    "--check/--no-check",
    "checked",
    default=True,
    show_default=True,
    help="Prove that it equals MODEL before it is written.",
)
@json_option
def convert(
    asked: Asked,
    output: str,
    classes: str | None,
    mean: Numbers,
    std: Numbers,
    checked: bool,
    as_json: bool,
) -> None:
    """Convert MODEL and write the FCN: weights as safetensors, everything else as JSON.

    The class names and the preparation of images are written with it. Read it again with
    "fullconv heatmap" or, in Python, fullconv.load.
    """
    from fullconv.api.save import check_target, save
    from fullconv.api.verify import verify

    if Path(output).suffix != ".safetensors":
        raise UsageError(f"-o {output} must be a name that ends in .safetensors.")
    beside = Path(output).with_suffix(".json")
    distinct({"-o": Path(output), "beside -o": beside},
             {"the weights": as_path(asked.weights),
              "the class names": as_path(classes)})  # fmt: skip
    check_target(output)
    classifier, fcn = load_and_convert(asked)
    describe(fcn, classes, mean, std)
    certificate = None
    if checked:
        say("comparing ...")
        with at_once():
            certificate = verify(classifier.module, fcn)
        if not certificate.ok:
            raise FullconvError(f"the FCN does not equal the classifier.\n{certificate}")
    paths = [str(path) for path in save(fcn, output)]
    data: dict[str, Any] = {"model": asked.model, "written": paths, "plan": fcn.plan.to_dict()}
    if certificate is not None:
        data["certificate"] = certificate.to_dict()
    show(f"{fcn.plan}\n{certificate or ''}\nwritten: {', '.join(paths)}", data, as_json)


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
    from fullconv.cli.heatmap_files import HeatmapFiles
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


@click.command(short_help="The whole job on what comes with the package.")
@click.option(
    "-o",
    "--output",
    default="fullconv-demo",
    show_default=True,
    metavar="FOLDER",
    help="Where the pictures go.",
)
@json_option
def demo(output: str, as_json: bool) -> None:
    """The whole job on a bundled classifier of textures and a mosaic it has never seen.

    Needs no network, no GPU and about a minute; scikit-image gives the photographs.
    """
    from fullconv.demo import run

    report = run(Path(output), say=say)
    show(str(report), report.to_dict(), as_json)
