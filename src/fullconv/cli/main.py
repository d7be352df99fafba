"""The `fullconv` command and what all of its subcommands share: errors and exit codes."""

from __future__ import annotations

import os
import sys

import click

import fullconv
from fullconv.cli.commands import check, convert, demo, heatmap, plan
from fullconv.errors import FullconvError

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(fullconv.__version__, prog_name="fullconv")
def cli() -> None:
    """Turn a CNN classifier into the fully convolutional network that computes the same function
    at every place of an image of any size, and prove it.

    MODEL is torchvision:NAME[:WEIGHTS|:random], timm:NAME[:random], path/to/file.py:factory, a
    bundled model (textures) or, for heatmap, a network written by "fullconv convert".

    Exit codes: 0 ok, 1 failed, 2 usage, 3 bad input, 4 refused model, 130 interrupted.
    """  # noqa: D205


for command in (plan, check, convert, heatmap, demo):
    cli.add_command(command)


def main() -> None:
    """Run the command line; every error a person can cause is one message and an exit code."""
    try:
        cli.main(prog_name="fullconv", standalone_mode=False)
    except FullconvError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away; say nothing, and let Python not try again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
