"""A mark in the environment, which child processes inherit: a file of the user's is being imported.

Fullconv imports files that hold networks, and processes that it starts import the program that was
started. Either may start fullconv again where it stands at the top of the file, and so on for ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from fullconv.errors import UsageError

IMPORTING = "FULLCONV_IMPORTING"


@contextmanager
def importing(file: str) -> Iterator[None]:
    """Mark this process, and those that it starts meanwhile, as importing `file`."""
    before = os.environ.get(IMPORTING)
    os.environ[IMPORTING] = file
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(IMPORTING, None)
        else:
            os.environ[IMPORTING] = before


def imported() -> None:
    """Take the mark away in a process that has imported what it was marked for."""
    os.environ.pop(IMPORTING, None)


def refuse_while_importing() -> None:
    """Raise UsageError in a process that is marked."""
    file = os.environ.get(IMPORTING)
    if file is not None:
        raise UsageError(
            "starts fullconv while fullconv imports it.",
            where=file,
            why="Every start would import it again, without end.",
            hint='Put what starts it under `if __name__ == "__main__":`.',
        )
