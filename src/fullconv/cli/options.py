"""Arguments and options that several commands share, and how they are read from words."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from fullconv.errors import InputError, UsageError
from fullconv.evaluate.words import AVERAGES, EVALUATIONS
from fullconv.storage import MAX_PIXELS

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


MODEL_FORMS = (
    "MODEL is torchvision:NAME[:WEIGHTS|:random], timm:NAME[:random], path/to/file.py:factory or "
    "a bundled model (textures)."
)
SAVED_TOO = MODEL_FORMS + " Here it may also be a network written by fullconv convert."
TESTED = "that at which the model is tested, if it is known"


class Size(click.ParamType):  # type: ignore[type-arg]
    """`224`, or `224x160` for one number per axis."""

    name = "PX"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """The numbers; a usage error for anything else."""
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().replace("×", "x").split("x")
        if not all(part.isdecimal() and 0 < int(part) < 2**31 for part in parts):
            self.fail(f"{value!r} is no size; write 224, or 224x160 (height x width).", param, ctx)
        return tuple(int(part) for part in parts)


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """`0.5`, or `0.485,0.456,0.406` for one number per channel."""

    name = "NUMBERS"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...]:
        """The numbers; a usage error for anything else."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(map(math.isfinite, numbers)):
            self.fail(f"{value!r} is no list of numbers; write 0.5, or 0.5,0.4,0.3.", param, ctx)
        return numbers


class ScalesType(click.ParamType):  # type: ignore[type-arg]
    """`256`, or `256,384,512` and `0.5x,1x` for several scales."""

    name = "SCALES"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[Any, ...]:
        """The scales, each once; a usage error for anything else."""
        from fullconv.evaluate.scales import scales_of

        if isinstance(value, tuple):
            return value
        try:
            return scales_of(str(value).split(","))
        except UsageError as error:
            self.fail(f"{error.what} {error.hint}".rstrip(), param, ctx)


class EvaluationsType(click.ParamType):  # type: ignore[type-arg]
    """`dense`, or `centre,dense` for several evaluations."""

    name = "LIST"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """The evaluations, each once; a usage error for anything else."""
        if isinstance(value, tuple):
            return value
        words = tuple(dict.fromkeys(word.strip() for word in str(value).split(",")))
        known = ", ".join(EVALUATIONS)
        for word in words:
            if word not in EVALUATIONS:
                self.fail(f"{word!r} is no evaluation; name some of {known}.", param, ctx)
        return words


