"""An audit as one web page that needs nothing beside it: no network, no script, no other file."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2
import PIL.Image
from markupsafe import Markup

import fullconv
from fullconv.auditing.pages.charts import svg
from fullconv.auditing.pages.report import Report, figures, says_more
from fullconv.auditing.section import Picture, Section
from fullconv.storage.description import finite

LARGEST = 1400  # px; twice what the column of a page is wide, for screens with fine pixels


def html(report: Report) -> str:
    """The page: complete, in UTF-8, the same for the same report.

    Raises MissingExtraError where there are charts and no matplotlib.
    """
    files = resources.files("fullconv.auditing.pages")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["glued"] = glued
    template = environment.from_string(files.joinpath("report.html.j2").read_text("utf-8"))
    sections = [_shown(section, f"{i}") for i, section in enumerate(report.sections, 1)]
    return template.render(
        report=report,
        sections=sections,
        verdicts=[section for section in sections if section["verdict"]],
        css=Markup(files.joinpath("report.css").read_text("utf-8")),
        figures_json=_embedded(report.facts),
        version=fullconv.__version__,
    )


def glued(text: str) -> str:
    """`text` with numbers that stay in one line with their units: `896 px`, `8.3 %`."""
    return re.sub(
        r"(?<=\d) (?=(?:%|px|[mµ]?s|[KMGTk]i?B|[MG]?MACs|cells?|times)\b|%)", "\u00a0", text
    )


def _shown(section: Section, place: str) -> dict[str, Any]:
    """What the template shows of a section. Its anchor stays the same when sections move."""
    anchor = re.sub(r"[^a-z0-9]+", "-", section.key.lower()).strip("-") or f"section-{place}"
    charts = []
    for index, chart in enumerate(section.charts, 1):
        drawn = svg(chart, f"{anchor}-{index}")
        if drawn:
            more = says_more(chart, section.tables)
            shown = {"title": chart.title, "svg": Markup(drawn)}
            charts.append({**shown, "figures": figures(chart) if more else None})
    return {
        "anchor": anchor,
        "title": section.title,
        "verdict": section.verdict,
        "text": section.text,
        "tables": section.tables,
        "charts": charts,
        "pictures": [_inline(picture) for picture in section.pictures],
        "skipped": section.skipped,
        "how": section.how,
    }


def _inline(picture: Picture) -> dict[str, Any]:
    """A picture as part of the page."""
    image = PIL.Image.fromarray(picture.pixels)
    image.thumbnail((LARGEST, LARGEST))  # leaves smaller ones alone
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"
    return {
        "caption": picture.caption,
        "alt": picture.alt or picture.caption,
        "source": source,
        "width": image.width,
        "height": image.height,
    }


def _embedded(facts: Mapping[str, Any]) -> Markup:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(finite(facts), allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)
