"""The optimized FCN, how it is made of another, and what was done to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from fullconv.errors import FullconvError, UsageError
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.fcn import FCN, copy_graph
from fullconv.hosts.torch_fx.optimized.compiler import check_compiler
from fullconv.hosts.torch_fx.optimized.folding import fold
from fullconv.hosts.torch_fx.optimized.products import take_products
from fullconv.hosts.torch_fx.sharing import HOOKS, share
from fullconv.surgery.plan import Plan
from fullconv.tables import table

DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
HALVES = DTYPES[:2]
FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}
"""The memory format per number of spatial axes; none for one."""


@dataclass(frozen=True, slots=True)
class Optimization:
    """What was done to make an FCN faster; prints as a short table.

    Attributes:
        folded: batch norms that are part of the convolution in front of them now.
        left: `(name, why)` of the batch norms that stay.
        products: fully-connected layers that are a matrix product where their map is small.
        dtype: what it computes in.
        memory_format: how maps and weights lie in memory: channels_last, channels_last_3d, or
            contiguous for one spatial axis.
        compiled: whether `torch.compile` compiles it.
    """

    folded: int
    left: tuple[tuple[str, str], ...]
    products: int
    dtype: torch.dtype
    memory_format: str
    compiled: bool

    def summary(self) -> list[tuple[str, str]]:
        """The facts as (name, value) pairs for people."""
        facts = [("batch norms", f"{self.folded} of {self.folded + len(self.left)} folded")]
        reasons: dict[str, list[str]] = {}
        for name, why in self.left:
            reasons.setdefault(why, []).append(name)
        facts += [
            ("", f"{len(names)} left, first {names[0]}: {why}") for why, names in reasons.items()
        ]
        if self.products:
            facts.append(("matrix products", f"{self.products} on small maps"))
        dtype = str(self.dtype).removeprefix("torch.")
        facts.append(("numbers", f"{dtype}, scores {_name(scores_dtype(self.dtype))}"))
        facts.append(("memory format", self.memory_format))
        facts.append(("compiled", "yes, anew for each size of image" if self.compiled else "no"))
        return facts

    def __str__(self) -> str:
        return table((), self.summary())


def _name(value: Any) -> str:
    return str(value).removeprefix("torch.")


def scores_dtype(dtype: torch.dtype) -> torch.dtype:
    """What scores come back as from a network that computes in `dtype`."""
    return torch.float32 if dtype in HALVES else dtype


def full_precision(scores: Tensor) -> Tensor:
    """Scores `(N, K, *cells)` in half precision as float32, others as they are."""
    return scores.to(scores_dtype(scores.dtype))


class OptimizedFCN(FCN):
    """An FCN for inference only: what `fcn.optimize()` returns.

    It takes images of any dtype and memory format, and shares nothing with the FCN it came from. It
    can be moved (`.to()`) and copied. It cannot be trained, saved or loaded: do that with the FCN
    it came from, and optimize again. It runs under `torch.inference_mode`, so that its scores
    cannot be part of a gradient.
    """

    def __init__(
        self, tree: nn.Module, graph: fx.Graph, plan: Plan, optimization: Optimization
    ) -> None:
        super().__init__(tree, graph, plan)
        self.meta["optimization"] = optimization
        if optimization.compiled:
            # In the place of `forward`, so that hooks on the network go on working.
            self.__dict__["forward"] = torch.compile(self.forward, dynamic=False)

    @property
    def optimization(self) -> Optimization:
        """What was done to make it faster."""
        optimization: Optimization = self.meta["optimization"]
        return optimization

    def prepared(self, image: Tensor) -> Tensor:
        """An image `(N, C, *space)` in the dtype and memory format that the network computes in."""
        image = runtime.check_image(image, self.plan.channels, self.window)
        layout = FORMATS.get(len(self.window), torch.contiguous_format)
        return image.to(dtype=self.optimization.dtype, memory_format=layout)

    def __call__(self, image: Tensor) -> Any:
        """The score map `(N, K, *cells)` of `(N, C, *space)`, as `FCN` gives it.

        float32 where the network computes in half precision, else in its dtype.

        Raises InputError as an FCN does, and FullconvError if `torch.compile` fails.
        """
        with torch.inference_mode():
            image = self.prepared(image)
            if not self.optimization.compiled:
                return super().__call__(image)
            from torch._dynamo.exc import TorchDynamoException

            try:
                return super().__call__(image)
            except TorchDynamoException as error:
                raise FullconvError(
                    f"torch.compile failed: {_first_line(error)}",
                    hint="Call optimize without compile=True.",
                ) from error

    def optimize(self, dtype: torch.dtype | None = None, compile: bool = False) -> OptimizedFCN:
        """Refused: optimize the FCN it came from."""
        raise _refused("is optimized already", "call optimize of that")

    def train(self, mode: bool = True) -> OptimizedFCN:
        """Inference mode only. Raises UsageError for training mode."""
        if mode:
            raise _refused("is for inference and cannot be trained", "train that")
        super().train(mode)
        return self

    def requires_grad_(self, requires_grad: bool = True) -> OptimizedFCN:
        """No gradients only. Raises UsageError where they are asked for."""
        if requires_grad:
            raise _refused("is for inference and has no gradients", "train that")
        super().requires_grad_(requires_grad)
        return self

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: its weights hold those of batch norms too."""
        raise _refused("takes no state dict: batch norms are folded into it", "load it into that")

    def to_classifier_state(self) -> Any:
        """Refused: its weights hold those of batch norms too."""
        raise _refused("is no longer the classifier, layer for layer", "ask that")

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        result = super()._apply(fn, recurse)
        self.meta["optimization"] = replace(
            self.optimization, dtype=_dtype_of(self, self.optimization.dtype)
        )
        return result

    def _twin(self, tree: nn.Module, graph: fx.Graph) -> OptimizedFCN:
        return OptimizedFCN(tree, graph, self.plan, self.optimization)

    def __reduce__(self) -> Any:
        raise _refused("is not pickled: reading a pickle can run code", "save that")


