"""`fullconv classify`: what is in a picture, or in thousands of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fullconv.cli.answers import as_text, say, show_line
from fullconv.cli.interrupt import at_once
from fullconv.cli.loading import Numbers, as_path, describe, load_fcn, model_file
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
from fullconv.errors import FullconvError, InputError

if TYPE_CHECKING:
    from fullconv.evaluate.dense.classification import Classification

COLUMNS = ("image", "rank", "class", "name", "probability")


@click.command(
    short_help="Say what is in pictures.",
    epilog=MODEL_FORMS + " Here it may also be a network written by fullconv convert.",
)
@model_options
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@scales_option("that at which the model is tested, if it is known")
@click.option("--flip", is_flag=True, help="Let the mirror image count as much as the image.")
@click.option(
    "--evaluation",
    type=click.Choice(["dense", "multi-crop", "both", "centre"]),
    default="dense",
    show_default=True,
    help="Average the score map of the whole image, or the answers of 5×5 crops, or both; or take "
    "the centre crop.",
)
@click.option(
    "--average",
    type=click.Choice(["scores", "probabilities"]),
    default="scores",
    show_default=True,
    help="What is averaged over the map: scores, as VGG's authors do, or their softmax.",
)
@click.option(
    "--top",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    metavar="K",
    help="How many classes to name for each image.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "jsonl"]),
    default="table",
    show_default=True,
    help="csv has a line for each class that is named, jsonl one for each image.",
)
@click.option("-o", "--output", metavar="FILE", help="Write it there, at the end [stdout].")
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    metavar="N",
    help="Images of equal size, or crops, in one pass at most.",
)
@memory_option
@classes_option
@preparation_options
@pixels_option
@speed_options
@json_option
def classify(
    asked: Asked,
    images: tuple[str, ...],
    scales: tuple[str, ...] | None,
    flip: bool,
    evaluation: str,
    average: str,
    top: int,
    form: str,
    output: str | None,
    batch: int,
    max_memory: int | None,
    classes: str | None,
    mean: Numbers,
    std: Numbers,
    max_pixels: int,
    speed: Speed,
    as_json: bool,
) -> None:
    """Say what each IMAGE is: MODEL runs over all of it, and the map of scores is averaged.

    IMAGE is a file, a folder or a pattern. Of several, one that cannot be scored is named and left
    out, and the exit code is 3 at the end.
    """
    from fullconv.evaluate.dense.classify import classified
    from fullconv.evaluate.dense.protocol import Protocol
    from fullconv.evaluate.dense.views import chosen_scales
    from fullconv.evaluate.scales import left_out
    from fullconv.storage.files import atomic
    from fullconv.storage.listing import image_files
    from fullconv.storage.outputs import check_writable

    files = image_files(images)
    if output is not None:
        distinct({"-o": Path(output)}, {
            **{f"the image {file}": file for file in files},
            "the class names": as_path(classes),
            "the weights": as_path(asked.weights),
            "the network": model_file(asked),
        })  # fmt: skip
        check_writable(output)
    fcn = load_fcn(asked)
    describe(fcn, classes, mean, std)
    fcn = speed.ready(fcn)
    protocol = Protocol(chosen_scales(fcn, scales), evaluation, flip, average, batch)
    say(f"{len(files):,} images, {protocol}" if len(files) > 1 else str(protocol))

    written = WRITERS[form]
    held = [line for line in (_header(form),) if line]
    listed: list[dict[str, Any]] = []
    failed: list[FullconvError] = []
    with at_once(), Progress("images", len(files)) as progress:
        for answer in classified(
            fcn, files, protocol, max_pixels=max_pixels, max_memory=max_memory
        ):
            if isinstance(answer, FullconvError):
                failed.append(answer)
                if len(files) > 1:
                    say(f"left out: {answer}")
            else:
                if answer.skipped:
                    say(left_out(answer.image, answer.skipped, fcn.window))
                listed.append(answer.to_dict(top))
                held.append(written(answer, top))
            if output is None and not as_json:
                while held:
                    show_line(held.pop(0))
            progress(len(listed) + len(failed))
    data = {
        "model": asked.model,
        "images": listed,
        "failed": [{"image": error.where, "error": str(error)} for error in failed],
    }
    if output is not None:
        with atomic(output) as part:
            text = as_text(data) if as_json else "\n".join(held)
            part.write_text(text + "\n", encoding="utf-8", newline="")
        say(f"written: {output}")
    elif as_json:
        show_line(as_text(data))
    _finish(failed, len(files))


def _finish(failed: list[FullconvError], count: int) -> None:
    """Raise what went wrong with images, all of it at once."""
    if not failed:
        return
    if count == 1:
        raise failed[0]
    lines = "\n".join(f"- {error.where or 'an image'}: {error.what}" for error in failed)
    raise InputError(f"{len(failed):,} of {count:,} images could not be scored:\n{lines}")


def _header(form: str) -> str:
    return ",".join(COLUMNS) if form == "csv" else ""


def _as_table(answer: Classification, top: int) -> str:
    from fullconv.tables import table

    rows = [[f"{guess.probability:8.4f}", guess.name] for guess in answer.top(top)]
    return f"{answer.image}\n{table((), rows)}".rstrip("\n")


def _as_csv(answer: Classification, top: int) -> str:
    lines = io.StringIO()
    sheet = csv.writer(lines, lineterminator="\n")
    for rank, guess in enumerate(answer.top(top), 1):
        sheet.writerow((answer.image, rank, guess.index, guess.name, f"{guess.probability:.6g}"))
    return lines.getvalue().rstrip("\n")


def _as_json_line(answer: Classification, top: int) -> str:
    return json.dumps(answer.to_dict(top), allow_nan=False)


WRITERS: dict[str, Callable[[Classification, int], str]] = {
    "table": _as_table,
    "csv": _as_csv,
    "jsonl": _as_json_line,
}
