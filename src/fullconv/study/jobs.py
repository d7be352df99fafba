"""Runs in processes of their own, each with few threads: several at a time.

Small networks train no faster with two threads than with one; two of them, with a thread each, do.
A process that dies takes nothing with it but the epoch it was in: another one goes on. When the
parent ends, however it ends, so do the processes that it started.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import pickle
import shutil
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fullconv.errors import FullconvError, IncompleteError, UsageError, listed
from fullconv.storage.marks import imported, importing
from fullconv.study.folder import SHARED, Folder
from fullconv.study.task import Note, Pair, Task, run
from fullconv.study.value import Run
from fullconv.training.checksum import digest
from fullconv.training.failures import unexpected
from fullconv.training.recipe import Recipe
from fullconv.training.samples import Samples

KILLED = "ended by SIGKILL"
TRIES = 3  # processes that may die over one run

Load = Callable[[], nn.Module]
"""Makes the network again, in another process."""


@dataclass(frozen=True)
class _Shared:
    """Images in files that all processes map into their memory, and what is said of them."""

    pixels: str
    labels: str
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def samples(self) -> Samples:
        """The images, read when they are needed."""
        # Copy on write: PyTorch knows no tensors that cannot be written to.
        pixels = torch.from_numpy(np.load(self.pixels, mmap_mode="c"))  # (N, H, W, C)
        labels = torch.from_numpy(np.load(self.labels))
        return Samples(pixels.permute(0, 3, 1, 2), labels, self.classes, self.mean, self.std)


@dataclass(frozen=True)
class _Sent:
    """A task as it is sent to another process."""

    load: Load
    digest: str
    window: tuple[int, ...]
    probabilities: bool
    train: _Shared
    test: _Shared
    recipe: Recipe
    temperature: float | None
    folder: Path
    threads: int
    device: torch.device

    def task(self) -> Task:
        """The task. Raises UsageError if the network is another one than in the parent."""
        model = self.load().eval().to(self.device)
        if digest(model, self.window, weights=self.temperature is not None) != self.digest:
            raise UsageError(
                "the network is another one each time it is made.",
                where="--jobs",
                why="Variants learn from its weights, which must be the same in all processes.",
                hint="Load weights from a file (--weights), or use one process.",
            )
        return Task(
            model, self.window, self.probabilities, self.train.samples(), self.test.samples(),
            self.recipe, self.temperature,
        )  # fmt: skip


def in_processes(
    task: Task,
    folder: Folder,
    pairs: Sequence[Pair],
    note: Note,
    *,
    jobs: int,
    threads: int,
    load: Load | None = None,
) -> Iterator[Run]:
    """Every run as soon as it has ended, of `jobs` at a time with `threads` each.

    `load` makes the network in the other processes; without it the network is sent there.

    Raises what a run raises, and IncompleteError at the end if the processes over some run died
    again and again.
    """
    with _shared(task, folder, threads, load) as sent, _Workers(sent) as workers:
        waiting, died, lost = deque(pairs), Counter[Pair](), dict[Pair, str]()
        while waiting or workers.busy:
            while waiting and len(workers.busy) < jobs:
                workers.give(waiting.popleft())
            for worker, said in workers.heard():
                if isinstance(said, Run):
                    yield said
                elif isinstance(said, FullconvError):
                    raise said
                elif isinstance(said, tuple):
                    note(*said)
                else:
                    pair = worker.pair
                    assert pair is not None
                    died[pair] += 1
                    if died[pair] < TRIES:
                        waiting.appendleft(pair)
                    else:
                        lost[pair] = str(said)
    if lost:
        lines = [f"{variant}, seed {seed}: {reason}" for (variant, seed), reason in lost.items()]
        raise IncompleteError(
            f"the processes that trained {len(lost)} of {len(pairs)} runs ended, {TRIES} times "
            f"each:{listed(lines)}",
            where=str(folder.path),
            why="Too little memory ends processes so." if KILLED in lost.values() else "",
            hint="The others are done. The same command goes on"
            + ("; give it fewer --jobs." if KILLED in lost.values() else "."),
        )


class _Worker:
    """A process, what it works at, and the pipe to it."""

    def __init__(self, sent: _Sent) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.pair: Pair | None = None
        self.process = context.Process(target=_work, args=(other, sent), daemon=True)
        # The process begins as deaf to Ctrl-C as it will be. It imports the program that was
        # started: that must not start a study where it stands at the top of its file.
        with _held_interrupts(), importing(str(_program())):
            self.process.start()
        other.close()

    def end(self) -> None:
        """End the process at once; nothing but the epoch it is in is lost."""
        self.process.terminate()
        self.process.join()
        self.pipe.close()


class _Workers:
    """The processes there are."""

    def __init__(self, sent: _Sent) -> None:
        self._sent = sent
        self._idle: list[_Worker] = []
        self.busy: list[_Worker] = []

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (*self._idle, *self.busy):
            worker.end()

    def give(self, pair: Pair) -> None:
        """Let a process work at a run."""
        worker = self._idle.pop() if self._idle else _Worker(self._sent)
        worker.pair = pair
        self.busy.append(worker)
        with suppress(OSError):  # it has died, which `heard` will tell
            worker.pipe.send(pair)

    def heard(self) -> list[tuple[_Worker, Any]]:
        """What processes say, after some time: epochs, ends of runs, errors; a text if they died.

        Those that have ended a run are idle then, and those that died are gone.
        """
        found: list[tuple[_Worker, Any]] = []
        pipes = {worker.pipe: worker for worker in self.busy}
        for pipe in multiprocessing.connection.wait(list(pipes)):
            worker = pipes[pipe]  # type: ignore[index]
            try:
                said = worker.pipe.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                worker.end()
                self.busy.remove(worker)
                found.append((worker, _ending(worker.process.exitcode)))
                continue
            if isinstance(said, Run):
                self.busy.remove(worker)
                self._idle.append(worker)
            found.append((worker, said))
        return found


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def _work(pipe: Connection, sent: _Sent) -> None:
    """What a process does: run after run, until the parent wants no more."""
    imported()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(sent.threads)
    try:
        task, folder = sent.task(), Folder(sent.folder)
        while True:
            variant, seed = pipe.recv()
            pipe.send(run(task, folder, variant, seed, lambda *noted: pipe.send(noted)))
    except FullconvError as error:
        pipe.send(error)
    except (EOFError, BrokenPipeError):
        pass
    except Exception as error:  # it would be the same in the next process
        pipe.send(unexpected(error, "a process that trains"))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _shared(task: Task, folder: Folder, threads: int, load: Load | None) -> Iterator[_Sent]:
    """The task, ready to be sent; its images lie in the folder meanwhile."""
    place = folder.path / SHARED
    try:
        yield _Sent(
            _Itself(_pickled(task.model)) if load is None else load,
            digest(task.model, task.window, weights=task.temperature is not None),
            task.window,
            task.probabilities,
            _saved(task.train, place, "train"),
            _saved(task.test, place, "test"),
            task.recipe,
            task.temperature,
            folder.path,
            threads,
            next(task.model.parameters()).device,
        )
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _saved(samples: Samples, place: Path, name: str) -> _Shared:
    pixels, labels = place / f"{name}-pixels.npy", place / f"{name}-labels.npy"
    try:
        place.mkdir(exist_ok=True)
        np.save(pixels, samples.pixels.cpu().permute(0, 2, 3, 1).numpy())
        np.save(labels, samples.labels.cpu().numpy())
    except OSError as error:
        raise FullconvError(
            f"cannot be written: {error.strerror or error}.",
            where=str(place),
            hint="Free some space there, or use one process, which writes no images.",
        ) from error
    return _Shared(str(pixels), str(labels), samples.classes, samples.mean, samples.std)


@dataclass(frozen=True)
class _Itself:
    """A network that was sent whole."""

    pickled: bytes

    def __call__(self) -> nn.Module:
        model: nn.Module = pickle.loads(self.pickled)
        return model


def _pickled(model: nn.Module) -> bytes:
    try:
        return pickle.dumps(model)
    except Exception as error:
        raise UsageError(
            f"the network cannot be sent to other processes: {error}.",
            hint="Define its classes in a module that can be imported, or use one process "
            "(jobs=1).",
        ) from error


def _program() -> str:
    """The file that was started, for people."""
    return getattr(sys.modules["__main__"], "__file__", None) or "the program"


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait; processes that are started meanwhile do not hear it."""
    if os.name == "nt":
        yield  # the process ignores it by itself
        return
    # Or `start` would start it, and let Ctrl-C through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
