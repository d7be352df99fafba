"""An FCN as data: its graph and modules in JSON, from which the same network is built again.

Only what is listed here can be named in a program: functions from the readers' table and the
run-time, and modules from `torch.nn`. Reading a program therefore never runs code from a file.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from fullconv.errors import FullconvError, RefusedError
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.functions import FUNCTIONS
from fullconv.hosts.torch_fx.modules import MODULES
from fullconv.surgery.plan import Plan

_HOMES = {"torch": torch, "torch.nn.functional": F, "operator": operator, "fullconv": runtime}
_RUNTIME = (
    runtime.check_image,
    runtime.whole_windows,
    runtime.common,
    runtime.per_channel,
    runtime.linear_as_conv,
    runtime.average_pool,
)
_KINDS = {kind.__name__: kind for kind in MODULES}
_OPS = ("placeholder", "get_attr", "call_function", "call_method", "call_module", "output")


def _functions() -> dict[str, Any]:
    """Every function a program may call, by name."""
    known = {id(function) for function in (*FUNCTIONS, *_RUNTIME) if callable(function)}
    table: dict[str, Any] = {}
    for home, module in _HOMES.items():
        for name in dir(module):
            function = getattr(module, name)
            if id(function) in known:
                known.discard(id(function))
                table[f"{home}.{name}"] = function
    return table


FUNCTION_NAMES = _functions()


# --- FCN to JSON ---


def to_program(fcn: FCN) -> dict[str, Any]:
    """The graph, the modules it calls and the names of buffers, JSON-serialisable.

    Raises FullconvError for a network that holds code: hooks, or functions without a rule.
    """
    names = {id(function): name for name, function in FUNCTION_NAMES.items()}
    nodes = []
    modules: dict[str, Any] = {}
    for node in fcn.graph.nodes:
        target = str(node.target)
        if node.op == "call_function":
            if id(node.target) not in names:
                raise FullconvError(
                    f"calls {target}, which has no name in a saved network.", where=node.name
                )
            target = names[id(node.target)]
        elif node.op == "call_module":
            modules[target] = _describe(target, fcn.get_submodule(target))
        nodes.append([node.name, node.op, target, _encode(node.args), _encode(node.kwargs)])
    return {
        "nodes": nodes,
        "modules": modules,
        "buffers": [name for name, _ in fcn.named_buffers()],
        "constants": sorted(set(dict(fcn.named_buffers())) - set(fcn.state_dict())),
    }


def _describe(target: str, module: nn.Module) -> dict[str, Any]:
    """The type and settings of a module, without its numbers."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise FullconvError(
            "has hooks, which are code and are not saved.",
            where=target,
            hint="Remove them first (weight norm: torch.nn.utils.remove_weight_norm).",
        )
    settings: dict[str, Any] = {}
    if isinstance(module, runtime.FoldedConv):
        settings = {name: getattr(module, name) for name in ("kernel", "dilation", "bins")}
    else:
        for name, parameter in inspect.signature(type(module).__init__).parameters.items():
            own = name not in ("self", "device", "dtype", "bias")
            variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if own and not variable and hasattr(module, name):
                settings[name] = getattr(module, name)
    if "bias" in module._parameters:
        settings["bias"] = module._parameters["bias"] is not None
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        settings.pop("bias", None)
    return {"type": type(module).__name__, **{k: _encode(v) for k, v in settings.items()}}


