"""What matplotlib draws for a chart: lines or bars, one column wide.

Print is as large as the page's on a telephone too. Points stand for what was measured, dashes for
what was counted. Series differ in colour and in the form of their points.
"""

from __future__ import annotations

import importlib
import math
import textwrap
from collections.abc import Sequence
from typing import Any

from fullconv.auditing.pages.numbers import apart, number, ticks
from fullconv.auditing.section import Chart, Series
from fullconv.errors import MissingExtraError

WIDTH = 420  # px; a telephone shows some 360
PLOT = 210  # px, height of a plot of lines or of standing bars
BAR = 14  # px, thickness of a lying bar
SMALL = 12  # px, print
LETTER = 0.62  # mean width of a letter relative to its size, in matplotlib's font, which is wide
LEFT = 52  # px, about what the numbers of the vertical axis take
LONGEST = 56  # letters in a line across the chart
PALE = 0.25  # how much of its colour a bar has that was counted
MOST = 10  # points or bars, at most, that each have a label of their own

# Drawn in these, so that they can be told apart when the page's variables take their place.
INK, QUIET, RULE = "#010101", "#020202", "#030303"
COLORS = tuple(f"#0500{index:02x}" for index in range(7))
MARKERS = "os^DvPX"
DASHES = ((5, 2.5), (2, 2), (8, 2, 2, 2))

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fullconv",
    "text.parse_math": False,
    "text.color": INK,
    "font.size": SMALL,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.labelsize": SMALL,
    "axes.titlecolor": QUIET,
    "axes.titlesize": SMALL,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.8,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "legend.handlelength": 2.4,
    "legend.columnspacing": 1.4,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0.2,
    "lines.linewidth": 1.6,
    "lines.markersize": 6,
}
"""Settings of matplotlib under which `figure` is made and saved."""


def import_matplotlib() -> Any:
    """The matplotlib package. Raises MissingExtraError if it is not installed."""
    try:
        return importlib.import_module("matplotlib")
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise MissingExtraError("matplotlib", "plot", "A page with charts") from None


def figure(chart: Chart) -> Any:
    """The matplotlib figure of a chart whose points can all be drawn, 72 px to the inch."""
    return _bars(chart) if chart.bars else _lines(chart)


def _lines(chart: Chart) -> Any:
    figure, axes = _empty(chart, PLOT)
    _legend(figure, [_line(axes, *entry) for entry in enumerate(chart.series)], chart)
    xs = sorted({x for series in chart.series for x in series.x})
    low, high = limits(xs, log=chart.log_x)
    marks = xs if len(xs) <= MOST else ticks(xs[0], xs[-1], log=chart.log_x)
    labels = [number(mark) for mark in marks]
    places = [share(mark, low, high, log=chart.log_x) * (WIDTH - LEFT) for mark in marks]
    kept = apart(zip(places, map(_width, labels), strict=True), gap=8)
    _axis(axes, "x", (low, high), chart.log_x, [marks[i] for i in kept], [labels[i] for i in kept])
    low, high = limits([y for series in chart.series for y in series.y], log=chart.log_y, zero=True)
    _numbered(axes, "y", (low, high), chart.log_y)
    return figure


def _line(axes: Any, index: int, series: Series) -> Any:
    x, y = zip(*sorted(zip(series.x, series.y, strict=True)), strict=True)
    look: dict[str, Any] = {"color": COLORS[index % len(COLORS)], "clip_on": False}
    if series.measured:
        look |= {"marker": MARKERS[index % len(MARKERS)], "markeredgewidth": 0}
    elif len(x) == 1:  # a line without length would not be seen
        look |= {"marker": "_", "markersize": 16, "markeredgewidth": 1.6}
    else:
        look |= {"linestyle": (0, DASHES[index % len(DASHES)])}
    return axes.plot(x, y, **look)[0]


