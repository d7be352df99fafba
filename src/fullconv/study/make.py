"""`study`: variants of a network trained side by side, with several seeds, and compared."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

import fullconv
from fullconv.errors import UsageError
from fullconv.evaluate.class_names import find_class
from fullconv.geometry import per_axis
from fullconv.hosts.torch_fx.tracing import in_eval
from fullconv.study.folder import Folder, Log, opened
from fullconv.study.steps import step_times
from fullconv.study.task import Task, run
from fullconv.study.value import Row, Run, Study, compared
from fullconv.study.variants import checked_variants
from fullconv.study.words import SEEDS, VARIANTS
from fullconv.training.answers import error_of, predictions
from fullconv.training.distilling import TEMPERATURE
from fullconv.training.parts import Parts, open_parts
from fullconv.training.recipe import Recipe
from fullconv.training.state import Epoch

Say = Callable[[str], object]
Progress = Callable[[int, int], object]
"""Called with how many epochs are done, and of how many."""


def study(
    model: nn.Module,
    data: str | os.PathLike[str] | Parts,
    window: int | tuple[int, ...] = 224,
    *,
    folder: str | os.PathLike[str],
    variants: Sequence[str] = VARIANTS,
    seeds: int | Sequence[int] = SEEDS,
    recipe: Recipe | None = None,
    distill: bool = False,
    temperature: float = TEMPERATURE,
    threads: int | None = None,
    name: str = "",
    say: Say = lambda text: None,
    progress: Progress = lambda done, total: None,
) -> Study:
    """Train variants of a network on labelled images, with several seeds, and compare their errors.

    Args:
        model: a CNN classifier, `(N, C, H, W)` to `(N, K)`. It stays as it is.
        data: a folder or an .npz file, or the `Parts` of it, from
            `fullconv.training.parts.open_parts`.
        window: its input size in px.
        folder: keeps the settings, the log and every run, finished or not. A study that was stopped
            goes on there, to the same result; variants and seeds may be added later.
        variants: "fc", the network itself; "exact", its exact conversion; "gap", "strided",
            "convpool" and "allconv", in which the head is replaced by a 1×1 convolution and the
            average, and the pools as `fullconv.all_convolutional` does. The first is the base that
            the others are compared with.
        seeds: how many, or which. Every seed gives all layers new random weights, by their
            `reset_parameters`; layers that variants share start equal, and all variants of a seed
            see the same batches in the same order.
        recipe: how they are trained; its seed is not used.
        distill: start from the weights of the network instead, and learn its answers
            (`fullconv.training.distilling.distill`).
        temperature: at which they are learnt.
        threads: of PyTorch while it trains; by default as many as it has.
        name: what to call the network in the report.
        say: told what is remarkable.
        progress: told how many epochs are done.

    A run whose loss is no longer a number is entered as failed, and the others go on.

    Raises:
        RefusedError: the network cannot be converted, or has parameters that cannot be reset.
        InputError: the data are bad, or the folder holds a study with other settings.
        UsageError: an argument cannot be.
        FullconvError: another process works in the folder.
    """
    recipe = Recipe() if recipe is None else recipe
    names = checked_variants(tuple(variants))
    numbers = _seeds(seeds)
    with _threads(threads):
        return _study(
            model, data, window, Path(folder), names, numbers, recipe,
            temperature if distill else None, name, say, progress,
        )  # fmt: skip


def _study(
    model: nn.Module,
    data: str | os.PathLike[str] | Parts,
    window: int | tuple[int, ...],
    path: Path,
    names: tuple[str, ...],
    seeds: tuple[int, ...],
    recipe: Recipe,
    temperature: float | None,
    name: str,
    say: Say,
    progress: Progress,
) -> Study:
    plan = fullconv.plan(model, window)
    size = per_axis(window, 2, "window")
    classes = max(2, plan.outputs)
    if not isinstance(data, Parts):
        data = open_parts(
            data,
            size,
            resolve=lambda word: find_class(word, None, classes),
            classes=classes,
            channels=plan.channels,
        )
    for remark in data.remarks:
        say(remark)
    task = Task(model, size, plan.probabilities, data.train, data.test, recipe, temperature)
    starts = {variant: task.network(variant, seeds[0]) for variant in names}  # or it is refused
    settings = _settings(task, name)
    with opened(path, settings) as folder:
        runs = _runs(task, folder, names, seeds, progress, say)
        steps = step_times(starts, task.train, recipe, probabilities=task.probabilities)
    gap = _gap(task, starts["fc"], starts["exact"]) if {"fc", "exact"} <= set(starts) else None
    rows: list[Row] = []
    for variant in names:
        own = tuple(found for found in runs if found.variant == variant)
        row = Row(variant, own, own[0].parameters, step=steps[variant])
        against = compared(row, rows[0]) if rows else None
        rows.append(
            Row(
                variant,
                own,
                own[0].parameters,
                against=against,
                step=steps[variant],
                gap=gap if variant == "exact" else None,
            )
        )
    given = None
    if temperature is not None:
        given = error_of(
            predictions(model, task.test, probabilities=task.probabilities), task.test.labels
        )
    return Study(
        settings,
        tuple(rows),
        (len(task.train), len(task.test)),
        given,
        data.remarks,
        tuple(map(str, data.unread)),
    )


def _runs(
    task: Task,
    folder: Folder,
    names: tuple[str, ...],
    seeds: tuple[int, ...],
    progress: Progress,
    say: Say,
) -> list[Run]:
    """All runs, seed by seed, so that there are pairs to compare early on."""
    log = Log(folder)
    total, done = len(names) * len(seeds) * task.recipe.epochs, 0
    found = []

    def note(variant: str, seed: int, epoch: Epoch) -> None:
        nonlocal done
        log.epoch(variant, seed, epoch)
        done += 1
        progress(done, total)

    for index, (seed, variant) in enumerate((s, v) for s in seeds for v in names):
        ended = run(task, folder, variant, seed, note)
        log.run(ended)
        found.append(ended)
        done = (index + 1) * task.recipe.epochs
        progress(done, total)
        say(f"{variant}, seed {seed}: {ended.failed or f'{ended.error:.2f} % wrong'}")
    return found


def _gap(task: Task, fc: nn.Module, exact: nn.Module) -> float:
    """The largest difference of the scores of two networks, relative to the largest, in float64."""
    images = task.train.prepared(task.train.pixels[:16]).double()
    scores = []
    for network in (fc, exact):
        dtype = next(network.parameters()).dtype
        network.double()
        with in_eval(network), torch.inference_mode():
            scores.append(network(images))
        network.to(dtype)
    return float((scores[0] - scores[1]).abs().max() / scores[0].abs().max())


def _settings(task: Task, name: str) -> dict[str, Any]:
    """All that the result of a run depends on, but the variant and the seed."""
    recipe = task.recipe.to_dict()
    del recipe["seed"]
    learns = task.temperature is not None
    return {
        "model": name,
        "network": _digest(task.model, weights=learns),
        "window": list(task.window),
        "train": {"images": len(task.train), "sha256": task.train.digest()},
        "test": {"images": len(task.test), "sha256": task.test.digest()},
        "mean": list(task.train.mean),
        "std": list(task.train.std),
        "recipe": recipe,
        "temperature": task.temperature,
    }


def _digest(model: nn.Module, *, weights: bool) -> str:
    """A checksum of what the network is made of, and of its weights where they matter."""
    found = hashlib.sha256(str(model).encode())
    for name, tensor in model.state_dict().items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if weights:
            found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(dict.fromkeys(seeds))
    if not numbers or min(numbers) < 0:
        raise UsageError(
            f"seeds={seeds} cannot be.", hint="Give how many (5), or numbers from 0 (0, 1, 2)."
        )
    return numbers


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        if count < 1:
            raise UsageError(f"threads={count} must be at least 1.")
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
