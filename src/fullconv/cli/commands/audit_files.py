"""The files that `fullconv audit` writes: the report as a page, as Markdown, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fullconv.cli.answers import as_text
from fullconv.cli.options import distinct
from fullconv.errors import UsageError
from fullconv.storage.files import atomic
from fullconv.storage.outputs import check_writable


if TYPE_CHECKING:
    from fullconv.auditing.pages.report import Report


def _page(report: Report) -> str:
    from fullconv.auditing.pages.html import html

    return html(report)


def _markdown(report: Report) -> str:
    from fullconv.auditing.pages.markdown import markdown

    return markdown(report)


def _data(report: Report) -> str:
    return as_text(report.facts) + "\n"


WRITERS: dict[str, Callable[[Report], str]] = {
    ".html": _page,
    ".htm": _page,
    ".md": _markdown,
    ".json": _data,
}


@dataclass(frozen=True, slots=True)
class AuditFiles:
    """Where to write; the form of each file is that of its ending."""

    paths: tuple[Path, ...]

    @classmethod
    def named(cls, outputs: Sequence[str]) -> AuditFiles:
        """From the words of the command. Raises UsageError for an ending that is not known."""
        for output in outputs:
            if Path(output).suffix.lower() not in WRITERS:
                raise UsageError(f"-o {output} must be a name that ends in .html, .md or .json.")
        return cls(tuple(map(Path, outputs)))

    def check(self, inputs: dict[str, Path | None]) -> None:
        """Raise what writing would raise, before the work is done.

        Nothing is overwritten that is read, and no file is written twice. A page with charts needs
        matplotlib: MissingExtraError where it is not installed.
        """
        for place, path in enumerate(self.paths):
            earlier = {f"what -o {other} writes": other for other in self.paths[:place]}
            distinct({"-o": path}, {**inputs, **earlier})
        check_writable(*self.paths)
        if any(WRITERS[path.suffix.lower()] is _page for path in self.paths):
            from fullconv.auditing.pages.plots import import_matplotlib

            import_matplotlib()

    def write(self, report: Report) -> list[str]:
        """Write all files or none; their names."""
        texts = [WRITERS[path.suffix.lower()](report) for path in self.paths]
        with ExitStack() as stack:
            for path, text in zip(self.paths, texts, strict=True):
                # What UTF-8 cannot write are halves of a surrogate pair in a file's name.
                part = stack.enter_context(atomic(path))
                part.write_text(text, "utf-8", "backslashreplace", newline="")
        return [str(path) for path in self.paths]
