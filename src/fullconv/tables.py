"""Plain text tables for people; the one place that lays them out."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence

MAX_WIDTH = 160


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    numbers: bool = False,
) -> str:
    """Rows as aligned text without colour; an empty header leaves the header line out.

    As wide as the terminal, within 80 to 160 columns; long cells wrap. With `numbers` every column
    but the first is aligned to the right.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    grid = Table(
        box=SIMPLE_HEAD if header else None,
        show_header=bool(header),
        title=title or None,
        title_justify="left",
        pad_edge=False,
        show_edge=False,
    )
    for column in range(max([len(header), *(len(row) for row in rows)], default=0)):
        grid.add_column(
            header[column] if header else "",
            overflow="fold",
            justify="right" if numbers and column else "left",
        )
    for row in rows:
        grid.add_row(*(cell.replace("[", r"\[") for cell in row))
    width = min(MAX_WIDTH, max(80, shutil.get_terminal_size((120, 24)).columns))
    out = io.StringIO()
    Console(file=out, width=width, no_color=True, highlight=False).print(grid)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
