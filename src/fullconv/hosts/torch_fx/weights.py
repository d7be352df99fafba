"""FC weights as an FCN holds them: views of the classifier's numbers that send gradients back."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fullconv.hosts.torch_fx.runtime import conv_weight, linear_weight
from fullconv.surgery.edits import Edit, LinearToConv, bare

Layout = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Channels, taps and order: what decides how a weight `(out, in)` is seen."""


class Weights:
    """The FC weights of a network under the knife: one parameter of several layers stays one."""

    def __init__(
        self, tree: nn.Module, uses: Mapping[str, Sequence[str]], edits: Mapping[str, Edit]
    ) -> None:
        """For the layers of `tree`; `uses` names the nodes that use a layer."""
        self._layouts: dict[int, set[Layout | None]] = {}
        self._made: dict[int, nn.Parameter] = {}
        for path, module in tree.named_modules():
            found = {edits.get(use) for use in uses.get(path, ())}
            layout = _layout(found.pop()) if len(found) == 1 else None
            for name, parameter in module._parameters.items():
                seen = layout if name == "weight" else None
                self._layouts.setdefault(id(parameter), set()).add(seen)

    def in_one_shape(self, linear: nn.Module) -> bool:
        """Whether all layers that hold the weight of `linear` see it in the same shape.

        Where they do not, two parameters over the same numbers would be trained twice.
        """
        layouts = self._layouts.get(id(linear.weight), {None})
        return len(layouts) == 1 and None not in layouts

    def reshaped(self, linear: nn.Linear, edit: LinearToConv) -> nn.Parameter:
        """The weight `(out, in)` of a layer as the parameter `(out, channels, *taps)` of another.

        It holds the same numbers, and is frozen if the layer is. Gradients it accumulates are added
        to those of the layer too, unless that one is frozen later or gets other numbers.
        """
        weight = linear.weight
        if id(weight) not in self._made:
            view = conv_weight(weight.detach(), edit.channels, edit.taps, edit.order)
            twin = nn.Parameter(view, requires_grad=weight.requires_grad)
            if weight.is_floating_point():  # nothing else has gradients
                _Gradients(weight, twin, edit.order)
            self._made[id(weight)] = twin
        return self._made[id(weight)]


def _layout(edit: Edit | None) -> Layout | None:
    edit = bare(edit)
    return (edit.channels, edit.taps, edit.order) if isinstance(edit, LinearToConv) else None


class _Gradients:
    """The way of gradients from `twin` `(out, C, *taps)` to `weight` `(out, in)`.

    A hook on a tensor sees the gradient, but also where it is asked for without being accumulated
    (`torch.autograd.grad`); a hook after accumulation sees only the sum. Together they do.
    """

    def __init__(self, weight: Tensor, twin: Tensor, order: Sequence[int]) -> None:
        # Weak: the FCN must not keep the classifier alive, nor a parameter itself.
        self._weight, self._twin = weakref.ref(weight), weakref.ref(twin)
        self._order = tuple(order)
        self._arrived: Tensor | None = None
        twin.requires_grad_(True)  # only such tensors take hooks; they stay if it is frozen again
        twin.register_hook(self._arrive)  # type: ignore[no-untyped-call]
        twin.register_post_accumulate_grad_hook(self._pass_on)  # type: ignore[no-untyped-call]
        twin.requires_grad_(weight.requires_grad)

    def _arrive(self, gradient: Tensor) -> None:
        twin = self._twin()
        # The first gradient becomes the sum: to keep it here would make PyTorch copy it.
        first = twin is None or twin.grad is None
        self._arrived = None if first else gradient.detach() if _plain() else gradient

    def _pass_on(self, twin: Tensor) -> None:
        gradient = twin.grad if self._arrived is None else self._arrived
        self._arrived, weight = None, self._weight()
        if weight is None or gradient is None or not weight.requires_grad:
            return
        if not same_memory(weight, twin):
            return  # the classifier was moved or cast and has numbers of its own
        gradient = linear_weight(gradient, self._order)  # (out, C, *taps) -> (out, in)
        if weight.grad is None:
            weight.grad = gradient.clone(memory_format=torch.contiguous_format)
        elif _plain():
            weight.grad.add_(gradient)
        else:
            weight.grad = weight.grad + gradient


# Pickling the parameter leaves them out without a warning.
_Gradients._arrive.__torch_unserializable__ = True  # type: ignore[attr-defined]


def _plain() -> bool:
    """Whether gradients are numbers only, not to be differentiated again."""
    return not torch.is_grad_enabled()


def same_memory(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are views of the same numbers."""
    return bool(one.untyped_storage()._cdata == other.untyped_storage()._cdata)
