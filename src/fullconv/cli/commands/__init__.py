"""The subcommands, a file each. Heavy imports stand inside them: `--help` answers at once."""

from fullconv.cli.commands.allconv import allconv
from fullconv.cli.commands.audit import audit
from fullconv.cli.commands.check import check
from fullconv.cli.commands.classify import classify
from fullconv.cli.commands.convert import convert
from fullconv.cli.commands.demo import demo
from fullconv.cli.commands.evaluate import evaluate
from fullconv.cli.commands.export import export
from fullconv.cli.commands.heatmap import heatmap
from fullconv.cli.commands.plan import plan
from fullconv.cli.commands.scan import scan
from fullconv.cli.commands.study import study

COMMANDS = (
    plan, check, convert, classify, heatmap, scan, export, evaluate, audit, allconv, study,
    demo,
)  # fmt: skip

__all__ = ["COMMANDS"]