def together(*decorators: Decorator) -> Decorator:
    """Several decorators as one, the first outermost."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


@dataclass(frozen=True)
class Asked:
    """MODEL and how it is to be loaded and converted, as it was said."""

    model: str
    weights: str | None
    window: tuple[int, ...] | None
    stride: tuple[int, ...] | None
    context: str | None
    method: str | None

    @property
    def options(self) -> dict[str, Any]:
        """What `fullconv.convert` takes beside model and window; what was not said is left out."""
        said = {"stride": single(self.stride), "context": self.context, "method": self.method}
        return {name: value for name, value in said.items() if value is not None}


def single(size: tuple[int, ...] | None) -> int | tuple[int, ...] | None:
    """One number for all axes as that number."""
    return size[0] if size is not None and len(size) == 1 else size


def model_options(command: Command) -> Command:
    """MODEL and how to load and convert it; the command gets them as one `Asked`."""
    return together(_classifier_options, _conversion_options)(_packed(command))


def classifier_options(command: Command) -> Command:
    """MODEL and how to load it, for a command that converts it in ways of its own."""
    return _classifier_options(_packed(command))


def _packed(command: Command) -> Command:
    """The command, which gets the options of `Asked` as one; None are those it has not."""

    @wraps(command)
    def packed(**given: Any) -> Any:
        asked = Asked(**{field.name: given.pop(field.name, None) for field in fields(Asked)})
        return command(asked=asked, **given)

    return packed


_classifier_options = together(
    click.argument("model"),
    click.option("--weights", metavar="FILE",
                 help="Its weights: safetensors, or a PyTorch checkpoint."),
    click.option("--window", type=Size(),
                 help="Input size it was built for, as 224 or 224x160 (height x width) "
                 "[the model's]."),
    click.option("--context", type=click.Choice(["window", "image"]),
                 help="What ops that look at the whole map (squeeze-excite) see in a larger image: "
                 "the window around each cell [default], or all of it."),
)  # fmt: skip

_conversion_options = together(
    click.option("--stride", type=Size(),
                 help="Distance between windows: any divisor of the native one, which is the "
                 "default."),
    click.option("--method", type=click.Choice(["dilate", "fragments"]),
                 help="How a finer stride is reached; both give the same map [dilate]."),
)  # fmt: skip

preparation_options = together(
    click.option("--mean", type=Numbers(),
                 help="Subtracted from pixels scaled to 0..1, as 0.5 or 0.5,0.4,0.3 "
                 "[the model's]."),
    click.option("--std", type=Numbers(), help="They are then divided by it [the model's]."),
)  # fmt: skip
"""How pixels become numbers, where MODEL does not say."""


def scales_option(default: str) -> Decorator:
    """Several sizes of an image; `default` says in words what stands for none."""
    return click.option(
        "--scales",
        type=ScalesType(),
        help="Sizes at which an image is scored: its shortest side in px, as 256,384,512, or "
        f"factors, as 0.5x,1x [{default}].",
    )


def flip_option(default: bool, but: str = "") -> Decorator:
    """The mirror image; `but` says what is left alone."""
    return click.option(
        "--flip/--no-flip",
        default=default,
        show_default=True,
        help=f"Score the mirror image too, and average the probabilities{but}.",
    )


average_option = click.option(
    "--average", type=click.Choice(AVERAGES), default=AVERAGES[0],
    show_default=True,
    help="What dense evaluation averages over the map: scores, as VGG's authors do, or their "
    "softmax.",
)  # fmt: skip

classes_option = click.option(
    "--classes", metavar="FILE", help="Class names, one per line or a JSON list [the model's]."
)

pixels_option = click.option(
    "--max-pixels", type=click.IntRange(1), default=MAX_PIXELS, show_default=True, metavar="N",
    help="Refuse larger images before they are decoded.",
)  # fmt: skip

json_option = click.option("--json", "as_json", is_flag=True,
                           help="Answer in JSON, for programs.")  # fmt: skip


def read_classes(path: str, count: int | None) -> tuple[str, ...]:
    """Class names from a text file, one per line, or a JSON list; `count` of them, if known."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        listed: Any = text.splitlines()
        if text.lstrip()[:1] in ("[", "{"):
            listed = json.loads(text)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", where=path) from error
    except UnicodeDecodeError as error:
        raise InputError(
            "is no text in UTF-8.", where=path, hint="Class names stand one per line."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"begins like JSON, and is none: {error}.", where=path) from error
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise InputError(
            "is JSON, but no list of class names.",
            where=path,
            hint='Write ["cat", "dog"], in the order of the scores, or one name per line.',
        )
    names = tuple(name.strip() for name in listed if name.strip())
    if count is not None and len(names) != count:
        raise InputError(
            f"holds {len(names)} class names, but the network has {count} scores.", where=path
        )
    return names


def distinct(outputs: dict[str, Path | None], inputs: dict[str, Path | None]) -> None:
    """Raise UsageError if something to be written is something that is read.

    `outputs` go by where their names come from (`-o`), `inputs` by what they are.
    """
    for option, output in outputs.items():
        for what, read in inputs.items():
            if output is not None and read is not None and _same(output, read):
                raise UsageError(
                    f"{output} would overwrite {what}.", where=option, hint="Name another file."
                )


def _same(one: Path, other: Path) -> bool:
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there
        return False
