"""Fetching pretrained weights into the caches that torchvision and timm use, or failing soon.

Both libraries are patient with a network that is not there: one has no timeout, the other tries for
most of a minute. So the source is asked for an answer first, and a download starts only then.
"""

from __future__ import annotations

import importlib
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import urlopen

import torch.hub

from fullconv.errors import FullconvError

_log = logging.getLogger(__name__)

PATIENCE = 8.0  # seconds for a source's first answer
_STALL = 30.0  # seconds without a byte, once a download runs
_HUB_NAMES = ("model.safetensors", "pytorch_model.bin")  # the first one there is taken


def fetch_url(url: str) -> Path:
    """The file behind `url`, from PyTorch's cache or downloaded into it; its hash is checked.

    Raises whatever goes wrong on the way; nothing partial is left behind.
    """
    name = Path(urlparse(url).path).name
    target = Path(torch.hub.get_dir(), "checkpoints", name)
    if not target.exists():
        answered(lambda: urlopen(url, timeout=PATIENCE).close())
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = torch.hub.HASH_REGEX.search(name)
        _log.info("fetching %s into %s", url, target)
        with _stall_limit():
            torch.hub.download_url_to_file(
                url, str(target), digest[1] if digest else None, progress=sys.stderr.isatty()
            )
    return target


def fetch_hub(repository: str) -> Path:
    """The weights file of a Hugging Face model repository, from its cache or downloaded into it.

    Raises whatever goes wrong on the way.
    """
    hub = importlib.import_module("huggingface_hub")
    absent = importlib.import_module("huggingface_hub.errors").EntryNotFoundError
    for name in _HUB_NAMES:
        cached = hub.try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    with _quiet_hub():
        for name in _HUB_NAMES:
            url = hub.hf_hub_url(repository, name)
            try:
                answered(lambda url=url: hub.get_hf_file_metadata(url, timeout=PATIENCE))  # type: ignore[misc]
            except absent:
                continue
            _log.info("fetching %s of %s", name, repository)
            return Path(hub.hf_hub_download(repository, name))
    raise FileNotFoundError(f"{repository} has no {' or '.join(_HUB_NAMES)}")


def answered(ask: Callable[[], object], patience: float | None = None) -> None:
    """Return once `ask` has; raise its error, or TimeoutError if it takes longer than `patience` s.

    It runs in a thread of its own because looking a name up cannot be interrupted.
    """
    patience = PATIENCE if patience is None else patience
    failures: list[BaseException] = []

    def run() -> None:
        try:
            ask()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(patience)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {patience:g} s")
    if failures:
        raise failures[0]


class NotFetchedError(FullconvError):
    """Pretrained weights that could not be fetched.

    `without` is the MODEL word of the same network with random weights, `reason` a few words.
    """

    def __init__(self, what: str, *, where: str, hint: str, without: str, reason: str) -> None:
        super().__init__(what, where=where, hint=hint)
        self.without, self.reason = without, reason


def not_fetched(form: str, without: str, source: str, error: BaseException) -> NotFetchedError:
    """The one error for pretrained weights that could not be fetched."""
    cause = getattr(error, "reason", None) or error
    lines = str(cause).strip().splitlines()
    reason = lines[0].rstrip(".") if lines else type(cause).__name__
    return NotFetchedError(
        f"the pretrained weights could not be fetched from {source} ({reason}).",
        where=form,
        hint="Fetch that file where there is a network and pass it with --weights FILE, "
        f"or use {without} for random weights.",
        without=without,
        reason=reason,
    )


@contextmanager
def _stall_limit() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALL)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """The hub's own log (retries, advice on tokens) held back: one error of ours says it all."""
    hub_log = importlib.import_module("huggingface_hub.utils.logging")
    before = hub_log.get_verbosity()
    hub_log.set_verbosity(hub_log.CRITICAL)
    try:
        yield
    finally:
        hub_log.set_verbosity(before)
