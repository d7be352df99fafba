"""`fullconv evaluate`: how often a network is right on labelled images."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fullconv.cli.answers import say, show
from fullconv.cli.interrupt import at_once
from fullconv.cli.loading import Numbers, as_path, describe, files_read, load_fcn
from fullconv.cli.options import (
    SAVED_TOO,
    TESTED,
    Asked,
    EvaluationsType,
    average_option,
    classes_option,
    distinct,
    flip_option,
    json_option,
    model_options,
    pixels_option,
    preparation_options,
    scales_option,
)
from fullconv.cli.progress import Progress
from fullconv.cli.speed import Speed, batch_option, memory_option, speed_options
from fullconv.errors import InputError, listed
from fullconv.evaluate.words import EVALUATIONS

if TYPE_CHECKING:
    from fullconv.evaluate.accuracy import Accuracies
    from fullconv.evaluate.scales import Scale
    from fullconv.hosts.torch_fx.fcn import FCN
    from fullconv.storage.datasets import Dataset


@click.command(
    short_help="Measure how often a network is right.",
    epilog=SAVED_TOO,
)
@model_options
@click.option("--data", required=True, metavar="FOLDER|FILE.npz",
              help="Labelled images: a folder with one sub-folder per class (by name or number), "
              "or arrays x_test and y_test, images and labels, or x and y.")  # fmt: skip
@click.option("--split", default="test", show_default=True, metavar="NAME",
              help="Of an .npz file: which x_NAME and y_NAME.")  # fmt: skip
@scales_option(TESTED)
@flip_option(True, ", except for the centre crop")
@average_option
@click.option("--evaluations", type=EvaluationsType(), default=",".join(EVALUATIONS),
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
@batch_option
@memory_option
@speed_options
@json_option
def evaluate(
    asked: Asked,
    data: str,
    split: str,
    scales: tuple[Scale, ...] | None,
    flip: bool,
    average: str,
    evaluations: tuple[str, ...],
    limit: int | None,
    csv_path: str | None,
    mean: Numbers,
    std: Numbers,
    classes: str | None,
    max_pixels: int,
    batch: int,
    max_memory: int | None,
    speed: Speed,
    as_json: bool,
) -> None:
    """Top-1 and top-5 error of MODEL on labelled images, as the VGG paper tabulates them.

    The centre crop, dense evaluation, multi-crop (5×5 crops) and both, at each scale and over all,
    with 95 % intervals. Exit code 3 if an image could not be evaluated; the others are.
    """
    csv_file = as_path(csv_path)
    _check_csv(csv_file, {"the data": Path(data), **files_read(asked, classes)})
    fcn = load_fcn(asked)
    describe(fcn, classes, mean, std)
    dataset = _opened(fcn, data, split, limit, max_pixels)
    if csv_file is not None and csv_file.exists():
        distinct({"--csv": csv_file}, {f"the image {file}": file for file in dataset.files})
    say(f"{data}: {len(dataset):,} images")
    for remark in dataset.remarks:
        say(remark)
    fcn = speed.ready(fcn)
    found = _measured(
        fcn,
        dataset,
        scales=scales,
        flip=flip,
        average=average,
        evaluations=evaluations,
        batch_size=batch,
        max_memory=max_memory,
        max_pixels=max_pixels,
    )
    if csv_file is not None and found.images:
        _write_csv(csv_file, found)
    if found.images or as_json:
        show(str(found), {"model": asked.model, "data": data, **found.to_dict()}, as_json)
    if found.problems:
        raise _left_out(found)


def _measured(fcn: FCN, dataset: Dataset, **options: Any) -> Accuracies:
    """What `accuracy` finds, also if it is nothing but problems."""
    from fullconv.evaluate.accuracy import NothingEvaluated, accuracy

    with at_once(), Progress("images", len(dataset)) as progress:
        try:
            return accuracy(fcn, dataset, progress=progress, **options)
        except NothingEvaluated as error:
            return error.found


def _check_csv(path: Path | None, read: dict[str, Path | None]) -> None:
    """Raise what writing the table would raise, and UsageError for a file that is read."""
    from fullconv.storage.outputs import check_writable

    if path is not None:
        distinct({"--csv": path}, read)
        check_writable(path)


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
    say(f"written: {path}")


def _left_out(found: Accuracies) -> InputError:
    from fullconv.evaluate.accuracy import NothingEvaluated

    if not found.images:
        return NothingEvaluated(found)
    return InputError(
        f"{len(found.problems):,} of {len(found.labels):,} images could not be evaluated; the "
        f"errors are those of the others.{listed(found.problems)}"
    )
