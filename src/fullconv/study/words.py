"""Words of a study that the command line shows without heavy imports."""

from __future__ import annotations

VARIANTS = ("fc", "exact", "gap", "strided", "convpool", "allconv")
"""The network itself, its exact conversion, and four networks that Springenberg et al. compare."""

SEEDS = 5
