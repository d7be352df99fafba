"""Running the command line in tests: as a process of its own, or at once in this one."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

SRC = Path(__file__).resolve().parents[2] / "src"

NETS = '''
import torch
from torch import nn

WINDOW = 16
CLASSES = ("cat", "dog", "tiger cat, Felis tigrina", "bird")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def body(channels=3):
    torch.manual_seed(0)
    return [nn.Conv2d(channels, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU()]


def build():
    """Nothing pads: 16 px to 8 channels of 6x6."""
    return nn.Sequential(*body(), nn.Flatten(), nn.Linear(8 * 6 * 6, 4))


def padded():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(96, 4)
    )


def grey():
    return nn.Sequential(*body(1), nn.Flatten(), nn.Linear(8 * 6 * 6, 4))


def broken():
    """A net whose weights are not numbers."""
    net = build()
    net[2].weight.data[0, 0, 0, 0] = float("nan")
    return net


def many():
    return nn.Sequential(*body(), nn.Flatten(), nn.Linear(8 * 6 * 6, 20000))
'''


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str

    @property
    def json(self):
        """The answer; stdout must hold nothing else."""
        return json.loads(self.out, parse_constant=lambda name: 1 / 0)

    @property
    def error(self) -> str:
        """The one error, after any remarks; nothing was answered, nothing else was said."""
        assert self.out == ""
        assert "Traceback" not in self.err
        assert "Warning" not in self.err
        before, mark, message = self.err.partition("error: ")
        assert mark
        assert before == "" or before.endswith("\n")
        assert "error: " not in message
        return message.rstrip("\n")


def process(*words: str, **options) -> Run:
    """`python -m fullconv` with these words, as a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(SRC), **options.pop("env", {})}
    done = subprocess.run(
        [sys.executable, "-m", "fullconv", *words],
        capture_output=True, text=True, env=environment, timeout=120, **options
    )  # fmt: skip
    return Run(done.returncode, done.stdout, done.stderr)


def files(folder: Path) -> set[str]:
    """Everything in a folder but Python's caches."""
    return {path.name for path in folder.iterdir()} - {"__pycache__"}


def picture(path: Path, height: int = 40, width: int = 57, mode: str = "RGB") -> np.ndarray:
    """Write a picture of coloured noise, the same every time; its pixels."""
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    pixels = np.random.default_rng(5).integers(0, 256, shape, np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    return pixels
