"""`fullconv evaluate`: how often a network is right on labelled images."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fullconv.cli.answers import say, show
from fullconv.cli.interrupt import at_once
from fullconv.cli.loading import Numbers, as_path, describe, load_fcn
from fullconv.cli.options import (
    MODEL_FORMS,
    Asked,
    classes_option,
    distinct,
    json_option,
    model_options,
    pixels_option,
    preparation_options,
    scales_option,
)
from fullconv.cli.progress import Progress
from fullconv.cli.speed import Speed, memory_option, speed_options
from fullconv.errors import InputError

if TYPE_CHECKING:
    from fullconv.evaluate.accuracy import Accuracies
    from fullconv.hosts.torch_fx.fcn import FCN
    from fullconv.storage.datasets import Dataset

LISTED = 20  # images that could not be evaluated, named at the end


@click.command(
    short_help="Measure how often a network is right.",
    epilog=MODEL_FORMS + " Here it may also be a network written by fullconv convert.",
)
@model_options
@click.option("--data", required=True, metavar="FOLDER|FILE.npz",
              help="Labelled images: a folder with one sub-folder per class (by name or number), "
              "or arrays x_test and y_test, images and labels, or x and y.")  # fmt: skip
@click.option("--split", default="test", show_default=True, metavar="NAME",
              help="Of an .npz file: which x_NAME and y_NAME.")  # fmt: skip
@scales_option("that at which the model is tested, if it is known")
@click.option("--flip/--no-flip", default=True, show_default=True,
              help="Average in the mirror image (dense and multi-crop).")  # fmt: skip
@click.option("--average", type=click.Choice(["scores", "probabilities"]), default="scores",
              show_default=True, help="What dense evaluation averages over the map.")  # fmt: skip
@click.option("--evaluations", metavar="LIST", default="centre,dense,multi-crop,both",
              show_default=True, help="What to compute; multi-crop costs most.")  # fmt: skip
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="Take only N images, spread evenly over the classes; the same every time.",
)
@click.option("--csv", "csv_path", metavar="FILE", help="Also write the table as CSV.")
@preparation_options
@classes_option
@pixels_option
@memory_option
@speed_options
@json_option
def evaluate(
    asked: Asked,
    data: str,
    split: str,
    scales: tuple[str, ...] | None,
    flip: bool,
    average: str,
    evaluations: str,
    limit: int | None,
    csv_path: str | None,
    mean: Numbers,
    std: Numbers,
    classes: str | None,
    max_pixels: int,
    max_memory: int | None,
    speed: Speed,
    as_json: bool,
) -> None:
    """Top-1 and top-5 error of MODEL on labelled images, as the VGG paper tabulates them.

    The centre crop, dense evaluation, multi-crop (5×5 crops) and both, at each scale and over all,
    with 95 % intervals. Exit code 3 if an image could not be evaluated; the others are.
    """
    from fullconv.evaluate.accuracy import accuracy
    from fullconv.storage.outputs import check_writable

    if csv_path is not None:
        distinct(
            {"--csv": Path(csv_path)},
            {"the data": Path(data), "the class names": as_path(classes),
             "the weights": as_path(asked.weights), "the network": Path(asked.model)},
        )  # fmt: skip
        check_writable(csv_path)
    fcn = load_fcn(asked)
    describe(fcn, classes, mean, std)
    dataset = _opened(fcn, data, split, limit, max_pixels)
    say(f"{data}: {len(dataset):,} images")
    for remark in dataset.remarks:
        say(remark)
    fcn = speed.ready(fcn)
    with at_once(), Progress("images", len(dataset)) as progress:
        found = accuracy(
            fcn,
            dataset,
            scales=scales,
            flip=flip,
            average=average,
            evaluations=_words(evaluations),
            max_memory=max_memory,
            progress=progress,
        )
    if csv_path is not None:
        _write_csv(Path(csv_path), found)
        say(f"written: {csv_path}")
    show(str(found), {"model": asked.model, "data": data, **found.to_dict()}, as_json)
    if found.problems:
        raise _left_out(found, len(dataset))


def _words(given: str) -> list[str]:
    return [word.strip() for word in given.split(",") if word.strip()]


def _opened(fcn: FCN, data: str, split: str, limit: int | None, max_pixels: int) -> Dataset:
    """The images that are evaluated."""
    from fullconv.evaluate.class_names import find_class
    from fullconv.evaluate.preparation import check_fcn
    from fullconv.storage.datasets import open_dataset, spread

    check_fcn(fcn, "an evaluation")
    single = fcn.plan.outputs == 1  # the probability of class 1; a name for it does not name 0
    count, names = (2, None) if single else (fcn.plan.outputs, fcn.about.classes)
    dataset = open_dataset(
        data,
        resolve=lambda name: find_class(name, names, count),
        outputs=count,
        split=split,
        channels=fcn.plan.channels,
        max_pixels=max_pixels,
    )
    return dataset if limit is None else spread(dataset, limit)


def _write_csv(path: Path, found: Accuracies) -> None:
    from fullconv.storage.files import atomic

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(found.lines())
    with atomic(path) as part:
        part.write_text(text.getvalue(), encoding="utf-8")


def _left_out(found: Accuracies, total: int) -> InputError:
    listed = "".join(f"\n- {problem}" for problem in found.problems[:LISTED])
    more = len(found.problems) - LISTED
    return InputError(
        f"{len(found.problems):,} of {total:,} images could not be evaluated; the errors are those "
        f"of the others.{listed}" + (f"\n- and {more:,} more" if more > 0 else "")
    )
