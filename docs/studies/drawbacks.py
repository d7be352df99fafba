"""What going fully convolutional costs, in general: `make drawbacks`.

Audits of networks people use, whose figures go into docs/drawbacks.md with those of the study of
all-convolutional variants, and all of them into a JSON file beside this one. Some ten minutes on a
quiet machine. VGG-16, AlexNet and ResNet-50 have random weights: the figures taken from them depend
on the architecture alone. MobileNetV2 is trained, and sees photographs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import fullconv
from fullconv.hosts.torch_fx.fcn import About
from fullconv.models import load_model
from fullconv.storage.description import to_text
from fullconv.storage.files import atomic
from studies import cifar10, pages, trained_mobilenet
from studies import drawbacks_page as page
from studies.command import run, say

ROOT = Path(__file__).parents[2]
RANDOM = ("vgg16", "alexnet", "resnet50")


def main(arguments: list[str] | None = None) -> int:
    """Audit what is not audited yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--again", action="store_true", help="audit all networks anew")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "drawbacks")
    options = parser.parse_args(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in (*RANDOM, "mobilenetv2"):
        kept = options.cache / f"{name}.json"
        if options.again or not kept.exists():
            with atomic(kept) as part:
                part.write_text(json.dumps(audited(name)), encoding="utf-8")
        found[name] = json.loads(kept.read_text(encoding="utf-8"))
    answers = Path(__file__).with_suffix(".json")
    with atomic(answers) as part:
        part.write_text(to_text(found), encoding="utf-8")
    study = json.loads((Path(__file__).parent / "all_convolutional.json").read_text("utf-8"))
    pages.write(ROOT / "docs" / "drawbacks.md", page.MADE_BY, page.body(found, study))
    say(f"wrote {answers} and docs/drawbacks.md")
    return 0


def audited(name: str) -> dict[str, Any]:
    """The figures of one network."""

    def progress(done: int, total: int, what: str) -> None:
        say(f"{name}: {done} of {total}, {what}")

    if name in RANDOM:
        model = load_model(f"torchvision:{name}:random").module
        return fullconv.audit(
            model, 224, about=About(name), weights="random", progress=progress
        ).to_dict()
    photos = cifar10.data_folder() / "photos"
    about = About(name, None, trained_mobilenet.MEAN, trained_mobilenet.STD)
    images = sorted(photos.glob("*.jpg"))
    return fullconv.audit(
        trained_mobilenet.build(), trained_mobilenet.WINDOW, images=images, about=about,
        progress=progress,
    ).to_dict()  # fmt: skip


if __name__ == "__main__":
    run(main)
