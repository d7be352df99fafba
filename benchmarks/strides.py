"""The two ways to a finer stride, and shifting the image, for the same map: in turn, medians.

    python benchmarks/strides.py                                  # ResNet-18, 512 px, stride 8
    python benchmarks/strides.py --model vgg16 --stride 16 --rounds 5

Random weights: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import fullconv
from fullconv.api.stitching import shift_and_stitch
from fullconv.models import load_model


def main() -> None:
    """Measure one network at one image size and stride."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet18", help="a classifier of torchvision")
    parser.add_argument("--size", type=int, default=512, help="side of the image, px")
    parser.add_argument("--stride", type=int, default=8, help="px between windows")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each way")
    parser.add_argument("--device", default="cpu", help="where to run")
    args = parser.parse_args()

    model = load_model(f"torchvision:{args.model}:random").module.to(args.device)
    native = fullconv.convert(model, 224)
    ways: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        method: fullconv.convert(model, 224, stride=args.stride, method=method)
        for method in ("dilate", "fragments")
    }
    ways["shift-and-stitch"] = lambda image: shift_and_stitch(native, image, args.stride)
    image = torch.randn(1, 3, args.size, args.size, device=args.device)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(-1, args.rounds):  # the first one prepares kernels
        for name, run in ways.items():
            start = time.perf_counter()
            with torch.inference_mode():
                shape = run(image).shape
            if args.device != "cpu":
                torch.cuda.synchronize()
            if round_ >= 0:
                seconds[name].append(time.perf_counter() - start)
    print(f"{args.model}, {args.size}×{args.size} px, stride {args.stride}: "
          f"{shape[2]}×{shape[3]} cells; torch {torch.__version__}, {args.device}, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    for name, times in seconds.items():
        ratio = statistics.median(t / d for t, d in zip(times, seconds["dilate"], strict=True))
        print(f"{name:>16}: {statistics.median(times):.3f} s, {ratio:.2f} of dilate")


if __name__ == "__main__":
    main()
