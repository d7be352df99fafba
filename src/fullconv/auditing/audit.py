"""What going fully convolutional costs, measured on a network: `audit`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from fullconv.auditing.figures import counted
from fullconv.auditing.headline import headline
from fullconv.auditing.images import Images, left_aside
from fullconv.auditing.machine import describe
from fullconv.auditing.pages.report import Report
from fullconv.auditing.pages.text import text
from fullconv.auditing.questions import SECTIONS, Question
from fullconv.auditing.section import Section
from fullconv.auditing.subject import SECONDS, Subject, subject_of
from fullconv.errors import RefusedError, UsageError, near
from fullconv.geometry import times
from fullconv.hosts.torch_fx.fcn import About
from fullconv.storage.description import finite

MOST = 6  # images that are named at the top of a report

RANDOM = "random"
"""The word for weights that are not trained."""

RANDOM_WEIGHTS = (
    "The weights are random. What is counted and timed does not depend on them; what is said of "
    "scores, classes and features does, and tells nothing about the trained network."
)
"""The remark on them."""

Progress = Callable[[int, int, str], None]
"""Called with how many sections are done, of how many, and what is being measured."""


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """What going fully convolutional costs one network; prints as text.

    Attributes:
        name: the network, as it was named.
        headline: the answer to all of it, in a sentence or two.
        facts: about the run: versions, machine, window, stride, seconds taken.
        sections: the answers, in order.
        refused: why the network cannot be converted; None where it can.
        remarks: what must be said before anything else, such as that weights are random.
    """

    name: str
    headline: str
    facts: Mapping[str, Any]
    sections: tuple[Section, ...]
    refused: RefusedError | None = None
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> tuple[str, ...]:
        """The headline, and what every section says, in order."""
        return (self.headline, *(line for section in self.sections for line in section.verdict))

    def section(self, key: str) -> Section:
        """One of the sections. Raises UsageError for one that was not made."""
        for section in self.sections:
            if section.key == key:
                return section
        known = [section.key for section in self.sections]
        raise UsageError(f"the audit has no section {key!r}.", hint=near(key, known))

    def to_dict(self) -> dict[str, Any]:
        """All figures, JSON-serialisable; what is not finite is None."""
        found: dict[str, Any] = finite(
            {
                "name": self.name,
                "refused": None if self.refused is None else str(self.refused),
                "verdict": list(self.verdict),
                "remarks": list(self.remarks),
                "run": dict(self.facts),
                "sections": {
                    section.key: {
                        "title": section.title,
                        "verdict": list(section.verdict),
                        "facts": dict(section.facts),
                        "skipped": list(section.skipped),
                    }
                    for section in self.sections
                },
            }
        )
        return found

    @property
    def report(self) -> Report:
        """What the pages show."""
        return Report(
            title=self.name,
            headline=self.headline,
            about=_about(self.facts),
            remarks=self.remarks,
            sections=self.sections,
            facts=self.to_dict(),
        )

    def save(self, path: str | Path) -> None:
        """Write the report; the ending says in which form: .html, .md or .json.

        Raises UsageError for another ending, FullconvError where the file cannot be written.
        """
        from fullconv.auditing.pages.write import write

        write(self.report, path)

    def __str__(self) -> str:
        return text(self.report)


def audit(
    model: nn.Module,
    window: int | Sequence[int] = 224,
    *,
    images: Images | None = None,
    sizes: int | Sequence[int | Sequence[int]] | None = None,
    seconds: float = SECONDS,
    max_memory: int | None = None,
    context: str = "window",
    sections: Iterable[str] | None = None,
    about: About | None = None,
    classes: Sequence[str] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    weights: str = "",
    remarks: Iterable[str] = (),
    name: str = "",
    progress: Progress | None = None,
) -> Audit:
    """What going fully convolutional costs, measured on a network.

    A network that cannot be converted is audited too: what can be said of it, and why not.

    Args:
        model: a CNN classifier, `(N, C, *window)` to `(N, K)`. It stays as it is.
        window: its input size in px; one number for all axes, or one per axis.
        images: what to try it on: files, pixels, images of Pillow or prepared tensors
            `(C, *space)`, one or several, or a mapping with their names. Noise takes their place
            where there are none; of more than 32 so many are looked at, evenly spread.
        sizes: image sizes to measure costs at, px; window, 1.5×, 2× and 4× by default.
        seconds: how long it may take, about.
        max_memory: bytes that a pass may take beside the weights; by default what is free.
        context: what ops that look at the whole map see in a larger image, "window" or "image".
        sections: the keys of the sections wanted, of `fullconv.auditing.questions.SECTIONS`; all
            by default.
        classes: one name per score.
        mean, std: of pixels scaled to 0..1, for images that are not prepared; one number, or one
            per channel.
        about: the same and the name of the network, as an FCN has it; what is given beside it
            goes before.
        weights: where they came from, in words; with "random" the report begins with a remark.
        remarks: what the report says before anything else, one or several.
        name: what the network is called in the report; by default as `about` says, or its class.
        progress: told how many sections are done, of how many, and what is being measured.

    Raises UsageError for arguments that do not fit the network, InputError for images that cannot
    be read, are not finite or are below the window, WeightsError for weights that are not finite,
    RefusedError where the window is not the classifier's.
    """
    began = time.perf_counter()
    asked, told = asked_for(sections), _remarks(remarks)
    if progress is not None:
        progress(0, len(asked), "the conversion")
    subject = subject_of(
        model, window, images=images, sizes=sizes, seconds=seconds, max_memory=max_memory,
        context=context, about=_known(about, classes, mean, std),
    )  # fmt: skip
    return audit_of(
        subject, sections=sections, weights=weights, remarks=told, name=name, progress=progress,
        began=began,
    )  # fmt: skip


def audit_of(
    subject: Subject,
    *,
    sections: Iterable[str] | None = None,
    weights: str = "",
    remarks: Iterable[str] = (),
    name: str = "",
    progress: Progress | None = None,
    began: float | None = None,
) -> Audit:
    """What there is to say of a subject; see `audit`. `began` is when, by `time.perf_counter`."""
    asked, told = asked_for(sections), _remarks(remarks)
    began = time.perf_counter() if began is None else began
    found: list[Section] = []
    for place, question in enumerate(asked):
        shares = [one.share for one in asked[place:]]
        left = max(0.0, subject.seconds - (time.perf_counter() - began))

        def say(what: str, done: int = place) -> None:
            if progress is not None:
                progress(done, len(asked), what)

        say(question.title)
        found.append(question.answer(subject, left * shares[0] / sum(shares), say))
    if progress is not None:
        progress(len(asked), len(asked), "done")
    return Audit(
        name=name or subject.name,
        headline=headline(subject, found),
        facts={**_run(subject, weights), "seconds": round(time.perf_counter() - began, 1)},
        sections=tuple(found),
        refused=subject.refused,
        remarks=(*told, *[RANDOM_WEIGHTS] * (weights == RANDOM), *left_aside(subject.given)),
    )


def _known(
    about: About | None,
    classes: Sequence[str] | None,
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
) -> About:
    """What is known of the classifier; UsageError for what is no list of names or numbers."""
    known = About() if about is None else about
    if classes is not None:
        if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
            raise UsageError("classes must be a list of names, one per score.")
        known = replace(known, classes=tuple(classes))
    if mean is not None:
        known = replace(known, mean=_numbers(mean, "mean"))
    if std is not None:
        known = replace(known, std=_numbers(std, "std"))
    return known


def _numbers(given: Any, name: str) -> tuple[float, ...]:
    several = isinstance(given, Iterable) and not isinstance(given, str)
    try:
        return tuple(map(float, given if several else [given]))
    except (TypeError, ValueError):
        raise UsageError(f"{name}={given!r} must be a number, or one per channel.") from None


def _remarks(given: Any) -> tuple[str, ...]:
    """One remark or several. Raises UsageError for what is no text."""
    remarks = (given,) if not isinstance(given, Iterable) or isinstance(given, str) else given
    found = tuple(remarks)
    for remark in found:
        if not isinstance(remark, str):
            raise UsageError(f"remarks must be text, and {remark!r} is none.")
    return found


def asked_for(sections: Iterable[str] | None) -> list[Question]:
    """The questions by their keys, in the order of the table. Raises UsageError."""
    if sections is None:
        return list(SECTIONS)
    several = isinstance(sections, Iterable) and not isinstance(sections, str)
    keys: list[Any] = list(sections) if several else [sections]
    known = [question.key for question in SECTIONS]
    for key in keys:
        if key not in known:
            raise UsageError(
                f"there is no section {key!r}.",
                hint=near(str(key), known) or f"Name some of {known}.",
            )
    if not keys:
        raise UsageError("no section is asked for.", hint=f"Name some of {', '.join(known)}.")
    return [question for question in SECTIONS if question.key in keys]


def _run(subject: Subject, weights: str) -> dict[str, Any]:
    """What figures depend on, by name."""
    facts: dict[str, Any] = {"window": list(subject.window), "channels": subject.channels}
    if weights:
        facts["weights"] = weights
    if subject.converted is not None:
        plan = subject.converted.plan
        facts |= {"stride": list(plan.stride), "receptive_field": list(plan.receptive_field)}
    facts["images"] = [name for name, _ in subject.images]
    return {**facts, **describe(subject.device)}


def _about(facts: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What figures depend on, for people: a few lines of a name and a value."""
    px = {name: f"{times(facts[name])} px" for name in ("window", "stride") if name in facts}
    field = facts.get("receptive_field")
    shown = {
        "window": f"{px['window']}, {counted(facts['channels'], 'channel')}",
        "weights": facts.get("weights", ""),
        "stride": f"{px['stride']}; a cell sees {times(field)} px" if field else "",
        "images": ", ".join(facts["images"][:MOST]) + " …" * (len(facts["images"]) > MOST),
        "machine": ", ".join(
            [facts.get("gpu", ""), facts["processor"], counted(int(facts["threads"]), "thread")]
        ).removeprefix(", "),
        "versions": f"fullconv {facts['fullconv']}, PyTorch {facts['torch']}, "
        f"Python {facts['python']}",
        "taken": f"{facts['seconds']:g} s",
    }
    return tuple((name, value) for name, value in shown.items() if value)
