"""The questions of an audit: which function answers each, and its share of the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
        """The section; where it fails for a reason of its own, one that says so."""
        try:
            return self.ask(subject, seconds, say)
        except FullconvError as error:
            same = error is subject.refused
            reason = "The network cannot be converted." if same else str(error)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = "The memory does not suffice."
        return Section(self.key, self.title, skipped=(reason,))


SECTIONS: tuple[Question, ...] = (
    Question(function.KEY, function.TITLE, function.section, function.SECONDS),
    Question(parameters.KEY, parameters.TITLE, parameters.section, parameters.SECONDS),
    Question(growth.KEY, growth.TITLE, growth.section, growth.SECONDS),
    Question(coarseness.KEY, coarseness.TITLE, coarseness.section, coarseness.SECONDS),
    Question(pools.KEY, pools.TITLE, pools.section, pools.SECONDS),
    Question(shift.KEY, shift.TITLE, shift.section, shift.SECONDS),
    Question(batching.KEY, batching.TITLE, batching.section, batching.SECONDS),
)
"""In the order of the report."""
