"""Record what a classifier computes at its window, as a torch.fx graph.

The network runs once on fake tensors (shapes without numbers) while fx records every call. Python
code that looks at sizes sees the true numbers of the window, so padding computed from the input
size, `if` statements on shapes and loops all take the path they take at the window. Only the
batch stays symbolic: `x.size(0)` is recorded, not replaced by a number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from fullconv.errors import FullconvError, RefusedError
from fullconv.geometry import times
from fullconv.hosts.torch_fx.modules import FOREIGN, MODULES, qualified
from fullconv.hosts.torch_fx.naming import spelled
from fullconv.hosts.torch_fx.recorded import BATCH, Recorded, tensors_seen

RESHAPES = ("view", "reshape")


class Recorder(fx.Tracer):
    """An fx tracer that evaluates every call on fake tensors as it records it."""

    def __init__(self, window: tuple[int, ...], channels: int, like: torch.Tensor) -> None:
        """Trace with an image of the dtype and device of `like`."""
        super().__init__()
        self.proxy_buffer_attributes = True
        self.constants: dict[str, torch.Tensor] = {}
        self._shape = (BATCH, channels, *window)
        self._like = like
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._evaluating = False
        self._batch: fx.Proxy | None = None
        self._image: fx.Proxy | None = None
        self._names: dict[int, str] = {}
        self._attributes: dict[str, fx.Proxy] = {}

    def record(self, model: nn.Module) -> fx.Graph:
        """The graph of `model`. Raises RefusedError where it cannot be recorded."""
        tensors = [*model.named_parameters(), *model.named_buffers()]
        self._names = {id(tensor): name for name, tensor in reversed(tensors)}
        with in_eval(model), torch.no_grad(), tensors_seen():
            try:
                graph = self.trace(model)
            except FullconvError:
                raise
            except Exception as error:
                raise self._untraceable(error) from error
        _unwrap(graph)
        remove_dead(graph, model)
        return graph

    # --- what fx asks of a tracer ---

    def proxy(self, node: fx.Node) -> Recorded:
        """A node as `forward` sees it."""
        return Recorded(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Modules that have a reader, and those of `torch.nn`, are recorded whole.

        All others are recorded through their `forward`.
        """
        if type(m) in MODULES or qualified(type(m)) in FOREIGN:
            return True
        return type(m).__module__.startswith("torch.nn.modules") and not isinstance(
            m, nn.Sequential
        )

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Trace a module's own `forward`, without the hooks around it."""
        if self._evaluating:
            return m.forward(*args, **kwargs)
        # The `forward` given would run the user's hooks, on fake tensors.
        try:
            return super().call_module(m, m.forward, args, kwargs)
        except Exception as error:
            if not hasattr(error, "module"):
                error.module = m  # type: ignore[attr-defined]
            raise

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
        """Parameters and buffers are recorded when `forward` reads them."""
        name = self._names.get(id(attr_val))
        if self._evaluating or name is None or not isinstance(attr_val, torch.Tensor):
            return attr_val
        if name not in self._attributes:
            self._attributes[name] = self.create_proxy("get_attr", name, (), {})
        return self._attributes[name]

    def create_arg(self, a: Any) -> Any:
        """An argument of a call; tensors become attributes."""
        if isinstance(a, fx.Proxy):
            return a.node
        if isinstance(a, torch.Tensor):
            name = self._names.get(id(a))
            if name is None:
                name = f"_constant_{len(self.constants)}"
                self.constants[name] = a.detach()
                self._names[id(a)] = name
            if name not in self._attributes:
                self._attributes[name] = self.create_proxy("get_attr", name, (), {})
            return self._attributes[name].node
        if isinstance(a, Mapping):
            return {key: self.create_arg(entry) for key, entry in a.items()}
        if isinstance(a, tuple) and hasattr(a, "_fields"):
            return tuple(self.create_arg(entry) for entry in a)
        if is_dataclass(a) and not isinstance(a, type):
            return {entry.name: self.create_arg(getattr(a, entry.name)) for entry in fields(a)}
        return super().create_arg(a)

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any
    ) -> Any:
        """Record a call, evaluate it, and return what `forward` goes on with."""
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **more)
        node = proxy.node
        node.meta["where"] = self._where(kind, target)
        node.meta["of_image"] = kind == "placeholder" or any(
            source.meta["of_image"] for source in node.all_input_nodes
        )
        if kind == "placeholder":
            if self._image is not None:
                return self._extra_argument(proxy, args)
            with self._mode:
                node.meta["value"] = torch.empty(
                    self._shape, dtype=self._like.dtype, device=self._like.device
                )
            self._image = proxy
            return proxy
        if kind == "get_attr":
            node.meta["value"] = self._attribute(target)
            return proxy
        return self._present(proxy, self._evaluate(node))

    def to_bool(self, obj: fx.Proxy) -> bool:
        """The truth of a number; pixels have none while tracing."""
        value = obj.node.meta["value"]
        if isinstance(value, torch.Tensor):
            raise _DependsOnPixelsError
        return bool(value)

    # --- evaluation ---

    def batch(self) -> fx.Proxy:
        """The symbolic batch: one node, the first size of the image."""
        if self._batch is None:
            assert self._image is not None
            with self.graph.inserting_after(self._image.node):
                node = self.graph.create_node("call_method", "size", (self._image.node, 0))
            node.meta.update(value=BATCH, of_image=True, where="the batch")
            self._batch = self.proxy(node)
        return self._batch

    def _extra_argument(self, proxy: fx.Proxy, args: Any) -> Any:
        """A second argument of `forward`: its default, or a refusal."""
        self.graph.erase_node(proxy.node)
        if args:
            return args[0]
        if str(proxy.node.target).startswith("*"):
            return {} if str(proxy.node.target).startswith("**") else ()
        raise RefusedError(
            f"forward needs a second input, {proxy.node.target!r}.",
            where=type(self.root).__name__,
            why="fullconv converts networks that take one image.",
        )

    def _attribute(self, name: str) -> torch.Tensor:
        if name in self.constants:
            return self.constants[name]
        owner, _, attribute = name.rpartition(".")
        stores = self.root.get_submodule(owner).__dict__
        found: torch.Tensor | None = stores["_parameters"].get(attribute)
        return stores["_buffers"][attribute] if found is None else found

    def _evaluate(self, node: fx.Node) -> Any:
        """What the recorded call gives, on fake tensors."""
        arguments: Any = fx.map_arg((node.args, node.kwargs), lambda n: n.meta["value"])
        args, kwargs = arguments
        stand_in = _stand_in(node, self.root, args)
        if stand_in is not None:
            return stand_in
        self._evaluating = True
        try:
            with self._mode:
                if node.op == "call_module":
                    return self.root.get_submodule(str(node.target)).forward(*args, **kwargs)
                if node.op == "call_method":
                    return getattr(args[0], str(node.target))(*args[1:], **kwargs)
                assert callable(node.target)
                return node.target(*args, **kwargs)
        except Exception as error:
            shape = _wanted(node, args) if node.target in (*RESHAPES, torch.reshape) else None
            if shape is None:
                error.where = node.meta["where"]  # type: ignore[attr-defined]
                raise
            node.meta["problem"] = str(error)
            with self._mode:
                return torch.empty(shape, dtype=args[0].dtype, device=args[0].device)
        finally:
            self._evaluating = False

    def _present(self, proxy: fx.Proxy, value: Any) -> Any:
        """The recorded value as `forward` goes on with it."""
        node = proxy.node
        node.meta["value"] = value
        if isinstance(value, torch.Tensor):
            node.meta["view"] = any(
                _same_memory(n.meta["value"], value) for n in node.all_input_nodes
            )
            return proxy
        if isinstance(value, tuple | list):
            parts = [
                self.create_proxy("call_function", operator.getitem, (proxy, index), {})
                for index in range(len(value))
            ]
            if isinstance(value, list):
                return parts
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        if node.meta["of_image"] and isinstance(value, int) and not isinstance(value, bool):
            return proxy
        return value

    def _where(self, kind: str, target: Any) -> str:
        """The node for people: `classifier.1 (Linear)`, `view in LeNet`."""
        path = self.scope.module_path
        kind_of = self.scope.module_type
        scope = f"{path} ({kind_of.__name__})" if path else type(self.root).__name__
        if kind == "call_module":
            return scope
        name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        return f"{name} in {scope}"

    def _untraceable(self, error: Exception) -> RefusedError:
        """Why `forward` could not be recorded."""
        root = type(self.root).__name__
        module = getattr(error, "module", self.root)
        path = next((name for name, m in self.root.named_modules() if m is module), "")
        where = getattr(error, "where", f"{path} ({type(module).__name__})" if path else root)
        line = f"fullconv.api.extend.elementwise({spelled(type(module))})"
        # A layer of somebody's own can be described as a whole.
        own = path and not isinstance(module, tuple(MODULES)) and not any(module.children())
        whole = f"\n    {line}  # if it works on each number by itself" if own else ""
        if isinstance(error, _PIXEL_DEPENDENT) or "data-dependent" in str(error).lower():
            return RefusedError(
                "what it computes depends on the pixel values (an `if`, a loop or an index "
                "chosen by the image).",
                where=where,
                why="Such a network cannot be traced: every window could take another path.",
                hint="Move the decision out of forward" + (f", or:{whole}" if whole else "."),
            )
        said = str(error).strip().splitlines()
        return RefusedError(
            f"the network could not be traced at a window of {times(self._shape[2:])} with "
            f"{self._shape[1]} channels.",
            where=where,
            why=f"It stopped with {type(error).__name__}: "
            f"{said[0].rstrip('.') if said else 'no message'}.",
            hint="Check the window, or pass example= with an input it accepts."
            + (f" docs/extending.md describes a module untraced:{whole}" if whole else ""),
        )


