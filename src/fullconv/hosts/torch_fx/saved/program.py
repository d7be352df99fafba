"""An FCN as data: its graph, modules and tensors in JSON, from which the same network is built.

fx turns a graph into Python code, so every word of a file that would end up in that code is either
on a list (`listed`) or checked to be a plain name. Reading a program never runs code from a file.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from fullconv.errors import FullconvError, RefusedError
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.fcn import FCN, tensors_of
from fullconv.hosts.torch_fx.naming import spelled
from fullconv.hosts.torch_fx.saved.arguments import decode, dtype_of, encode
from fullconv.hosts.torch_fx.saved.listed import (
    EDITS,
    FUNCTION_BY_NAME,
    KINDS,
    METHODS,
    NAME_OF_FUNCTION,
    path,
    settings_of,
    word,
)
from fullconv.hosts.torch_fx.saved.tensors import Entry, checked, empty, pack, unpack
from fullconv.surgery.edits import bare
from fullconv.surgery.plan import Plan

NO_CODE = "A file holds no code, and reading one runs nothing but what fullconv itself knows."
INSTEAD = (
    "Save fcn.state_dict() instead; to load it, convert the classifier again with the same "
    "additions and call load_state_dict."
)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


# --- FCN to JSON ---


def to_program(fcn: FCN) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The graph, the modules it calls and the table of tensors, JSON-serialisable; the numbers.

    Raises FullconvError for a network that holds code: hooks, or what is not listed.
    """
    _check_code("the network", fcn)
    _check_edits(fcn.plan)
    nodes = [_node(node) for node in fcn.graph.nodes]
    called = dict.fromkeys(str(n.target) for n in fcn.graph.nodes if n.op == "call_module")
    modules = {target: _describe(target, fcn.get_submodule(target)) for target in called}
    entries, numbers = pack(fcn)
    return {"nodes": nodes, "modules": modules, "tensors": entries}, numbers


def _node(node: fx.Node) -> dict[str, Any]:
    target = str(node.target)
    if node.op == "call_function":
        target = NAME_OF_FUNCTION.get(id(node.target), "")
    if not target or (node.op == "call_method" and target not in METHODS):
        raise FullconvError(
            f"calls {spelled(node.target)}, which is not on the list of what a saved network may "
            "call.",
            where=node.name,
            why=NO_CODE,
            hint=INSTEAD
            if _sees_image(node)
            else "If it computes weights from parameters (weight norm, spectral norm), make them "
            "plain weights first: torch.nn.utils.parametrize.remove_parametrizations.",
        )
    try:
        args = [encode(entry) for entry in node.args]
        kwargs = {key: encode(entry) for key, entry in node.kwargs.items()}
    except TypeError as error:
        raise FullconvError(
            f"has an argument that cannot be saved: {error}.", where=node.name
        ) from error
    entry = {"name": node.name, "op": node.op, "target": target, "args": args, "kwargs": kwargs}
    return {key: value for key, value in entry.items() if value not in ([], {})}


def _describe(target: str, module: nn.Module) -> dict[str, Any]:
    """The type and settings of a module, without its numbers."""
    _check_code(target, module)
    kind = type(module)
    if KINDS.get(kind.__name__) is not kind:
        raise FullconvError(
            f"is a {kind.__qualname__}, which is not on the list of what a saved network may hold.",
            where=target,
            why=NO_CODE,
            hint=INSTEAD,
        )
    settings = {}
    for name in settings_of(kind):
        if name == "bias":
            settings[name] = module._parameters.get("bias") is not None
        elif hasattr(module, name):
            settings[name] = encode(getattr(module, name))
    return {"type": kind.__name__, **settings}


def _check_edits(plan: Plan) -> None:
    """Raise FullconvError for a plan with an edit that a reader of the file may not know."""
    for step in plan.steps:
        edit = bare(step.edit)
        if edit is not None and type(edit) not in EDITS:
            raise FullconvError(
                f"became {edit}, an edit ({type(edit).__name__}) that was added to fullconv.",
                where=step.where,
                why=NO_CODE,
                hint=INSTEAD,
            )


