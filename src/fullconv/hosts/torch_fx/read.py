"""From an `nn.Module` to a blueprint."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn

from fullconv.blueprint import (
    Blueprint,
    Combine,
    Constant,
    Elementwise,
    Identity,
    Input,
    Node,
    Op,
    Output,
    Refused,
    Unknown,
)
from fullconv.errors import RefusedError, UsageError
from fullconv.geometry import per_axis
from fullconv.hosts.torch_fx.functions import FUNCTIONS, NAMED, SPLITS, Operand, operands, piece
from fullconv.hosts.torch_fx.modules import FOREIGN, MODULES, qualified
from fullconv.hosts.torch_fx.naming import spelled
from fullconv.hosts.torch_fx.recorded import BATCH
from fullconv.hosts.torch_fx.tracing import Recorder

_CONVOLUTIONS = (nn.modules.conv._ConvNd, nn.modules.conv._ConvTransposeNd)


@dataclass(frozen=True, slots=True)
class Reading:
    """A classifier that has been read.

    Attributes:
        model: the classifier itself, untouched.
        graph: what it computes, as recorded; runs for any batch at the window.
        constants: tensors that `forward` made or found outside parameters and buffers.
        blueprint: the same graph in neutral words.
    """

    model: nn.Module
    graph: fx.Graph
    constants: dict[str, torch.Tensor]
    blueprint: Blueprint


def spatial_dims(model: nn.Module, default: int = 2) -> int:
    """How many spatial axes the network works on: those of its first convolution."""
    first = next((m for m in model.modules() if isinstance(m, _CONVOLUTIONS)), None)
    return default if first is None else len(first.kernel_size)


def read(
    model: nn.Module,
    window: int | tuple[int, ...],
    example: torch.Tensor | None = None,
) -> Reading:
    """Trace a classifier at its window.

    The number of image channels is found by trying those of the network's convolutions; `example`,
    an input `(N, C, *space)`, settles it where that fails.

    Raises RefusedError if the network cannot be traced, UsageError for a window that has the wrong
    number of axes.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"the model must be a torch.nn.Module, got {type(model).__name__}.")
    dims = spatial_dims(model) if example is None else example.ndim - 2
    size = per_axis(window, dims, "window")
    floats = (p for p in model.parameters() if p.is_floating_point())
    like = example if example is not None else next(floats, torch.empty(0))
    refusal: RefusedError | None = None
    for channels in _channels(model) if example is None else iter([example.shape[1]]):
        recorder = Recorder(size, channels, like)
        try:
            graph = recorder.record(model)
        except RefusedError as error:
            refusal = refusal or error
            continue
        blueprint = Blueprint(tuple(_nodes(graph, model)), size, channels, BATCH)
        return Reading(model, graph, recorder.constants, blueprint)
    assert refusal is not None
    raise refusal


def _channels(model: nn.Module) -> Iterator[int]:
    """Numbers of image channels to try, likeliest first."""
    convolutions = [m for m in model.modules() if isinstance(m, _CONVOLUTIONS)]
    counts = [m.in_channels for m in convolutions]
    yield from dict.fromkeys([*counts[:1], 3, 1, *list(dict.fromkeys(counts))[1:4]])


def _nodes(graph: fx.Graph, model: nn.Module) -> Iterator[Node]:
    """Every node of the graph in neutral words."""
    for node in graph.nodes:
        value = node.meta.get("value")
        if isinstance(value, int) and node.op != "output":
            continue  # a number derived from the batch
        if _splits(node):
            continue  # its pieces are slices
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else ()
        op, inputs = described(node, model)
        yield Node(
            node.name,
            op,
            tuple(operand.name for operand in inputs),
            shape,
            node.meta.get("where", node.name),
            node.meta.get("problem", ""),
        )


