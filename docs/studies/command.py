"""What the commands of all studies share: what they say, and how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from fullconv.errors import FullconvError


def say(text: str) -> None:
    """Progress and remarks."""
    print(text, file=sys.stderr, flush=True)


def run(main: Callable[[], int]) -> NoReturn:
    """Run a study and exit: an error is a message, Ctrl-C leaves what is done."""
    try:
        sys.exit(main())
    except FullconvError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("stopped; what is done stays, run it again to go on")
        sys.exit(130)
