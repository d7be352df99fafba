"""`fullconv audit`: what going fully convolutional costs, measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fullconv.cli.answers import say, show
from fullconv.cli.interrupt import at_once
from fullconv.cli.loading import Numbers, files_read, window_of
from fullconv.cli.options import (
    MODEL_FORMS,
    Asked,
    Size,
    classes_option,
    classifier_options,
    json_option,
    pixels_option,
    preparation_options,
    read_classes,
)
from fullconv.cli.progress import EVERY, span
from fullconv.cli.speed import memory_option
from fullconv.errors import FullconvError, InputError, RefusedError, listed
from fullconv.geometry import per_axis

if TYPE_CHECKING:
    from fullconv.hosts.torch_fx.fcn import About
    from fullconv.models import Classifier
    from fullconv.storage.images import Image

RANDOM = (
    "The weights are random. What is counted and timed does not depend on them; what is said of "
    "scores, classes and features does, and tells nothing about the trained network."
)


class Keys(click.ParamType):  # type: ignore[type-arg]
    """`parameters`, or `parameters,growth` for several sections."""

    name = "LIST"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """The names, each once; whether there are such sections is seen later."""
        if isinstance(value, tuple):
            return value
        words = (word.strip() for word in str(value).split(","))
        return tuple(dict.fromkeys(word for word in words if word))


@click.command(short_help="Measure what going fully convolutional costs.", epilog=MODEL_FORMS)
@classifier_options
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option("--size", "sizes", type=Size(), multiple=True,
              help="Measure costs at images of this size, as 512 or 512x384; may be said several "
              "times [the window, 1.5, 2 and 4 times it].")  # fmt: skip
@click.option("--sections", type=Keys(),
              help="Answer only these questions [all].")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), metavar="S",
              help="How long it may take, about [150].")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), metavar="N",
              help="Threads that PyTorch computes with [its own choice].")  # fmt: skip
@memory_option
@preparation_options
@classes_option
@pixels_option
@click.option("-o", "--output", "outputs", multiple=True, metavar="FILE",
              help="Write the report to a .html, .md or .json file; may be said several "
              "times.")  # fmt: skip
@json_option
def audit(
    asked: Asked,
    images: tuple[str, ...],
    sizes: tuple[tuple[int, ...], ...],
    sections: tuple[str, ...] | None,
    seconds: float | None,
    threads: int | None,
    max_memory: int | None,
    mean: Numbers,
    std: Numbers,
    classes: str | None,
    max_pixels: int,
    outputs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure what going fully convolutional costs MODEL, and say it in plain words.

    IMAGEs (files, folders, patterns) are what scores are compared on; noise takes their place.
    Without -o the report goes to stdout, with it the verdict. Where pretrained weights cannot be
    fetched, random ones are taken, and the report says so.

    Exit code 3 if an IMAGE could not be used; the others are. Exit code 4 if MODEL cannot be
    converted: the report says why, and what can be measured all the same.
    """
    from fullconv.auditing.audit import asked_for
    from fullconv.auditing.audit import audit as make_audit
    from fullconv.auditing.pages.text import text, verdict
    from fullconv.cli.commands.audit_files import AuditFiles
    from fullconv.hosts.torch_fx.read import spatial_dims
    from fullconv.storage.listing import image_files

    began = time.monotonic()
    files = image_files(images)
    said: dict[str, Any] = {"context": asked.context, "seconds": seconds}
    reports = AuditFiles.named(outputs)
    read = {f"the image {file}": file for file in files}
    reports.check({**read, **files_read(asked, classes)})
    asked_for(sections)  # a word that is no section is said before the network is loaded
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    classifier, remarks = _loaded(asked)
    dims = spatial_dims(classifier.module)
    window = per_axis(window_of(classifier, asked), dims, "--window")
    with at_once():
        channels, scores = _shape(classifier, window)
        about = _about(classifier, channels, scores, classes, mean, std)
        pictures, failed = _pictures(files, channels, window, max_pixels)
        found = make_audit(
            classifier.module,
            window,
            images=pictures,
            sizes=[size[0] if len(size) == 1 else size for size in sizes] or None,
            sections=sections,
            max_memory=max_memory,
            about=about,
            remarks=[*remarks, *_left_out(failed, len(files))],
            progress=Steps(began),
            **{key: value for key, value in said.items() if value is not None},
        )
    found = replace(found, facts={**found.facts, "weights": classifier.weights})
    report = found.report
    written = reports.write(report)
    shown = f"{verdict(report)}\n\nwritten: {', '.join(written)}" if written else text(report)
    show(shown, report.facts, as_json)
    if found.refused is not None:
        raise found.refused
    if failed:
        raise _failure(failed, len(files))


