"""Two small VGGs for CIFAR-10, padded and unpadded, trained as VGG's authors trained theirs.

Everything is VGG at an eighth of its size: windows of 28 px cut out of images of 32 px and more,
a native stride of 4 px, so that an image of 32 px has 2 × 2 cells as one of 256 px has there.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fullconv.storage.files import atomic
from studies.cifar10 import MEAN, STD

WINDOW = 28
SMALLEST, LARGEST = 32, 48  # shortest side in training, px: scale jitter
EPOCHS, BATCH, RATE, DECAY = 14, 128, 0.2, 5e-4
SEED = 0


def network(*, padded: bool) -> nn.Sequential:
    """3×3 convolutions in three groups, two max-pools and a fully connected head.

    Unpadded, its third group has one convolution instead of two: more would not fit the window.
    """
    groups = ((3, 32, 32), (32, 64, 64), (64, 128, 128) if padded else (64, 128))
    side = 7 if padded else 2  # of the last map, at the window
    return nn.Sequential(
        *_group(groups[0], padded),
        nn.MaxPool2d(2),
        *_group(groups[1], padded),
        nn.MaxPool2d(2),
        *_group(groups[2], padded),
        nn.Flatten(),
        nn.Linear(128 * side**2, 256),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(256, 10),
    )


def _group(channels: tuple[int, ...], padded: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(channels):
        conv = nn.Conv2d(before, after, 3, padding=int(padded), bias=False)
        layers += [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return layers


def trained(
    x: npt.NDArray[np.uint8],
    y: npt.NDArray[np.uint8],
    cache: Path,
    say: Callable[[str], None],
    *,
    padded: bool,
    epochs: int = EPOCHS,
) -> nn.Sequential:
    """The network in eval mode, trained on `x` `(N, 32, 32, 3)` unless its weights are in `cache`.

    The state is kept after every epoch, and training goes on from there. The random numbers of
    an epoch follow from its number, so that a run that was stopped ends like one that was not.
    """
    path = cache / f"{'padded' if padded else 'unpadded'}.pt"
    torch.manual_seed(SEED)
    model = network(padded=padded).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=RATE, momentum=0.9, weight_decay=DECAY, nesterov=True
    )
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=steps * epochs, pct_start=0.3
    )
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    done = 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        done = state["epochs"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
    for epoch in range(done, epochs):
        started = time.perf_counter()
        loss, right = _epoch(model, optimizer, schedule, x, y, epoch)
        with atomic(path) as temporary:
            state = {name: part.state_dict() for name, part in parts.items()}
            torch.save({"epochs": epoch + 1, **state}, temporary)
        say(
            f"{path.stem}: epoch {epoch + 1} of {epochs}, loss {loss:.3f}, {100 * right:.1f} % of "
            f"the training crops right, {time.perf_counter() - started:.0f} s"
        )
    return model.to(memory_format=torch.contiguous_format).eval()


def _epoch(
    model: nn.Sequential,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    x: npt.NDArray[np.uint8],
    y: npt.NDArray[np.uint8],
    epoch: int,
) -> tuple[float, float]:
    """One pass over the images in random order: the mean loss and the share that was right."""
    random = np.random.default_rng((SEED, epoch))
    torch.manual_seed(int(random.integers(2**31)))  # for dropout
    model.train()
    order = random.permutation(len(x))
    loss_sum = right = 0.0
    starts = range(0, len(x) - BATCH + 1, BATCH)
    for start in starts:
        chosen = np.sort(order[start : start + BATCH])
        labels = torch.from_numpy(y[chosen].astype(np.int64))
        batch = crops(x[chosen], random).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(batch)
        loss = F.cross_entropy(scores.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        loss_sum += loss.item()
        right += int((scores.argmax(1) == labels).sum())
    return loss_sum / len(starts), right / (len(starts) * BATCH)


def crops(pixels: npt.NDArray[np.uint8], random: np.random.Generator) -> Tensor:
    """Random windows `(N, 3, 28, 28)`, half of them mirrored, of images at one random scale."""
    side = int(random.integers(SMALLEST, LARGEST + 1))
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255  # (N, 3, 32, 32)
    x = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    if side != x.shape[-1]:
        x = F.interpolate(x, size=(side, side), mode="bilinear", antialias=True)
    places = random.integers(side - WINDOW + 1, size=(len(x), 2))
    mirrored = random.random(len(x)) < 0.5
    return torch.stack(
        [
            (image.flip(-1) if flip else image)[:, top : top + WINDOW, left : left + WINDOW]
            for image, (top, left), flip in zip(x, places, mirrored, strict=True)
        ]
    )