class _DependsOnPixelsError(Exception):
    """`forward` asked whether a tensor is true."""


_PIXEL_DEPENDENT = (
    _DependsOnPixelsError,
    DataDependentOutputException,
    DynamicOutputShapeException,
)


def _same_memory(one: Any, other: torch.Tensor) -> bool:
    """Whether what is done in place to one tensor is done to the other."""
    if not isinstance(one, torch.Tensor):
        return False
    return bool(one.untyped_storage()._cdata == other.untyped_storage()._cdata)


@contextmanager
def in_eval(model: nn.Module) -> Iterator[None]:
    """Every module in inference mode for a while; each gets its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _stand_in(node: fx.Node, root: nn.Module, args: Any) -> torch.Tensor | None:
    """The result of a linear layer that does not fit its input, so that a rule can say why."""
    if node.op == "call_module":
        module = root.get_submodule(str(node.target))
        if type(module) is not nn.Linear:
            return None
        features, out = module.in_features, module.out_features
    elif node.target is torch.nn.functional.linear and len(args) > 1:
        out, features = args[1].shape
    else:
        return None
    x = args[0]
    if x.shape[-1] == features:
        return None
    node.meta["problem"] = f"expects {features} features, gets {x.shape[-1]}"
    return x.new_empty((*x.shape[:-1], out))  # type: ignore[no-any-return]


def _wanted(node: fx.Node, args: Any) -> tuple[int, int] | None:
    """The `(batch, features)` shape a failed view asked for, if it asked for one."""
    shape = args[1] if len(args) == 2 and not isinstance(args[1], int) else args[1:]
    if len(shape) == 2 and shape[0] in (-1, BATCH) and shape[1] > 0:
        return BATCH, shape[1]
    return None


def _unwrap(graph: fx.Graph) -> None:
    """Undo what fx does to a `forward` with `*args` or `**kwargs`: its answer becomes a list."""
    codegen = graph._codegen
    if isinstance(codegen, fx.graph._PyTreeCodeGen):
        output, spec = graph.output_node(), codegen.pytree_info.out_spec
        answers: Any = output.args[0]
        if spec is not None and spec.is_leaf():
            output.args = (answers[0],)
        graph.set_codegen(fx.graph.CodeGen())


def remove_dead(graph: fx.Graph, root: nn.Module) -> None:
    """Erase nodes nobody reads, but none that works in place: its input is read instead."""
    for node in reversed(list(graph.nodes)):
        if not node.users and node.op not in ("output", "placeholder") and not in_place(node, root):
            graph.erase_node(node)


def in_place(node: fx.Node, root: nn.Module) -> bool:
    """Whether a node changes its input, and so matters even if nobody reads its result."""
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    name = str(getattr(node.target, "__name__", node.target))
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or bool(node.kwargs.get("inplace")) or node.target is operator.setitem
