"""Many images: decoded while the network computes, and put together where their sizes are equal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from fullconv.errors import FullconvError
from fullconv.evaluate.dense.protocol import Views

S = TypeVar("S")
T = TypeVar("T")

DECODERS = 2
"""Threads that read images; decoders let go of the interpreter while they work."""

AHEAD = 4
"""Images that are read before they are needed, at most."""

WAITING = 3
"""Batches' worth of images that may wait for others of their size."""

WAITING_BYTES = 1 << 29
"""And how many bytes they may hold."""


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
        return 0 if self.views is None else sum(image.nbytes for image in self.views.images)


def loaded(
    sources: Iterable[S], read: Callable[[S], Views], *, ahead: int = AHEAD
) -> Iterator[Loaded[S]]:
    """Every source read by `read`, in order, up to `ahead` of them before they are asked for.

    Errors of fullconv come in place of the image; others are raised.
    """

    def one(index: int, source: S) -> Loaded[S]:
        try:
            return Loaded(index, source, read(source))
        except FullconvError as error:
            return Loaded(index, source, error=error)

    pool = ThreadPoolExecutor(DECODERS, thread_name_prefix="fullconv-read")
    waiting: deque[Future[Loaded[S]]] = deque()
    try:
        numbered = enumerate(sources)
        for index, source in islice(numbered, ahead):
            waiting.append(pool.submit(one, index, source))
        while waiting:
            done = waiting.popleft().result()
            for index, source in islice(numbered, 1):
                waiting.append(pool.submit(one, index, source))
            yield done
    finally:  # also when nobody wants the rest
        pool.shutdown(cancel_futures=True)


def batches(images: Iterable[Loaded[S]], most: int) -> Iterator[list[Loaded[S]]]:
    """Images scored at equal sizes together, up to `most`; each error by itself, when it comes.

    An image waits for others of its size, but no longer than until `WAITING * most` of them, or
    `WAITING_BYTES`, wait: then the one that came first goes, with those of its size.
    """
    waiting: dict[tuple[tuple[int, ...], ...], list[Loaded[S]]] = {}
    for image in images:
        if image.views is None:
            yield [image]
            continue
        sizes = image.views.sizes
        waiting.setdefault(sizes, []).append(image)
        if len(waiting[sizes]) == most:
            yield waiting.pop(sizes)
        while _full([one for same in waiting.values() for one in same], most):
            # Sizes stand in the order of their first image.
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


def _full(waiting: list[Loaded[S]], most: int) -> bool:
    held = sum(image.bytes for image in waiting)
    return len(waiting) >= WAITING * most or held >= WAITING_BYTES


def in_order(answers: Iterable[Sequence[tuple[int, T]]]) -> Iterator[T]:
    """Numbered answers, 0 to the last, in the order of their numbers, as soon as that can be."""
    early: dict[int, T] = {}
    due = 0
    for some in answers:
        early.update(some)
        while due in early:
            yield early.pop(due)
            due += 1