def _refused(what: str, instead: str) -> UsageError:
    return UsageError(
        f"an optimized FCN {what}.",
        hint=f"Keep the FCN it came from, {instead}, and optimize it again.",
    )


def optimized(fcn: FCN, dtype: torch.dtype | None, compiled: bool) -> OptimizedFCN:
    """A network that computes what `fcn` does, faster; see `FCN.optimize`."""
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(
            f"dtype={dtype!r} is nothing a network can compute in.",
            hint=f"Pass one of {', '.join(map(str, DTYPES))}.",
        )
    if compiled:
        check_compiler()
    graph, tree = copy_graph(fcn.graph), _tree(fcn)
    count, left = fold(graph, tree, dtype)
    products = take_products(graph, tree, fcn.plan)
    _end_in_full_precision(graph)
    dims = len(fcn.window)
    _own_tensors(tree, dims, dtype)
    layout = FORMATS.get(dims, torch.contiguous_format)
    kept = _dtype_of(fcn, torch.get_default_dtype())
    form = _name(layout).removesuffix("_format")
    done = Optimization(count, left, products, dtype or kept, form, compiled)
    fast = OptimizedFCN(tree, graph, fcn.plan, done)
    fast.about = fcn.about
    if dtype not in (None, kept):
        _check_computes(fast)
    return fast


def _tree(fcn: FCN) -> nn.Module:
    """The modules of an FCN in inference mode, over the same tensors, with hooks of their own."""
    tree = nn.Module()
    for store in ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set"):
        tree.__dict__[store] = fcn.__dict__[store].copy()
    tree = share(tree)
    for module in tree.modules():
        module.training = False
        for name in HOOKS:
            hooks = module.__dict__[name]
            module.__dict__[name] = hooks if isinstance(hooks, bool | None) else hooks.copy()
    return tree


def _own_tensors(tree: nn.Module, dims: int, dtype: torch.dtype | None) -> None:
    """Every tensor as a copy, cast and laid out; what was one tensor stays one."""
    made: dict[int, Tensor] = {}

    def copied(old: Tensor) -> Tensor:
        if id(old) in made:
            return made[id(old)]
        layout = FORMATS.get(dims) if old.ndim == dims + 2 else None
        new = old.detach()
        if dtype is not None and old.is_floating_point():
            new = new.to(dtype)
        new = new.clone(memory_format=layout or torch.preserve_format)
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(new, requires_grad=False)
        made[id(old)] = new
        keep.append(old)
        return new

    keep: list[Tensor] = []  # an id is one tensor's as long as that lives
    for module in tree.modules():
        for store in (module._parameters, module._buffers):
            for name, tensor in store.items():
                if tensor is not None:
                    store[name] = copied(tensor)  # type: ignore[assignment]


def _end_in_full_precision(graph: fx.Graph) -> None:
    for node in list(graph.nodes):
        if node.target is runtime.whole_windows:
            with graph.inserting_after(node):
                scores = graph.call_function(full_precision)
            node.replace_all_uses_with(scores)
            scores.args = (node,)


def _dtype_of(model: nn.Module, default: torch.dtype) -> torch.dtype:
    """That of the first tensor of floating point."""
    tensors = chain(model.parameters(), model.buffers())
    return next((t.dtype for t in tensors if t.is_floating_point()), default)


def _check_computes(fast: OptimizedFCN) -> None:
    """Run the network on shapes alone: an op may insist on another dtype."""
    dtype = fast.optimization.dtype
    device = next(chain(fast.parameters(), fast.buffers())).device
    try:
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
            image = torch.empty(1, fast.plan.channels, *fast.window, dtype=dtype, device=device)
            type(fast).forward(fast, image)
    except Exception as error:  # whatever PyTorch says of it
        raise FullconvError(
            f"the network cannot compute in {_name(dtype)}: {_first_line(error)}",
            hint="Optimize it without a dtype.",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
