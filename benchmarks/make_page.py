"""Runs every benchmark that has no result yet and writes `docs/benchmarks.md`.

    python benchmarks/make_page.py                        # what is left, then the page
    python benchmarks/make_page.py --only 'sliding*' --again
    python benchmarks/make_page.py --quick                # small: does it all run? (.cache/bench)

Some 25 minutes on a quiet machine of two cores; results stay, so it can be stopped and run again.
Results of another machine, other versions or other options are measured again. Exit code 1 if a
benchmark failed, 5 if some have no result yet.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
from pathlib import Path

from bench.jobs import JOBS, Result, read_results, run_jobs
from bench.machine import code
from bench.page import write_page
from bench.plot import draw, import_pyplot
from bench.report import say, write_json
from fullconv.errors import FullconvError

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "bench"


def main(arguments: list[str] | None = None) -> int:
    """Measure what is left, write the page, and answer with an exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog=__doc__.partition("\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="*", help="run benchmarks like this (sliding*)")
    parser.add_argument("--again", action="store_true", help="also those that have results")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for a GPU (cpu)")
    parser.add_argument("--quick", action="store_true", help="small sizes; nothing goes into docs/")
    parser.add_argument("--list", action="store_true", help="print the benchmarks, run nothing")
    options = parser.parse_args(arguments)
    chosen = [job for job in JOBS if fnmatch.fnmatch(job.key, options.only)]
    if options.list:
        print("\n".join(f"{job.key:>22}  about {job.minutes:g} min" for job in chosen))
        return 0
    if not chosen:
        parser.error(f"no benchmark is like {options.only!r}; --list prints them")
    import_pyplot()  # what is missing is said before minutes are spent
    place = Path("quick" if options.quick else ".") / options.device.replace(":", "")
    failed = run_jobs(
        chosen,
        CACHE / place,
        device=options.device,
        quick=options.quick,
        again=options.again,
        say=say,
    )
    results = read_results(JOBS, CACHE / place, options.device, options.quick)
    if results:
        write(results, options.device, CACHE / place if options.quick else ROOT / "docs")
    if failed:
        say(f"FAILED: {', '.join(failed)}")
        return 1
    left = [job.key for job in JOBS if job.key not in results]
    if left:
        say(f"not measured: {', '.join(left)}")
        return 5
    return 0


def write(results: dict[str, Result], device: str, folder: Path) -> None:
    """The numbers, the picture and the page."""
    name = "benchmarks" if device == "cpu" else f"benchmarks-{device.replace(':', '')}"
    numbers = folder / "benchmarks" / f"{device.replace(':', '')}.json"
    write_json(numbers, results)
    rows = [row for key in results if key.startswith("sliding") for row in results[key]["rows"]]
    picture = folder / "images" / f"{name}.png"
    if rows:
        draw(rows, picture)
    page = folder / f"{name}.md"
    # From the file: whoever reads it can make the same page.
    text = write_page(
        json.loads(numbers.read_text(encoding="utf-8")),
        command="make bench" if device == "cpu" else f"make bench BENCH='--device {device}'",
        picture=os.path.relpath(picture, folder) if rows else None,
    )
    page.write_text(text, encoding="utf-8")
    old = [key for key, result in results.items() if result["code"] != code()]
    if old:
        say(f"measured with other code of fullconv: {', '.join(old)}; --again redoes them")
    say(f"wrote {page}, {numbers.name} and {picture.name}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("stopped; results so far stay, run it again to go on")
        sys.exit(130)
    except FullconvError as error:
        say(str(error))
        sys.exit(error.exit_code)
