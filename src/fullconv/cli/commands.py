"""The subcommands. Heavy imports stand inside them, so that `fullconv --help` answers at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fullconv.cli.options import (
    json_option,
    load_and_convert,
    model_options,
    picture_options,
    read_classes,
    say,
    show,
    window_of,
)
from fullconv.errors import FullconvError, UsageError

Size = tuple[int, ...] | None


@click.command()
@model_options
@json_option
def plan(model: str, weights: str | None, window: Size, stride: Size, as_json: bool) -> None:
    """Show the edits that make MODEL fully convolutional, without making them."""
    from fullconv.api.convert import plan as make_plan
    from fullconv.models import load_model

    classifier = load_model(model, weights=weights, architecture_only=True)
    say(f"{classifier.form}: weights {classifier.weights}")
    steps = stride if stride is None or len(stride) > 1 else stride[0]
    made = make_plan(classifier.module, window_of(classifier, window), stride=steps)
    show(str(made), {"model": model, **made.to_dict()}, as_json)


@click.command()
@model_options
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@picture_options
@click.option("--cells", default=64, show_default=True, type=click.IntRange(2),
              help="Windows per image compared with crops, at most.")
@json_option
def check(
    model: str, weights: str | None, window: Size, stride: Size, images: tuple[str, ...],
    mean: Any, std: Any, max_pixels: int, cells: int, as_json: bool,
) -> None:
    """Prove, in float64, that the FCN of MODEL equals it; with IMAGES, also on their windows."""
    from fullconv.api.verify import verify
    from fullconv.evaluate.heatmap import prepared
    from fullconv.storage.images import read_image

    classifier, fcn = load_and_convert(model, weights, window, stride)
    read = [read_image(path, channels=fcn.plan.channels, max_pixels=max_pixels) for path in images]
    pictures = [prepared(image, mean or fcn.about.mean, std or fcn.about.std) for image in read]
    say("comparing ...")
    certificate = verify(classifier.module, fcn, pictures or None, cells=cells)
    show(str(certificate), {"model": model, **certificate.to_dict()}, as_json)
    if not certificate.ok:
        raise FullconvError("the FCN does not equal the classifier.", where=model)


@click.command()
@model_options
@click.option("-o", "--output", required=True, metavar="FILE.safetensors",
              help="Where to write; its description goes beside it, as .json.")
@click.option("--check/--no-check", "checked", default=True, show_default=True,
              help="Prove it before writing.")
@json_option
def convert(
    model: str, weights: str | None, window: Size, stride: Size, output: str, checked: bool,
    as_json: bool,
) -> None:
    """Convert MODEL and write the FCN: weights as safetensors, everything else as JSON."""
    from fullconv.api.save import save
    from fullconv.api.verify import verify

    if not output.endswith(".safetensors"):
        raise UsageError(f"-o {output} must end in .safetensors.")
    classifier, fcn = load_and_convert(model, weights, window, stride)
    certificate = None
    if checked:
        say("comparing ...")
        certificate = verify(classifier.module, fcn)
        if not certificate.ok:
            raise FullconvError(f"the FCN does not equal the classifier.\n{certificate}")
    paths = [str(path) for path in save(fcn, output)]
    data = {"model": model, "written": paths, "plan": fcn.plan.to_dict()}
    if certificate is not None:
        data["certificate"] = certificate.to_dict()
    show(f"{fcn.plan}\n{certificate or ''}\nwritten: {', '.join(paths)}", data, as_json)


@click.command()
@model_options
@click.argument("image")
@click.option("--class", "target", metavar="NAME|INDEX",
              help="The class to show [the most probable one anywhere].")
@click.option("-o", "--output", metavar="FILE.png", help="The picture [IMAGE-heatmap.png].")
@click.option("--map", "map_path", metavar="FILE.npy",
              help="Also write the raw scores (class, row, col), and their geometry as .json.")
@click.option("--classes", metavar="FILE", help="Class names, one per line or a JSON list.")
@picture_options
@json_option
def heatmap(
    model: str, weights: str | None, window: Size, stride: Size, image: str, target: str | None,
    output: str | None, map_path: str | None, classes: str | None, mean: Any, std: Any,
    max_pixels: int, as_json: bool,
) -> None:
    """Show where in IMAGE a class is: MODEL at every window, painted over the picture.

    MODEL may also be a network written by "fullconv convert".
    """
    import dataclasses

    from fullconv.api.save import load
    from fullconv.evaluate.heatmap import heatmap as make_heatmap
    from fullconv.geometry import times

    output = output or f"{Path(image).stem}-heatmap.png"
    _check_outputs(image, output, map_path)
    if model.endswith(".safetensors"):
        fcn = load(model)
    else:
        _, fcn = load_and_convert(model, weights, window, stride)
    if classes is not None:
        names = read_classes(classes, fcn.plan.outputs)
        fcn.about = dataclasses.replace(fcn.about, classes=names)
    made = make_heatmap(fcn, image, target, mean=mean, std=std, max_pixels=max_pixels)
    written = _write(made, output, map_path)
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
        **made.geometry(), "model": model, "class": made.index, "name": made.name,
        "peak": value, "peak_box": list(box), "written": written,
    }  # fmt: skip
    show(text, data, as_json)


def _check_outputs(image: str, output: str, map_path: str | None) -> None:
    if Path(output).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UsageError(f"-o {output} must end in .png or .jpg.")
    if map_path is not None and Path(map_path).suffix != ".npy":
        raise UsageError(f"--map {map_path} must end in .npy.")
    if Path(output).resolve() == Path(image).resolve():
        raise UsageError(f"-o {output} would overwrite the image itself.")


def _write(made: Any, output: str, map_path: str | None) -> list[str]:
    """The picture, and the raw map with its geometry."""
    import numpy as np

    from fullconv.storage.files import atomic

    written = []
    if map_path is not None:
        beside = Path(map_path).with_suffix(".json")
        with atomic(map_path) as part:
            np.save(part, made.scores)
        with atomic(beside) as part:
            part.write_text(json.dumps(made.geometry(), indent=1) + "\n", encoding="utf-8")
        written += [map_path, str(beside)]
    with atomic(output) as part:
        made.overlay().picture.save(part)
    return [output, *written]


@click.command()
@click.option("-o", "--output", default="fullconv-demo", show_default=True, metavar="FOLDER",
              help="Where the pictures go.")
@json_option
def demo(output: str, as_json: bool) -> None:
    """The whole job on a bundled classifier of textures and a mosaic it has never seen."""
    from fullconv.demo import run

    report = run(Path(output), say=say)
    show(str(report), report.to_dict(), as_json)
