"""How coarse is the map? Its stride, what a cell sees, and what finer maps cost."""

from __future__ import annotations

from collections.abc import Sequence

from fullconv.api.memory import written_bytes
from fullconv.auditing.costs.strides import Stride, Strides, measure
from fullconv.auditing.figures import (
    BYTES,
    MACS,
    MISSING,
    TIME_UNITS,
    Unit,
    amount,
    busy,
    compared,
    counted,
    figure,
    listed,
    percent,
    span,
)
from fullconv.auditing.measuring.timing import Say, Spread
from fullconv.auditing.section import Chart, Section, Series, Table
from fullconv.auditing.subject import Subject
from fullconv.geometry import times

KEY, TITLE = "coarseness", "How coarse is the map?"

SHARE = 15.0
"""Of the time, against the shares of the other sections."""


def section(subject: Subject, seconds: float, say: Say) -> Section:
    """What there is to say about the strides of a network."""
    found = measure(
        subject.model, subject.fcn, max_memory=subject.max_memory, seconds=seconds, say=say
    )
    return written(found)


def written(found: Strides) -> Section:
    """The section of what was found."""
    return Section(
        KEY,
        TITLE,
        verdict=(_native(found), *_finer(found)),
        text=_text(found),
        tables=_table(found),
        charts=_charts(found),
        facts=found.to_dict(),
        skipped=_skipped(found),
        how=_how(found),
    )


def _stride(row: Stride) -> str:
    """The stride in px: one number where it is the same along all axes."""
    same = len(set(row.stride)) == 1
    return f"{row.stride[0]} px" if same else f"{times(row.stride)} px"


def _native(found: Strides) -> str:
    stride = _stride(found.rows[0]) if found.rows else "no whole"
    sees = (
        f"a cell sees {times(found.field)} px, {percent(found.outside)} of them outside its "
        f"{times(found.window)} px window"
        if found.outside > 0
        else f"a cell sees nothing outside its {times(found.window)} px window"
    )
    return f"There is one score every {stride}; {sees}."


def _finer(found: Strides) -> tuple[str, ...]:
    """The next finer map, and the finest."""
    if len(found.rows) < 2:
        return ()
    native, row, last = found.rows[0], found.rows[1], found.rows[-1]
    cells, work = figure(row.cells / native.cells), figure(row.macs / native.macs)
    said = f"A stride of {_stride(row)} has {cells} times the cells for {work} times the MACs"
    if row.slower is not None:
        said += f" and {_slower(row.slower)}"
    if last is not row:
        said += (
            f"; the finest, {_stride(last)}, takes {figure(last.macs / native.macs)} times the "
            f"MACs: {amount(last.macs, MACS)}s for {times(found.size)} px"
        )
    return (f"{said}.",)


def _slower(ratio: Spread) -> str:
    if not ratio.tells:
        return f"no more seconds than rounds differ ({span(ratio.low, ratio.high)})"
    return compared(ratio.median, ratio.low, ratio.high, ratio.count, "times the seconds")


def _text(found: Strides) -> tuple[str, ...]:
    said = []
    if found.outside > 0:
        said.append(
            "What a cell sees outside its window is what a crop has zeros for: there the map and "
            "crops differ."
        )
    if len(found.rows) > 1:
        first, last = found.rows[0], found.rows[-1]
        said.append(
            "A finer map is computed in one pass, by dilation: layers before the strides cost the "
            "same, those behind them are computed at more places. Sliding would compute every "
            f"window by itself; by MACs one pass can be {figure(first.limit)} times as fast on "
            f"large images at stride {_stride(first)} and {figure(last.limit)} times at "
            f"{_stride(last)}."
        )
    elif found.rows:
        said.append("The map cannot be finer: there is a cell for every px already.")
    return tuple(said)


