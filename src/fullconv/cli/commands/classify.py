"""`fullconv classify`: what is in a picture, or in thousands of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fullconv.cli.answers import say, show_line
from fullconv.cli.interrupt import INTERRUPTED, at_once, deferred
from fullconv.cli.loading import Numbers, describe, files_read, load_fcn
from fullconv.cli.options import (
    SAVED_TOO,
    TESTED,
    Asked,
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
from fullconv.errors import FullconvError, UsageError
from fullconv.evaluate.words import EVALUATIONS

if TYPE_CHECKING:
    from fullconv.cli.commands.classify_answer import Answers
    from fullconv.evaluate.dense.classification import Classification
    from fullconv.evaluate.scales import Scale

    Coming = Iterator[Classification | FullconvError]


@click.command(
    short_help="Say what is in pictures.",
    epilog=SAVED_TOO,
)
@model_options
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@scales_option(TESTED)
@flip_option(False)
@click.option(
    "--evaluation",
    type=click.Choice(EVALUATIONS),
    default="dense",
    show_default=True,
    help="Average the score map of the whole image, or the answers of 5×5 crops, or both; or take "
    "the centre crop.",
)
@average_option
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
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write it there at the end, or what is known if it is interrupted [stdout].",
)
@batch_option
@memory_option
@classes_option
@preparation_options
@pixels_option
@speed_options
@json_option
def classify(
    asked: Asked,
    images: tuple[str, ...],
    scales: tuple[Scale, ...] | None,
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
    from fullconv.cli.commands.classify_answer import Answers
    from fullconv.evaluate.dense.classify import classified
    from fullconv.evaluate.dense.protocol import Protocol
    from fullconv.evaluate.dense.views import chosen_scales
    from fullconv.storage.listing import image_files

    if as_json and form != "table":
        raise UsageError(f"--json and --format {form} exclude each other.")
    files = image_files(images)
    if output is not None:
        _check_output(output, files, asked, classes)
    fcn = load_fcn(asked)
    describe(fcn, classes, mean, std)
    fcn = speed.ready(fcn)
    protocol = Protocol(chosen_scales(fcn, scales), evaluation, flip, average, batch)
    say(f"{len(files):,} images, {protocol}" if len(files) > 1 else str(protocol))

    answers = Answers(asked.model, "json" if as_json else form, top, len(files))
    coming = classified(fcn, files, protocol, max_pixels=max_pixels, max_memory=max_memory)
    if output is None:
        _show(coming, answers, fcn.window)
    else:
        _write(coming, answers, fcn.window, output)
    answers.raise_failed()


def _check_output(output: str, files: list[Path], asked: Asked, classes: str | None) -> None:
    """Raise what writing would raise, and UsageError for a file that is read."""
    from fullconv.storage.outputs import check_writable

    images = {f"the image {file}": file for file in files}
    distinct({"-o": Path(output)}, {**images, **files_read(asked, classes)})
    check_writable(output)


def _show(coming: Coming, answers: Answers, window: tuple[int, ...]) -> None:
    """Answer on stdout: lines as soon as they are known, JSON at the end."""
    streamed = None if answers.form == "json" else sys.stdout
    with at_once(), Progress("images", answers.total, answers=streamed) as progress:
        for answer in coming:
            _take(answer, answers, window)
            for line in answers.taken():
                show_line(line)
            progress(answers.done)
    if answers.form == "json":
        show_line(answers.text().rstrip("\n"))


def _write(coming: Coming, answers: Answers, window: tuple[int, ...], output: str) -> None:
    """Answer in a file, at the end; what is known, where Ctrl-C or an error brings that forward."""
    try:
        with (
            deferred("the images at hand") as interrupted,
            Progress("images", answers.total) as progress,
        ):
            for answer in coming:
                _take(answer, answers, window)
                progress(answers.done)
                if interrupted():
                    break
    except BaseException:
        if answers.images:
            _replace(output, answers)
        raise
    if answers.images or answers.form == "json":
        _replace(output, answers)
    if answers.done < answers.total:
        raise click.exceptions.Exit(INTERRUPTED)


def _take(
    answer: Classification | FullconvError, answers: Answers, window: tuple[int, ...]
) -> None:
    """Enter an answer, and say what there is to say about the image."""
    from fullconv.evaluate.scales import left_out

    if isinstance(answer, FullconvError):
        if answers.total > 1:
            say(f"left out: {answer}")
    elif answer.skipped:
        say(left_out(answer.image, answer.skipped, window))
    answers.add(answer)


def _replace(output: str, answers: Answers) -> None:
    """Write the file and say so."""
    from fullconv.storage.files import atomic

    with atomic(output) as part:
        # A file's name may hold bytes that are no UTF-8.
        part.write_text(answers.text(), "utf-8", "backslashreplace", newline="")
    stopped = answers.done < answers.total
    count = f"stopped after {answers.done:,} of {answers.total:,} images; " if stopped else ""
    say(f"{count}written: {output}")
