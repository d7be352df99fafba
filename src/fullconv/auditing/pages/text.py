"""An audit as text for a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from fullconv.auditing.pages.report import Report, glued, tables
from fullconv.auditing.section import Section
from fullconv.tables import table

WIDEST = 100  # columns of running text; longer lines are hard to read


def text(report: Report) -> str:
    """The whole report; charts are tables of their points where they say more than the tables."""
    parts = [verdict(report)]
    for section in report.sections:
        parts += _section(section)
    return "\n\n".join(parts) + "\n"


def verdict(report: Report) -> str:
    """What is said at the top: the network, remarks, and the answer to each question."""
    parts = [f"Audit of {_plain(report.title)}"]
    if report.about:
        parts.append(table((), [(_plain(n), _plain(v)) for n, v in report.about]).rstrip("\n"))
    parts += [_wrapped(remark) for remark in report.remarks]
    if report.headline:
        parts.append("\n".join(_wrapped(line) for line in report.headline.splitlines()))
    for section in report.sections:
        if section.verdict:
            parts.append(f"{_wrapped(section.title)}\n{_wrapped(_joined(section.verdict), '  ')}")
    return "\n\n".join(parts)


def _section(section: Section) -> list[str]:
    title = _wrapped(section.title)
    parts = [f"{title}\n{'=' * max(map(len, title.splitlines()))}"]
    if section.verdict:
        parts.append(_wrapped(_joined(section.verdict)))
    parts += map(_wrapped, section.text)
    for shown in tables(section):
        rows = [[_plain(cell) for cell in row] for row in shown.rows]
        laid = table([_plain(name) for name in shown.header], rows, numbers=True).rstrip("\n")
        parts.append(f"{_wrapped(shown.caption)}\n\n{laid}" if shown.caption else laid)
    parts += [_wrapped(f"Picture: {picture.caption}") for picture in section.pictures]
    if section.skipped:
        parts.append(_wrapped(f"Left out: {_joined(section.skipped)}"))
    if section.how:
        parts.append(_wrapped(f"How: {_joined(section.how)}"))
    return parts


def _wrapped(sentence: str, indent: str = "") -> str:
    width = min(WIDEST, max(80, shutil.get_terminal_size((WIDEST, 24)).columns))
    filled = textwrap.fill(
        glued(_plain(sentence)), width, initial_indent=indent, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return filled.replace("\u00a0", " ")


def _joined(sentences: Sequence[str]) -> str:
    return " ".join(sentences)


def _plain(text: str) -> str:
    """One line without characters that would move the cursor or change colours."""
    joined = " ".join(text.split())
    return "".join(char if char.isprintable() else "�" for char in joined)