class Steps:
    """Says which section is being measured, on stderr; of longer ones now and then what."""

    def __init__(self, began: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`began` is when the command did, by the clock."""
        self._began, self._clock = began, clock
        self._done: int | None = None
        self._said = began

    def __call__(self, done: int, total: int, what: str) -> None:
        """`done` of `total` sections are done, and `what` is being measured."""
        now = self._clock()
        if self._done is None:  # what comes before the first one
            say(f"{what} ...")
            self._done = -1
        elif done < total and (done != self._done or now - self._said >= EVERY):
            say(f"section {done + 1} of {total}: {what} ({span(now - self._began)} so far)")
            self._done, self._said = done, now


def _loaded(asked: Asked) -> tuple[Classifier, list[str]]:
    """The classifier, with random weights where its own cannot be fetched, and what to say of it.

    Most of an audit depends on the architecture alone.
    """
    from fullconv.models import load_model
    from fullconv.models.fetch import NotFetchedError

    remarks: list[str] = []
    try:
        classifier = load_model(asked.model, weights=asked.weights)
    except NotFetchedError as error:
        say(f"{error}\nGoing on with random weights.")
        remarks.append(f"The pretrained weights could not be fetched ({error.reason}).")
        classifier = replace(load_model(error.without), form=asked.model)
    say(f"{classifier.form}: weights {classifier.weights}")
    if classifier.weights == "random":
        remarks = [" ".join([*remarks, RANDOM])]
    return classifier, remarks


def _shape(classifier: Classifier, window: tuple[int, ...]) -> tuple[int, int | None]:
    """Channels of its images, and scores, which are not known where it cannot be converted."""
    from fullconv.api.convert import plan
    from fullconv.auditing.subject import channels_of

    try:
        made = plan(classifier.module, window)
    except RefusedError:
        return channels_of(classifier.module, window), None
    return made.channels, made.outputs


def _about(
    classifier: Classifier,
    channels: int,
    scores: int | None,
    classes: str | None,
    mean: Numbers,
    std: Numbers,
) -> About:
    """What is known of the classifier; what was given by hand goes before."""
    from fullconv.evaluate.preparation import check_preparation
    from fullconv.hosts.torch_fx.fcn import About

    names = classifier.classes if classes is None else read_classes(classes, scores)
    if names is not None and scores is not None and len(names) != scores:
        say(f"{classifier.form}: its {len(names)} class names are left out, for {scores} scores")
        names = None
    mean, std = mean or classifier.mean, std or classifier.std
    check_preparation(channels, mean, std)
    return About(classifier.form, names, mean, std, classifier.shortest)


def _pictures(
    files: Sequence[Path], channels: int, window: tuple[int, ...], max_pixels: int
) -> tuple[dict[str, Image], list[FullconvError]]:
    """The images that can be used, by their names, and what is wrong with the others."""
    from fullconv.auditing.images import check_covers
    from fullconv.storage.images import read_image

    pictures: dict[str, Image] = {}
    failed: list[FullconvError] = []
    for file, name in zip(files, _names(files), strict=True):
        try:
            image = read_image(file, channels=channels, max_pixels=max_pixels)
            if len(window) == 2:  # others take no image files at all
                check_covers(image.size, window, str(file))
        except FullconvError as error:
            say(f"left out: {error}")
            failed.append(error)
        else:
            pictures[name] = image
    return pictures, failed


def _names(files: Sequence[Path]) -> list[str]:
    """Short names of files by which they can be told apart."""
    short = [file.name for file in files]
    return short if len(set(short)) == len(short) else [str(file) for file in files]


def _left_out(failed: Sequence[FullconvError], count: int) -> list[str]:
    """What the report says of images that could not be used."""
    if not failed:
        return []
    lines = "; ".join(f"{error.where or 'an image'}: {error.what.rstrip('.')}" for error in failed)
    return [f"{len(failed):,} of {count:,} images could not be used. {lines}."]


def _failure(failed: Sequence[FullconvError], count: int) -> FullconvError:
    """What went wrong with images, all of it at once."""
    if count == 1:
        return failed[0]
    lines = [f"{error.where or 'an image'}: {error.what}" for error in failed]
    return InputError(f"{len(lines):,} of {count:,} images could not be used:{listed(lines)}")
