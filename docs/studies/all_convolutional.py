"""All-convolutional variants of three small networks on CIFAR-10: `make study-allconv`.

Families A, B and C of Springenberg et al. 2015, narrower and with an FC head, are trained as they
are and as five variants, five seeds each; the figures go into docs/all-convolutional-study.md and,
all of them, into a JSON file beside this one. Runs stay in .cache; the study can be stopped and run
again. To use two cores, let a process of its own train each family first: `--families A`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

import fullconv
from fullconv.auditing.machine import cpu_name
from fullconv.cli.progress import Progress
from fullconv.storage.description import to_text
from fullconv.storage.files import atomic
from fullconv.study.make import study
from fullconv.study.words import VARIANTS
from fullconv.training.recipe import Recipe
from studies import all_convolutional_page as page
from studies import cifar10, pages, springenberg
from studies.command import run, say

ROOT = Path(__file__).parents[2]
WIDTH, SEEDS = 16, 5
RECIPE = Recipe(epochs=4, batch=128, rate=0.1, dtype="bfloat16")


def main(arguments: list[str] | None = None) -> int:
    """Train and measure what is not there yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", default="ABC", help="which to train; all write the page")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "all-convolutional")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "all-convolutional-study.md")
    options = parser.parse_args(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    file = cifar10.images(cifar10.data_folder(), options.cache, say)
    families = {
        family: trained(family, file, options.cache / family) for family in options.families
    }
    if set(families) != set(springenberg.KERNELS):
        return 0
    facts = {
        "data": "CIFAR-10, from lossy JPEG copies",
        "width": WIDTH,
        "hidden": springenberg.HIDDEN,
        "recipe": RECIPE.to_dict(),
        "processor": cpu_name(),
        "versions": {"fullconv": fullconv.__version__, "torch": torch.__version__},
        "families": families,
    }
    answers = Path(__file__).with_suffix(".json")
    with atomic(answers) as part:
        part.write_text(to_text(facts), encoding="utf-8")
    page.draw(options.page.parent / "images" / "all-convolutional.png", facts)
    pages.write(options.page, page.MADE_BY, page.body(facts))
    say(f"wrote {answers} and {options.page}")
    return 0


def trained(family: str, file: Path, folder: Path) -> dict[str, Any]:
    """All runs of a family, on one thread: a run ends the same wherever it is made."""
    model = springenberg.network(family, width=WIDTH)
    epochs = len(VARIANTS) * SEEDS * RECIPE.epochs
    with Progress("epochs", epochs) as progress:
        found = study(
            model,
            file,
            springenberg.WINDOW,
            folder=folder,
            seeds=SEEDS,
            recipe=RECIPE,
            threads=1,
            name=f"family {family}",
            say=say,
            progress=progress,
        )
    say(str(found))
    return found.to_dict()


if __name__ == "__main__":
    run(main)
