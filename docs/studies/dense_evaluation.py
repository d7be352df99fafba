"""Dense evaluation, multi-crop and both on CIFAR-10: `make study-dense`.

Two small networks, one that pads and one that does not, are trained and evaluated on test images;
the figures go into docs/dense-evaluation.md and, all of them, into a JSON file beside this one.
What is trained and measured stays in .cache; the study can be stopped and run again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import fullconv
from fullconv.cli.progress import Progress
from fullconv.evaluate.accuracy import accuracy
from fullconv.storage.datasets import Dataset, open_dataset, spread
from fullconv.storage.description import to_text
from fullconv.storage.files import atomic
from studies import borders, cifar10, page, pages, small_vgg
from studies.command import run, say

ROOT = Path(__file__).parents[2]
SCALES = (32, 40, 48)  # VGG's 256, 320, 384 at an eighth of the size


def main(arguments: list[str] | None = None) -> int:
    """Train and measure what is not there yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000, help="test images [2000]")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "dense-evaluation")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "dense-evaluation.md")
    options = parser.parse_args(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    file = cifar10.images(cifar10.data_folder(), options.cache, say)
    with np.load(file) as arrays:
        x, y = arrays["x_train"], arrays["y_train"]
    models = {
        "padded" if padded else "unpadded": small_vgg.trained(
            x, y, options.cache, say, padded=padded
        )
        for padded in (True, False)
    }
    dataset = spread(open_dataset(file, resolve=int, outputs=10), options.images)
    networks = {
        name: measured(name, model, dataset, options.cache) for name, model in models.items()
    }
    facts = {
        "data": "CIFAR-10 test images, from lossy JPEG copies",
        "images": len(dataset),
        "scales": list(SCALES),
        "window": small_vgg.WINDOW,
        "epochs": small_vgg.EPOCHS,
        "jitter": [small_vgg.SMALLEST, small_vgg.LARGEST],
        "versions": {"fullconv": fullconv.__version__, "torch": torch.__version__},
        "networks": networks,
    }
    answers = Path(__file__).with_suffix(".json")
    with atomic(answers) as part:
        part.write_text(to_text(facts), encoding="utf-8")
    pages.write(options.page, page.MADE_BY, page.body(facts))
    say(f"wrote {answers} and {options.page}")
    return 0


def measured(name: str, model: nn.Module, dataset: Dataset, cache: Path) -> dict[str, Any]:
    """The errors of a network and what its borders do; kept in `cache`."""
    kept = cache / f"{name}-{len(dataset)}.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    fcn = fullconv.convert(model, small_vgg.WINDOW)
    fcn.about = replace(fcn.about, mean=cifar10.MEAN, std=cifar10.STD)
    say(f"{name}: {len(dataset):,} images")
    with Progress("images", len(dataset)) as progress:
        found = accuracy(fcn.optimize(), dataset, scales=SCALES, progress=progress)
    say(str(found))
    facts = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "receptive_field": list(fcn.receptive_field),
        "stride": list(fcn.stride),
        **found.to_dict(),
        "borders": borders.compare(model, fcn, dataset, found, SCALES, Sometimes()),
    }
    with atomic(kept) as part:
        part.write_text(json.dumps(facts), encoding="utf-8")
    return facts


class Sometimes:
    """Says what it is told at most every 10 seconds."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, text: str) -> None:
        """Say it, or not."""
        if time.monotonic() - self._said >= 10:
            self._said = time.monotonic()
            say(text)


if __name__ == "__main__":
    run(main)
