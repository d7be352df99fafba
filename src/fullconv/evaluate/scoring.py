"""One pass of an FCN over prepared images: its scores, checked, and what they mean."""

from __future__ import annotations

import torch
from torch import Tensor

from fullconv.errors import FullconvError, InputError
from fullconv.geometry import times
from fullconv.hosts.torch_fx.fcn import FCN, tensors_of
from fullconv.hosts.torch_fx.tracing import in_eval


class WeightsError(InputError):
    """Weights with which no image can be scored."""


def score(fcn: FCN, x: Tensor, where: str) -> Tensor:
    """The map `(N, K, rows, cols)` of images `(N, C, H, W)`, all of it finite, on the CPU.

    Run in inference mode, in the type and on the device of the network; half precision comes back
    as float32. `where` names the images in errors.

    Raises InputError for scores that are not finite, naming the weight that makes them so, and
    FullconvError where the memory does not suffice.
    """
    weight = next(fcn.parameters(), x)
    try:
        with in_eval(fcn), torch.inference_mode():
            scores: Tensor = tensors_of(fcn(x.to(weight)))[0]
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise FullconvError(
            f"the memory does not suffice for an image of {times(x.shape[2:])} px.",
            where=where,
            why="Every layer's map of the whole image is held in memory.",
            hint="Cut the image into parts, or make it smaller.",
        ) from error
    if scores.dtype.itemsize < 4:
        scores = scores.float()
    check_finite(fcn, scores, where, x)
    return scores.cpu()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, PyTorch or a GPU could not get the memory it wanted."""
    short = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return short or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


def probabilities_of(fcn: FCN, scores: Tensor) -> Tensor:
    """Scores `(N, K, …)` as probabilities: softmax, the logistic function for a single score.

    Scores of a network that ends in either are probabilities already.
    """
    if fcn.plan.probabilities:
        return scores
    return scores.sigmoid() if scores.shape[1] == 1 else scores.softmax(1)


def check_finite(fcn: FCN, scores: Tensor, where: str, x: Tensor | None = None) -> None:
    """Raise InputError for scores that are NaN or infinite, with the reason that can be found.

    `x` are the images, where these may hold such numbers too.
    """
    bad = int((~torch.isfinite(scores)).sum())
    if not bad:
        return
    for name, tensor in fcn.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(
                "holds numbers that are not finite (NaN or infinite).",
                where=name,
                why=f"They make {bad:,} of {scores.numel():,} scores not finite either.",
                hint="These weights cannot classify; load others.",
            )
    wrong = 0 if x is None else int((~torch.isfinite(x)).sum())
    if x is not None and wrong:
        raise InputError(
            f"{wrong:,} of {x.numel():,} numbers of the image are not finite (NaN or infinite).",
            where=where,
            why=f"They make {bad:,} of {scores.numel():,} scores not finite either.",
            hint="Fill them before scoring, for instance with the mean of the image.",
        )
    dtype = next(fcn.parameters(), scores).dtype
    raise InputError(
        f"{bad:,} of {scores.numel():,} scores are not finite (NaN or infinite).",
        where=where,
        why="All weights are finite, so a layer overflowed.",
        hint=f"The network works in {str(dtype).removeprefix('torch.')}; float32 or float64 "
        "reach further. Check mean and std too.",
    )
