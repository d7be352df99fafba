"""Charts as SVG for a page whose colours they take, drawn by matplotlib."""

from __future__ import annotations

import html
import io
import math
import re
import unicodedata
import warnings

from fullconv.auditing.pages.plots import COLORS, INK, QUIET, RULE, STYLE, figure, import_matplotlib
from fullconv.auditing.section import Chart, Series

# The page's variables, and what stands in for them without a page. The series have the colours of
# Okabe and Ito (jfly.uni-koeln.de/color), a little darker where they are too pale for thin lines.
_PALETTE = ("#0072b2", "#d55e00", "#008060", "#a64d8c", "#8c6d00", "#2e86c1", "#555555")
_VARIABLES = {
    INK: "var(--ink, #222222)",
    QUIET: "var(--quiet, #555555)",
    RULE: "var(--rule, #dddddd)",
    **{
        drawn: f"var(--series-{place}, {color})"
        for place, (drawn, color) in enumerate(zip(COLORS, _PALETTE, strict=True), 1)
    },
}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"


def drawable(chart: Chart) -> Chart | None:
    """The chart without the points and series that cannot be drawn; None where nothing is left.

    A logarithmic axis becomes a linear one if a value on it is not above 0.
    """
    kept = []
    for series in chart.series:
        points = [p for p in zip(series.x, series.y, strict=True) if all(map(math.isfinite, p))]
        if points:
            x, y = zip(*points, strict=True)
            kept.append(Series(_clean(series.name), x, y, series.measured))
    if not kept:
        return None
    return Chart(
        title=_clean(chart.title),
        x=_clean(chart.x),
        y=_clean(chart.y),
        series=tuple(kept),
        log_x=chart.log_x and not chart.bars and all(min(series.x) > 0 for series in kept),
        log_y=chart.log_y and all(min(series.y) > 0 for series in kept),
        bars=chart.bars,
        ticks=tuple(map(_clean, chart.ticks)),
        alt=_clean(chart.alt),
    )


def svg(chart: Chart, name: str) -> str:
    """The chart as an `<svg>` element as wide as its place; an empty text if it has no points.

    `name` goes before every id in it: one of its own for each chart of a page. The same chart and
    name give the same text. Raises MissingExtraError without matplotlib.
    """
    matplotlib = import_matplotlib()
    shown = drawable(chart)
    if shown is None:
        return ""
    # The settings of whoever runs this must not show; the back end is not ours to set.
    defaults = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    out = io.StringIO()
    with warnings.catch_warnings(), matplotlib.rc_context({**defaults, **STYLE}):
        warnings.simplefilter("ignore")  # a letter that its own font lacks: the reader's has it
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure(shown).savefig(out, format="svg", metadata=nothing, transparent=True)
    return _for_a_page(out.getvalue(), shown, name)


def _for_a_page(drawn: str, chart: Chart, name: str) -> str:
    """The element alone: named, as wide as its place, with ids and colours of the page."""
    box = re.search(r'viewBox="([^"]+)"', drawn)
    start = re.search(r"<svg\b[^>]*>", drawn)
    assert box is not None
    assert start is not None
    body = drawn[start.end() :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style [^<]*</style>\s*</defs>\s*", "", body)
    body = body.replace("xlink:href=", "href=")
    named = set(re.findall(r'(?:href="#|url\(#)([^")]+)', body))
    body = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in named else "", body)
    body = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", body)
    body = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", body)  # before matplotlib 3.10
    body = re.sub(r"font-family: [^;\"]*; ", "", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    body = re.sub(r' [\w-]+="[^"]*"', _to_hundredths, body)
    body = re.sub(r"#0[0-9a-f]{5}\b", lambda m: _VARIABLES.get(m[0], m[0]), body)
    body = re.sub(r'<path d="[^"]*"( clip-path="[^"]*")? style="fill: none"/>', "", body)
    while (less := re.sub(r"<g>\s*</g>|<g/>", "", body)) != body:
        body = less
    body = re.sub(r"\s*\n\s*", "\n", body)
    title, alt = html.escape(chart.title), html.escape(chart.alt)
    labels = f"{name}-title {name}-desc" if alt else f"{name}-title"
    said = f'<title id="{name}-title">{title}</title>\n'
    if alt:
        said += f'<desc id="{name}-desc">{alt}</desc>\n'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box[1]}" role="img" '
        f'aria-labelledby="{labels}" font-family="{_FONT}">\n{said}{body.strip()}\n'
    )


def _to_hundredths(attribute: re.Match[str]) -> str:
    """An attribute with its numbers cut after a hundredth of a px, which is enough."""
    return re.sub(r"(\d\.\d\d)\d+", r"\1", attribute[0])


def _clean(text: str) -> str:
    """One line without what no XML may hold: control characters, halves of surrogate pairs."""
    joined = " ".join(text.split())
    return "".join("�" if unicodedata.category(c) in ("Cc", "Cs") else c for c in joined)
