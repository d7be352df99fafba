"""What an audit has to say, without a word on how it looks: sections of sentences, tables, charts.

Measurements are turned into sections; pages (text, Markdown, HTML) know sections only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Table:
    """Figures in rows.

    Attributes:
        header: the columns; the first one names the row and is text, the others are numbers.
        rows: one text per column.
        caption: what is shown, one line.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: `y` over `x`. `measured` ones are drawn with points, others dashed."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    measured: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over a common axis, or bars where `bars`.

    Bars have one place on the x axis per entry of `ticks`; `x` of their series are those places.

    Attributes:
        title: what is shown; also the text for those who cannot see it, with `alt`.
        x, y: labels of the axes, with units.
        series: what is drawn.
        log_x, log_y: whether an axis is logarithmic.
        ticks: names of the places 0, 1, … on the x axis.
        alt: what the chart shows, in a sentence.
    """

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    log_x: bool = False
    log_y: bool = False
    bars: bool = False
    ticks: tuple[str, ...] = ()
    alt: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image `(H, W, 3)` uint8 with a caption; `alt` says what it shows."""

    pixels: npt.NDArray[np.uint8]
    caption: str
    alt: str


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """The answer to one question about a network.

    Attributes:
        key: its name in JSON, such as "parameters".
        title: the question, for people.
        verdict: the answer in plain sentences, each backed by a figure of this section; shown in
            the verdict at the top of the report.
        text: more sentences, shown in the section only.
        tables, charts, pictures: the figures.
        facts: all figures, unrounded, as JSON-serialisable values.
        skipped: what could not be measured, and why, one sentence each.
        how: how it was measured (rounds, medians, threads, what is an estimate), one sentence each.
    """

    key: str
    title: str
    verdict: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    pictures: tuple[Picture, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    how: tuple[str, ...] = ()
