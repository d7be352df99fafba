"""`fullconv audit`: what going fully convolutional costs, measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
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
from fullconv.geometry import per_axis

if TYPE_CHECKING:
    from fullconv.auditing.subject import Subject
    from fullconv.hosts.torch_fx.fcn import About
    from fullconv.models import Classifier


class Keys(click.ParamType):  # type: ignore[type-arg]
    """`parameters`, or `parameters,growth` for several sections."""

    name = "LIST"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """The names, each once; whether there are such sections is seen later."""
        if isinstance(value, tuple):
            return value
        words = (word.strip() for word in str(value).split(","))
        return tuple(dict.fromkeys(word for word in words if word))


class Seconds(click.FloatRange):
    """A finite number above 0."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The number; a usage error for anything else."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number


@click.command(short_help="Measure what going fully convolutional costs.", epilog=MODEL_FORMS)
@classifier_options
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option("--size", "sizes", type=Size(), multiple=True,
              help="Measure costs at images of this size, as 512 or 512x384; may be said several "
              "times [the window, 1.5, 2 and 4 times it].")  # fmt: skip
@click.option("--sections", type=Keys(),
              help="Answer only these questions [all].")  # fmt: skip
@click.option("--seconds", type=Seconds(), metavar="S",
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
    from fullconv.auditing.audit import asked_for, audit_of
    from fullconv.auditing.pages.text import text, verdict
    from fullconv.auditing.subject import sizes_of, subject_of, with_images
    from fullconv.cli.commands.audit_files import AuditFiles
    from fullconv.cli.commands.audit_images import read_images
    from fullconv.hosts.torch_fx.read import spatial_dims
    from fullconv.storage.listing import image_files

    steps = Steps(time.monotonic())
    files = image_files(images)
    given = {"context": asked.context, "seconds": seconds, "max_memory": max_memory}
    said: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    reports = AuditFiles.named(outputs)
    read = {f"the image {file}": file for file in files}
    reports.check({**read, **files_read(asked, classes)})
    asked_for(sections)  # a word that is no section is said before the network is loaded
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    classifier, remarks = _loaded(asked)
    window = per_axis(window_of(classifier, asked), spatial_dims(classifier.module), "--window")
    wanted = sizes_of([size[0] if len(size) == 1 else size for size in sizes], window, "--size")
    with at_once():
        steps(0, 0, "the conversion")
        subject = subject_of(classifier.module, window, sizes=wanted, **said)
        about = _about(classifier, subject, classes, mean, std)
        shown = read_images(files, subject, about, max_pixels)
        found = audit_of(
            with_images(subject, shown.prepared, about),
            sections=sections,
            weights=classifier.weights,
            remarks=[*remarks, *shown.remarks],
            progress=steps,
        )
    report = found.report
    written = reports.write(report)
    answer = f"{verdict(report)}\n\nwritten: {', '.join(written)}" if written else text(report)
    show(answer, report.facts, as_json)
    if found.refused is not None:
        raise found.refused
    if shown.failed:
        raise shown.failure


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
    return classifier, remarks


def _about(
    classifier: Classifier,
    subject: Subject,
    classes: str | None,
    mean: Numbers,
    std: Numbers,
) -> About:
    """What is known of the classifier; what was given by hand goes before."""
    from fullconv.hosts.torch_fx.fcn import About

    scores = subject.scores
    names = classifier.classes if classes is None else read_classes(classes, scores)
    if names is not None and scores is not None and len(names) != scores:
        say(f"{classifier.form}: its {len(names)} class names are left out, for {scores} scores")
        names = None
    mean, std = mean or classifier.mean, std or classifier.std
    return About(classifier.form, names, mean, std, classifier.shortest)
