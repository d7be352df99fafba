"""The fully convolutional network: an `nn.Module` that maps images of any size."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, fx, nn

from fullconv.errors import FullconvError, InputError, RefusedError
from fullconv.geometry import Grid
from fullconv.hosts.torch_fx.runtime import conv_weight, linear_weight
from fullconv.hosts.torch_fx.weights import same_memory
from fullconv.surgery.edits import LinearToConv, bare
from fullconv.surgery.plan import Plan

if TYPE_CHECKING:
    from fullconv.hosts.torch_fx.optimized.network import OptimizedFCN


@dataclass(frozen=True, slots=True)
class About:
    """Where a classifier came from and how its images are prepared; saved with the FCN.

    Attributes:
        form: the MODEL word it was loaded from.
        classes: one name per score, or None.
        mean, std: of pixels scaled to 0..1, one number per channel or a single one for all.
        shortest: the shortest side, px, to which images are scaled when the classifier is tested,
            or None.
    """

    form: str = ""
    classes: tuple[str, ...] | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    shortest: int | None = None


_TAKEN = frozenset(vars(fx.GraphModule(nn.Module(), fx.Graph())))
"""Names of what every graph module keeps beside its members."""


class FCN(fx.GraphModule):
    """A classifier made fully convolutional: `(N, C, *space)` to a score map `(N, K, *cells)`.

    It shares its parameters with the classifier (reshaped FC weights are views) until it is moved
    or cast, which gives it parameters of its own. Parameter names are the classifier's. Until then
    gradients of the FCN are added to those of the classifier's FC weights as well, in their shape;
    all other parameters are the very same ones.
    `fcn.code` shows what it computes; `fcn.plan` how it came about.

    Raises InputError when called with an image smaller than the window, or of another shape.
    """

    def __init__(self, tree: nn.Module, graph: fx.Graph, plan: Plan) -> None:
        """A network over the parameters of `tree`."""
        check_names("FCN", type(self), tree, graph)
        super().__init__(tree, graph, class_name="FCN")
        # GraphModule takes over what the graph uses; the rest (an auxiliary head, say) stays too,
        # so that every name of the classifier's state dict is there.
        for store in ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set"):
            self.__dict__[store] = tree.__dict__[store]
        self.training = tree.training
        self.meta["plan"], self.meta["about"] = plan, About()

    @property
    def plan(self) -> Plan:
        """The edits that made it, with what is known of its geometry."""
        plan: Plan = self.meta["plan"]
        return plan

    @property
    def about(self) -> About:
        """What is known of the classifier beyond what it computes."""
        about: About = self.meta["about"]
        return about

    @about.setter
    def about(self, about: About) -> None:
        self.meta["about"] = about

    @property
    def window(self) -> tuple[int, ...]:
        """Input size of the classifier, px per axis."""
        return self.plan.window

    @property
    def stride(self) -> tuple[int, ...]:
        """Px between the windows of neighbouring cells, per axis."""
        return self.plan.stride

    @property
    def receptive_field(self) -> tuple[int, ...]:
        """Px one cell can see, per axis; with zero padding more than the window."""
        return self.plan.receptive_field

    def grid(self, size: tuple[int, ...]) -> Grid:
        """The windows of an image of `size` px. Raises InputError if it is below the window."""
        return self.plan.grid(tuple(size))

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load a state dict of the classifier or of the FCN; FC weights are reshaped.

        Raises InputError for an FC weight of another size, and what `nn.Module` raises.
        """
        state = dict(state_dict)
        for name, edit in self._reshaped().items():
            if name in state and state[name].ndim == 2 != len(edit.taps) + 2:
                own = self.get_parameter(name)
                if state[name].numel() != own.numel():
                    raise InputError(
                        f"has {state[name].numel()} numbers, the network {own.numel()}.", where=name
                    )
                state[name] = conv_weight(state[name], edit.channels, edit.taps, edit.order)
        return super().load_state_dict(state, strict=strict, assign=assign)

    def to_classifier_state(self) -> OrderedDict[str, Any]:
        """The state dict under which the classifier holds the same numbers: FC weights `(out, in)`.

        The inverse of `load_state_dict`: names, order, shapes and numbers are those of the
        classifier's own `state_dict()`, and `model.load_state_dict` takes it. Tensors are detached
        and share the FCN's numbers, except FC weights that lie in another order since the FCN was
        moved to another memory format.
        """
        state = cast("OrderedDict[str, Any]", self.state_dict())
        for name, edit in self._reshaped().items():
            state[name] = linear_weight(state[name], edit.order)
        return state

    def _reshaped(self) -> dict[str, LinearToConv]:
        """The FC weights that are held as those of convolutions, by every name they have."""
        edits = {}
        for node in self.graph.nodes:
            edit = bare(self.plan.edits.get(node.name))
            if isinstance(edit, LinearToConv) and node.op == "call_module":
                weight = self.get_submodule(str(node.target))._parameters.get("weight")
                edits[id(weight)] = edit
        named = self.named_parameters(remove_duplicate=False)
        return {name: edits[id(weight)] for name, weight in named if id(weight) in edits}

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        # Moving or casting must not reach through to the classifier: new parameters, not new data.
        held = [
            (module._parameters, name, parameter)
            for module in self.modules()
            for name, parameter in module._parameters.items()
            if parameter is not None
        ]
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            result = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(before)
        # What one parameter was stays one, and what did not change stays the classifier's.
        moved: dict[int, nn.Parameter | None] = {}
        for store, name, old in held:
            new = store[name]
            if new is not None and id(old) not in moved:
                moved[id(old)] = old if same_memory(old, new) else new
            store[name] = moved[id(old)]
        return result

    def optimize(self, dtype: torch.dtype | None = None, compile: bool = False) -> OptimizedFCN:
        """A new network that computes the same faster, for inference only.

        Batch norms become part of the convolutions in front of them (folded in float64), weights
        and maps lie channels last, everything runs under `torch.inference_mode`. What was done is
        `optimization` of the result, which prints as a table. This FCN stays as it is and shares
        nothing with the new one.

        Args:
            dtype: torch.bfloat16, float16, float32 or float64 to compute in; the present one by
                default. Images are cast to it; scores come back as float32 for the half types.
            compile: let `torch.compile` compile it. That takes a while at the first image of each
                size: each compiles again, and after some sizes (eight by default,
                `torch._dynamo.config.recompile_limit`) others run uncompiled.

        Raises:
            UsageError: a dtype no network computes in, or an FCN that is optimized already.
            FullconvError: the network cannot compute in `dtype`, or there is no working C++
                compiler for `compile`.
        """
        from fullconv.hosts.torch_fx.optimized.network import optimized

        return optimized(self, dtype, compile)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> FCN:
        memo = {} if memo is None else memo
        tree = nn.Module()
        for store in ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set"):
            tree.__dict__[store] = copy.deepcopy(self.__dict__[store], memo)
        tree.training = self.training
        twin = self._twin(tree, copy_graph(self.graph))
        twin.about = self.about
        memo[id(self)] = twin
        return twin

    def _twin(self, tree: nn.Module, graph: fx.Graph) -> FCN:
        """A network of this kind over another tree."""
        return FCN(tree, graph, self.plan)

    def __reduce__(self) -> Any:
        raise FullconvError(
            "an FCN is not pickled: reading a pickle can run code.",
            hint="Use fullconv.save(fcn, path) and fullconv.load(path), or save its state_dict().",
        )

    def __call__(self, image: Tensor) -> Any:
        """The score map `(N, K, *cells)` of `(N, C, *space)`; see `grid` for where cells lie.

        A classifier that returns several score vectors in a tuple, list or dict has an FCN that
        returns as many maps in the same way.
        """
        return super().__call__(image)


