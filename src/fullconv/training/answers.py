"""What a network answers, as probabilities of classes, whatever it ends in."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fullconv.errors import RefusedError
from fullconv.hosts.torch_fx.tracing import in_eval
from fullconv.training.failures import Diverged, failures_told
from fullconv.training.samples import Samples

BATCH = 256


def logits_of(answer: object, *, probabilities: bool) -> Tensor:
    """What a network returned as numbers `(N, K)`, float32, whose softmax are the probabilities.

    A single score stands for the second of two classes. `probabilities` says that the network
    itself ends in a softmax or a logistic function. Raises RefusedError for anything but `(N, K)`.
    """
    if not isinstance(answer, Tensor) or answer.ndim != 2:
        shape = f"a tensor of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else ""
        raise RefusedError(
            f"the network returned {shape or 'a ' + type(answer).__name__}, not one tensor (N, K).",
            why="Training needs one score for each class.",
            hint="Wrap the network in a module that returns its scores alone, also in training.",
        )
    scores = answer.float()
    if probabilities:
        tiny = torch.finfo(torch.float32).tiny
        if scores.shape[1] == 1:
            scores = torch.cat([1 - scores, scores], 1)
        return scores.clamp_min(tiny).log()
    if scores.shape[1] == 1:
        return F.pad(scores, (1, 0))  # softmax of (0, score) is its logistic function
    return scores


def predictions(
    network: nn.Module, samples: Samples, *, probabilities: bool = False, batch: int = BATCH
) -> Tensor:
    """The probabilities `(N, K)` of all classes for every image, in inference mode, float32.

    `probabilities` says that the network itself ends in a softmax or a logistic function; `batch`
    is how many images it is given at a time. Raises Diverged where they are not finite, and
    FullconvError where the memory does not suffice or the network raises an error of its own.
    """
    like = next(network.parameters(), torch.empty(0))
    found = []
    with in_eval(network), torch.inference_mode():
        for pixels in torch.split(samples.pixels, batch):
            with failures_told(len(pixels), "the answers to"):
                answer = network(samples.prepared(pixels.to(like.device)).to(like.dtype))
                found.append(logits_of(answer, probabilities=probabilities).softmax(1).cpu())
    every = torch.cat(found)
    if not bool(torch.isfinite(every).all()):
        raise Diverged(
            "the network's scores are not finite (NaN or infinite).",
            hint="Its weights cannot classify; train it again with a lower rate.",
        )
    return every


def error_of(predicted: Tensor, labels: Tensor) -> float:
    """Top-1 error in % of probabilities `(N, K)` for labels `(N,)`."""
    return 100 * float((predicted.argmax(1) != labels.cpu()).double().mean())
