"""FCN against sliding for the same cells: both sides in turn, in one run, medians.

    python benchmarks/sliding.py                        # VGG-16 on 512×512
    python benchmarks/sliding.py --model alexnet --size 515 --rounds 5

Prints what converting costs (seconds, peak memory) and the ratio next to its MAC ceiling. Random
weights: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time

import torch

import fullconv
from fullconv.api.costs import ceiling
from fullconv.models import load_model

MIB = 1024  # ru_maxrss counts KiB


def main() -> None:
    """Measure one network at one image size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vgg16", help="a classifier of torchvision")
    parser.add_argument("--size", type=int, default=512, help="side of the image, px")
    parser.add_argument("--batch", type=int, default=32, help="crops per batch when sliding")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each side")
    args = parser.parse_args()

    model = load_model(f"torchvision:{args.model}:random").module
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    start = time.perf_counter()
    fcn = fullconv.convert(model, 224)
    converting = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    print(f"{args.model}: weights {weights:.0f} MiB, torch {torch.__version__}, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    print(f"convert: {converting:.2f} s, peak memory {before:.0f} → {after:.0f} MiB")

    image = torch.randn(1, 3, args.size, args.size)
    grid = fcn.grid(image.shape[2:])
    dense: list[float] = []
    crops: list[float] = []
    with torch.inference_mode():
        fcn(image)
    for round_ in range(args.rounds):
        start = time.perf_counter()
        with torch.inference_mode():
            fcn(image)
        dense.append(time.perf_counter() - start)
        start = time.perf_counter()
        fullconv.sliding(model, image, fcn.window, fcn.stride, args.batch)
        crops.append(time.perf_counter() - start)
        print(f"round {round_ + 1}: FCN {dense[-1]:.3f} s, sliding {crops[-1]:.3f} s, "
              f"ratio {crops[-1] / dense[-1]:.1f}")  # fmt: skip
    ratio = statistics.median(c / d for c, d in zip(crops, dense, strict=True))
    limit = ceiling(model, fcn, grid.size)
    print(f"{grid.shape[0]}×{grid.shape[1]} cells on {args.size}×{args.size} px, batches of "
          f"{args.batch}: FCN {statistics.median(dense):.3f} s, sliding "
          f"{statistics.median(crops):.3f} s, median ratio {ratio:.1f}; "
          f"by its arithmetic at most {limit:.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