def check_names(name: str, kind: type, tree: nn.Module, graph: fx.Graph) -> None:
    """Raise RefusedError for members of a tree that a graph module of a `kind` cannot have.

    `name` is what people know the kind by: PyTorch derives a class for every instance.
    """
    for member in (*tree._modules, *tree._parameters, *tree._buffers):
        if hasattr(kind, member) or member in _TAKEN:
            raise RefusedError(
                f"the network has a member called {member!r}, a name that {name} uses itself.",
                hint="Rename it, or wrap the network in an nn.Module that holds it.",
            )
    for node in graph.nodes:
        parts = str(node.target).split(".") if node.op in ("call_module", "get_attr") else []
        for part in parts:
            if part == "self" or iskeyword(part) or set(part) & set("'\"\\"):
                raise RefusedError(
                    f"the network has a member called {part!r}, which generated code cannot name.",
                    where=str(node.target),
                    hint="Rename it: letters, digits and underscores, no word of Python.",
                )


def tensors_of(answer: Any) -> list[Tensor]:
    """The tensors that a network returned, in order, however it wraps them."""
    if isinstance(answer, Tensor):
        return [answer]
    if isinstance(answer, Mapping):
        answer = answer.values()
    elif is_dataclass(answer):
        answer = [getattr(answer, entry.name) for entry in fields(answer)]
    if isinstance(answer, list | tuple | type({}.values())):
        return [tensor for entry in answer for tensor in tensors_of(entry)]
    return []


def copy_graph(graph: fx.Graph) -> fx.Graph:
    """A graph with the same nodes under the same names."""
    twin = fx.Graph()
    twin.output(twin.graph_copy(graph, {}))
    return twin
