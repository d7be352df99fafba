"""Measuring one model after the other, each in a process of its own, with results that stay."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import fullconv
from zoo.lists import Model

Row = dict[str, Any]

FAILED, STOPPED = "failed", "stopped"
LIBRARIES = ("torch", "torchvision", "timm")


@functools.cache
def versions() -> dict[str, str]:
    """Of what the results depend on; the code of fullconv itself as a hash."""
    found = {name: importlib.metadata.version(name).partition("+")[0] for name in LIBRARIES}
    folder = Path(fullconv.__file__).parent
    code = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        code.update(path.read_bytes())
    return {**found, "code": code.hexdigest()[:12]}


def read_results(path: Path) -> dict[str, Row]:
    """The last row of every model; rows measured with other libraries are left out."""
    found: dict[str, Row] = {}
    if not path.exists():
        return found
    libraries = {name: versions()[name] for name in LIBRARIES}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # written when the machine stopped
        if {name: row["versions"].get(name) for name in LIBRARIES} == libraries:
            found[row["form"]] = row
    return found


def measure_all(
    models: Iterable[Model],
    path: Path,
    *,
    again: bool,
    limit: float,
    script: Path,
    say: Callable[[str], None],
) -> None:
    """Append a row to `path` for every model that has none yet; with `again`, for every model."""
    known = {} if again else read_results(path)
    left = [model for model in models if model.form not in known]
    path.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    for done, model in enumerate(left):
        if done:
            rest = (time.monotonic() - start) / done * (len(left) - done)
            say(f"[{done + 1}/{len(left)}] {model.form} (about {rest / 60:.0f} min left)")
        else:
            say(f"[1/{len(left)}] {model.form}")
        row = run_one(model.form, script, limit)
        say(f"    {row['state']}{': ' + row['reason'] if row.get('reason') else ''}")
        row = {"form": model.form, **row, "versions": versions()}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def run_one(form: str, script: Path, limit: float) -> Row:
    """What `script --measure form` prints, or how it ended instead."""
    start = time.monotonic()
    command = [sys.executable, "-W", "ignore", str(script), "--measure", form]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, check=False, encoding="utf-8"
        )
    except subprocess.TimeoutExpired:
        return {"state": STOPPED, "reason": f"not done after {limit / 60:.0f} min."}
    wall = round(time.monotonic() - start, 1)
    if done.returncode == -signal.SIGKILL:
        return {"state": STOPPED, "reason": "killed, for want of memory perhaps.", "wall": wall}
    if done.returncode < 0:
        return {"state": FAILED, "reason": f"ended by signal {-done.returncode}.", "wall": wall}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        memory = "MemoryError" in last or "can't allocate memory" in last
        return {"state": STOPPED if memory else FAILED, "reason": last, "wall": wall}
    return {**json.loads(done.stdout.splitlines()[-1]), "wall": wall}
