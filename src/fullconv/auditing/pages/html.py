"""An audit as one web page that needs nothing beside it: no network, no script, no other file."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
import PIL.Image
from markupsafe import Markup

import fullconv
from fullconv.auditing.pages.charts import svg
from fullconv.auditing.pages.report import Report, figures, glued, says_more
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
    names = _anchors(report.sections)
    sections = [_shown(*entry) for entry in zip(report.sections, names, strict=True)]
    text = template.render(
        report=report,
        sections=sections,
        verdicts=[section for section in sections if section["verdict"]],
        css=Markup(files.joinpath("report.css").read_text("utf-8")),
        figures_json=_embedded(report.facts),
        version=fullconv.__version__,
    )
    # A file's name may hold bytes that are no text, and a class name anything.
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", "\ufffd", text)


def _anchors(sections: Sequence[Section]) -> list[str]:
    """A name for each section by which the page links to it: its key, if it can be."""
    names: list[str] = []
    for place, section in enumerate(sections, 1):
        name = re.sub(r"[^a-z0-9]+", "-", section.key.lower()).strip("-")
        taken = not name or name in (*names, "verdict", "figures")
        names.append(f"{name or 'section'}-{place}" if taken else name)
    return names


def _shown(section: Section, anchor: str) -> dict[str, Any]:
    """What the template shows of a section."""
    charts = []
    for index, chart in enumerate(section.charts, 1):
        drawn = svg(chart, f"{anchor}-chart-{index}")
        if drawn:
            more = says_more(chart, section.tables)
            shown = {"title": chart.title, "svg": Markup(drawn)}
            charts.append({**shown, "figures": figures(chart) if more else None})
    return {
        "anchor": anchor,
        "title": section.title,
        "verdict": section.verdict,
        "text": section.text,
        "tables": [table for table in section.tables if table.rows],
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
