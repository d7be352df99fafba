"""The files that `fullconv audit` writes: the report as a page, as Markdown, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fullconv.cli.options import distinct
from fullconv.storage.files import atomic
from fullconv.storage.outputs import check_writable

if TYPE_CHECKING:
    from fullconv.auditing.pages.report import Report


@dataclass(frozen=True, slots=True)
class AuditFiles:
    """Where to write; the form of each file is that of its ending."""

    paths: tuple[Path, ...]

    @classmethod
    def named(cls, outputs: Sequence[str]) -> AuditFiles:
        """From the words of the command. Raises UsageError for an ending that is not known."""
        from fullconv.auditing.pages.write import writer_of

        for output in outputs:
            writer_of(output, "-o")
        return cls(tuple(map(Path, outputs)))

    def check(self, inputs: dict[str, Path | None]) -> None:
        """Raise what writing would raise, before the work is done.

        Nothing is overwritten that is read, and no file is written twice. A page needs matplotlib:
        MissingExtraError where it is not installed.
        """
        from fullconv.auditing.pages.write import PAGES, ending

        for place, path in enumerate(self.paths):
            earlier = {f"what -o {other} writes": other for other in self.paths[:place]}
            distinct({"-o": path}, {**inputs, **earlier})
        check_writable(*self.paths)
        if any(ending(path) in PAGES for path in self.paths):
            from fullconv.auditing.pages.plots import import_matplotlib

            import_matplotlib()

    def write(self, report: Report) -> list[str]:
        """Write all files or none; their names."""
        from fullconv.auditing.pages.write import written

        texts = [written(report, path) for path in self.paths]
        with ExitStack() as stack:
            for path, text in zip(self.paths, texts, strict=True):
                stack.enter_context(atomic(path)).write_bytes(text)
        return [str(path) for path in self.paths]
