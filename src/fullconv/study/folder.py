"""The folder of a study: its settings, what every run came to, and the log."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fullconv.errors import FullconvError, InputError, listed
from fullconv.storage.description import is_sealed, read_description, sealed, write_description
from fullconv.storage.files import PARTS, REMEDIES, atomic
from fullconv.storage.locking import locked
from fullconv.study.settings import differences
from fullconv.study.value import Run, StepTime
from fullconv.training.state import Epoch

SETTINGS, LOG, RUNS, STEPS = "study.json", "log.jsonl", "runs", "steps.json"
FORMAT = "fullconv study 1"
SHARED = ".images"
"""Images in files, for as long as several processes train on them."""


class Folder:
    """Where a study keeps what it has; held by one process at a time (`opened`)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def state(self, variant: str, seed: int) -> Path:
        """The file that keeps where a training stands."""
        return self.path / RUNS / f"{variant}-{seed}.pt"

    def found(self, variant: str, seed: int) -> Run | None:
        """A run that has ended; None while it has not.

        Raises InputError for a file that is damaged or was changed.
        """
        path = self._result(variant, seed)
        if not path.exists():
            return None
        given = read_description(path)
        if not is_sealed(given):
            raise InputError(
                "is damaged, or was changed.",
                where=str(path),
                hint="Delete it: the run is then evaluated again.",
            )
        return Run.from_dict(given["run"])

    def keep(self, run: Run) -> None:
        """Write what a run came to."""
        with atomic(self._result(run.variant, run.seed)) as part:
            write_description(part, sealed({"run": run.to_dict()}))

    def steps(self, variants: Sequence[str], threads: int) -> dict[str, StepTime] | None:
        """The times of steps, if they were measured for these variants and as many threads."""
        path = self.path / STEPS
        if not path.exists():
            return None
        given = read_description(path)
        times = given.get("variants", {})
        if not is_sealed(given) or given["threads"] != threads or list(times) != list(variants):
            return None
        return {variant: StepTime(**times[variant]) for variant in variants}

    def keep_steps(self, times: Mapping[str, StepTime], threads: int) -> None:
        """Write the times of steps."""
        found = {variant: asdict(took) for variant, took in times.items()}
        with atomic(self.path / STEPS) as part:
            write_description(part, sealed({"threads": threads, "variants": found}))

    def _result(self, variant: str, seed: int) -> Path:
        return self.path / RUNS / f"{variant}-{seed}.json"


@contextmanager
def opened(path: Path, settings: Mapping[str, Any]) -> Iterator[Folder]:
    """The folder of a study with these settings, made if it is not there, for this process alone.

    Raises InputError if it holds a study with other settings, naming them, or something else, and
    FullconvError if another process works in it or it cannot be written to.
    """
    with _told(path, "this folder cannot be made"):
        path.mkdir(exist_ok=True, parents=True)
    file = path / SETTINGS
    with _told(path, "cannot be read"):
        strange = not file.exists() and any(e.name[0] != "." for e in path.iterdir())
    if strange:
        raise InputError(
            f"this folder holds something else: there is no {SETTINGS} in it.",
            where=str(path),
            hint="Name an empty folder, or one that is not there yet.",
        )
    with locked(path):
        if file.exists():
            _check_settings(file, settings)
        else:
            with atomic(file) as part:
                write_description(part, {"format": FORMAT, **settings})
        with _told(path / RUNS, "this folder cannot be made"):
            (path / RUNS).mkdir(exist_ok=True)
            _tidy(path)
        try:
            yield Folder(path)
        finally:
            _tidy(path)


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    """Raise FullconvError for what the system says of a path."""
    try:
        yield
    except OSError as error:
        hint = REMEDIES.get(error.errno or 0, "Check its permissions, or name another folder.")
        raise FullconvError(
            f"{what}: {error.strerror or error}.", where=str(path), hint=hint
        ) from error


def _tidy(path: Path) -> None:
    """Remove what processes that were killed have left."""
    for stale in (*path.glob(PARTS), *(path / RUNS).glob(PARTS)):
        stale.unlink(missing_ok=True)
    shutil.rmtree(path / SHARED, ignore_errors=True)


def _check_settings(file: Path, settings: Mapping[str, Any]) -> None:
    there = read_description(file)
    if there.pop("format", None) != FORMAT:
        raise InputError(
            "is not the description of a study that this version can read.",
            where=str(file),
            hint="Name another folder.",
        )
    other = list(differences(there, json.loads(json.dumps(dict(settings)))))
    if other:
        raise InputError(
            f"this folder holds a study with other settings:{listed(other)}",
            where=str(file.parent),
            hint="Name another folder, or give the same settings to go on with this one.",
        )


class Log:
    """`log.jsonl`: a line for every epoch and for every run that ended, each once."""

    def __init__(self, folder: Folder) -> None:
        """Go on with what is there; a line that was cut short is dropped."""
        self._path = folder.path / LOG
        self._known: set[tuple[str, int, Any]] = set()
        with _told(self._path, "cannot be read"):
            found = self._path.read_bytes() if self._path.exists() else b""
        lines = found.splitlines(keepends=True)
        whole = b""
        for line in lines:
            try:
                entry = json.loads(line)
                self._known.add((entry["variant"], entry["seed"], entry["epoch"]))
            except (ValueError, KeyError, TypeError):
                continue
            whole += line if line.endswith(b"\n") else line + b"\n"
        if whole != found:
            with atomic(self._path) as part:
                part.write_bytes(whole)

    def epoch(self, variant: str, seed: int, epoch: Epoch) -> None:
        """Enter an epoch."""
        facts = {"loss": epoch.loss, "train_error": epoch.error, "seconds": epoch.seconds}
        self._enter(variant, seed, epoch.number, facts)

    def epochs(self, variant: str, seed: int) -> int:
        """How many epochs of a run have been entered."""
        numbers = [n for v, s, n in self._known if (v, s) == (variant, seed) and n != "end"]
        return max(numbers, default=0)

    def run(self, run: Run) -> None:
        """Enter the end of a run, and its epochs if they are missing."""
        for epoch in run.epochs:
            self.epoch(run.variant, run.seed, epoch)
        facts: dict[str, Any] = {"error": run.error, "seconds": run.seconds}
        self._enter(
            run.variant, run.seed, "end", facts | ({"failed": run.failed} if run.failed else {})
        )

    def _enter(self, variant: str, seed: int, epoch: int | str, facts: dict[str, Any]) -> None:
        key = (variant, seed, epoch)
        if key in self._known:
            return
        entry = {"variant": variant, "seed": seed, "epoch": epoch, **facts}
        with (
            _told(self._path, "cannot be written"),
            self._path.open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(entry) + "\n")
        self._known.add(key)
