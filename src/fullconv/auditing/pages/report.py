"""What a page shows: an audit with what is said of it, in the order of the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fullconv.auditing.pages.charts import drawable
from fullconv.auditing.pages.numbers import number
from fullconv.auditing.section import Chart, Section, Table


@dataclass(frozen=True, slots=True)
class Report:
    """What a page shows.

    Attributes:
        title: the network, as it was named.
        headline: the answer to all of it, in a sentence or two.
        about: what is known of it and of the machine, as pairs of a name and a value.
        remarks: what must be said before anything else, such as that weights are random.
        sections: the answers.
        facts: all figures, unrounded, as JSON-serialisable values.
    """

    title: str
    headline: str = ""
    about: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def figures(chart: Chart) -> Table | None:
    """The points of a chart as a table, a column for each series; None where it has none."""
    shown = drawable(chart)
    if shown is None:
        return None
    places = sorted({x for series in shown.series for x in series.x})
    ticks = shown.ticks if shown.bars else ()
    names = [ticks[int(x)] if 0 <= x < len(ticks) else number(x) for x in places]
    points = [dict(zip(series.x, series.y, strict=True)) for series in shown.series]
    rows = [
        (name, *(number(at[x], even=True) if x in at else "–" for at in points))
        for name, x in zip(names, places, strict=True)
    ]
    header = (shown.x, *(series.name for series in shown.series))
    return Table(header, tuple(rows), f"{shown.title}: {shown.y}" if shown.y else shown.title)


def tables(section: Section) -> list[Table]:
    """All that a page without pictures shows in tables: also charts that say more than those do."""
    charts = [figures(chart) for chart in section.charts if says_more(chart, section.tables)]
    return [table for table in (*section.tables, *charts) if table is not None and table.rows]


def says_more(chart: Chart, tables: Sequence[Table]) -> bool:
    """Whether a chart has a value that none of the tables shows, to the digits they show."""
    shown = drawable(chart)
    if shown is None:
        return False
    written = [
        part
        for table in tables
        for row in table.rows
        for cell in row[1:]
        for part in _NUMBER.findall(cell.replace(",", "").replace("−", "-"))
    ]
    return not all(
        any(_rounds_to(y, text) for text in written) for series in shown.series for y in series.y
    )


def glued(text: str) -> str:
    """`text` with numbers that stay in one line with their units: `896 px`, `8.3 %`."""
    return _UNIT.sub("\u00a0", text)


_UNIT = re.compile(r"(?<=\d) (?=(?:px|[mµ]?s|min|[KMGT]i?B|[kMGT]?MACs?|cells?|times)\b|%)")


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_UNITS = (*(1000.0**power for power in range(-3, 5)), 0.01, *(1024.0**power for power in (1, 2, 3)))


def _rounds_to(value: float, text: str) -> bool:
    """Whether `value` is written as `text`, perhaps in thousands, millions, MiB, per cent …"""
    seen, half = float(text), 0.5000001 * 10.0 ** -len(text.partition(".")[2])
    if value == seen:
        return True
    # A number of one digit would be the rounded form of far too many others.
    return half <= 0.06 * abs(seen) and any(abs(value / unit - seen) <= half for unit in _UNITS)
