"""A pass forward, and one forward and backward, as a training step makes it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from fullconv.api.counting import Alive
from fullconv.hosts.torch_fx.fcn import tensors_of


def trainable(network: nn.Module) -> nn.Module:
    """The network over the same numbers, with parameters of its own that all take gradients.

    In inference mode: batch norms go by their running statistics and nothing is dropped, so that
    single images and maps of one cell can pass. Gradients never reach the network it came from.
    """
    same: dict[int, object] = {id(buffer): buffer for buffer in network.buffers()}
    for old in network.parameters():
        same[id(old)] = nn.Parameter(old.detach(), requires_grad=old.is_floating_point())
    twin = copy.deepcopy(network, same)
    for module in twin.modules():
        module.training = False
    return twin


def loss_of(network: nn.Module, images: Tensor, targets: Tensor | None = None) -> Tensor:
    """Cross entropy of the scores `(N, K)`, or of the averages of score maps `(N, K, *cells)`.

    Of several answers the first one counts. Without `targets` `(N,)` class 0 is right.
    """
    scores = tensors_of(network(images))[0]
    if scores.ndim > 2:
        scores = scores.mean(tuple(range(2, scores.ndim)))
    if targets is None:
        targets = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    wide = torch.promote_types(scores.dtype, torch.float32)  # half types are too coarse for it
    return F.cross_entropy(scores.to(wide), targets)


def train(twin: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    """Forward and backward of images `(N, C, *space)`: the gradients of all parameters.

    `twin` is what `trainable` makes. A training step without the optimiser.
    """
    with torch.inference_mode(False), torch.enable_grad():
        return _gradients(twin, loss_of(twin, images))


def _gradients(twin: nn.Module, loss: Tensor) -> tuple[Tensor, ...]:
    wanted = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    return torch.autograd.grad(loss, wanted, allow_unused=True)


@dataclass(frozen=True, slots=True)
class TrainingBytes:
    """What `train` holds beside the weights, counted op by op on fake tensors.

    Attributes:
        saved: the image and all that autograd keeps of the forward pass for the backward one.
        peak: the most that is alive at once, with the gradients of the parameters.
    """

    saved: int
    peak: int


def training_bytes(twin: nn.Module, shape: tuple[int, ...]) -> TrainingBytes:
    """The bytes of `train` on images of a shape `(N, C, *space)`, without running anything.

    As `fullconv.api.counting.peak_bytes` counts those of a forward pass.
    """
    first = next(twin.parameters(), torch.empty(0))
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.inference_mode(False), torch.enable_grad(), fake, Alive() as alive:
        images = torch.empty(shape, dtype=first.dtype, device=first.device)
        loss = loss_of(twin, images)
        saved: int = alive.bytes
        _gradients(twin, loss)
    return TrainingBytes(saved, max(alive.course))
