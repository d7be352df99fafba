"""Words for evaluations, and a default, that the command line shows without heavy imports."""

from __future__ import annotations

from collections.abc import Sequence

from fullconv.errors import UsageError

EVALUATIONS = ("centre", "dense", "multi-crop", "both")
"""One crop, the averaged map, a regular grid of crops, and the mean of the last two."""

AVERAGES = ("scores", "probabilities")
"""What dense evaluation averages over the map: what the network gives, or its softmax."""

BATCH = 32
"""Images of equal size, or crops, in one call of the network, at most."""


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Raise UsageError unless `value` is one of the known words."""
    if value not in known:
        raise UsageError(f"{name}={value!r} must be one of {', '.join(map(repr, known))}.")
