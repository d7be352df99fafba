"""What does a larger image cost? Compute, seconds and memory as it grows, against crops."""

from __future__ import annotations

from fullconv.api.memory import written_bytes
from fullconv.auditing.costs.grown import WAYS, Growth, Pass, Row
from fullconv.auditing.costs.growth import measure
from fullconv.auditing.figures import (
    BYTES,
    MACS,
    TIME_UNITS,
    amount,
    busy,
    compared,
    counted,
    figure,
    listed,
    percent,
    span,
    whole,
)
from fullconv.auditing.measuring.timing import Say, Spread
from fullconv.auditing.section import Section
from fullconv.auditing.sections import alone
from fullconv.auditing.sections.growth_figures import charts, tables
from fullconv.auditing.subject import Subject
from fullconv.geometry import times

KEY, TITLE = "growth", "What does a larger image cost?"

SHARE = 45.0
"""Of the time, against the shares of the other sections."""


def section(subject: Subject, seconds: float, say: Say) -> Section:
    """What there is to say about a network on larger images."""
    if subject.converted is None:
        return alone.section(KEY, TITLE, subject, seconds, say)
    found = measure(
        subject.model,
        subject.fcn,
        sizes=subject.sizes,
        max_memory=subject.max_memory,
        seconds=seconds,
        say=say,
    )
    return written(found)


def written(found: Growth) -> Section:
    """The section of what was found."""
    return Section(
        KEY,
        TITLE,
        verdict=(_area(found), *_against_crops(found)),
        text=_text(found),
        tables=tables(found),
        charts=charts(found),
        facts=found.to_dict(),
        skipped=_skipped(found),
        how=_how(found),
    )


def _area(found: Growth) -> str:
    """What the largest image takes: work, seconds and memory."""
    first, last = found.rows[0], found.rows[-1]
    if last is first:
        return f"A pass over the window takes {amount(last.macs, MACS)}s{_took(last)}."
    return (
        f"At {times(last.size)} px, {whole(last.pixels / first.pixels)} times the px of the "
        f"window, a pass takes {amount(last.macs, MACS)}s, {whole(last.macs / first.macs)} times "
        f"as many{_took(last)}."
    )


def _took(row: Row) -> str:
    """Seconds and memory measured, as far as they were; the memory counted is called so."""
    kinds = (
        (row.forward, "forward", "of activations counted"),
        (row.training, "forward and backward", "counted as kept for the way back"),
    )
    said = []
    for one, words, kind in kinds:
        seconds = None if one.seconds is None else amount(one.seconds.median, TIME_UNITS)
        peak = None if one.peak is None else amount(one.peak, BYTES)
        held = f"{amount(one.counted, BYTES)} {kind}"
        known = [part for part in (seconds, peak) if part is not None]
        said.append(
            f"{' and '.join(known)} {words} ({held})" if known else f"{held}, {words} not run"
        )
    return f": {'; '.join(said)}"


def _against_crops(found: Growth) -> tuple[str, ...]:
    """At the largest size at which both were timed, for each way: in one sentence."""
    last = found.rows[-1]
    largest: dict[str, Row] = {}
    for way in WAYS:
        known = [row for row in found.rows if row.way(way).speed_up is not None]
        if known:
            largest[way] = known[-1]
    limit = f"{figure(found.limit)} on ever larger images"
    if not largest:
        if last.cells == 1:
            return ()
        return (
            f"By their MACs crops at the {counted(last.cells, 'cell')} of {times(last.size)} px "
            f"take {figure(last.ceiling)} times as long, and {limit}; they were not timed.",
        )
    same = len({row.size for row in largest.values()}) == 1
    parts = []
    for way, row in largest.items():
        speed = row.way(way).speed_up
        assert speed is not None
        words = "forward" if way == "forward" else "in training"
        at = "" if same else f" at the {counted(row.cells, 'cell')} of {times(row.size)} px"
        by = "" if same else f", {figure(row.ceiling)} by their MACs"
        parts.append(f"{_speed(speed)} {words}{at}{by}")
    if same:
        row = next(iter(largest.values()))
        return (
            f"Crops at its {counted(row.cells, 'cell')} take {listed(parts)}; by their MACs it "
            f"would be {figure(row.ceiling)} times, and {limit}."
            if row is last
            else f"Crops at the {counted(row.cells, 'cell')} of {times(row.size)} px take "
            f"{listed(parts)}; by their MACs it would be {figure(row.ceiling)} times, and {limit}.",
        )
    return (f"Crops take {'; '.join(parts)}; by their MACs {limit}.",)


