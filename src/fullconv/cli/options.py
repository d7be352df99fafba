"""Options that several commands share, and how a MODEL word becomes an FCN."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fullconv.errors import InputError, UsageError

if TYPE_CHECKING:
    from fullconv.hosts.torch_fx.fcn import FCN
    from fullconv.models import Classifier

Command = Callable[..., Any]


class Size(click.ParamType):
    """`224`, or `224x160` for one number per axis."""

    name = "PX"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """The numbers; a usage error for anything else."""
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().replace("×", "x").split("x")
        if not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is no size; write 224, or 224x160 (height x width).", param, ctx)
        return tuple(int(part) for part in parts)


class Numbers(click.ParamType):
    """`0.5`, or `0.485,0.456,0.406` for one number per channel."""

    name = "NUMBERS"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...]:
        """The numbers; a usage error for anything else."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers; write 0.5, or 0.5,0.4,0.3.", param, ctx)


def model_options(command: Command) -> Command:
    """MODEL and how to load it."""
    for decorate in reversed(
        (
            click.argument("model"),
            click.option("--weights", metavar="FILE", help="Weights: safetensors or a checkpoint."),
            click.option("--window", type=Size(), help="Input size of the classifier, px."),
            click.option("--stride", type=Size(), help="Px between windows [native]."),
        )
    ):
        command = decorate(command)
    return command


def picture_options(command: Command) -> Command:
    """How images are prepared, where MODEL does not say."""
    for decorate in reversed(
        (
            click.option("--mean", type=Numbers(), help="Of pixels scaled to 0..1 [the model's]."),
            click.option("--std", type=Numbers(), help="Likewise [the model's]."),
            click.option("--max-pixels", type=click.IntRange(1), default=200_000_000,
                         show_default=True, help="Refuse larger images."),
        )
    ):  # fmt: skip
        command = decorate(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def say(text: str) -> None:
    """Progress and remarks, on stderr."""
    click.echo(text, err=True)


def show(text: str, data: dict[str, Any], as_json: bool) -> None:
    """The answer, on stdout: text for people or JSON for programs."""
    click.echo(json.dumps(data, indent=1, ensure_ascii=False) if as_json else text.rstrip("\n"))


def window_of(classifier: Classifier, window: tuple[int, ...] | None) -> int | tuple[int, ...]:
    """The window asked for, or the one the model was built for."""
    chosen = window or classifier.window
    if chosen is None:
        raise UsageError(
            "the window is not known.",
            where=classifier.form,
            why="Nothing says which input size the classifier was built for.",
            hint="Pass --window, for example --window 224.",
        )
    return chosen[0] if len(chosen) == 1 else chosen


def load_and_convert(
    model: str,
    weights: str | None,
    window: tuple[int, ...] | None,
    stride: tuple[int, ...] | None,
) -> tuple[Classifier, FCN]:
    """The classifier and its FCN, which knows where it came from."""
    from fullconv.api.convert import convert
    from fullconv.hosts.torch_fx.fcn import About
    from fullconv.models import load_model

    classifier = load_model(model, weights=weights)
    say(f"{classifier.form}: weights {classifier.weights}")
    steps = stride if stride is None or len(stride) > 1 else stride[0]
    fcn = convert(classifier.module, window_of(classifier, window), stride=steps)
    names = classifier.classes
    if names is not None and len(names) != fcn.plan.outputs:
        names = None
    fcn.about = About(classifier.form, names, classifier.mean, classifier.std)
    return classifier, fcn


def read_classes(path: str, count: int) -> tuple[str, ...]:
    """Class names from a text file, one per line, or a JSON list."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        listed = json.loads(text) if text.lstrip().startswith("[") else text.splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}.", where=path) from error
    names = tuple(str(name).strip() for name in listed if str(name).strip())
    if len(names) != count:
        raise InputError(
            f"holds {len(names)} class names, but the network has {count} scores.", where=path
        )
    return names
