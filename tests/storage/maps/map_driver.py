"""Write a map, be killed, go on, and compare: `python map_driver.py HOW FOLDER RUNS`.

    every-step   killed before every step on the disk, one run for each
    power        at every step the power goes: what was not flushed may be lost, chosen by RUNS
    random       killed at random moments, several times in a run

Runs are forked, so that each takes hundredths of a second. Prints what was done as JSON, and ends
with 1 at the first map that is not, byte for byte, the one that was never interrupted.
"""

from __future__ import annotations

import itertools
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

import map_contents
import zarr.codecs  # noqa: F401 -- so that no run imports it
from disk_events import watched
from lost_power import Disk

KEPT = ("top", 2)  # two arrays, so that a chunk is two files
CHUNK = (8, map_contents.CELLS[1])  # two chunks, each step of which is hit


def write(
    target: Path, report: int = -1, promised: frozenset[tuple[int, ...]] = frozenset()
) -> None:
    """Go on with a map to its end, and say of each chunk on `report` that it is done."""
    with map_contents.begin(target, "float16", CHUNK, kept=KEPT) as writer:
        lost = promised - writer.done
        assert not lost, f"{sorted(lost)} were done and are not any more; {writer.remarks}"
        # Runs to be killed go from the last to the first: what comes out must not tell.
        for index in sorted(set(writer.layout) - writer.done, reverse=report >= 0):
            block = map_contents.block(writer, index)
            writer.write(index, block, map_contents.faults(index))
            if report >= 0:
                os.write(report, json.dumps(index).encode() + b"\n")
        writer.finish()


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


def killed_at(number: int, target: Path, disk: Disk | None, cut: Path, report: int) -> None:
    """Write a map and be killed at a step."""
    steps = itertools.count(1)

    def step(name: str, argument: object) -> None:
        if next(steps) == number:
            if disk is not None:
                disk.after_the_cut(cut)
            os.kill(os.getpid(), signal.SIGKILL)
        if disk is not None:
            disk.step(name, argument)

    with watched(step):
        write(target, report)


def promises(reader: int) -> frozenset[tuple[int, ...]]:
    """The chunks that a process has said are done."""
    with os.fdopen(reader) as lines:
        return frozenset(tuple(json.loads(line)) for line in lines)


def check(name: str, target: Path, wanted: dict[str, bytes | None]) -> None:
    found = map_contents.tree(target)
    other = [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]
    if other:
        sys.exit(f"{name}: {other} differ; {sorted(found)}")


def at_steps(
    folder: Path, wanted: dict[str, bytes | None], *, power: bool, seed: int
) -> dict[str, int]:
    """Killed at every step there is, each time in a new folder."""
    for number in itertools.count(1):
        run, cut = folder / "run", folder / "cut"
        run.mkdir()
        disk = Disk(run, seed * 1000 + number) if power else None
        reader, report = os.pipe()
        target = run / "new" / "map"
        process = forked(lambda: killed_at(number, target, disk, cut, report))  # noqa: B023
        os.close(report)
        done = promises(reader)
        if ended(process):
            check(f"no step {number}", target, wanted)
            return {"runs": number, "steps": number - 1}
        if power:
            shutil.rmtree(run)
            cut.rename(run)
        if not ended(forked(lambda: write(target, promised=done))):  # noqa: B023
            sys.exit(f"step {number}: killed by somebody else")
        check(f"step {number}", target, wanted)
        shutil.rmtree(run)
    raise AssertionError


def at_random(folder: Path, wanted: dict[str, bytes | None], runs: int) -> dict[str, int]:
    """Killed at random moments, up to four times in a run."""
    moments, kills = random.Random(runs), 0
    start = time.perf_counter()
    ended(forked(lambda: write(folder / "timed")))
    took = time.perf_counter() - start
    for run in range(runs):
        target, done = folder / f"run{run}", frozenset[tuple[int, ...]]()
        for _ in range(moments.randint(1, 4)):
            reader, report = os.pipe()
            process = forked(lambda: write(target, report, done))  # noqa: B023
            os.close(report)
            time.sleep(moments.uniform(0, took))
            os.kill(process, signal.SIGKILL)
            done |= promises(reader)
            kills += not ended(process)
        ended(forked(lambda: write(target, promised=done)))  # noqa: B023
        check(f"run {run}", target, wanted)
        shutil.rmtree(target)
    return {"runs": runs, "kills": kills}


def main() -> None:
    how, folder, runs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    ended(forked(lambda: write(folder / "wanted")))
    wanted = map_contents.tree(folder / "wanted")
    done = (
        at_random(folder, wanted, runs)
        if how == "random"
        else at_steps(folder, wanted, power=how == "power", seed=runs)
    )
    print(json.dumps(done))


if __name__ == "__main__":
    main()
