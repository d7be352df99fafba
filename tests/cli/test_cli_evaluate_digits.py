"""`fullconv evaluate` with trained weights on the test digits of MNIST."""

from pathlib import Path

import numpy as np
import pytest
from cli_runs import files

LENET = f"""
import sys

sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from networks import LeNet as build

WINDOW, MEAN, STD = 28, (0.1307,), (0.3081,)
"""


@pytest.fixture
def lenet(here, data) -> list[str]:
    (here / "lenet.py").write_text(LENET)
    return ["lenet.py:build", "--weights", str(data / "weights/lenet_mnist.pth")]


def test_lenet_on_the_test_digits(fullconv, lenet, data):
    run = fullconv(
        "evaluate", *lenet, "--data", str(data / "datasets/mnist.npz"),
        "--limit", "200", "--no-flip", "--json",
    )  # fmt: skip
    assert run.code == 0
    assert run.json["images"] == 200
    for row in run.json["rows"]:  # at the window all four are the classifier
        assert row["top1_error"]["value"] <= 5
        assert row["top5_error"]["value"] <= 1
        assert row["top1_error"]["low"] <= row["top1_error"]["value"] <= row["top1_error"]["high"]


def test_lenet_on_digits_with_room_around_them(fullconv, lenet, here, data):
    """On a black margin of 2 px dense evaluation averages 2 × 2 windows, each with the digit."""
    with np.load(data / "datasets/mnist.npz") as archive:
        pixels, labels = archive["x_test"][:200], archive["y_test"][:200]
    np.savez(here / "wide.npz", images=np.pad(pixels, ((0, 0), (2, 2), (2, 2))), labels=labels)
    run = fullconv(
        "evaluate", *lenet, "--data", "wide.npz", "--no-flip", "--csv", "t.csv", "--json"
    )
    assert run.code == 0
    rows = {row["evaluation"]: row["top1_error"]["value"] for row in run.json["rows"]}
    assert rows["centre"] <= 5  # the digit as it was
    assert max(rows.values()) <= 10
    assert "t.csv" in files(here)