def described(node: fx.Node, model: nn.Module) -> tuple[Op, tuple[Operand, ...]]:
    """What a node computes, and of which tensors; `meta["value"]` of all nodes is known."""
    args, kwargs = fx.map_arg((node.args, node.kwargs), _operand)
    if node.op == "placeholder":
        return Input(), ()
    if node.op == "get_attr":
        return Constant(), ()
    inputs = operands((args, kwargs))
    if node.op == "output":
        if not inputs:
            raise RefusedError(
                f"returns {type(args[0]).__name__.removeprefix('immutable_')} without a tensor.",
                where=type(model).__name__,
                why="A score map needs an answer per window.",
                hint="Wrap the model so that forward returns its scores.",
            )
        return Output(_names(args[0]) if len(inputs) > 1 else ()), inputs
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        describe = MODULES.get(type(module)) or FOREIGN.get(qualified(type(module)))
        if describe is None or not inputs:
            return _unknown(type(module)), inputs
        found = describe(module, inputs[0].shape)
        unknown = _unknown(type(module), " with several tensors", "module")
        if isinstance(found, Unknown):
            return replace(found, line=unknown.line), inputs
        if len(inputs) == 1 or isinstance(found, Refused):
            return found, inputs[:1]
        return Combine(found.name) if isinstance(found, Elementwise) else unknown, inputs
    if node.target is operator.getitem and not inputs[0].shape:
        return _piece(node) or (Identity("one of several results"), inputs)
    reader = FUNCTIONS.get(node.target) or NAMED.get(qualified(node.target))
    if reader is None:
        return _unknown(node.target), inputs
    try:
        read = reader(*args, **kwargs)
    except (TypeError, AttributeError, IndexError, ZeroDivisionError):
        read = None  # called in a way the reader does not know
    return read or (_unknown(node.target, " with these arguments", "function"), inputs)


def _unknown(target: Any, how: str = "", table: str = "") -> Unknown:
    """An op without a rule, or whose reader in a `table` does not know how it is used."""
    words = spelled(target)
    name = f"Tensor.{target}" if isinstance(target, str) else words
    if table:
        line = f"{table}({words}, reader, replace=True)  # a reader that knows this use"
    else:
        line = f"elementwise({words})  # if it works on each number by itself"
    return Unknown(name + how, f"fullconv.api.extend.{line}")


def _splits(node: fx.Node) -> bool:
    """Whether a node cuts a tensor into pieces that are read one by one."""
    return node.target in SPLITS and all(user.target is operator.getitem for user in node.users)


def _piece(node: fx.Node) -> tuple[Op, tuple[Operand, ...]] | None:
    """What `pieces[index]` reads, as a slice of the tensor that was cut."""
    source: Any = node.args[0]
    if not _splits(source):
        return None
    args, kwargs = fx.map_arg((source.args, source.kwargs), _operand)
    axis_of, dropped = SPLITS[source.target]
    tensor = operands((args, kwargs))[0]
    axis = tensor.axis(axis_of(*args, **kwargs))
    index: Any = node.args[1]
    pieces = source.meta["value"]
    lengths = [1 if dropped else piece.shape[axis] for piece in pieces]
    index %= len(pieces)
    return piece(tensor, axis, sum(lengths[:index]), lengths[index], dropped)


def _names(answer: Any, prefix: str = "") -> tuple[str, ...]:
    """What the tensors of an answer are called: keys and places, joined by dots."""
    if isinstance(answer, Operand):
        return (prefix,)
    entries: Any = ()
    if isinstance(answer, dict):
        entries = answer.items()
    elif isinstance(answer, tuple | list):
        entries = enumerate(answer)
    dot = f"{prefix}." if prefix else ""
    return tuple(name for key, entry in entries for name in _names(entry, f"{dot}{key}"))


def _operand(node: fx.Node) -> Any:
    """A tensor argument as an operand, a number as itself."""
    value = node.meta["value"]
    if isinstance(value, torch.Tensor):
        return Operand(node.name, tuple(value.shape))
    return value if isinstance(value, int) else Operand(node.name, ())
