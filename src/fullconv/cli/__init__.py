"""The command line: parse, show, exit codes; no logic of its own."""

from fullconv.cli.main import main

__all__ = ["main"]