def _speed(speed: Spread) -> str:
    """How long crops take, against the map."""
    if not speed.tells:
        return f"no longer than rounds differ ({span(speed.low, speed.high)})"
    return compared(speed.median, speed.low, speed.high, speed.count)


def _text(found: Growth) -> tuple[str, ...]:
    said = []
    if found.exponents:
        area = {1: "length", 2: "area"}.get(len(found.window), "volume")
        said.append(
            f"Exponents are those of the power of the side that fits all sizes best (least "
            f"squares of logarithms); the {area} has {len(found.window)}. What is the same at "
            "every size, such as reading weights and starting kernels, lowers them; maps that "
            "grow from a single cell at the window, as those of the head, raise them."
        )
    if any(_above(row, row.way(way)) for row in found.rows for way in WAYS):
        said.append(
            "Where the map is faster than its MACs allow, crops do theirs at a lower rate: they "
            "have small maps, every batch reads all weights anew, and in training it makes "
            "gradients for all of them."
        )
    if len(found.rows) > 1 and found.rows[-1].cells > 1:
        said.append(
            "Crops that overlap compute the same features again and again, and the map computes "
            "them once: that is where it saves, the more the smaller the stride is."
        )
    return tuple(said)


def _above(row: Row, one: Pass) -> bool:
    return one.speed_up is not None and one.speed_up.median > 1.02 * row.ceiling


def _skipped(found: Growth) -> tuple[str, ...]:
    left = "allowed" if found.given else "free"
    said = []
    for way, words in zip(WAYS, ("forward", "forward and backward"), strict=True):
        for row in found.rows:
            one = row.way(way)
            where = f"{times(row.size)} px, {words}"
            if not one.fits:
                said.append(
                    f"{where}: not run, it needs {written_bytes(one.needed)} of memory, and "
                    f"{written_bytes(found.allowed)} is {left}."
                )
            elif one.foreseen is not None:
                said.append(
                    f"{where}: not timed, it would take about "
                    f"{amount(one.foreseen, TIME_UNITS)} here, more than there was for it."
                )
            elif one.seconds is not None and one.speed_up is None and row.cells > 1:
                said.append(f"{where}: crops were not timed, for want of time.")
    return tuple(said)


def _how(found: Growth) -> tuple[str, ...]:
    passes = [row.way(way) for row in found.rows for way in WAYS]
    rounds = [one.rounds for one in passes if one.seconds is not None]
    said = [*busy(found.waited)] if rounds else []
    if rounds:
        low, high = min(rounds), max(rounds)
        span = counted(high, "round") if low == high else f"{low} to {high} rounds"
        said.append(
            f"Seconds are medians of {span} in which everything is timed in turn, forwards and "
            f"backwards, on {found.device} with {counted(found.threads, 'thread')}; ratios are "
            "taken within a round."
        )
        speeds = [one.speed_up for one in passes if one.speed_up is not None]
        widest = max(((speed.high - speed.low) / speed.median for speed in speeds), default=0.0)
        if widest > 0:
            said.append(f"Speed-ups of single rounds lie up to {percent(widest)} apart.")
    if found.once:
        said.append(f"Run once only, for want of time: {listed(found.once)}.")
    said.append(
        "Forward runs the network optimized, as the command line does; forward and backward the "
        "one that trains, by the cross entropy of the averaged map, without an optimiser, norms by "
        "their running statistics. Crops run in the same networks."
    )
    if any(one.speed_up is not None for one in passes):
        forward, training = (found.batches[way] for way in WAYS)
        each = f"{forward}" if forward == training else f"{forward}, in training {training}"
        said.append(
            f"Crops run in batches of {each}, spread over the image, others in every round; the "
            "seconds of all crops are counted up from them."
        )
    said.append(
        "Memory counted: on shapes without numbers, op by op, forward the most bytes alive at "
        "once, in training what autograd keeps, with the image and without the weights."
    )
    if any(one.peak is not None for one in passes):
        said.append(
            "Memory measured: the most that was held in a run, with what allocator and "
            "libraries keep; in training with the gradients of all parameters, "
            f"{amount(found.gradients, BYTES)} at every size."
        )
    elif rounds:
        said.append("Memory was not measured: this system does not tell the peak of a run.")
    return tuple(said)
