"""The answer to all of an audit, in a sentence or two."""

from __future__ import annotations

from collections.abc import Sequence

from fullconv.auditing.figures import counted
from fullconv.auditing.section import Section
from fullconv.auditing.sections import function
from fullconv.auditing.subject import Subject

SEES = {"window": "the window around every cell", "image": "all of the image"}
"""What ops that look at the whole map see in a larger image, in words."""


def headline(subject: Subject, sections: Sequence[Section]) -> str:
    """Whether the network can be made fully convolutional, and how nearly it stays the same."""
    if subject.refused is not None:
        return f"No: the network cannot be made fully convolutional. {subject.refused}"
    if _disproved(sections):
        return (
            "No: the network was made fully convolutional, and the certificate shows that the "
            "result does not compute the same."
        )
    plan = subject.fcn.plan
    if plan.contexts:
        return (
            "Yes, with a choice: the network can be made fully convolutional, exactly at its "
            f"window. {counted(len(plan.contexts), 'context op looks', 'context ops look')} at "
            "the whole map, and in a larger image there is no single right answer for them; here "
            f"they see {SEES[plan.context]}."
        )
    return "Yes: the network can be made fully convolutional exactly."


def _disproved(sections: Sequence[Section]) -> bool:
    """Whether a certificate was measured and failed."""
    made = [section.facts for section in sections if section.key == function.KEY]
    return any("certificate" in facts and not facts["certificate"]["ok"] for facts in made)