def _encode(value: Any) -> Any:
    """Arguments as JSON; what JSON lacks becomes an object with one key."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else {"float": str(value)}
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, tuple):
        return {"tuple": [_encode(entry) for entry in value]}
    if isinstance(value, list):
        return [_encode(entry) for entry in value]
    if isinstance(value, Mapping):
        return {"dict": {key: _encode(entry) for key, entry in value.items()}}
    if isinstance(value, slice):
        return {"slice": [_encode(entry) for entry in (value.start, value.stop, value.step)]}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if value is Ellipsis:
        return {"ellipsis": True}
    raise FullconvError(f"a {type(value).__name__} cannot be saved.")


# --- JSON to FCN ---


def from_program(program: Mapping[str, Any], tensors: Mapping[str, Tensor], plan: Plan) -> FCN:
    """The FCN of a program, with the given tensors under their names.

    Raises RefusedError for a program that names anything not listed here, KeyError, TypeError or
    ValueError for one that is malformed.
    """
    tree = _tree(program, tensors)
    graph = fx.Graph()
    nodes: dict[str, fx.Node] = {}
    for name, op, target, args, kwargs in program["nodes"]:
        if op not in _OPS:
            raise RefusedError(f"is a {op!r}, which no network has.", where=str(name))
        called = target
        if op == "call_function":
            called = _listed(FUNCTION_NAMES, target, "function")
        elif op == "call_method" and target not in FUNCTIONS and target != "size":
            raise RefusedError(
                f"calls the method {target!r}, which is not on the list.", where=name
            )
        nodes[name] = graph.create_node(
            op, called, _decode(args, nodes), _decode(kwargs, nodes), name=name
        )
    graph.lint()
    return FCN(tree, graph, plan)


def _tree(program: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """Modules and tensors under their names; what is no module of the program is a container."""
    tree = nn.Module()
    tree.training = False
    with torch.device("meta"):
        built = {target: _build(target, form) for target, form in program["modules"].items()}
    for target in sorted(built):
        _attach(tree, target, built[target])
    buffers, constants = set(program["buffers"]), set(program["constants"])
    for name, tensor in tensors.items():
        owner_name, _, attribute = name.rpartition(".")
        owner = _container(tree, owner_name)
        if name in buffers:
            owner.register_buffer(attribute, tensor, persistent=name not in constants)
        else:
            owner.register_parameter(attribute, nn.Parameter(tensor))
    empty = [name for name, tensor in tree.state_dict().items() if tensor.is_meta]
    if empty:
        raise ValueError(f"no numbers for {', '.join(empty[:3])}")
    return tree


def _build(target: str, form: Mapping[str, Any]) -> nn.Module:
    settings = {key: _decode(value, {}) for key, value in form.items() if key != "type"}
    if form["type"] == "FoldedConv":
        empty = nn.Parameter(torch.empty(0))
        bias = empty if settings.pop("bias") else None
        module: nn.Module = runtime.FoldedConv(empty, bias, **settings)
    else:
        module = _listed(_KINDS, form["type"], "module")(**settings)
    module.training = False
    return module


def _attach(tree: nn.Module, target: str, module: nn.Module) -> None:
    owner, _, name = target.rpartition(".")
    _container(tree, owner)._modules[name] = module


def _container(tree: nn.Module, path: str) -> nn.Module:
    """The module at `path`; missing ones on the way are made, empty."""
    for name in path.split(".") if path else ():
        inner = tree._modules.get(name)
        if inner is None:
            inner = tree._modules[name] = nn.Module()
            inner.training = False
        tree = inner
    return tree


def _listed(table: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise RefusedError(
            f"the network names the {what} {name!r}, which is not on the list.",
            why="A saved network may use only what fullconv knows, so that loading it is safe.",
        )
    return table[name]


def _decode(value: Any, nodes: Mapping[str, fx.Node]) -> Any:
    """The inverse of `_encode`."""
    if isinstance(value, list):
        return [_decode(entry, nodes) for entry in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "node":
        return nodes[inner]
    if kind == "tuple":
        return tuple(_decode(entry, nodes) for entry in inner)
    if kind == "dict":
        return {key: _decode(entry, nodes) for key, entry in inner.items()}
    if kind == "slice":
        return slice(*(_decode(entry, nodes) for entry in inner))
    if kind == "dtype":
        dtype = getattr(torch, str(inner), None)
        if not isinstance(dtype, torch.dtype):
            raise ValueError(f"unknown dtype {inner!r}")
        return dtype
    if kind == "float":
        return float(inner)
    if kind == "ellipsis":
        return Ellipsis
    raise ValueError(f"unknown kind of argument {kind!r}")
