"""Scan, be killed, go on, and compare: `python scan_driver.py FOLDER RUNS`.

Runs are forked from a process that has imported everything, so that each takes hundredths of a
second. Prints how many there were as JSON, and ends with 1 at the first map that is not, byte for
byte, the one of a scan that nobody stopped.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import zarr.codecs  # noqa: F401 -- so that no run imports it
from scans import network, noise, tree

import fullconv
from fullconv.scanning import room
from fullconv.storage.maps import open_map
from fullconv.storage.sources import ArraySource, Fault, Region

room.CHUNK = 1  # every strip is a chunk
torch.set_num_threads(1)  # no threads that a fork would lose

FCN = network("padded")[1].optimize(dtype=torch.float32)
LOOK = np.ones((7, 4), bool)
LOOK[3:6, 2:] = False


class Holed(ArraySource):
    """Noise with a part that cannot be read, so that the journal has faults to keep."""

    def __init__(self) -> None:
        super().__init__(noise(73, 61, 3))

    def read(self, box) -> Region:
        found = super().read(box)
        fault = Fault((11, 9, 14, 30), "a hole").within(box)
        return found if fault is None else Region(found.pixels, (fault,))


def scan(target: Path) -> None:
    fullconv.scan(FCN, Holed(), target, strip=6, band=13, mask=LOOK)


def forked(work: Callable[[], None]) -> int:
    """Start a process that does `work`; its number."""
    process = os.fork()
    if process:
        return process
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(process: int) -> bool:
    """Wait for a process: whether it came to its end, and was not killed."""
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"a run ended with {code}")
    return code == 0


def main() -> None:
    folder, runs = Path(sys.argv[1]), int(sys.argv[2])
    scan(folder / "warm")
    ended(forked(lambda: scan(folder / "wanted")))
    wanted = tree(folder / "wanted")
    start = time.perf_counter()
    ended(forked(lambda: scan(folder / "timed")))
    took = time.perf_counter() - start
    total = len(open_map(folder / "wanted").layout)
    moments, kills, halfway = random.Random(runs), 0, 0
    for run in range(runs):
        target = folder / f"run{run}"
        left = moments.choice((1, 1, 1, 2))
        while left:
            process = forked(lambda: scan(target))  # noqa: B023
            time.sleep(moments.uniform(0, took))
            os.kill(process, signal.SIGKILL)
            if ended(process):  # too late: it is faster than it was
                took *= 0.97
                shutil.rmtree(target)
                continue
            kills, left = kills + 1, left - 1
        journal = target / "journal.jsonl"
        lines = len(journal.read_bytes().splitlines()) if journal.exists() else 0
        halfway += 1 < lines < total + 1
        ended(forked(lambda: scan(target)))  # noqa: B023
        found = tree(target)
        other = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
        if other:
            sys.exit(f"run {run}: {other} differ; {sorted(found)}")
        shutil.rmtree(target)
    print(json.dumps({"runs": runs, "kills": kills, "halfway": halfway, "chunks": total}))


if __name__ == "__main__":
    main()
