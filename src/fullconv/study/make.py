"""`study`: variants of a network trained side by side, with several seeds, and compared."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

import fullconv
from fullconv.errors import UsageError
from fullconv.evaluate.class_names import find_class
from fullconv.geometry import per_axis
from fullconv.hosts.torch_fx.tracing import in_eval
from fullconv.storage.marks import refuse_while_importing
from fullconv.study.folder import Folder, Log, opened
from fullconv.study.jobs import Load, in_processes
from fullconv.study.paired import Difference
from fullconv.study.sentences import mixed
from fullconv.study.settings import settings_of
from fullconv.study.steps import step_times
from fullconv.study.task import Pair, Task, in_turn
from fullconv.study.value import Row, Run, StepTime, Study, compared
from fullconv.study.variants import checked_variants, head_parameters
from fullconv.study.words import SEEDS, VARIANTS
from fullconv.training.batches import check_shift
from fullconv.training.distilling import check_lesson
from fullconv.training.parts import Parts, open_parts
from fullconv.training.recipe import TEMPERATURE, Recipe
from fullconv.training.state import Epoch

Say = Callable[[str], object]
Progress = Callable[[int, int], object]
"""Called with how many epochs are done, and of how many."""

PAIR = {"fc", "exact"}
"""The same function twice."""


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
    jobs: int = 1,
    threads: int | None = None,
    load: Load | None = None,
    name: str = "",
    say: Say = lambda text: None,
    progress: Progress = lambda done, total: None,
) -> Study:
    """Train variants of a network on labelled images, with several seeds, and compare their errors.

    Args:
        model: a CNN classifier, `(N, C, H, W)` to `(N, K)`. It stays as it is; its variants are
            trained on the device it is on.
        data: a folder or an .npz file, or the `Parts` of it, from `fullconv.training.open_parts`.
            Pixels of a path are normalised by those of the training images; to distil they are fed
            as they are, from 0 to 1: a network that was trained otherwise needs `Parts`.
        window: its input size in px.
        folder: keeps the settings, the log and every run, finished or not. A study that was stopped
            goes on there, to the same result; variants and seeds may be added later.
        variants: "fc", the network itself; "exact", its exact conversion; "gap", "strided",
            "convpool" and "allconv", in which the head is replaced by a 1×1 convolution and the
            average, and the pools as `fullconv.all_convolutional` does. The first is the base that
            the others are compared with.
        seeds: how many, or which. Every seed gives all layers new random weights, by their
            `reset_parameters` (`fullconv.training.start_afresh`); layers that variants share start
            equal, new ones as `fullconv.all_convolutional` starts them, and all variants of a seed
            see the same batches in the same order.
        recipe: how they are trained; its seed is not used.
        distill: start from the weights of the network instead, and learn its answers
            (`fullconv.training.distill`).
        temperature: at which they are learnt.
        jobs: processes that train at a time; with one, this process trains.
        threads: of PyTorch in each; by default all it has for one process, and 1 for several.
        load: makes the network in the other processes, where it cannot be sent there.
        name: what to call the network in the report.
        say: told what is remarkable.
        progress: told how many epochs are done; first, those that were done before.

    A run whose loss or scores are no longer numbers is entered as failed, and the others go on.

    Raises:
        RefusedError: the network cannot be converted, or has parameters that cannot be reset.
        InputError: the data are bad, or the folder holds a study with other settings.
        UsageError: an argument cannot be, or a file starts a study while it is imported.
        IncompleteError: other processes that trained died again and again.
        FullconvError: another process works in the folder.
    """
    refuse_while_importing()
    if jobs < 1 or (threads is not None and threads < 1):
        raise UsageError(f"jobs={jobs} and threads={threads} must be at least 1.")
    if distill:
        check_lesson(temperature)
    chosen, numbers = checked_variants(variants), _seeds(seeds)
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
            mean=(0.0,) if distill else None,
            std=(1.0,) if distill else None,
        )
    for remark in data.remarks:
        say(remark)
    task = Task(
        model,
        size,
        plan.probabilities,
        data.train,
        data.test,
        Recipe() if recipe is None else recipe,
        temperature if distill else None,
    )
    check_shift(task.train, task.recipe)
    with _threads(threads or (1 if jobs > 1 else torch.get_num_threads())) as each:
        starts = {name: task.network(name, numbers[0]) for name in chosen}  # or it is refused
        settings = settings_of(task, name, data.source)
        with opened(Path(folder), settings) as place:
            pairs = [(name, seed) for seed in numbers for name in chosen]
            runs = _runs(task, place, pairs, jobs, each, load, say, progress)
            # Before any step: batch norms would remember it, each in its own rounding.
            gap = _gap(task, starts["fc"], starts["exact"]) if set(starts) >= PAIR else None
            steps = place.steps(chosen, each)
            if steps is None:
                say("timing a step of every variant")
                steps = step_times(
                    starts, task.train, task.recipe, probabilities=task.probabilities
                )
                place.keep_steps(steps, each)
        unlike = mixed(runs[pair] for pair in pairs)
        for remark in unlike:
            say(remark)
        return Study(
            settings,
            _rows(task, chosen, numbers, runs, steps, gap),
            (len(task.train), len(task.test)),
            task.error(model) if distill else None,
            (*data.remarks, *unlike),
            tuple(map(str, data.unread)),
        )


def _runs(
    task: Task,
    folder: Folder,
    pairs: Sequence[Pair],
    jobs: int,
    threads: int,
    load: Load | None,
    say: Say,
    progress: Progress,
) -> dict[Pair, Run]:
    """All runs; seed by seed, so that there are pairs to compare early on."""
    log, epochs = Log(folder), task.recipe.epochs
    found: dict[Pair, Run] = {}
    done = {pair: min(epochs, log.epochs(*pair)) for pair in pairs}  # a run goes on from there

    def note(variant: str, seed: int, epoch: Epoch) -> None:
        log.epoch(variant, seed, epoch)
        done[variant, seed] = max(epoch.number, done[variant, seed])
        progress(sum(done.values()), len(pairs) * epochs)

    for pair in pairs:
        ended = folder.found(*pair)
        if ended is not None:
            found[pair], done[pair] = ended, epochs
            log.run(ended)
    if found:
        say(f"{folder.path}: {len(found)} of {len(pairs)} runs are done already")
    progress(sum(done.values()), len(pairs) * epochs)
    left = [pair for pair in pairs if pair not in found]
    coming = (
        in_processes(task, folder, left, note, jobs=jobs, threads=threads, load=load)
        if jobs > 1 and len(left) > 1
        else in_turn(task, folder, left, note)
    )
    for ended in coming:
        pair = (ended.variant, ended.seed)
        log.run(ended)
        found[pair], done[pair] = ended, epochs
        progress(sum(done.values()), len(pairs) * epochs)
        result = f"failed: {ended.failed}" if ended.failed else f"{ended.error:.2f} % wrong"
        say(f"{ended.variant}, seed {ended.seed}: {result}")
    return found


def _rows(
    task: Task,
    names: tuple[str, ...],
    seeds: tuple[int, ...],
    runs: Mapping[Pair, Run],
    steps: Mapping[str, StepTime],
    gap: float | None,
) -> tuple[Row, ...]:
    rows: list[Row] = []
    for name in names:
        own = tuple(runs[name, seed] for seed in seeds)
        against: Difference | None = compared(own, rows[0].runs) if rows else None
        rows.append(
            Row(
                name,
                own,
                parameters=own[0].parameters,
                head=head_parameters(name, task.model, task.window),
                against=against,
                step=steps[name],
                gap=gap if name == "exact" else None,
            )
        )
    return tuple(rows)


def _gap(task: Task, fc: nn.Module, exact: nn.Module) -> float:
    """The largest difference of the scores of two networks, relative to the largest, in float64."""
    device = next(fc.parameters()).device
    images = task.train.prepared(task.train.pixels[:16].to(device)).double()
    scores = []
    for network in (fc, exact):
        twin = copy.deepcopy(network).double()
        with in_eval(twin), torch.inference_mode():
            scores.append(twin(images))
    return float((scores[0] - scores[1]).abs().max() / scores[0].abs().max())


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(dict.fromkeys(seeds))
    if not numbers or min(numbers) < 0:
        raise UsageError(
            f"seeds={seeds} cannot be.", hint="Give how many (5), or numbers from 0 (0, 1, 2)."
        )
    return numbers


@contextmanager
def _threads(count: int) -> Iterator[int]:
    """Let PyTorch use as many threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(before)
