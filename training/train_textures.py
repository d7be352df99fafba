"""Trains the bundled texture classifier and writes its weights.

    python training/train_textures.py                # trains on the train halves, scores the rest
    python training/train_textures.py --validate     # to choose a recipe by: no test half is read

Validation cuts the train halves once more, across their longer axis: it trains on two thirds and
scores the last third, and then again with the first. The recipe and the classes were chosen by it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import save

from fullconv.bundled import photographs, textures
from fullconv.bundled.textures import CLASSES, WINDOW, TextureNet
from fullconv.storage.files import atomic

Pictures = dict[str, npt.NDArray[np.uint8]]  # class to luminance, (H, W)

ZOOM = 1.25  # half of the crops are enlarged or shrunk, by up to this factor
GAIN, SHIFT = 1.4, 0.15  # contrast times or divided by up to GAIN, brightness up to ±SHIFT


def main() -> None:
    """Train, score, and write the weights unless only validating."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=_beside_the_model(), help="weights to write")
    parser.add_argument("--validate", action="store_true", help="score parts of the train halves")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    train = {name: photographs.luminance(photographs.train_half(name)) for name in CLASSES}
    if args.validate:
        for last in (True, False):
            kept, scored = hold_back(train, last=last)
            model = fit(kept, args.steps, args.batch, args.rate, args.seed)
            print(report(confusion(model, scored)))
        return
    print(statistics(train))
    model = fit(train, args.steps, args.batch, args.rate, args.seed)
    test = {name: photographs.luminance(photographs.test_half(name)) for name in CLASSES}
    print(report(confusion(model, test)))
    write(model, args.output)


def hold_back(train: Pictures, *, last: bool) -> tuple[Pictures, Pictures]:
    """Two thirds of every picture to train on, and its last or first third to score."""
    kept, scored = {}, {}
    for name, picture in train.items():
        axis = int(np.argmax(picture.shape))
        third = picture.shape[axis] // 3
        cut = picture.shape[axis] - third if last else third
        first, second = np.split(picture, [cut], axis=axis)
        kept[name], scored[name] = (first, second) if last else (second, first)
    return kept, scored


def fit(train: Pictures, steps: int, batch: int, rate: float, seed: int) -> TextureNet:
    """A network trained on random crops of the pictures, in eval mode."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    model = TextureNet().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    started, running = time.perf_counter(), 0.0
    for step in range(1, steps + 1):
        crops, labels = draw(train, batch, random)
        loss = F.cross_entropy(model(normalise(crops)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        running += loss.item()
        if step % 250 == 0 or step == steps:
            seconds = time.perf_counter() - started
            print(f"step {step:5d}  loss {running / ((step - 1) % 250 + 1):.4f}  {seconds:5.0f} s")
            running = 0.0
    return model.eval()


def draw(
    train: Pictures, batch: int, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random crops `(N, 1, 64, 64)` in 0..1 and their labels `(N,)`; classes equally likely."""
    labels = random.integers(len(CLASSES), size=batch)
    crops = torch.empty(batch, 1, WINDOW, WINDOW)
    for index, label in enumerate(labels):
        picture = train[CLASSES[label]]
        zoom = ZOOM ** random.uniform(-1, 1) if random.random() < 0.5 else 1.0
        side = min(round(WINDOW / zoom), *picture.shape)
        top, left = (random.integers(size - side + 1) for size in picture.shape)
        crop = np.rot90(picture[top : top + side, left : left + side], random.integers(4))
        crop = crop[::-1] if random.random() < 0.5 else crop
        pixels = torch.from_numpy(crop.copy())[None, None].float() / 255
        if side != WINDOW:
            size = (WINDOW, WINDOW)
            pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
        mean = pixels.mean()
        gain, shift = GAIN ** random.uniform(-1, 1), random.uniform(-SHIFT, SHIFT)
        crops[index] = ((pixels - mean) * gain + mean + shift).clamp(0, 1)[0]
    return crops, torch.from_numpy(labels)


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels in 0..1 as the network wants them."""
    return (pixels - textures.MEAN[0]) / textures.STD[0]


@torch.inference_mode()
def confusion(model: TextureNet, pictures: Pictures, stride: int = 8) -> npt.NDArray[np.int64]:
    """How often each class (row) is taken for each class (column), over a dense grid of crops."""
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for row, name in enumerate(CLASSES):
        pixels = torch.from_numpy(pictures[name].copy()).float() / 255
        crops = pixels.unfold(0, WINDOW, stride).unfold(1, WINDOW, stride)
        for part in crops.reshape(-1, 1, WINDOW, WINDOW).split(512):
            counts[row] += np.bincount(model(normalise(part)).argmax(1), minlength=len(CLASSES))
    return counts


def report(counts: npt.NDArray[np.int64]) -> str:
    """The accuracies and the confusion matrix, for people."""
    right, total = counts.diagonal(), counts.sum(1)
    lines = [f"{'':10}{'crops':>7}{'right %':>9}   taken for " + " ".join(CLASSES)]
    for name, n, k, row in zip(CLASSES, total, right, counts, strict=True):
        lines.append(f"{name:10}{n:7d}{100 * k / n:9.2f}   {row}")
    lines.append(f"{'all crops':10}{total.sum():7d}{100 * right.sum() / total.sum():9.2f}")
    lines.append(f"{'classes averaged':17}{100 * (right / total).mean():9.2f}")
    return "\n".join(lines)


def statistics(train: Pictures) -> str:
    """The MEAN and STD that belong into `textures.py`: every class weighs the same."""
    mean = np.mean([(picture / 255).mean() for picture in train.values()])
    square = np.mean([((picture / 255) ** 2).mean() for picture in train.values()])
    return f"luminance of the train halves: mean {mean:.3f}, std {(square - mean**2) ** 0.5:.3f}"


def write(model: TextureNet, path: Path) -> None:
    """Write the weights whole or not at all."""
    with atomic(path) as partial:
        partial.write_bytes(save(model.state_dict(), {"format": "pt"}))
    print(f"wrote {path} ({path.stat().st_size:,} bytes)")


def _beside_the_model() -> Path:
    return Path(textures.__file__).with_name("textures.safetensors")


if __name__ == "__main__":
    main()
