"""A report written to a file, in the form that its ending says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from fullconv.auditing.pages.html import html
from fullconv.auditing.pages.markdown import markdown
from fullconv.auditing.pages.report import Report
from fullconv.errors import UsageError
from fullconv.storage.description import finite
from fullconv.storage.files import atomic


def _data(report: Report) -> str:
    return json.dumps(finite(report.facts), indent=1, allow_nan=False) + "\n"


WRITERS: dict[str, Callable[[Report], str]] = {
    ".html": html,
    ".htm": html,
    ".md": markdown,
    ".json": _data,
}


PAGES = (".html", ".htm")
"""Endings of files with charts, which need matplotlib."""


def writer_of(path: str | Path, option: str = "") -> Callable[[Report], str]:
    """What writes a file of this name. Raises UsageError for an ending that is not known.

    `option` is what a command calls the file, such as "-o".
    """
    writer = WRITERS.get(ending(path))
    if writer is None:
        said = f"{option} {path}".lstrip()
        raise UsageError(f"{said} must be a name that ends in .html, .md or .json.")
    return writer


def ending(path: str | Path) -> str:
    """The ending that says the form."""
    return Path(path).suffix.lower()


def written(report: Report, path: str | Path) -> bytes:
    """What is written of a report to a file of this name, in UTF-8.

    Raises UsageError for an ending that is not known, MissingExtraError for a page with charts
    without matplotlib.
    """
    # What UTF-8 cannot write are halves of a surrogate pair in a file's name.
    return writer_of(path)(report).encode("utf-8", "backslashreplace")


def write(report: Report, path: str | Path) -> None:
    """Write a report whole or not at all.

    Raises what `written` raises, and FullconvError where the file cannot be written.
    """
    page = written(report, path)
    with atomic(path) as part:
        part.write_bytes(page)
