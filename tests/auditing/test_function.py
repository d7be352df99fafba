"""The figures of the section on sameness, against plain loops."""

from __future__ import annotations

import copy
import dataclasses
import json
from math import prod
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import fullconv
from by_hand import crop_map, head_map
from fullconv.auditing.answers import crops, marked
from fullconv.auditing.answers.reach import reach
from fullconv.auditing.answers.sameness import measure
from fullconv.auditing.answers.samples import Named, patch, scaled
from fullconv.auditing.figures import tiny
from fullconv.auditing.sections import function
from fullconv.geometry import Grid
from networks import Split, noise, padded_body, ready, unpadded_body

CELLS_AWAY = 1e-12

AMPLE = 1e5
"""Seconds: what is looked at does not depend on how fast the machine is."""


def quiet(text: str) -> None:
    assert text


def flat_head(features: int, outputs: int = 4) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(features, outputs))


def padded() -> nn.Module:
    head = flat_head(5 * 6 * 6)
    return ready(Split(padded_body(), lambda net, x: net.fc(x), fc=head))


def unpadded() -> nn.Module:
    return ready(Split(unpadded_body(), lambda net, x: net.fc(x), fc=flat_head(5 * 6 * 6)))


def subject(model: nn.Module, window: int, images=(), fcn=None) -> SimpleNamespace:
    fcn = fullconv.convert(model, window) if fcn is None else fcn
    return SimpleNamespace(model=model, fcn=fcn, images=tuple(images), about=fcn.about)


def test_no_cell_of_an_unpadded_network_differs_from_its_crop():
    model = unpadded()
    found = measure(
        model,
        fullconv.convert(model, 18),
        [Named("a", noise(1, 3, 40, 35))],
        seconds=AMPLE,
        say=quiet,
    )
    assert found.certificate.ok
    assert found.certificate.exact
    assert found.certificate.windows <= 1e-10
    assert found.changed == 0
    assert found.difference < 1e-10
    assert found.cells == 12 * 9
    assert found.reach.cells == (0, 0)
    assert found.reach.deepest == 0
    said = function.section(subject(model, 18, [("a", noise(1, 3, 40, 35))]), AMPLE, quiet)
    assert said.verdict[0].startswith("Yes")
    assert "every cell of a larger image is the classifier on its crop" in said.verdict[1]
    assert "differs in none" in said.verdict[1]
    assert not said.pictures


def test_cells_and_crops_of_a_padded_network_are_compared_as_by_hand():
    model, image = padded(), noise(1, 3, 24, 21, seed=5)
    fcn = fullconv.convert(model, 12)
    (one,) = crops.compare(model, fcn, [Named("a", image)], 1000, quiet)
    assert one.grid.size == (24, 20)  # whole strides
    image = patch(image, (24, 20))
    theirs = crop_map(model, image, (12, 12), (2, 2))[0]
    with torch.no_grad():
        ours = head_map(model.head, model.body(image), (6, 6), theirs.shape[1:])[0]
    assert sorted(one.cells) == [(r, c) for r in range(7) for c in range(5)]
    for cell, distance, difference, changed in zip(
        one.cells, one.distance, one.difference, one.changed, strict=True
    ):
        row, col = cell
        a, b = ours[:, row, col], theirs[:, row, col]
        assert distance == min(row, 6 - row, col, 4 - col)
        assert difference == pytest.approx(float((a - b).abs().mean()), rel=1e-9, abs=1e-12)
        assert changed == (int(a.argmax()) != int(b.argmax()))
    assert 0 < sum(one.changed) < len(one.changed)
    table = {band.distance: band for band in crops.bands([one])}
    assert {d: band.cells for d, band in table.items()} == {0: 20, 1: 12, 2: 3}
    inner = [(2, 2), (3, 2), (4, 2)]
    gaps = [float((ours[:, r, c] - theirs[:, r, c]).abs().mean()) for r, c in inner]
    sd = float(theirs.std(unbiased=False))
    assert table[2].difference == pytest.approx(np.mean(gaps) / sd, rel=1e-9)
    agree = [int(ours[:, r, c].argmax()) == int(theirs[:, r, c].argmax()) for r, c in inner]
    assert table[2].top1 == pytest.approx(np.mean(agree))


def test_the_cells_at_the_border_come_first_where_there_are_too_many():
    model = padded()
    grid = fullconv.convert(model, 12).grid((50, 50))
    cells = crops._sample(grid, (2, 2), 200)
    rim = [cell for cell in grid if 0 in cell or 19 in cell]
    assert len(cells) == len(set(cells)) == 200
    assert set(rim) <= set(cells)
    assert {crops.distance_of(grid, cell, (2, 2)) for cell in cells} == set(range(10))
    assert len(crops._sample(grid, (2, 2), 40)) == 40


