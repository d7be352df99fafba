"""The study of dense evaluation: its page says what its figures say, and its borders are borders."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import fullconv
from fullconv.evaluate.accuracy import accuracy
from fullconv.evaluate.accuracy.bootstrap import Estimate
from fullconv.storage.datasets import open_dataset
from studies import borders, cifar10, page, pages, small_vgg

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_made_of_the_figures_beside_it():
    facts = json.loads((DOCS / "studies" / "dense_evaluation.json").read_text(encoding="utf-8"))
    text = (DOCS / "dense-evaluation.md").read_text(encoding="utf-8")
    assert f"{pages.begin(page.MADE_BY)}\n\n{page.body(facts)}\n{pages.END}" in text


def test_only_what_stands_between_the_markers_is_written(tmp_path):
    path = tmp_path / "page.md"
    begin = pages.begin("make it")
    path.write_text(f"before\n{begin}\nold\n{pages.END}\nafter\n")
    pages.write(path, "make it", "new 3")
    assert path.read_text() == f"before\n{begin}\n\nnew 3\n{pages.END}\nafter\n"
    path.write_text("nothing\n")
    with pytest.raises(SystemExit, match="has no markers"):
        pages.write(path, "make it", "new 3")
    assert path.read_text() == "nothing\n"


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-2.0, -0.25, "errs less than crops, by 1.00 points [-2.00, -0.25]"),
        (-2.0, 0.0, "shows no difference from crops (-1.00 [-2.00, +0.00] points)"),
    ],
)
def test_no_more_is_said_than_the_interval_allows(low, high, words):
    assert page.compared(Estimate(-1.0, low, high), "crops") == words
    turned = page.compared(Estimate(1.0, -high, -low), "crops")
    assert turned.startswith(words.split()[0] if high == 0 else "errs more than crops")


def test_cells_are_told_by_how_they_lie():
    grid = fullconv.Grid((40, 44), (28, 28), (4, 4))  # 4 × 5 cells
    found = {(c.distance, c.sides): (c.count, mask) for c, mask in borders._alike(grid)}
    assert {kind: count for kind, (count, _) in found.items()} == {(0, 2): 4, (0, 1): 10, (4, 0): 6}
    assert found[0, 2][1].nonzero().tolist() == [[0, 0], [0, 4], [3, 0], [3, 4]]
    assert sum(mask for _, mask in found.values()).eq(1).all()


@pytest.mark.parametrize("padded", [False, True])
def test_without_padding_there_is_no_border(padded, tmp_path):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (6, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "d.npz", x=pixels, y=random.integers(10, size=6))
    data = open_dataset(tmp_path / "d.npz", resolve=int, outputs=10)
    model = small_vgg.network(padded=padded).eval()
    fcn = fullconv.convert(model, small_vgg.WINDOW)
    assert fcn.stride == (4, 4)
    fcn.about = replace(fcn.about, mean=cifar10.MEAN, std=cifar10.STD)
    found = accuracy(fcn, data, scales=[32], evaluations=["dense", "multi-crop"])
    (scale,) = borders.compare(model, fcn, data, found, [32], lambda text: None)
    assert scale["cells"] == [2, 2]
    assert scale["dense"] == found.row("dense", 32).error().to_dict()
    relative = scale["largest_difference"] / scale["score_deviation"]
    assert (relative > 1e-3) == padded
    (gap,) = scale["gaps"]
    assert (gap["where"], gap["count"]) == ("corner", 4)
    if not padded:
        assert relative < 1e-4
        assert gap["agreement"]["value"] == 100
        assert gap["map_minus_crop"] == {"value": 0, "low": 0, "high": 0}


def test_training_crops_are_windows_of_the_images_at_some_scale():
    pixels = np.zeros((3, 32, 32, 3), np.uint8)
    pixels[1] = 255
    x = small_vgg.crops(pixels, np.random.default_rng(0))
    assert x.shape == (3, 3, 28, 28)
    for value, image in ((0, x[0]), (1, x[1])):
        for channel, mean, std in zip(image, cifar10.MEAN, cifar10.STD, strict=True):
            torch.testing.assert_close(channel, torch.full((28, 28), (value - mean) / std))


def test_training_that_was_stopped_ends_like_training_that_was_not(tmp_path):
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (small_vgg.BATCH, 32, 32, 3), np.uint8)
    y = random.integers(10, size=len(x), dtype=np.uint8)

    def state(cache: str) -> dict:
        folder = tmp_path / cache
        folder.mkdir(exist_ok=True)
        model = small_vgg.trained(x, y, folder, said.append, padded=False, epochs=2)
        return model.state_dict()

    said: list[str] = []
    whole = state("whole")
    assert [line.split(",")[0] for line in said] == [
        "unpadded: epoch 1 of 2", "unpadded: epoch 2 of 2"
    ]  # fmt: skip

    def stopped(text: str) -> None:
        raise KeyboardInterrupt

    (tmp_path / "parts").mkdir()
    with pytest.raises(KeyboardInterrupt):
        small_vgg.trained(x, y, tmp_path / "parts", stopped, padded=False, epochs=2)
    parts = state("parts")
    assert said[-1].startswith("unpadded: epoch 2 of 2")
    assert len(said) == 3
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name
