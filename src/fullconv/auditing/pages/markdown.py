"""An audit as GitHub's Markdown."""

from __future__ import annotations

import re

import fullconv
from fullconv.auditing.pages.report import Report, tables
from fullconv.auditing.section import Section, Table


def markdown(report: Report) -> str:
    """The report. Charts are tables of their points where they say more than the tables do.

    Pictures are named, not shown: a text file cannot hold them.
    """
    parts = [f"# Audit of {escaped(report.title)}"]
    if report.about:
        parts.append("\n".join(f"- {escaped(n)}: {escaped(value)}" for n, value in report.about))
    parts += [f"> {escaped(remark)}" for remark in report.remarks]
    answered = [section for section in report.sections if section.verdict]
    if answered or report.headline:
        parts.append("## The verdict")
    if report.headline:
        first, *others = map(escaped, report.headline.splitlines())
        parts += [f"**{first}**", *others]
    lines = [
        f"- [{escaped(section.title)}](#{anchor(section.title)}) {_joined(section.verdict)}"
        for section in answered
    ]
    parts += ["\n".join(lines)] if lines else []
    for section in report.sections:
        parts += _section(section)
    parts.append(f"Made by fullconv {fullconv.__version__}.")
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> list[str]:
    parts = [f"## {escaped(section.title)}"]
    if section.verdict:
        first, *others = map(escaped, section.verdict)
        parts.append(" ".join([f"**{first}**", *others]))
    parts += map(escaped, section.text)
    for table in tables(section):
        parts += ([escaped(table.caption)] if table.caption else []) + [_table(table)]
    parts += [
        f"*{escaped(picture.caption)}* ({escaped(picture.alt or 'a picture')}; see the HTML report)"
        for picture in section.pictures
    ]
    if section.skipped:
        parts.append(f"Left out: {_joined(section.skipped)}")
    if section.how:
        parts.append(f"<sub>How: {_joined(section.how)}</sub>")
    return parts


def _table(table: Table) -> str:
    rows = [table.header, *table.rows]
    lines = ["| " + " | ".join(map(escaped, row)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join(["---", *["---:"] * (len(table.header) - 1)]) + "|")
    return "\n".join(lines)


def _joined(sentences: tuple[str, ...]) -> str:
    return " ".join(map(escaped, sentences))


def escaped(text: str) -> str:
    """`text` so that it is shown as it stands, on one line."""
    text = " ".join(text.split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*|\[\]$~])", r"\\\1", text)
    # Within a word, as in mobilenet_v2, it means nothing.
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    return re.sub(r"^(#+|[-+]|\d+\.)(?= |$)", lambda m: m[0][:-1] + "\\" + m[0][-1], text)


def anchor(title: str) -> str:
    """The name by which GitHub links to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