def _sees_image(node: fx.Node) -> bool:
    """Whether anything of the image reaches a node."""
    behind, seen = [node], {node}
    while behind:
        sources = set(behind.pop().all_input_nodes) - seen
        seen |= sources
        behind += sources
    return any(source.op == "placeholder" for source in seen)


def _check_code(where: str, module: nn.Module) -> None:
    if any(getattr(module, hooks) for hooks in _HOOKS):
        raise FullconvError(
            "has hooks, which are code and are not saved.",
            where=where,
            hint="Remove them first (weight norm: torch.nn.utils.remove_weight_norm).",
        )
    if "forward" in vars(module):
        raise FullconvError("has a forward put in its place, which is not saved.", where=where)


# --- JSON to FCN ---


def skeleton(program: Mapping[str, Any], plan: Plan) -> FCN:
    """The FCN of a program, complete but for its numbers: on the meta device.

    Raises RefusedError for a program that names anything not listed, and KeyError, TypeError,
    ValueError or whatever PyTorch raises for one that is malformed.
    """
    entries = checked(program["tensors"])
    tree = _tree(program["modules"], entries)
    graph = _graph(program["nodes"], set(program["modules"]), {e["name"] for e in entries})
    _check_frame(graph, plan)
    fcn = FCN(tree, graph, plan)
    _check_runs(fcn, entries)
    return fcn


def fill(fcn: FCN, program: Mapping[str, Any], numbers: Mapping[str, Tensor]) -> None:
    """Give a skeleton its numbers. Raises KeyError or ValueError where they do not fit."""
    for name, tensor in unpack(program["tensors"], numbers).items():
        owner, _, attribute = name.rpartition(".")
        stores = vars(fcn.get_submodule(owner))
        store = "_parameters" if isinstance(tensor, nn.Parameter) else "_buffers"
        stores[store][attribute] = tensor


def _tree(modules: Mapping[str, Any], entries: list[Entry]) -> nn.Module:
    """Modules and tensors under their names; what is no module of the program is a container.

    They are put there in the order of the table, which is that of the state dict.
    """
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sizes that make no sense; the run below judges them
        built = {path(target): _build(form) for target, form in modules.items()}
    tree = _still(nn.Module())
    made: dict[str, Tensor] = {}
    for entry in entries:
        owner_name, _, attribute = entry["name"].rpartition(".")
        owner = _place(tree, owner_name, built)
        tensor = made.get(entry.get("same_as", ""))
        if tensor is None:
            tensor = empty(entry, "meta")
            if entry["kind"] == "parameter":
                tensor = nn.Parameter(tensor, requires_grad=tensor.is_floating_point())
        made[entry["name"]] = tensor
        if isinstance(tensor, nn.Parameter):
            owner.register_parameter(attribute, tensor)
        else:
            owner.register_buffer(attribute, tensor, persistent=entry["kind"] == "buffer")
    for target in modules:
        _place(tree, target, built)
    held = {**dict(tree.named_parameters(remove_duplicate=False)), **dict(tree.named_buffers())}
    empty_handed = sorted(set(held) - set(made))
    if empty_handed:
        raise ValueError(f"nothing is said of {', '.join(empty_handed[:3])}")
    return tree


def _build(form: Mapping[str, Any]) -> nn.Module:
    kind = _listed(KINDS, form["type"], "module")
    settings = {key: decode(value, {}) for key, value in form.items() if key != "type"}
    foreign = sorted(set(settings) - set(settings_of(kind)))
    if foreign:
        raise RefusedError(f"gives a {form['type']} the setting {foreign[0][:60]!r}.")
    if kind is runtime.FoldedConv:
        weight = nn.Parameter(torch.empty(0))
        settings.update(weight=weight, bias=weight if settings["bias"] else None)
    return _still(kind(**settings))


def _still(module: nn.Module) -> nn.Module:
    module.training = False
    return module


