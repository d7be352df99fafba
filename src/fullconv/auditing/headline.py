"""The answer to all of an audit, in a sentence or two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fullconv.auditing.figures import counted, figure
from fullconv.auditing.section import Section
from fullconv.auditing.sections import function, growth, parameters
from fullconv.auditing.subject import Subject
from fullconv.geometry import times

SEES = {"window": "the window around every cell", "image": "all of the image"}
"""What ops that look at the whole map see in a larger image, in words."""

UNPROVED = "by its plan (not proved in this run)"
"""What is said where no certificate was measured."""


def headline(subject: Subject, sections: Sequence[Section]) -> str:
    """Whether the network can be made fully convolutional, how nearly it stays the same, and what
    that costs, as far as the sections have it."""
    if subject.refused is not None:
        return f"No: the network cannot be made fully convolutional. {subject.refused}"
    facts = {section.key: section.facts for section in sections}
    certificate = facts.get(function.KEY, {}).get("certificate")
    if certificate is not None and not certificate["ok"]:
        return (
            "No: the network was made fully convolutional, and the certificate shows that the "
            "result does not compute the same."
        )
    said = [_answer(subject, proved=certificate is not None), *_cost(facts)]
    if certificate is None:
        said += [
            f"There is no certificate: {reason}"
            for section in sections
            for reason in section.skipped[:1]
            if section.key == function.KEY
        ]
    return " ".join(said)


def _answer(subject: Subject, *, proved: bool) -> str:
    plan = subject.fcn.plan
    words = ["Yes", *([] if proved else [UNPROVED]), *(["with a choice"] if plan.contexts else [])]
    yes = ", ".join(words)
    if plan.contexts:
        return (
            f"{yes}: the network can be made fully convolutional, exactly at its "
            f"window. {counted(len(plan.contexts), 'context op looks', 'context ops look')} at "
            "the whole map, and in a larger image there is no single right answer for them; here "
            f"they see {SEES[plan.context]}."
        )
    return f"{yes}: the network can be made fully convolutional exactly."


def _cost(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What stays and what grows, in one sentence, of the sections that are there."""
    said = []
    heads = {one["key"]: one for one in facts.get(parameters.KEY, {}).get("variants", ())}
    if "exact" in heads and heads["exact"]["parameters"] == heads["classifier"]["parameters"]:
        said.append(f"it keeps its {counted(heads['exact']['parameters'], 'parameter')}")
    rows = facts.get(growth.KEY, {}).get("rows", ())
    if len(rows) > 1 and rows[0]["macs"]:
        more = figure(rows[-1]["macs"] / rows[0]["macs"])
        said.append(
            f"a map of {times(rows[-1]['size'])} px takes {more} times the MACs of the window"
        )
    sentence = "; ".join(said)
    return [f"{sentence[0].upper()}{sentence[1:]}."] if said else []
