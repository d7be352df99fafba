"""What functions and tensor methods compute, in the words of the blueprint.

A reader has the parameters of the function it stands for, so that positional and keyword arguments
sort themselves out; tensors come as `Operand`s. It returns the op and the operands it reads.
"""

from __future__ import annotations

from typing import Any

from fullconv.hosts.torch_fx.functions import features, numberwise, shapes, space
from fullconv.hosts.torch_fx.functions.numberwise import stochastic_depth
from fullconv.hosts.torch_fx.functions.operand import Operand, Reader, operands
from fullconv.hosts.torch_fx.functions.shapes import SPLITS, piece

FUNCTIONS: dict[Any, Reader] = {
    **numberwise.FUNCTIONS,
    **shapes.FUNCTIONS,
    **space.FUNCTIONS,
    **features.FUNCTIONS,
}
"""Everything fullconv knows of functions; tensor methods stand under their names."""

NAMED: dict[str, Reader] = {
    "torchvision.ops.stochastic_depth.stochastic_depth": stochastic_depth,
}
"""Functions of other libraries, by their full name: they are never imported for it."""

__all__ = ["FUNCTIONS", "NAMED", "SPLITS", "Operand", "operands", "piece"]
