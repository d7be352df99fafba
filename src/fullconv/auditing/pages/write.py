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


def write(report: Report, path: str | Path) -> None:
    """Write a report whole or not at all.

    Raises UsageError for an ending that is not known, FullconvError where it cannot be written.
    """
    writer = WRITERS.get(Path(path).suffix.lower())
    if writer is None:
        raise UsageError(f"{path} must be a name that ends in .html, .md or .json.")
    page = writer(report)
    with atomic(path) as part:
        part.write_text(page, "utf-8", "backslashreplace", newline="")
