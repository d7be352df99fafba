"""A streamed map against one pass over the same image: seconds side by side, and where they go.

    python benchmarks/streaming.py                       # three networks, 1536×1536 px
    python benchmarks/streaming.py --models vgg16 --side 2048 --rows 2 4 8 16 --profile

Both take the image from memory and compute in float32, optimized as `fullconv scan` does. They run
in turn; a ratio is that of two neighbouring runs, one pass ÷ stream, above 1 where streaming is
faster. Random weights: time does not depend on them.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import fullconv
from bench.timing import Side, in_turn
from fullconv.hosts.torch_fx.streaming.reading import streamed
from fullconv.hosts.torch_fx.streaming.stream import Stream
from fullconv.models import load_model
from fullconv.scanning.plan import ScanPlan, make_plan

MIB = 2**20


def main() -> None:
    """Measure every network with every height of strips."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["vgg16", "resnet50", "mobilenet_v2"])
    parser.add_argument("--side", type=int, default=1536, help="of the image, px")
    parser.add_argument("--rows", nargs="+", type=int, default=[8], help="cells a strip is tall")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="also what the time goes into")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.side}² px")
    print(f"{'network':14} {'rows':>4} {'maps MiB':>8} {'one pass s':>10} {'stream s':>9}  ratio")
    for name in args.models:
        measure(name, args.side, args.rows, args.rounds, args.profile)


def measure(name: str, side: int, rows: list[int], rounds: int, profiled: bool) -> None:
    """One network."""
    fcn = fullconv.convert(load_model(f"torchvision:{name}:random").module, 224).optimize()
    image = torch.rand(1, 3, side, side)
    network = streamed(fcn)
    grid = fcn.grid((side, side)).shape

    def plan(height: int) -> ScanPlan:
        return make_plan(
            network.course, (side, side), grid, fcn.stride, 2**50, score=4000, height=height
        )

    plans = {height: plan(height) for height in rows}

    def read(spans: Any) -> Tensor:
        (top, bottom), (left, right) = spans
        return image[:, :, top:bottom, left:right]

    def stream(height: int) -> None:
        found = plans[height]
        for _ in Stream(network, found.schedule, found.band(0)).run(read):
            pass

    sides = {f"{height}": Side(lambda _, h=height: stream(h)) for height in rows}
    times = in_turn({"one": Side(lambda _: fcn(image)), **sides}, rounds)
    for height in rows:
        one, own = times.of("one"), times.of(f"{height}")
        ratio = times.ratio("one", f"{height}")
        print(
            f"{name:14} {height:4} {plans[height].bytes / MIB:8.0f} {one.median:10.2f} "
            f"{own.median:9.2f}  {ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]",
            flush=True,
        )
        if profiled:
            with profile(activities=[ProfilerActivity.CPU]) as found:
                stream(height)
            print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=8))


if __name__ == "__main__":
    main()
