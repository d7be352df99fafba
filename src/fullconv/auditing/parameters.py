"""What happens to the parameters?"""

from __future__ import annotations

from collections.abc import Callable

from fullconv.auditing.figures import counted
from fullconv.auditing.section import Section
from fullconv.auditing.subject import Subject

KEY, TITLE = "parameters", "What happens to the parameters?"

SECONDS = 15.0
"""What it takes with VGG-16 on two cores."""


def section(subject: Subject, seconds: float, say: Callable[[str], None]) -> Section:
    """Parameters before and after."""
    total = sum(parameter.numel() for parameter in subject.model.parameters())
    return Section(
        KEY,
        TITLE,
        verdict=(f"The classifier has {counted(total, 'parameter')}.",),
        facts={"total": total},
    )
