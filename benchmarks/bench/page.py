"""The page of all results: nothing on it but what a run gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from bench.jobs import JOBS, Job, Result
from bench.report import markdown

INTRODUCTION = """\
# Benchmarks

`{command}` wrote this page, from figures of one machine; yours will have others. It runs the
benchmarks one after the other (about {minutes:.0f} minutes here), and can be stopped and run again.

All sides of a comparison are timed in turn in one run, after a warm-up: a ratio is taken in every
round, and what is given is the median of the rounds, with the lowest and the highest round in
brackets. A *ceiling* is what the MACs (multiply-accumulate operations) of both sides allow.
Networks have torchvision's architecture and random weights, on which speed does not depend; images
are noise, one at a time, of as many px per side as the table says. The FCN and the classifier on
crops are in the same form: {form}.
"""


def write_page(
    results: Mapping[str, Result],
    *,
    command: str,
    picture: str | None,
    jobs: Sequence[Job] = JOBS,
) -> str:
    """The page in Markdown.

    Args:
        results: by the jobs' keys, all of one machine; jobs without one are named as missing.
        command: what makes the page.
        picture: of the ratios, relative to the page.
        jobs: in the order of the page.
    """
    minutes = sum(result["took"] for result in results.values()) / 60
    form = next(iter(results.values()))["form"]
    parts = [INTRODUCTION.format(command=command, minutes=minutes, form=form), machine(results)]
    if picture:
        parts.append(
            f"![How much faster the FCN is than sliding, next to the ceiling]({picture})\n"
        )
    for script in dict.fromkeys(job.script for job in jobs):
        own = [job for job in jobs if job.script == script]
        parts.append(section(script, own, results))
    return "\n".join(parts)


def machine(results: Mapping[str, Result]) -> str:
    """What the figures belong to. Raises ValueError for results of two machines."""
    about = [result["machine"] | {"form": result["form"]} for result in results.values()]
    if any(other != about[0] for other in about):
        raise ValueError("the results are of different machines, versions or forms.")
    dates = sorted({result["date"] for result in results.values()})
    measured = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    rows = [*next(iter(results.values()))["machine"].items(), ("measured", measured)]
    return markdown(("machine", ""), rows) + "\n"


def section(script: str, jobs: Sequence[Job], results: Mapping[str, Result]) -> str:
    """One benchmark: what it compares, the commands, the table and what it says."""
    module: Any = import_module(script)
    done = [results[job.key] for job in jobs if job.key in results]
    missing = [job.key for job in jobs if job.key not in results]
    parts = [f"## {module.TITLE}", about(module.__doc__)]
    if done:
        parts += ["\\\n".join(f"`{result['command']}`" for result in done)]
        parts += [module.section([row for result in done for row in result["rows"]])]
    if missing:
        parts += [f"Not measured: {', '.join(missing)}."]
    return "\n\n".join(parts) + "\n"


def about(doc: str) -> str:
    """A docstring without its examples of commands."""
    paragraphs = doc.strip().split("\n\n")
    return "\n\n".join(text for text in paragraphs if not text.startswith("    "))
