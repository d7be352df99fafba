"""From the words of a command to an FCN that knows where it came from."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fullconv.cli.answers import say
from fullconv.cli.options import Asked, read_classes, single
from fullconv.errors import UsageError

if TYPE_CHECKING:
    from fullconv.hosts.torch_fx.fcn import FCN
    from fullconv.models import Classifier

Numbers = tuple[float, ...] | None

SAVED = ".safetensors"


def window_of(classifier: Classifier, asked: Asked) -> int | tuple[int, ...]:
    """The window asked for, or the one the model was built for."""
    chosen = single(asked.window or classifier.window)
    if chosen is None:
        raise UsageError(
            "the window is not known.",
            where=classifier.form,
            why="Nothing says which input size the classifier was built for.",
            hint="Pass --window, for example --window 224.",
        )
    return chosen


def load_and_convert(asked: Asked) -> tuple[Classifier, FCN]:
    """The classifier and its FCN."""
    from fullconv.api.convert import convert
    from fullconv.models import load_model

    classifier = load_model(asked.model, weights=asked.weights)
    say(f"{classifier.form}: weights {classifier.weights}")
    fcn = convert(classifier.module, window_of(classifier, asked), **asked.options)
    introduce(fcn, classifier)
    return classifier, fcn


def introduce(fcn: FCN, classifier: Classifier) -> None:
    """Tell an FCN what is known of the classifier it was made from."""
    from fullconv.hosts.torch_fx.fcn import About

    shortest = classifier.shortest if fcn.window == classifier.window else None
    names, count = classifier.classes, fcn.plan.outputs
    if names is not None and len(names) != count:
        say(f"{classifier.form}: its {len(names)} class names are left out, for {count} scores")
        names = None
    fcn.about = About(classifier.form, names, classifier.mean, classifier.std, shortest)


def load_fcn(asked: Asked) -> FCN:
    """The FCN of a MODEL word, which may be a network that "fullconv convert" has written."""
    model = asked.model
    if not _saved(model):
        return load_and_convert(asked)[1]
    given = asdict(asked)
    unused = [f"--{name}" for name in given if name != "model" and given[name] is not None]
    if unused:
        raise UsageError(
            f"{' and '.join(unused)} cannot be given for a network that is converted already.",
            where=model,
            hint="Leave it out. If the file holds the weights of a classifier, name the "
            "classifier instead and pass the file with --weights.",
        )
    from fullconv.api.save import load

    fcn = load(model)
    say(f"{model}: converted from {fcn.about.form or 'a network in memory'}")
    return fcn


def describe(fcn: FCN, classes: str | None, mean: Numbers, std: Numbers) -> None:
    """Let what was given by hand go before what the model says of itself."""
    from fullconv.evaluate.preparation import check_preparation

    about = fcn.about
    names = about.classes if classes is None else read_classes(classes, fcn.plan.outputs)
    about = replace(about, classes=names, mean=mean or about.mean, std=std or about.std)
    check_preparation(fcn.plan.channels, about.mean, about.std)
    fcn.about = about


def files_read(asked: Asked, classes: str | None) -> dict[str, Path | None]:
    """The files that a command reads beside images, by what they are; none may be written over."""
    from fullconv.models.python_file import PYTHON_FORM

    found = PYTHON_FORM.fullmatch(asked.model)
    model = Path(asked.model if found is None else found["path"])
    return {
        "the network": model,
        "the network's description": model.with_suffix(".json") if _saved(asked.model) else None,
        "the weights": as_path(asked.weights),
        "the class names": as_path(classes),
    }


def _saved(model: str) -> bool:
    """Whether a MODEL word names a network that "fullconv convert" has written."""
    return model.endswith(SAVED)


def as_path(given: str | None) -> Path | None:
    """A file that may not have been named."""
    return None if given is None else Path(given)
