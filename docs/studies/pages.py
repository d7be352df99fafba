"""Pages of the documentation with a part that a command makes, and the Markdown in it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from fullconv.storage.files import atomic

END = "<!-- to here -->"


def begin(command: str) -> str:
    """What stands in front of the part that `command` makes."""
    return f"<!-- made by {command}, from here -->"


def write(path: Path, command: str, body: str) -> None:
    """Put `body` between the markers of the page. Raises SystemExit if it has none."""
    text = path.read_text(encoding="utf-8")
    before, mark, rest = text.partition(begin(command))
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"{path} has no markers {begin(command)} and {END}")
    with atomic(path) as part:
        part.write_text(f"{before}{mark}\n\n{body}\n{END}{after}", encoding="utf-8")


def wrapped(text: str) -> str:
    """A paragraph in lines."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
