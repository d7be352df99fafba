"""The colour map of score pictures: from dark indigo over red to yellow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Evenly spaced. Each anchor is about 10 L* (CIE lightness) above the one before, so that the order
# of two scores survives a grey printer and every kind of colour blindness.
ANCHORS = np.array(
    [
        (33, 10, 91),
        (76, 9, 115),
        (126, 0, 122),
        (175, 4, 103),
        (221, 26, 62),
        (242, 86, 3),
        (246, 139, 5),
        (254, 180, 28),
        (255, 220, 79),
    ],
    dtype=np.float64,
)


def colors(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """sRGB colours 0..255, `(…, 3)` float64, of values `(…)`; below 0 and above 1 are clipped."""
    places = np.clip(np.asarray(values, dtype=np.float64), 0, 1) * (len(ANCHORS) - 1)
    knots = np.arange(len(ANCHORS))
    return np.stack([np.interp(places, knots, channel) for channel in ANCHORS.T], axis=-1)
