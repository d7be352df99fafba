"""How fast and with how much memory a network runs: options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fullconv.cli.answers import say
from fullconv.cli.options import Command, together
from fullconv.errors import UsageError
from fullconv.evaluate.words import BATCH

if TYPE_CHECKING:
    from torch import nn

    from fullconv.hosts.torch_fx.fcn import FCN

Network = TypeVar("Network", bound="nn.Module")

DTYPES = ("float32", "bfloat16", "float16", "float64")


class Bytes(click.ParamType):  # type: ignore[type-arg]
    """`2GiB`, `500MB`, or a number of bytes."""

    name = "BYTES"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """The number of bytes; a usage error for anything else."""
        from fullconv.api.memory import parse_bytes

        if isinstance(value, int):
            return value
        try:
            return parse_bytes(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True)
class Speed:
    """How a network is to run, as it was said.

    Attributes:
        optimize: whether to convert it to the form that runs fastest.
        dtype: the type it computes in; None is that of its weights.
        compiled: whether to compile it with torch.compile.
        device: where it runs, in PyTorch's words; None is the CPU.
    """

    optimize: bool
    dtype: str | None
    compiled: bool
    device: str | None

    def ready(self, fcn: FCN) -> FCN:
        """The network as it is to run; what was done to it is said."""
        import torch

        fcn = placed(fcn, self.device)
        if not self.optimize:
            unused = {"--dtype": self.dtype is not None, "--compile": self.compiled}
            for option in (name for name, given in unused.items() if given):
                raise UsageError(f"{option} and --no-optimize exclude each other.")
            return fcn
        dtype = None if self.dtype is None else getattr(torch, self.dtype)
        fast = fcn.optimize(dtype=dtype, compile=self.compiled)
        facts = (f"{name} {value}".strip() for name, value in fast.optimization.summary())
        say(f"optimized: {'; '.join(facts)}")
        return fast


def placed(network: Network, device: str | None) -> Network:
    """A network where it is to run; None leaves it. Raises UsageError for what cannot be used."""
    if device is None:
        return network
    try:
        return network.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UsageError(
            f"--device {device} cannot be used: {reason}.",
            hint="Leave it out to run on the CPU.",
        ) from error


def speed_options(command: Command) -> Command:
    """The options of `Speed`; the command gets them as `speed`."""
    return together(_optimize_option, _dtype_option, _compile_option, device_option)(
        _packed(command)
    )


def uncompiled_speed_options(command: Command) -> Command:
    """As `speed_options`, for a command that compiles nothing."""
    return together(_optimize_option, _dtype_option, device_option)(_packed(command))


def _packed(command: Command) -> Command:
    @wraps(command)
    def packed(**given: Any) -> Any:
        speed = Speed(**{field.name: given.pop(field.name, False) for field in fields(Speed)})
        return command(speed=speed, **given)

    return packed


device_option = click.option(
    "--device", metavar="NAME", help="Where to run: cpu, cuda, cuda:1, mps [cpu]."
)

_optimize_option = click.option(
    "--optimize/--no-optimize", default=True, show_default=True,
    help="Run the network in its fastest form; scores change in their last digits.",
)  # fmt: skip

_dtype_option = click.option(
    "--dtype", type=click.Choice(DTYPES), help="Compute in this type [that of the weights]."
)

_compile_option = click.option(
    "--compile", "compiled", is_flag=True,
    help="Compile with torch.compile: a minute for each size of image, then faster.",
)  # fmt: skip

batch_option = click.option(
    "--batch", type=click.IntRange(1), default=BATCH, show_default=True, metavar="N",
    help="Images of equal size, or crops, in one pass at most.",
)  # fmt: skip

memory_option = click.option(
    "--max-memory", type=Bytes(),
    help="What a pass over an image may need beside the weights, as 2GiB [90 % of what is free].",
)  # fmt: skip