def test_what_is_said_of_all_cells_weighs_rim_and_rest_by_their_cells():
    """The rim is over-represented in the sample, and changes more often: it counts as its cells."""
    model = padded()
    fcn = fullconv.convert(model, 12)
    (one,) = crops.compare(model, fcn, [Named("a", noise(1, 3, 36, 36))], 1000, quiet)
    assert len(one.cells) == 13 * 13
    whole = crops.estimate([one])
    assert whole.cells == 169
    assert whole.changed == pytest.approx(sum(one.changed) / 169)
    assert sum(one.rings.values()) == 169
    # A sample in which every cell of the rim, and every fourth of the others, was compared.
    kept = [i for i, d in enumerate(one.distance) if d == 0 or i % 4 == 0]
    rim = [i for i in kept if one.distance[i] == 0]
    rest = [i for i in kept if one.distance[i] > 0]
    part = {name: tuple(getattr(one, name)[i] for i in kept) for name in SAMPLED}
    few = crops.Compared(**{**fields(one), **part})
    found = crops.estimate([few])
    assert (len(rim), found.cells) == (48, 169)

    def mean(places, values):
        return sum(values[i] for i in places) / len(places)

    expected = (48 * mean(rim, one.changed) + 121 * mean(rest, one.changed)) / 169
    assert found.changed == pytest.approx(expected)
    assert found.changed != pytest.approx(sum(part["changed"]) / len(kept))
    apart = (48 * mean(rim, one.difference) + 121 * mean(rest, one.difference)) / 169
    sd = float(one.scores.double().std(unbiased=False))
    assert found.difference == pytest.approx(apart / sd)
    assert [band.all_cells for band in crops.bands([few])] == [48, 40, 32, 24, 16, 8, 1]


SAMPLED = ("cells", "distance", "difference", "changed")


def test_the_picture_marks_exactly_the_cells_whose_class_changes():
    model, image = padded(), noise(1, 3, 60, 60, seed=3)
    (one,) = crops.compare(model, fullconv.convert(model, 12), [Named("a", image)], 1000, quiet)
    canvas = marked.picture(one, (0.0,), (1.0,), most=600)
    assert canvas.shape[2] == 3
    assert max(canvas.shape) <= 600
    colours = {marked.SAME: False, marked.DOT: True}  # in the middle of a square
    found = {}
    for cell in one.cells:
        y, x = (
            int(float(px) * canvas.shape[0] / one.grid.size[0]) for px in one.grid.center(*cell)
        )
        found[cell] = colours[tuple(int(v) for v in canvas[y, x])]
    assert found == dict(zip(one.cells, one.changed, strict=True))
    assert any(one.changed)
    assert not all(one.changed)
    grey = (canvas == canvas[..., :1]).all(-1)
    assert grey.any()
    # Orange only around dots, and none where nothing changed.
    one = crops.Compared(**{**fields(one), "image": scaled(one.image, (180, 180))})
    one = crops.Compared(**{**fields(one), "grid": Grid((180, 180), (60, 60), (10, 10))})
    canvas = marked.picture(one, (0.0,), (1.0,))
    calm = marked.picture(
        crops.Compared(**{**fields(one), "changed": (False,) * len(one.cells)}), (0.0,), (1.0,)
    )
    assert not (calm == np.array(marked.OTHER)).all(-1).any()
    assert (canvas == np.array(marked.OTHER)).all(-1).any()


def fields(one: crops.Compared) -> dict:
    return {name: getattr(one, name) for name in crops.Compared.__dataclass_fields__}


def test_a_large_picture_is_shown_at_most_640_px_wide():
    model, image = padded(), noise(1, 3, 48, 48)
    (one,) = crops.compare(model, fullconv.convert(model, 12), [Named("a", image)], 1000, quiet)
    wide = crops.Compared(**{**fields(one), "image": noise(1, 3, 700, 1300)})
    grid = fullconv.convert(model, 12).grid((700, 1300))
    wide = crops.Compared(**{**fields(wide), "grid": grid})
    assert marked.picture(wide, (0.0,), (1.0,)).shape == (344, 640, 3)


