"""What a benchmark is asked, what it answers, and how figures are written."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bench.machine import code, describe
from bench.networks import form, set_tf32
from bench.timing import Spread
from fullconv.errors import FullconvError, UsageError

Row = dict[str, Any]
Section = Callable[[Sequence[Row]], str]


def parser(doc: str, rounds: int) -> argparse.ArgumentParser:
    """The options that every benchmark has; `doc` is its docstring."""
    first, _, rest = doc.partition("\n")
    made = argparse.ArgumentParser(
        description=first, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--rounds", type=int, default=rounds, help=f"of timing ({rounds})")
    made.add_argument("--device", default="cpu", help="cpu, or cuda for a GPU (cpu)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    return made


def prepare(options: argparse.Namespace) -> None:
    """Check the common options. float32 means float32: TF32 is off unless a benchmark says so.

    Raises UsageError.
    """
    if options.rounds < 1:
        raise UsageError(f"--rounds {options.rounds} must be positive.")
    if torch.device(options.device).type == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"--device {options.device} needs a GPU, and PyTorch sees none.",
            hint="Leave it out to measure on the CPU.",
        )
    set_tf32(False)


def run(
    script: str,
    options: argparse.Namespace,
    measure: Callable[[argparse.Namespace], list[Row]],
    section: Section,
    arguments: Sequence[str] | None,
) -> int:
    """Measure, print the section, write the result where asked; the exit code."""
    try:
        prepare(options)
        start = time.monotonic()
        rows = measure(options)
        took = time.monotonic() - start
    except FullconvError as error:
        say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        say("stopped; nothing is kept of this benchmark")
        return 130
    words = list(sys.argv[1:] if arguments is None else arguments)
    result = {
        "command": command(script, words),
        "machine": describe(options.device),
        "form": form(),
        "code": code(),
        "date": datetime.date.today().isoformat(),
        "took": round(took, 1),
        "rows": rows,
    }
    print(section(rows))
    print(f"\n{'; '.join(f'{name} {value}' for name, value in result['machine'].items())}")
    if options.json:
        write_json(options.json, result)
    return 0


def say(text: str) -> None:
    """Progress and remarks."""
    print(text, file=sys.stderr, flush=True)


def command(script: str, words: Sequence[str]) -> str:
    """What a person types for this result; where it is written does not belong to it."""
    kept, skip = [], False
    for word in words:
        if not skip and word != "--json" and not word.startswith("--json="):
            kept.append(word)
        skip = word == "--json"
    return " ".join(["python", f"benchmarks/{script}.py", *kept])


def write_json(path: Path, value: object) -> None:
    """Write it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)


def kept(spread: Spread) -> dict[str, float]:
    """A spread as a row holds it, to four digits."""
    return {name: float(f"{value:.4g}") for name, value in asdict(spread).items()}


def figure(value: float) -> str:
    """Three digits: `0.0123`, `1.23`, `123`, `1230`."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{float(f'{value:.3g}'):#.3g}"


def with_range(spread: dict[str, float]) -> str:
    """The median, with lowest and highest round: `12.3 (12.1–12.6)`."""
    median, low, high = (figure(spread[name]) for name in ("median", "low", "high"))
    return median if low == high else f"{median} ({low}–{high})"


def percent(value: float, digits: int = 0) -> str:
    """A share as a percentage."""
    return f"{100 * value:.{digits}f} %"


def span(values: Sequence[float], write: Callable[[float], str] = figure) -> str:
    """`1.2 to 3.4`, or `1.2` where all are written alike."""
    low, high = write(min(values)), write(max(values))
    return low if low == high else f"{low} to {high}"


def tiny(difference: float) -> str:
    """A difference: `3e-07`, or `0`."""
    return f"{difference:.0e}" if difference else "0"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, its columns as wide as they need."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [" | ".join(x.ljust(w) for x, w in zip(row, widths, strict=True)) for row in cells]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