def _bars(chart: Chart) -> Any:
    """Bars side by side, or lying ones where their names are long. What is counted is pale."""
    count = int(max(x for series in chart.series for x in series.x)) + 1
    names = [chart.ticks[i] if i < len(chart.ticks) else str(i) for i in range(count)]
    lying = any(_width(name) + 8 > (WIDTH - LEFT) / count for name in names)
    thick = 0.8 / len(chart.series)
    figure, axes = _empty(chart, BAR / thick * count if lying else PLOT, turned=lying)
    values = [y for series in chart.series for y in series.y]
    low, high = limits(values, log=chart.log_y, zero=True, bars=True)
    handles = []
    for index, series in enumerate(chart.series):
        color = COLORS[index % len(COLORS)]
        filled = color if series.measured else (color, PALE)
        shift = (index - (len(chart.series) - 1) / 2) * thick
        at = [x + shift for x in series.x]
        base = low if chart.log_y else 0.0
        sizes = [y - base for y in series.y]
        draw, start, width = ("barh", "left", "height") if lying else ("bar", "bottom", "width")
        handles.append(
            getattr(axes, draw)(
                at,
                sizes,
                edgecolor=color,
                linewidth=1,
                **{start: base, width: 0.86 * thick},
                facecolor=filled,
            )
        )
    _legend(figure, handles, chart)
    across, along = ("y", "x") if lying else ("x", "y")
    ends = (count - 0.4, -0.6) if lying else (-0.6, count - 0.4)  # the first one on top
    _axis(axes, across, ends, False, list(range(count)), [_folded(name, 30) for name in names])
    axes.tick_params(axis=across, length=0)
    _numbered(axes, along, (low, high), chart.log_y)
    return figure


def _empty(chart: Chart, plot: float, *, turned: bool = False) -> tuple[Any, Any]:
    """A figure with room for a plot `plot` px high, and its axes with their labels.

    What the vertical axis shows stands above it, where it can be read without turning the head.
    """
    figures = importlib.import_module("matplotlib.figure")
    above, below = ("" if turned else chart.y), (chart.y if turned else chart.x)
    above, below = _folded(above), _folded(below)
    names, columns = _names(chart)
    legend = -(-len(names) // columns) * max(name.count("\n") + 1 for name in names)
    lines = legend + sum(text.count("\n") + 1 for text in (above, below) if text)
    height = plot + 40 + 1.35 * SMALL * lines
    figure = figures.Figure(figsize=(WIDTH / 72, height / 72), dpi=72, layout="constrained")
    figure.get_layout_engine().set(w_pad=2 / 72, h_pad=3 / 72)
    axes = figure.add_subplot()
    axes.set_title(above, pad=8)
    axes.set_xlabel(below)
    return figure, axes


def _legend(figure: Any, handles: Sequence[Any], chart: Chart) -> None:
    names, columns = _names(chart)
    figure.legend(handles, names, loc="outside lower left", ncols=columns)


def _names(chart: Chart) -> tuple[list[str], int]:
    """The names of the series, and how many stand side by side under the plot."""
    names = [_folded(series.name, LONGEST - 6) for series in chart.series]
    longest = max(_width(line) for name in names for line in name.split("\n"))
    return names, max(1, min(len(names), int(WIDTH / (longest + 4.6 * SMALL))))


def _numbered(axes: Any, which: str, ends: tuple[float, float], log: bool) -> None:
    """An axis with round numbers and a thin line at each."""
    marks = ticks(*ends, log=log, most=5 if which == "x" else 6)
    _axis(axes, which, ends, log, marks, [number(mark) for mark in marks])
    axes.grid(axis=which)
    axes.tick_params(axis=which, length=0)


def _axis(
    axes: Any,
    which: str,
    ends: tuple[float, float],
    log: bool,
    marks: Sequence[float],
    labels: Sequence[str],
) -> None:
    axes.set(**{f"{which}scale": "log" if log else "linear"})
    axes.set(**{f"{which}lim": ends})
    axes.set(**{f"{which}ticks": marks, f"{which}ticklabels": labels})
    getattr(axes, f"{which}axis").set_minor_locator(
        importlib.import_module("matplotlib.ticker").NullLocator()
    )


def limits(
    values: Sequence[float], *, log: bool, zero: bool = False, bars: bool = False
) -> tuple[float, float]:
    """The ends of an axis with some room beyond the values.

    With `zero` a linear axis starts at 0 where the smallest value is less than half of the largest;
    with `bars` always, and a logarithmic one at the power of ten below.
    """
    low, high = min(values), max(values)
    if log:
        room = max((high / low) ** 0.06, 1.08)
        return (10.0 ** math.floor(math.log10(low) - 1e-9) if bars else low / room), high * room
    if bars or (zero and 0 <= low < high / 2):
        low, high = min(low, 0.0), max(high, 0.0)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return (low if low == 0 else low - room), (high if high == 0 and low < 0 else high + room)


def share(value: float, low: float, high: float, *, log: bool) -> float:
    """Where a value lies between the ends of an axis, from 0 to 1."""
    if log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


def _width(text: str) -> float:
    """About how wide small print is, px."""
    return LETTER * SMALL * len(text)


def _folded(text: str, width: int = LONGEST) -> str:
    return "\n".join(textwrap.wrap(text, width)) if len(text) > width else text
