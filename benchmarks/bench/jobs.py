"""The benchmarks of the page, each run in a process of its own, with results that stay."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import describe
from bench.networks import form
from bench.report import command

Result = dict[str, Any]
FOLDER = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one benchmark.

    Attributes:
        key: the file its result is kept in.
        script: a file of this folder.
        arguments: its options.
        quick: options of a run that only shows that it works.
        minutes: how long it takes on two cores, about.
    """

    key: str
    script: str
    arguments: tuple[str, ...]
    quick: tuple[str, ...]
    minutes: float


def _sliding(model: str, minutes: float) -> Job:
    arguments = ("--models", model)
    quick = (*arguments, "--sizes", "288", "--strides", "32", "--batch", "4", "--rounds", "2")
    return Job(f"sliding-{model}", "sliding", arguments, quick, minutes)


JOBS = (
    _sliding("alexnet", 2),
    _sliding("vgg16", 9),
    _sliding("resnet50", 4),
    _sliding("mobilenet_v2", 2),
    Job("paper", "paper", (), ("--size", "288", "--batch", "4", "--rounds", "2"), 0.5),
    Job(
        "hand_written", "hand_written", (),
        ("--models", "alexnet", "--sizes", "256", "--rounds", "2", "--at-least", "0"), 1,
    ),
    Job(
        "monai_windows", "monai_windows", (),
        ("--models", "alexnet", "--size", "288", "--rounds", "2"), 0.5,
    ),
    Job(
        "precision", "precision", (),
        ("--models", "squeezenet1_0", "--size", "256", "--shortest", "256", "--rounds", "2"), 3,
    ),
    Job(
        "strides", "strides", (),
        ("--models", "resnet18", "--size", "256", "--stride", "16", "--rounds", "2"), 2,
    ),
    Job(
        "peak", "peak", (),
        ("--models", "mobilenet_v2", "--size", "256", "--gemm", "512", "--rounds", "2"), 1.5,
    ),
)  # fmt: skip


def options_of(job: Job, device: str, quick: bool) -> tuple[str, ...]:
    """The arguments of a job; the CPU need not be named."""
    words = job.quick if quick else job.arguments
    return words if device == "cpu" else (*words, "--device", device)


def read_result(path: Path, wanted: str, machine: Mapping[str, str]) -> Result | None:
    """A kept result, if it is of this command, machine, versions and form of the FCN."""
    try:
        result: Result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    now = {"command": wanted, "machine": dict(machine), "form": form()}
    return result if all(result.get(name) == value for name, value in now.items()) else None


def read_results(jobs: Sequence[Job], folder: Path, device: str, quick: bool) -> dict[str, Result]:
    """The results of all jobs that have one."""
    machine = describe(device)
    found = {}
    for job in jobs:
        wanted = command(job.script, options_of(job, device, quick))
        result = read_result(folder / f"{job.key}.json", wanted, machine)
        if result is not None:
            found[job.key] = result
    return found


def run_jobs(
    jobs: Sequence[Job],
    folder: Path,
    *,
    device: str,
    quick: bool,
    again: bool,
    say: Callable[[str], None],
) -> list[str]:
    """Run the jobs that have no result yet, all of them with `again`; the keys that failed."""
    kept = {} if again else read_results(jobs, folder, device, quick)
    left = [job for job in jobs if job.key not in kept]
    if kept:
        say(f"{len(kept)} of {len(jobs)} are done already; --again redoes them")
    failed: list[str] = []
    planned, begun = 0.0, time.monotonic()
    for number, job in enumerate(left):
        rest = sum(other.minutes for other in left[number:])
        if planned:  # this machine may be faster or slower
            rest *= (time.monotonic() - begun) / 60 / planned
        words = options_of(job, device, quick)
        about = "" if quick else f" (about {rest:.0f} min left)"
        say(f"[{number + 1}/{len(left)}] {command(job.script, words)}{about}")
        script = str(FOLDER / f"{job.script}.py")
        target = str(folder / f"{job.key}.json")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", script, *words, "--json", target], check=False
        )
        if done.returncode == 130:
            raise KeyboardInterrupt
        if done.returncode:
            say(f"    failed with exit code {done.returncode}")
            failed.append(job.key)
        planned += job.minutes
    return failed
