"""Many images: decoded while the network computes, and put together where their sizes are equal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from fullconv.api.machine import available_bytes
from fullconv.errors import FullconvError, InputError
from fullconv.evaluate.dense.views import Views
from fullconv.hosts.torch_fx.fcn import FCN

S = TypeVar("S")
T = TypeVar("T")

DECODERS = 2
"""Threads that read images; decoders let go of the interpreter while they work."""

AHEAD = 4
"""Images that are read before they are needed, at most."""

AHEAD_BYTES = 1 << 28
"""And how many bytes they may hold, if all are as large as the largest so far."""

WAITING = 3
"""Batches' worth of images that may come before one that waits goes on alone."""

WAITING_BYTES = 1 << 28
"""And how many bytes they may hold."""

PATIENCE = 0.02
"""Seconds for an image that is not decoded yet, before the network goes on with what there is."""


def beside(fcn: FCN, count: int) -> int:
    """Bytes that images hold while others of `count` are scored, where the network's maps lie."""
    device = next(fcn.parameters(), torch.empty(0)).device
    if count < 2 or device.type != "cpu":
        return 0
    return min(AHEAD_BYTES + WAITING_BYTES, available_bytes() // 2)


@dataclass(frozen=True, slots=True, eq=False)
class Loaded(Generic[S]):
    """An image that was read, or the error that reading it gave.

    Attributes:
        index: its place among the sources.
        source: what was read.
        views: the prepared image at all scales; None if there is an error.
        error: why there is none.
    """

    index: int
    source: S
    views: Views | None = None
    error: FullconvError | None = None

    @property
    def bytes(self) -> int:
        """Memory that its pixels take."""
        return 0 if self.views is None else self.views.bytes


def loaded(
    sources: Iterable[S],
    read: Callable[[S], Views],
    *,
    name: Callable[[S], str] = str,
    ahead: int = AHEAD,
) -> Iterator[Loaded[S] | None]:
    """Every source read by `read`, in order, some of them before they are asked for.

    Bad images, and memory that does not suffice, come as errors, by the name of their source; other
    errors are raised. None comes where the next image is not there yet, at most once for each.
    """

    def one(index: int, source: S) -> Loaded[S]:
        try:
            return Loaded(index, source, read(source))
        except InputError as error:
            where = error.where or name(source)
            named = InputError(error.what, where=where, why=error.why, hint=error.hint)
            return Loaded(index, source, error=named)
        except FullconvError as error:
            return Loaded(index, source, error=error)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
                raise
            short = InputError("the memory does not suffice to read it.", where=name(source))
            return Loaded(index, source, error=short)

    pool = ThreadPoolExecutor(DECODERS, thread_name_prefix="fullconv-read")
    waiting: deque[Future[Loaded[S]]] = deque()
    numbered = enumerate(sources)
    largest = 0

    def submit() -> None:
        # How large they are is not known before the first one is there.
        most = ahead if largest else DECODERS
        while len(waiting) < most and (not waiting or len(waiting) * largest < AHEAD_BYTES):
            try:
                index, source = next(numbered)
            except StopIteration:
                return
            waiting.append(pool.submit(one, index, source))

    try:
        submit()
        while waiting:
            try:
                done = waiting[0].result(PATIENCE)
            except NotYet:
                yield None
                done = waiting[0].result()
            waiting.popleft()
            largest = max(largest, done.bytes)  # what the others are like is not known yet
            submit()
            yield done
    finally:  # also when nobody wants the rest
        pool.shutdown(cancel_futures=True)


def batches(images: Iterable[Loaded[S] | None], most: int) -> Iterator[list[Loaded[S]]]:
    """Images of one form together, up to `most`; each error by itself, when it comes.

    An image waits for others of its form while more images are there already; where the next is not
    (None), `WAITING * most` images came after it, or `WAITING_BYTES` wait, those go that came
    first.
    """
    waiting: dict[object, list[Loaded[S]]] = {}
    for image in images:
        if image is None:
            if waiting:
                yield _first(waiting)
            continue
        if image.views is None:
            yield [image]
            continue
        form = image.views.form
        waiting.setdefault(form, []).append(image)
        if len(waiting[form]) == most:
            yield waiting.pop(form)
        while waiting and _full(waiting, image.index, most):
            yield _first(waiting)
    yield from waiting.values()


def _first(waiting: dict[object, list[Loaded[S]]]) -> list[Loaded[S]]:
    """Those of the form whose first image came first."""
    return waiting.pop(next(iter(waiting)))


def _full(waiting: dict[object, list[Loaded[S]]], index: int, most: int) -> bool:
    """Whether those that came first are to go, at the image of that index."""
    held = sum(image.bytes for same in waiting.values() for image in same)
    first = next(iter(waiting.values()))[0]
    return index - first.index + 1 >= WAITING * most or held >= WAITING_BYTES


def in_order(answers: Iterable[Sequence[tuple[int, T]]]) -> Iterator[T]:
    """Numbered answers, 0 to the last, in the order of their numbers, as soon as that can be."""
    early: dict[int, T] = {}
    due = 0
    for some in answers:
        early.update(some)
        while due in early:
            yield early.pop(due)
            due += 1
