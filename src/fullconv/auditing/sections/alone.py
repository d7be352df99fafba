"""What a section can say of a classifier that cannot be converted: what it takes at its window."""

from __future__ import annotations

from fullconv.auditing.costs.classifier import Alone, measure
from fullconv.auditing.figures import BYTES, TIME_UNITS, Unit, amount, busy, counted, listed
from fullconv.auditing.measuring.timing import Say
from fullconv.auditing.section import Section, Table
from fullconv.auditing.subject import Subject
from fullconv.geometry import times


def section(key: str, title: str, subject: Subject, seconds: float, say: Say) -> Section:
    """The section of that key and title, with what can be measured without an FCN."""
    found = measure(subject.model, subject.shape, seconds=seconds, say=say)
    skipped = ["Larger images, and crops against the map: the network cannot be converted."]
    if found.problem:
        skipped.append(f"A pass at the window: {found.problem}.")
    return Section(
        key,
        title,
        verdict=_verdict(found, subject),
        tables=_table(found),
        facts=found.to_dict(),
        skipped=tuple(skipped),
        how=(
            *busy(found.waited),
            f"Medians of rounds in turn, on {found.device} with "
            f"{counted(found.threads, 'thread')}; training without an optimiser, norms by their "
            "running statistics.",
        )
        if found.forward
        else (),
    )


def _passes(found: Alone) -> list[tuple[str, float, int | None]]:
    known = (
        ("forward", found.forward, found.forward_peak),
        ("forward and backward", found.training, found.training_peak),
    )
    return [(name, one.median, peak) for name, one, peak in known if one is not None]


def _verdict(found: Alone, subject: Subject) -> tuple[str, ...]:
    passes = [f"{amount(seconds, TIME_UNITS)} {name}" for name, seconds, _ in _passes(found)]
    if not passes:
        return ()
    return (f"One image of {times(subject.window)} px takes the classifier {listed(passes)}.",)


def _table(found: Alone) -> tuple[Table, ...]:
    passes = _passes(found)
    if not passes:
        return ()
    second = Unit.of([seconds for _, seconds, _ in passes], TIME_UNITS)
    byte = Unit.of([peak for _, _, peak in passes], BYTES)
    rows = [(name, second.write(seconds), byte.write(peak)) for name, seconds, peak in passes]
    header = ("pass", second.name, f"memory measured, {byte.name}")
    return (Table(header, tuple(rows), "The classifier on one image at its window."),)
