"""What a pass takes: the estimate beside the measured peak.

    python benchmarks/memory.py                              # three networks, two sizes, three ways
    python benchmarks/memory.py --models vgg16 --sizes 2048

Every pass runs in a process of its own, twice over, and the peak of its resident memory is read
from the system (Linux only). Random weights: memory does not depend on them. Weights do not count.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import torch

import fullconv
from fullconv.api.memory import Budget, peak_bytes
from fullconv.auditing.measuring.peak import peak_of
from fullconv.models import load_model

WAYS = ("float32", "optimized", "bfloat16")
MIB = 2**20


def main() -> None:
    """Measure every network, size and way in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["vgg16", "resnet18", "mobilenet_v2"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[512, 1024], help="sides, px")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=(*WAYS, "float64"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(args.models[0], args.sizes[0], args.ways[0])
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; MiB")
    print(f"{'network':14} {'px':>5} {'way':10} {'alive':>7} {'needed':>7} {'measured':>8}  ratio")
    for model in args.models:
        for size in args.sizes:
            for way in args.ways:
                command = [sys.executable, __file__, "--one", "--models", model]
                command += ["--sizes", str(size), "--ways", way]
                subprocess.run(command, check=True)


def measure(name: str, size: int, way: str) -> None:
    """One network at one size, in this process."""
    model = load_model(f"torchvision:{name}:random").module
    fcn = fullconv.convert(model.double() if way == "float64" else model, 224)
    if way == "optimized":
        fcn = fcn.optimize()
    elif way == "bfloat16":
        fcn = fcn.optimize(torch.bfloat16)
    shape = (1, fcn.plan.channels, size, size)
    alive, needed = peak_bytes(fcn, shape), Budget(fcn, limit=1).needed(shape[2:])
    del model
    dtype = torch.float64 if way == "float64" else torch.float32

    def passes() -> None:
        image = torch.ones(shape, dtype=dtype)
        with torch.inference_mode():
            for _ in range(2):  # the second finds what the first has left behind
                fcn(image)

    measured = peak_of(passes)
    if measured is None:
        sys.exit("The system does not tell the peak of a process's memory: that takes Linux.")
    print(f"{name:14} {size:5} {way:10} {alive / MIB:7.0f} {needed / MIB:7.0f} "
          f"{measured / MIB:8.0f}  {needed / measured:.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
