"""Files: images are read here, and every output is written here, whole or not at all."""

MAX_PIXELS = 200_000_000
"""Px of the largest image that is read unless told otherwise: it is held in memory as a whole."""
