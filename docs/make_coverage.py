"""Measures which models convert and writes `docs/coverage.md`: `python docs/make_coverage.py`.

    python docs/make_coverage.py                        # what is not measured yet, then the page
    python docs/make_coverage.py --only 'timm:resnet*' --again

Hours for all of them; one model at a time, results stay, so it can be stopped and run again.
Exit code 1 if an FCN is not its classifier, or fails without a refusal; 5 if one was stopped.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
from pathlib import Path

from fullconv.errors import FullconvError
from zoo.lists import models, unlisted
from zoo.measure import DIFFERENT, measure
from zoo.page import write_page
from zoo.runs import FAILED, STOPPED, measure_all, read_results, versions

ROOT = Path(__file__).parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Measure what is left, write the page, and answer with an exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="*", help="measure models like this (timm:res*)")
    parser.add_argument("--again", action="store_true", help="also those that have results")
    parser.add_argument("--results", type=Path, default=ROOT / ".cache" / "coverage.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "coverage.md")
    parser.add_argument("--limit", type=float, default=60, help="minutes for one model")
    parser.add_argument("--list", action="store_true", help="print the models, measure nothing")
    parser.add_argument("--measure", metavar="MODEL", help="one model; its row as JSON on stdout")
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(measure(options.measure), ensure_ascii=False))
        return 0
    for problem in unlisted():
        say(f"warning: {problem}")
    listed = models()
    chosen = [model for model in listed if fnmatch.fnmatch(model.form, options.only)]
    if options.list:
        print("\n".join(model.form for model in chosen))
        return 0
    if not chosen:
        parser.error(f"no model of the page is like {options.only!r}; --list prints them")
    measure_all(
        chosen,
        options.results,
        again=options.again,
        limit=60 * options.limit,
        script=Path(__file__).resolve(),
        say=say,
    )
    rows = read_results(options.results)
    options.page.write_text(write_page(listed, rows, versions()), encoding="utf-8")
    say(f"wrote {options.page}")
    old = [m.form for m in listed if m.form in rows and _code(rows[m.form]) != versions()["code"]]
    if old:
        say(f"{len(old)} rows were measured with other code of fullconv; --again redoes them")
    states = {form: rows[form]["state"] for form in (m.form for m in listed) if form in rows}
    bad = [form for form, state in states.items() if state in (DIFFERENT, FAILED)]
    if bad:
        say(f"FAILED: {', '.join(bad)}")
        return 1
    left = [model.form for model in chosen if states.get(model.form, STOPPED) == STOPPED]
    if left:
        say(f"not measured: {', '.join(left)}")
        return 5
    return 0


def _code(row: dict) -> str:
    return str(row["versions"]["code"])


def say(text: str) -> None:
    """Progress and remarks."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("stopped; results so far stay, run it again to go on")
        sys.exit(130)
    except FullconvError as error:
        say(str(error))
        sys.exit(error.exit_code)
