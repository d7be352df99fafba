"""The questions of an audit: which function answers each, and its share of the time."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fullconv
from fullconv.auditing.section import Section
from fullconv.auditing.sections import (
    batching,
    coarseness,
    function,
    growth,
    parameters,
    pools,
    shift,
)
from fullconv.auditing.subject import Subject
from fullconv.errors import FullconvError
from fullconv.evaluate.scoring import is_out_of_memory

PACKAGE = Path(fullconv.__file__).parent
"""Where the code of fullconv is."""

Say = Callable[[str], None]
"""Called with what is being measured."""

Answer = Callable[[Subject, float, Say], Section]
"""From a subject and the seconds that may be spent to a section."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a network.

    Attributes:
        key: its name in JSON and in `sections=`.
        title: the question, for people.
        ask: answers it.
        share: of the time; shares are relative to each other.
    """

    key: str
    title: str
    ask: Answer
    share: float

    def answer(self, subject: Subject, seconds: float, say: Say) -> Section:
        """The section; where it fails for a reason of its own, one that says so.

        What the network raises ends the section and not the audit. What fullconv raises without
        meaning to, and what `say` raises, ends both.
        """
        stopped: list[Exception] = []

        def told(what: str) -> None:
            try:
                say(what)
            except Exception as error:
                stopped.append(error)
                raise

        try:
            return self.ask(subject, seconds, told)
        except FullconvError as error:
            if error in stopped:
                raise
            same = error is subject.refused
            reason = "The network cannot be converted." if same else str(error)
        except Exception as error:
            if error in stopped:
                raise
            if is_out_of_memory(error):
                reason = "The memory does not suffice."
            elif raised_here(error):
                raise
            else:
                reason = f"It stopped with {_in_words(error)}."
        return Section(self.key, self.title, skipped=(reason,))


def raised_here(error: BaseException) -> bool:
    """Whether the innermost Python code that was running is fullconv's own."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and Path(frames[-1][0].f_code.co_filename).is_relative_to(PACKAGE)


def _in_words(error: Exception) -> str:
    """`RuntimeError: sizes differ`, in one line."""
    lines = str(error).strip().splitlines()
    name = type(error).__name__
    return f"{name}: {lines[0].rstrip('.')}" if lines else name


SECTIONS: tuple[Question, ...] = (
    Question(function.KEY, function.TITLE, function.section, function.SHARE),
    Question(parameters.KEY, parameters.TITLE, parameters.section, parameters.SHARE),
    Question(growth.KEY, growth.TITLE, growth.section, growth.SHARE),
    Question(coarseness.KEY, coarseness.TITLE, coarseness.section, coarseness.SHARE),
    Question(pools.KEY, pools.TITLE, pools.section, pools.SHARE),
    Question(shift.KEY, shift.TITLE, shift.section, shift.SHARE),
    Question(batching.KEY, batching.TITLE, batching.section, batching.SHARE),
)
"""In the order of the report."""