def test_padding_reaches_as_far_as_geometry_says_and_as_by_hand():
    model, image = padded(), noise(1, 3, 40, 40, seed=2)
    fcn = fullconv.convert(model, 12)
    far = reach(fcn, [Named("a", image)], 1000)
    assert far.bounded
    deep = max(far.cells)
    assert deep >= 1
    assert far.size == (12 + 4 * deep, 12 + 4 * deep)
    assert far.larger == tuple(n + 4 * deep for n in far.size)
    outer = patch(image, far.larger)
    inner = outer[:, :, 2 * deep : -2 * deep, 2 * deep : -2 * deep]
    n = 2 * deep + 1
    with torch.no_grad():
        alone = head_map(model.head, model.body(inner), (6, 6), (n, n))[0]
        within = head_map(model.head, model.body(outer), (6, 6), (n + 2 * deep,) * 2)[0]
    within = within[:, deep:-deep, deep:-deep]
    gap = (alone - within).abs()
    scale, sd = float(within.abs().max()), float(within.std(unbiased=False))
    for ring in far.rings:
        cells = [
            (r, c)
            for r in range(n)
            for c in range(n)
            if min(r, c, n - 1 - r, n - 1 - c) == ring.distance
        ]
        here = torch.stack([gap[:, r, c] for r, c in cells])
        assert ring.cells == len(cells)
        assert ring.largest == pytest.approx(float(here.max()) / scale, rel=1e-6, abs=1e-14)
        assert ring.difference == pytest.approx(float(here.mean()) / sd, rel=1e-6, abs=1e-14)
        assert (ring.largest <= CELLS_AWAY) == (ring.distance >= deep)
    assert far.deepest == deep


def test_too_few_windows_for_the_reach_leave_it_to_geometry():
    far = reach(fullconv.convert(padded(), 12), [], 0)
    assert far.rings == ()
    assert far.deepest is None
    assert max(far.cells) >= 1


def test_one_axis_is_looked_at_where_both_take_too_long():
    fcn = fullconv.convert(padded(), 12)
    both = reach(fcn, [], 1000)
    assert both.axes == (0, 1)
    far = reach(fcn, [], 0.99 * (prod(both.size) + prod(both.larger)) / 12**2)
    assert far.axes == (1,)
    assert far.larger[0] == far.size[0] == 12
    assert [ring.largest <= CELLS_AWAY for ring in far.rings] == [
        ring.distance >= far.cells[1] for ring in far.rings
    ]


def test_the_smallest_map_is_all_rim():
    fcn = fullconv.convert(padded(), 12)
    deep = reach(fcn, [], 1000).cells[0]
    far = reach(fcn, [], 1.01 + (12 + 4 * deep) / 12)
    assert far.axes == (1,)
    assert far.size == (12, 12)
    assert [ring.cells for ring in far.rings] == [1]
    assert far.beyond == ()
    assert far.deepest == 1


def test_a_certificate_that_fails_is_reported_as_such():
    model = unpadded()
    fcn = fullconv.convert(copy.deepcopy(model), 18)
    with torch.no_grad():
        model.fc[1].weight[0, 0] += 0.01
    said = function.section(subject(model, 18, fcn=fcn), AMPLE, quiet)
    assert said.verdict[0].startswith("No: the certificate failed")
    assert len(said.verdict) == 1
    assert said.facts["certificate"]["ok"] is False
    assert "DIFFERENT" in {row[2] for row in said.tables[0].rows}


def test_the_same_function_and_cells_that_are_no_crops_are_no_contradiction():
    images = [("a", noise(1, 3, 30, 28)), ("b", noise(1, 3, 24, 24, seed=1))]
    said = function.section(subject(padded(), 12, images), AMPLE, quiet)
    all_ = said.facts["estimate"]
    assert said.verdict[0].startswith(
        "Yes: at the window the same parameters give the same answers; the largest difference is "
    )
    assert said.verdict[1] == (
        f"In larger images cells are not crops, because of 2 layers that pad: "
        f"{100 * all_['changed']:.0f} % of the {all_['cells']} cells of 2 images have another top "
        f"class than their crop, and scores differ by {100 * all_['difference']:.0f} % of the "
        "standard deviation that they have over crops and classes, on average."
    )
    assert said.facts["compared"] == sum(len(one["cells"]) for one in said.facts["images"])


def test_images_that_were_not_looked_at_are_told():
    images = [(name, noise(1, 3, 16, 16)) for name in "abcdefg"]
    said = function.section(subject(padded(), 12, images), 0, quiet)
    assert said.skipped[0] == "6 of 7 images: no time."
    said = function.section(subject(padded(), 12, images), AMPLE, quiet)
    assert said.skipped == ("3 of 7 images: at most 4 are compared with crops.",)


@pytest.mark.parametrize(
    ("deepest", "words"),
    [
        (1, "measured, the outermost cell changes with"),
        (3, "measured, the 3 outermost cells change with"),
    ],
)
def test_the_cells_that_change_are_counted(deepest, words):
    far = reach(fullconv.convert(padded(), 12), [], 1000)
    assert words in function._reach_in_words(dataclasses.replace(far, deepest=deepest))


def test_no_difference_at_all_is_exactly_none():
    assert tiny(0.0) == "exactly 0"
    assert tiny(1.84e-15) == "1.8e-15"