def _table(found: Strides) -> tuple[Table, ...]:
    if not found.rows:
        return ()
    native = found.rows[0]
    work = Unit.of([row.macs for row in found.rows], MACS)
    byte = Unit.of([row.bytes for row in found.rows], BYTES)
    known = [None if row.seconds is None else row.seconds.median for row in found.rows]
    second = Unit.of(known, TIME_UNITS)
    rows = [
        (
            _stride(row),
            f"{row.cells:,}",
            work.write(row.macs),
            figure(row.macs / native.macs) if native.macs else MISSING,
            byte.write(row.bytes),
            *([second.write(took)] if any(known) else []),
            figure(row.ceiling),
            figure(row.limit),
        )
        for row, took in zip(found.rows, known, strict=True)
    ]
    header = (
        "stride", "cells", f"{work.name}s", "× native", f"memory, {byte.name}",
        *([second.name] if any(known) else []), "sliding ÷ map", "large images",
    )  # fmt: skip
    caption = (
        f"Finer maps of {times(found.size)} px: MACs and memory counted, seconds measured; the "
        "MACs of sliding over those of the map, for this size and for ever larger ones."
    )
    return (Table(header, tuple(rows), caption),)


def _charts(found: Strides) -> tuple[Chart, ...]:
    if len(found.rows) < 2:
        return ()
    ticks = tuple(_stride(row) for row in found.rows)
    places = tuple(float(place) for place in range(len(found.rows)))
    native = found.rows[0]
    series = []
    if native.macs:
        ratios = tuple(row.macs / native.macs for row in found.rows)
        series.append(Series("MACs", places, ratios, measured=False))
    cells = tuple(row.cells / native.cells for row in found.rows)
    series.append(Series("cells", places, cells, measured=False))
    timed = [
        (place, row.slower.median)
        for place, row in zip(places, found.rows, strict=True)
        if row.slower is not None
    ]
    if timed:
        timed.insert(0, (0.0, 1.0))
        x, y = zip(*timed, strict=True)
        series.append(Series("seconds", x, y))
    return (
        Chart(
            "What finer maps cost",
            "stride",
            "times the native stride",
            tuple(series),
            log_y=True,
            bars=True,
            ticks=ticks,
            alt="; ".join(
                f"{line.name}: up to {figure(max(line.y))} times those of the native stride"
                for line in series
            ),
        ),
    )


def _skipped(found: Strides) -> tuple[str, ...]:
    left = "allowed" if found.given else "free"
    said = list(found.refused)
    large = [row for row in found.rows if row.needed > found.allowed]
    if large:
        said.append(
            f"{_strides(large)}: counted only, {'it needs' if len(large) == 1 else 'they need'} "
            f"{_span([written_bytes(row.needed) for row in large])} of memory, and "
            f"{written_bytes(found.allowed)} is {left}."
        )
    slow = [row for row in found.rows if row not in large and row.seconds is None]
    if slow:
        foreseen = [amount(row.foreseen, TIME_UNITS) for row in slow if row.foreseen is not None]
        about = f", about {_span(foreseen)} for a pass by its MACs" if foreseen else ""
        said.append(f"{_strides(slow)}: counted only, for want of time{about}.")
    return tuple(said)


def _strides(rows: Sequence[Stride]) -> str:
    return f"{'Stride' if len(rows) == 1 else 'Strides'} {listed([_stride(row) for row in rows])}"


def _span(words: Sequence[str]) -> str:
    """The first and the last of ascending amounts."""
    return words[0] if len(words) == 1 else f"{words[0]} to {words[-1]}"


def _how(found: Strides) -> tuple[str, ...]:
    said = [
        "The receptive field is that of the layers, with all their padding; context ops count "
        "what they see."
    ]
    if found.rounds:
        said += busy(found.waited)
        said.append(
            f"Seconds are medians of up to {counted(found.rounds, 'round')} in turn of optimized "
            f"networks, on {found.device} with {counted(found.threads, 'thread')}."
        )
    return tuple(said)
