"""What an FCN's map must be, computed with plain loops and slices and nothing of fullconv."""

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor, nn

TOLERANCE = 1e-10


def whole_windows(size: Sequence[int], window: Sequence[int], stride: Sequence[int]) -> tuple:
    """Cells per axis, counted one by one."""
    counts = []
    for extent, length, step in zip(size, window, stride, strict=True):
        starts = [start for start in range(0, extent, step) if start + length <= extent]
        counts.append(len(starts))
    return tuple(counts)


def crop_map(
    model: Callable[[Tensor], Tensor], image: Tensor, window: Sequence[int], stride: Sequence[int]
) -> Tensor:
    """`(N, K, *cells)`: the classifier on every crop of `(N, C, *space)`."""
    counts = whole_windows(image.shape[2:], window, stride)
    scores: Tensor | None = None
    with torch.no_grad():
        for cell in product(*map(range, counts)):
            box = [
                slice(i * step, i * step + length)
                for i, step, length in zip(cell, stride, window, strict=True)
            ]
            answer = model(image[(slice(None), slice(None), *box)]).reshape(len(image), -1)
            if scores is None:
                scores = answer.new_zeros(*answer.shape, *counts)
            scores[(slice(None), slice(None), *cell)] = answer
    assert scores is not None
    return scores


def head_map(
    head: Callable[[Tensor], Tensor],
    features: Tensor,
    cells: Sequence[int],
    counts: Sequence[int],
    step: int = 1,
) -> Tensor:
    """`(N, K, *counts)`: a head for `cells` cells per axis, slid over the body's map."""
    scores: Tensor | None = None
    with torch.no_grad():
        for cell in product(*map(range, counts)):
            box = [
                slice(i * step, i * step + length) for i, length in zip(cell, cells, strict=True)
            ]
            # A copy, for heads that work in place.
            part = features[(slice(None), slice(None), *box)].clone()
            assert list(part.shape[2:]) == list(cells), "the body's map is too small"
            answer = head(part).reshape(len(features), -1)
            if scores is None:
                scores = answer.new_zeros(*answer.shape, *counts)
            scores[(slice(None), slice(None), *cell)] = answer
    assert scores is not None
    return scores


def shift_and_stitch(
    native_map: Callable[[Tensor], Tensor],
    image: Tensor,
    window: Sequence[int],
    native: Sequence[int],
    stride: Sequence[int],
) -> Tensor:
    """`(N, K, *cells)` at a finer stride: maps at the native one, of the image shifted bit by bit.

    The map of an image that begins `p` px later has the cells whose windows begin at `p`,
    `p + native`, `p + 2 * native`, ...
    """
    counts = whole_windows(image.shape[2:], window, stride)
    shifts = [range(0, long, short) for long, short in zip(native, stride, strict=True)]
    scores: Tensor | None = None
    for shift in product(*shifts):
        shifted = image[(..., *(slice(first, None) for first in shift))]
        if any(n < length for n, length in zip(shifted.shape[2:], window, strict=True)):
            continue
        with torch.no_grad():
            part = native_map(shifted)
        if scores is None:
            scores = part.new_full((*part.shape[:2], *counts), torch.nan)
        triples = zip(shift, native, stride, strict=True)
        spans = [slice(first // short, None, long // short) for first, long, short in triples]
        scores[(slice(None), slice(None), *spans)] = part
    assert scores is not None
    return scores


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest number."""
    assert ours.shape == theirs.shape, f"{tuple(ours.shape)} against {tuple(theirs.shape)}"
    assert torch.isfinite(ours).all()
    assert torch.isfinite(theirs).all()
    scale = float(theirs.abs().max())
    assert scale > 0, "a map of zeros proves nothing"
    return float((ours - theirs).abs().max()) / scale


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    """Equal in double precision."""
    assert ours.dtype == theirs.dtype == torch.float64
    assert difference(ours, theirs) <= TOLERANCE


def assert_at_window(model: nn.Module, fcn: nn.Module, *batches: Tensor) -> None:
    """Promise 1, on images of the window's size: one cell, and its scores are the classifier's."""
    for batch in batches:
        with torch.no_grad():
            theirs = model(batch.clone())
            ours = fcn(batch.clone())
        assert ours.shape[2:] == (1,) * (batch.ndim - 2)
        assert_same(ours.reshape(len(batch), -1), theirs.reshape(len(batch), -1))


HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
)


def portrait(model: nn.Module) -> dict[str, object]:
    """Everything about a classifier that converting it must leave alone, except its numbers."""
    seen: dict[str, object] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        seen[name] = (
            id(module),
            type(module),
            module.training,
            sorted(vars(module)),
            [len(getattr(module, hooks)) for hooks in HOOKS],
            [(key, id(child)) for key, child in module._modules.items()],
            [
                (key, id(p), p.requires_grad, p.grad, p.data_ptr(), tuple(p.shape), p.stride())
                for key, p in module._parameters.items()
                if p is not None
            ],
            [(key, id(b)) for key, b in module._buffers.items()],
        )
    return seen


def numbers(model: nn.Module) -> dict[str, Tensor]:
    """A copy of every tensor of a model."""
    state = model.state_dict()
    return {name: t.detach().clone() for name, t in state.items() if not t.is_meta}


def assert_untouched(model: nn.Module, before: tuple[dict, dict[str, Tensor]]) -> None:
    """The classifier is what it was: modules, modes, hooks and every bit of its numbers."""
    assert portrait(model) == before[0]
    after = numbers(model)
    assert list(after) == list(before[1])
    assert all(torch.equal(after[name], tensor) for name, tensor in before[1].items())
