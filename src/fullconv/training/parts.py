"""Images to train on and images to test on, out of what a person names as a data set."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fullconv.errors import InputError, UsageError, listed
from fullconv.storage.class_folders import Resolve, entries_of, resolved
from fullconv.storage.datasets import Dataset, Part, open_dataset, spread
from fullconv.training.samples import Progress, Samples, Unread, gathered

TESTS = ("test", "testing", "val", "valid", "validation")
TRAINS = ("train", "training")
HELD = 5
"""Every fifth image of a class is held out for testing where a data set has no such part."""


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What is trained on and what is tested on.

    Attributes:
        train, test: the images.
        unread: images that cannot be read, and are left out.
        remarks: what was taken for granted.
        source: where they come from, for people.
    """

    train: Samples
    test: Samples
    unread: tuple[Unread, ...] = ()
    remarks: tuple[str, ...] = ()
    source: str = ""


def open_parts(
    path: str | os.PathLike[str],
    window: tuple[int, ...],
    *,
    resolve: Resolve,
    classes: int,
    channels: int,
    limit: int | None = None,
    test_limit: int | None = None,
    resize: bool = False,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    progress: Progress | None = None,
) -> Parts:
    """The two parts of the data set at `path`.

    Args:
        path: a folder with sub-folders train and test (or val), each with one sub-folder per class;
            a folder with one sub-folder per class; or an .npz file with `x_train`, `y_train`,
            `x_test` (or `x_val`) and `y_test`, or with `images` and `labels`, or `x` and `y`. Where
            there is nothing to test on, a fifth of every class, drawn at random but always the
            same, is held out.
        window: `(H, W)` px of every image.
        resolve: from the name of a sub-folder to the number of its class.
        classes, channels: what the network has.
        limit, test_limit: at most so many images, spread over the classes.
        resize: scale and cut images of another size.
        mean, std: of pixels scaled to 0..1, one number or one per channel; by default those of the
            training images.
        progress: told how many images are read, of both parts.

    Raises InputError for what cannot be read or has labels that are no classes, training images of
    a single class, and images of another size.
    """
    train, test, remarks = _opened(Path(path), resolve, classes, channels)
    if limit is not None:
        train = spread(train, limit)
    if test_limit is not None:
        test = spread(test, test_limit)
    _check_classes(train.labels, str(path))
    total = len(train) + len(test)

    def told(before: int) -> Progress | None:
        return None if progress is None else (lambda done, _: progress(before + done, total))

    learnt, unread = gathered(train, window, classes, channels, resize=resize, progress=told(0))
    tested, unread_too = gathered(
        test, window, classes, channels, resize=resize, progress=told(len(train))
    )
    _check_classes(learnt.labels.numpy(), str(path))
    if mean is None or std is None:
        mean, std = learnt.statistics()
        numbers = (" ".join(f"{number:.3f}" for number in given) for given in (mean, std))
        remarks = (*remarks, "pixels: mean {}, std {} of the training images".format(*numbers))
    mean, std = (tuple(given) * (channels if len(given) == 1 else 1) for given in (mean, std))
    return Parts(
        replace(learnt, mean=mean, std=std),
        replace(tested, mean=mean, std=std),
        (*unread, *unread_too),
        tuple(dict.fromkeys((*train.remarks, *test.remarks, *remarks))),
        str(path),
    )


def _opened(
    path: Path, resolve: Resolve, classes: int, channels: int
) -> tuple[Dataset, Dataset, tuple[str, ...]]:
    def part(where: Path, split: str) -> Dataset:
        return open_dataset(where, resolve=resolve, outputs=classes, split=split, channels=channels)

    if path.is_dir():
        train, test = (_folder(path, names) for names in (TRAINS, TESTS))
        if train is not None and test is not None:
            learnt = part(train, "train")
            own = _numbered_as(learnt, train, test, resolve)
            return learnt, open_dataset(test, resolve=own, outputs=classes, channels=channels), ()
        whole = part(path if train is None else train, "train")
        return _held_out(whole, str(path))
    names = _arrays(path)
    splits = [split for split in TESTS if {f"x_{split}", f"y_{split}"} <= names]
    if {"x_train", "y_train"} <= names and splits:
        return part(path, "train"), part(path, splits[0]), ()
    return _held_out(part(path, "train"), str(path))


def _folder(path: Path, names: tuple[str, ...]) -> Path | None:
    """The sub-folder with one of these names; None if there is none."""
    there = [path / name for name in names if (path / name).is_dir()]
    return there[0] if there else None


def _numbered_as(learnt: Dataset, train: Path, test: Path, resolve: Resolve) -> Resolve:
    """The numbers that the classes in `train` have, for those in `test`.

    By themselves they might be counted otherwise. Raises InputError that names the sub-folders of
    `test` that are none of those classes.
    """
    numbers = {
        file.relative_to(train).parts[0]: int(label)
        for file, label in zip(learnt.files, learnt.labels, strict=True)
    }
    spelled = all(_number(name, resolve) == number for name, number in numbers.items())

    def own(name: str) -> int:
        # Where names are those of the network's classes, a class may have several of them.
        found = numbers.get(name, _number(name, resolve) if spelled else None)
        if found is None or found not in numbers.values():
            raise UsageError(f"{name} is no class in {train}.")
        return found

    folders = [entry.name for entry in entries_of(test) if entry.is_dir()]
    strange = [name for name in folders if _number(name, own) is None]
    if strange:
        raise InputError(
            f"{len(strange)} of {len(folders)} classes to test on are none of those in {train}:"
            f"{listed(strange)}",
            where=str(test),
            why="Nothing learns what they are.",
            hint="Name their sub-folders as those to train on, or take them away.",
        )
    return own


def _number(name: str, resolve: Resolve) -> int | None:
    """The number of a class; None if it has none."""
    try:
        return resolved(name, resolve)
    except UsageError:
        return None


def _arrays(path: Path) -> set[str]:
    """The names of the arrays in an .npz file; none if it is none, which opening it will tell."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return set(archive.files)
    except Exception:
        return set()


def _held_out(whole: Dataset, where: str) -> tuple[Dataset, Dataset, tuple[str, ...]]:
    """A fifth of every class to test on, and the others; the same ones every time."""
    random = np.random.default_rng(0)
    held = np.zeros(len(whole), np.bool_)
    for label in np.unique(whole.labels):
        own = random.permutation(np.flatnonzero(whole.labels == label))
        held[own[: len(own) // HELD]] = True
    if not held.any():
        raise InputError(
            f"holds {len(whole):,} images, too few to hold some out for testing.",
            where=where,
            hint=f"A class needs {HELD} images, or there must be a part to test on.",
        )
    remark = (
        f"{where}: nothing to test on in it; {int(held.sum()):,} of {len(whole):,} images, "
        "a fifth of every class, are held out of training and tested on"
    )
    train, test = (Part(whole, np.flatnonzero(chosen)) for chosen in (~held, held))
    return train, test, (*whole.remarks, remark)


def _check_classes(labels: npt.NDArray[np.int64], where: str) -> None:
    found = np.unique(labels)
    if len(found) < 2:
        raise InputError(
            f"all {len(labels):,} images to train on are of one class, {int(found[0])}.",
            where=where,
            why="There is nothing to tell apart.",
            hint="Give images of two classes at least.",
        )
