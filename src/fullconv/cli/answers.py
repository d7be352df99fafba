"""What a command says: the answer on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from fullconv.errors import FullconvError
from fullconv.storage.description import finite


def say(text: str) -> None:
    """Progress and remarks, on stderr; above a progress bar, if there is one.

    click.echo would write past the stream that a bar puts in the place of stderr.
    """
    print(text, file=sys.stderr, flush=True)


def show(text: str, data: Mapping[str, Any], as_json: bool) -> None:
    """The answer, on stdout: text for people or JSON for programs."""
    show_line(as_text(data) if as_json else text.rstrip("\n"))


def as_text(data: Mapping[str, Any]) -> str:
    """JSON in plain ASCII, which every terminal and pipe takes; NaN and infinity become null."""
    return json.dumps(finite(data), indent=1, allow_nan=False)


def show_line(answer: str) -> None:
    """A part of the answer, on stdout at once."""
    try:
        click.echo(answer)
    except BrokenPipeError:
        raise
    except OSError as error:
        hush()
        raise FullconvError(
            f"the answer cannot be written: {error.strerror}.", where="stdout"
        ) from error


def hush() -> None:
    """Send the rest of stdout nowhere: Python would try to write it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
