"""Peak memory of whole scans, as the operating system tells it: does it grow with the image?

    python benchmarks/scan_memory.py                     # ResNet-18, 20,000² px
    python benchmarks/scan_memory.py --sizes 20000x20000 100000x20000 --dtype bfloat16

The image is drawn when it is read, so that nothing of it lies in memory or on the disk. Every scan
runs in a process of its own; its peak is the largest resident memory that the system has seen
(`VmHWM`, Linux), with Python, PyTorch and the weights in it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import fullconv
from fullconv.api.machine import parse_bytes, peak_resident_bytes, written_bytes
from fullconv.models import load_model
from fullconv.storage.sources import DrawnSource


def main() -> None:
    """Scan images of several sizes, one process for each, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--sizes", nargs="+", default=["20000x20000"], help="HxW, px")
    parser.add_argument("--memory", default="2GiB", help="what the process may have")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        scan(args.model, args.sizes[0], args.memory, args.dtype)
        return
    peaks = []
    for size in args.sizes:
        command = [sys.executable, __file__, "--one", "--model", args.model, "--sizes", size]
        command += ["--memory", args.memory, "--dtype", args.dtype]
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(run.stdout)
        peaks.append(found["peak"])
        print(f"{args.model} {args.dtype} {size}: {found['seconds']:.0f} s, "
              f"{found['bands']} bands, strips of {found['rows']} rows, "
              f"peak {written_bytes(found['peak'])}", flush=True)  # fmt: skip
    if len(peaks) > 1:
        print(f"largest ÷ smallest peak: {max(peaks) / min(peaks):.3f}")


def scan(name: str, size: str, memory: str, dtype: str) -> None:
    """One scan, in this process."""
    height, width = (int(side) for side in size.split("x"))
    model = load_model(f"torchvision:{name}:random").module
    fcn = fullconv.convert(model, 224).optimize(getattr(torch, dtype))
    del model

    def draw(box: tuple[int, ...]) -> np.ndarray:
        top, left, bottom, right = box
        rows = np.arange(top, bottom, dtype=np.uint32)[:, None, None]
        columns = np.arange(left, right, dtype=np.uint32)[:, None]
        return ((rows * 7 + columns * 13 + np.arange(3, dtype=np.uint32) * 31) >> 2).astype(
            np.uint8
        )

    source = DrawnSource((height, width), 3, np.dtype(np.uint8), draw)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        done = fullconv.scan(
            fcn, source, Path(folder) / "map", keep=("top", 1), max_memory=parse_bytes(memory)
        )
        seconds = time.perf_counter() - begun
    plan = done.plan
    found = {"peak": peak_resident_bytes(), "seconds": seconds, "bands": plan.bands}
    print(json.dumps({**found, "rows": plan.height}))


if __name__ == "__main__":
    main()
