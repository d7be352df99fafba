"""Blueprints written by hand: rules and planner need no tensors."""

from collections.abc import Sequence

from fullconv.blueprint import Blueprint, Constant, Input, Node, Op, Output
from fullconv.geometry import Sweep
from fullconv.surgery.edits import Edit
from fullconv.surgery.plan import Plan
from fullconv.surgery.planner import make_plan

BATCH = 2

Step = tuple[Op, tuple[int, ...]] | tuple[Op, tuple[int, ...], Sequence[str]]


def square(kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1, *, ceil: bool = False):
    """The same sweep along two axes."""
    return (Sweep(kernel, stride, (pad, pad), dilation, ceil),) * 2


def blueprint(window: tuple[int, ...], *steps: Step, channels: int = 3) -> Blueprint:
    """Nodes `n0` (the image), `n1`, `n2`, … each reading the one before, or those named.

    Shapes are without the batch; constants, whose shapes are whole, read nothing and are not read
    by what follows unless named.
    """
    nodes = [Node("n0", Input(), (), (BATCH, channels, *window), "the image")]
    last = "n0"
    for number, (op, shape, *named) in enumerate(steps, 1):
        name = f"n{number}"
        if isinstance(op, Constant):
            nodes.append(Node(name, op, (), shape, name))
            continue
        inputs = tuple(named[0]) if named else (last,)
        nodes.append(Node(name, op, inputs, (BATCH, *shape), name))
        last = name
    nodes.append(Node("end", Output(), (last,), nodes[-1].shape, "output"))
    return Blueprint(tuple(nodes), window, channels, BATCH)


def plan(window: tuple[int, ...], *steps: Step, channels: int = 3) -> Plan:
    """The plan of such a blueprint."""
    return make_plan(blueprint(window, *steps, channels=channels))


def edits(window: tuple[int, ...], *steps: Step, channels: int = 3) -> dict[str, Edit]:
    """Its edits."""
    return plan(window, *steps, channels=channels).edits


def own_kinds(base: type) -> list[type]:
    """The subclasses that fullconv itself has; tests of added rules make others."""
    return [kind for kind in base.__subclasses__() if kind.__module__ == base.__module__]