def test_without_images_it_is_noise_and_says_so():
    said = function.section(subject(padded(), 12), AMPLE, quiet)
    assert "random noise" in said.verdict[1]
    assert said.facts["noise"] is True
    assert any("No images were given" in sentence for sentence in said.skipped)
    assert not said.pictures
    json.dumps(said.facts, allow_nan=False)


def test_the_section_on_an_image_shows_where():
    said = function.section(subject(padded(), 12, [("a.png", noise(1, 3, 30, 28))]), AMPLE, quiet)
    assert said.key == "function"
    assert said.verdict[0].startswith("Yes")
    assert "have another top class than their crop" in said.verdict[1]
    assert len(said.verdict) == 2
    assert any("By geometry padding reaches" in sentence for sentence in said.text)
    assert [picture.pixels.dtype for picture in said.pictures] == [np.uint8]
    assert said.pictures[0].caption.startswith("a.png")
    json.dumps(said.facts, allow_nan=False)


@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize("given", [True, False])
def test_one_and_three_axes(dims, given):
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[dims]
    body = nn.Sequential(conv(2, 3, 3, stride=2, padding=1), nn.ReLU())
    model = ready(Split(body, lambda net, x: net.fc(x), fc=flat_head(3 * 4**dims)))
    images = [("a", noise(1, 2, *(13 + axis for axis in range(dims))))] if given else []
    said = function.section(subject(model, 8, images), AMPLE, quiet)
    assert said.verdict[0].startswith("Yes")
    assert not said.pictures
    assert any("no picture" in sentence for sentence in said.skipped)
    size = tuple(said.facts["images"][0]["size"])
    assert size == {(1, True): (12,), (1, False): (20,), (3, True): (12, 14, 14)}.get(
        (dims, given), (16,) * 3
    )


class Excited(nn.Module):
    """Squeeze and excitation over an unpadded body."""

    def __init__(self) -> None:
        super().__init__()
        self.body = unpadded_body()
        self.squeeze = nn.Conv2d(5, 5, 1)
        self.fc = flat_head(5 * 6 * 6)

    def forward(self, x):
        x = self.body(x)
        return self.fc(x * self.squeeze(x.mean((2, 3), keepdim=True)).sigmoid())


@pytest.mark.parametrize("context", ["window", "image"])
def test_ops_that_look_at_the_whole_map_are_named(context):
    model = ready(Excited())
    fcn = fullconv.convert(model, 18, context=context)
    said = function.section(subject(model, 18, [("a", noise(1, 3, 30, 30))], fcn), AMPLE, quiet)
    assert "1 op that looks at the whole map" in said.verdict[1]
    assert said.facts["reach"]["bounded"] is (context == "window")
    sees = {"window": "the window around every cell", "image": "the whole image"}[context]
    assert any(sees in sentence for sentence in said.text)


def test_images_that_are_too_small_are_enlarged_and_large_ones_shrunk():
    fcn = fullconv.convert(padded(), 12)
    assert crops._fitted(noise(1, 3, 12, 9), fcn, 9).shape[2:] == (18, 14)
    assert crops._fitted(noise(1, 3, 21, 30), fcn, 9).shape[2:] == (20, 30)
    large = crops._fitted(noise(1, 3, 200, 300), fcn, 9).shape[2:]
    assert large[0] * large[1] <= 9 * 12 * 12
    banner = crops._fitted(noise(1, 3, 16, 3000), fcn, 9).shape[2:]
    assert banner[0] * banner[1] <= 9 * 12 * 12
    assert all((n - 12) % 2 == 0 for n in (*large, *banner))


def test_a_patch_is_the_middle_continued_by_its_mirror_image():
    image = torch.arange(4.0).reshape(1, 1, 4)
    assert patch(image, [2]).flatten().tolist() == [1, 2]
    assert patch(image, [8]).flatten().tolist() == [2, 1, 0, 1, 2, 3, 2, 1]
    assert patch(image[..., :1], [3]).flatten().tolist() == [0, 0, 0]
    both = noise(1, 2, 5, 7)
    assert torch.equal(patch(both, [9, 11]), nn.functional.pad(both, (2, 2, 2, 2), mode="reflect"))


@pytest.mark.parametrize(("dims", "mode"), [(1, "linear"), (2, "bilinear"), (3, "trilinear")])
def test_images_of_any_number_of_axes_are_resized_linearly(dims, mode):
    image, size = noise(1, 2, *(5, 6, 4)[:dims]), (9, 11, 8)[:dims]
    expected = nn.functional.interpolate(image, size=size, mode=mode, align_corners=False)
    assert torch.allclose(scaled(image, size), expected, atol=1e-12)