def _place(tree: nn.Module, target: str, built: Mapping[str, nn.Module]) -> nn.Module:
    """The module at `target`; it and those on the way are put there: built ones, or containers."""
    done: list[str] = []
    for name in target.split(".") if target else ():
        done.append(name)
        inner = tree._modules.get(name)
        if inner is None:
            inner = built.get(".".join(done))
            inner = _still(nn.Module()) if inner is None else inner
            tree.add_module(name, inner)
        tree = inner
    return tree


def _graph(listed: list[Mapping[str, Any]], modules: set[str], tensors: set[str]) -> fx.Graph:
    """The graph of a program's nodes, every word of it checked."""
    graph = fx.Graph()
    nodes: dict[str, fx.Node] = {}
    for index, entry in enumerate(listed):
        name, op, target = word(entry["name"]), entry["op"], entry["target"]
        if (op == "placeholder") != (index == 0) or (op == "output") != (index == len(listed) - 1):
            raise ValueError(f"{name} is a {op} at place {index + 1} of {len(listed)}")
        if op in ("placeholder", "output"):
            target = word(target)
        elif op == "call_function":
            target = _listed(FUNCTION_BY_NAME, target, "function")
        elif op == "call_method":
            _listed(METHODS, target, "method")
        elif op not in ("call_module", "get_attr"):
            raise ValueError(f"{name}: {op!r} is nothing that a network does")
        elif target not in (modules if op == "call_module" else tensors):
            raise ValueError(f"{name}: there is no {target!r}")
        args = tuple(decode(value, nodes) for value in entry.get("args", []))
        kwargs = {word(key): decode(v, nodes) for key, v in entry.get("kwargs", {}).items()}
        nodes[name] = graph.create_node(op, target, args, kwargs, name=name)
        if nodes[name].name != name:
            raise ValueError(f"no node can be called {name!r}")
    graph.lint()
    return graph


def _check_frame(graph: fx.Graph, plan: Plan) -> None:
    """The network must look at its image first and cut its maps last, both as the plan says."""
    first = list(graph.nodes)[1]
    lasts: list[fx.Node] = []
    fx.map_arg(graph.output_node().args[0], lasts.append)
    targets = [first.target, *(last.target for last in lasts)]
    if targets != [runtime.check_image, *(runtime.whole_windows for _ in plan.answers)]:
        raise ValueError("it does not check its image, or cut its maps to whole windows")
    ends = [(plan.window, plan.stride, answer.step) for answer in plan.answers]
    found = [first.args[1:], *(last.args[2:] for last in lasts)]
    if found != [(plan.channels, plan.window), *ends]:
        raise ValueError("it has another window or stride than its plan")


def _check_runs(fcn: FCN, entries: list[Entry]) -> None:
    """Run the network without numbers, on an image of two windows per axis."""
    kinds = (dtype_of(entry["dtype"]) for entry in entries if entry["kind"] == "parameter")
    dtype = next((kind for kind in kinds if kind.is_floating_point), torch.float32)
    size = [window + stride for window, stride in zip(fcn.window, fcn.stride, strict=True)]
    with torch.no_grad():
        # Not by calling it: fx would print where generated code failed.
        scores = fcn.forward(torch.empty(1, fcn.plan.channels, *size, dtype=dtype, device="meta"))
    shapes = [tuple(answer.shape) for answer in tensors_of(scores)]
    if shapes != [(1, answer.outputs, *(2 for _ in size)) for answer in fcn.plan.answers]:
        raise ValueError(f"it gives {shapes} for two windows per axis")


def _listed(table: Any, name: Any, what: str) -> Any:
    """The entry of a table, or `name` itself if the table is only a list of names."""
    if not isinstance(name, str) or name not in table:
        raise RefusedError(
            f"names the {what} {str(name)[:60]!r}, which is not on the list.",
            why="A saved network may use only what fullconv knows, so that loading it is safe.",
        )
    return table[name] if isinstance(table, Mapping) else name
