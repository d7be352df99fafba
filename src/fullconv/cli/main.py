"""The `fullconv` command and what all of its subcommands share: errors and exit codes."""

from __future__ import annotations

import io
import logging
import sys

import click

import fullconv
from fullconv.cli.answers import hush
from fullconv.cli.commands import COMMANDS
from fullconv.cli.interrupt import INTERRUPTED
from fullconv.errors import FullconvError
from fullconv.storage.marks import refuse_while_importing

EXAMPLES = """\b
Examples:
  fullconv demo
  fullconv plan torchvision:vgg16
  fullconv check timm:resnet50.a1_in1k photo.jpg
  fullconv classify torchvision:vgg16 holiday/ --format csv -o answers.csv
  fullconv heatmap torchvision:alexnet photo.jpg --class "tabby cat"
  fullconv scan torchvision:resnet18 slide.svs -o slide.zarr --mask auto --max-memory 2GiB
  fullconv evaluate torchvision:resnet18 --data labelled/ --scales 256,320
  fullconv audit torchvision:vgg16 photo.jpg -o report.html
  fullconv allconv torchvision:vgg16 --plan
  fullconv study net.py:build images/ --variants fc,gap,allconv --seeds 5
  fullconv export slide-map/ -o slide.geojson --threshold 0.5
  fullconv convert net.py:build --weights net.pth -o net.safetensors
  fullconv heatmap net.safetensors photo.jpg

\b
Exit codes: 0 ok, 1 failed, 2 usage, 3 bad input, 4 refused model,
            5 incomplete (the same command goes on), 130 interrupted."""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXAMPLES,
)
@click.version_option(fullconv.__version__, prog_name="fullconv")
def cli() -> None:
    """Turn a CNN classifier into the fully convolutional network that computes the same function
    at every place of an image of any size, and prove it.

    \b
    MODEL is one of
      torchvision:NAME[:WEIGHTS|:random]   torchvision:vgg16
      timm:NAME[:random]                   timm:resnet50.a1_in1k
      path/to/file.py:factory              a function that returns an nn.Module
      textures                             a bundled model
      FILE.safetensors                     written by "fullconv convert" or "allconv"; for
                                           heatmap, scan, classify and evaluate
    """


for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Run the command line; every error a person can cause is one message and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack × and →
    # What it logs with a traceback is raised too, and becomes one message here.
    logging.getLogger("torch._subclasses.fake_tensor").disabled = True
    try:
        refuse_while_importing()
        sys.exit(cli.main(prog_name="fullconv", standalone_mode=False))
    except FullconvError as error:
        _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        where = f"\nTry {error.ctx.command_path} --help." if error.ctx else ""
        _fail(error.format_message() + where, error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        hush()  # the reader of our answer went away
        sys.exit(1)


def _fail(message: str, code: int) -> None:
    click.echo(f"error: {message}", err=True)
    sys.exit(code)
