"""The figures of the section on scale, against closed forms and plain tensors."""

from __future__ import annotations

import json
from math import sqrt
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from fullconv.auditing.answers.features import NOISES, Row, Shift, Spread, measure
from fullconv.auditing.answers.samples import Named
from fullconv.auditing.sections import shift
from networks import noise, ready

AMPLE = 1e5
"""Seconds: what is looked at does not depend on how fast the machine is."""

VALUES = (-1.0, 0.5, 1.0, 2.0)


def quiet(text: str) -> None:
    assert text


def subject(fcn, images=()) -> SimpleNamespace:
    return SimpleNamespace(model=None, fcn=fcn, images=tuple(images), about=fcn.about, reading=None)


def summing(in_place: bool = False) -> nn.Module:
    """Every cell is the sum of its 3×3 surroundings, zero-padded, rectified."""
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.ones_(conv.weight)
    head = nn.Linear(64, 2, bias=False)
    with torch.no_grad():  # two classes, of which the first is the larger where there is anything
        head.weight[0], head.weight[1] = 1.0, -1.0
    return nn.Sequential(conv, nn.ReLU(inplace=in_place), nn.Flatten(), head).double().eval()


def constants() -> list[Named]:
    return [Named(str(v), torch.full((1, 1, 11, 17), v).double()) for v in VALUES]


def test_constant_images_shift_as_their_border_is_less_of_the_map():
    fcn = fullconv.convert(summing(), 8)
    found = measure(fcn, constants(), seconds=AMPLE, say=quiet)
    assert [row.size for row in found.rows] == [(n, n) for n in (8, 10, 12, 16, 24)]
    assert found.images == 4
    assert not found.noise
    values = [max(0.0, v) for v in VALUES]
    mean = sum(values) / 4
    square = sum(v * v for v in values) / 4
    sd_of_values = sqrt(square - mean**2)

    def pooled(n):  # inner cells see nine ones, those at a side six, those at a corner four
        return (9 * (n - 2) ** 2 + 6 * 4 * (n - 2) + 4 * 4) / n**2

    def squares(n):
        return (81 * (n - 2) ** 2 + 36 * 4 * (n - 2) + 16 * 4) / n**2

    at_window = sqrt(square * squares(8) - (mean * pooled(8)) ** 2)
    for row, n in zip(found.rows, (8, 10, 12, 16, 24), strict=True):
        assert row.cells == (n, n)
        assert row.features.mean == pytest.approx(mean * pooled(n), rel=1e-12)
        sd = sqrt(square * squares(n) - (mean * pooled(n)) ** 2)
        assert row.features.sd == pytest.approx(sd, rel=1e-9)
        assert row.features.zeros == row.pooled.zeros == 0.25
        moved = pooled(n) - pooled(8)
        assert row.features.shift == pytest.approx(mean * moved / at_window, rel=1e-9)
        assert row.pooled.mean == pytest.approx(mean * pooled(n), rel=1e-12)
        assert row.pooled.sd == pytest.approx(sd_of_values * pooled(n), rel=1e-12)
        unit = sd_of_values * pooled(8)
        assert row.pooled.shift == pytest.approx(mean * moved / unit, rel=1e-9)
        assert row.agreement == 1.0
    # At the window the classes are apart by twice the sum of all features.
    chances = [torch.tensor(2 * 64 * pooled(8) * v).sigmoid().item() for v in values]
    assert found.rows[0].confidence == pytest.approx(sum(chances) / 4, rel=1e-9)


def test_features_of_a_known_filter_are_those_by_hand():
    torch.manual_seed(1)
    conv = nn.Conv2d(2, 3, 3, stride=2)
    model = ready(nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 5)))
    images = [Named(str(i), noise(1, 2, 27, 9, seed=i)) for i in range(3)]
    found = measure(fullconv.convert(model, 9), images, seconds=AMPLE, say=quiet)
    maps, tops = {}, {}
    for row in found.rows:
        size = row.size
        features, answers = [], []
        for image in images:
            middle = image.pixels[:, :, 9:18]
            x = F.interpolate(middle, size=size, mode="bilinear", align_corners=False)
            with torch.no_grad():
                f = F.relu(F.conv2d(x, conv.weight, conv.bias, stride=2))
                patches = F.unfold(f, 4).transpose(1, 2)  # (1, cells, 3 * 16)
                answers.append(model[3](patches).mean(1)[0])
            features.append(f[0])
        maps[size], tops[size] = torch.stack(features), torch.stack(answers)
    first, before = maps[9, 9], tops[9, 9].argmax(1)
    sds = first.transpose(0, 1).flatten(1).std(1, unbiased=False)
    for row in found.rows:
        here = maps[row.size]
        assert row.features.mean == pytest.approx(here.mean().item(), rel=1e-9)
        assert row.features.sd == pytest.approx(here.std(unbiased=False).item(), rel=1e-9)
        assert row.features.zeros == pytest.approx((here == 0).double().mean().item())
        moved = (here.mean((0, 2, 3)) - first.mean((0, 2, 3))).abs() / sds
        assert row.features.shift == pytest.approx(moved.mean().item(), rel=1e-9, abs=1e-12)
        pooled, was = here.mean((2, 3)), first.mean((2, 3))
        assert row.pooled.zeros == pytest.approx((pooled == 0).double().mean().item())
        moved = (pooled - was).abs().mean() / was.std(unbiased=False)
        assert row.pooled.shift == pytest.approx(moved.item(), rel=1e-9, abs=1e-12)
        top = tops[row.size].softmax(1).amax(1).mean().item()
        assert row.confidence == pytest.approx(top, rel=1e-9)
        agree = (tops[row.size].argmax(1) == before).double().mean().item()
        assert row.agreement == pytest.approx(agree)
    assert max(row.pooled.shift for row in found.rows) > 0.01


def test_features_are_those_before_work_in_place():
    torch.manual_seed(2)
    conv, head = nn.Conv2d(1, 2, 3), nn.Linear(2, 3)

    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = conv, head

        def forward(self, x):
            return self.head(self.conv(x).mean((2, 3)).relu_())

    model = ready(Late())
    image = Named("a", noise(1, 1, 8, 8))
    found = measure(fullconv.convert(model, 8), [image], seconds=AMPLE, say=quiet)
    with torch.no_grad():
        features = conv(image.pixels)
    assert found.rows[0].features.mean == pytest.approx(features.mean().item(), rel=1e-9)
    assert found.rows[0].features.zeros == 0.0


def test_the_section_says_what_was_found():
    said = shift.section(
        subject(fullconv.convert(summing(), 8), as_pairs(constants())), AMPLE, quiet
    )
    assert said.key == "shift"
    assert "24×24 px, 3 times the window" in said.verdict[0]
    assert said.verdict[0].endswith(", and 4 of 4 images keep the answer of the window.")
    assert said.verdict[0].startswith("Hardly")  # the answers are the same, the shift is small
    assert "25.0 % to 25.0 %" in said.verdict[1]
    assert len(said.tables[0].rows) == 10
    assert len(said.tables[1].rows) == 5
    assert not said.skipped
    json.dumps(said.facts, allow_nan=False)


def as_pairs(images):
    return [(image.name, image.pixels) for image in images]


def test_changed_answers_make_the_scale_matter():
    # One class counts what lies at the rim, where zero padding is: it fades as the image grows.
    model = summing()
    with torch.no_grad():
        model[3].weight[0] = 1.0
        model[3].weight[1] = 0.0
        model[3].bias = nn.Parameter(torch.tensor([0.0, 64 * 8.0]).double())
    images = [Named(name, torch.ones(1, 1, 8, 8).double()) for name in "abc"]
    said = shift.section(subject(fullconv.convert(model, 8), as_pairs(images)), AMPLE, quiet)
    # ((3 * 8 - 2) / 8)² = 7.6 at the window; 9 in the middle of larger maps
    assert said.verdict[0].startswith("Yes")
    agreement = [row["agreement"] for row in said.facts["rows"]]
    assert agreement[0] == 1.0
    assert agreement[-1] == 0.0
    assert "0 of 3 images keep the answer of the window" in said.verdict[0]


def shifted(*rows: tuple[float, float], images: int = 4, noise: bool = False) -> Shift:
    """Figures of growing sizes: how far the averaged vector moved, and how many answers stay."""
    made = []
    for place, (moved, agreement) in enumerate(rows, 1):
        spread = Spread(1.0, 1.0, 0.25, moved)
        made.append(Row((8 * place,) * 2, (place,) * 2, spread, spread, 0.5, agreement))
    return Shift(tuple(made), "conv", 3, 1, images, noise, (), "window", images)


def test_yes_and_no_judge_the_size_that_is_quoted():
    between = shift._verdict(shifted((0, 1.0), (0.9, 0.25), (0.1, 1.0)))
    assert between[0] == (
        "Hardly: at 24×24 px, 3 times the window, the averaged feature vector of 4 images has "
        "moved by 0.100 standard deviations, and 4 of 4 images keep the answer of the window."
    )
    assert shift._verdict(shifted((0, 1.0), (0.1, 0.75)))[0].startswith("Yes: at 16×16 px")
    assert "1 of 4 images keeps" in shift._verdict(shifted((0, 1.0), (0.1, 0.25)))[0]


@pytest.mark.parametrize(("same", "words"), [(1.0, "that at the window"), (0.0, "another one")])
def test_few_images_have_figures_and_no_yes_or_no(same, words):
    assert shift._verdict(shifted((0, 1.0), (0.9, same), images=1))[0] == (
        "On few images: at 16×16 px, 2 times the window, the averaged feature vector of 1 image "
        f"has moved by 0.900 standard deviations, and its answer is {words}."
    )
    assert shift._verdict(shifted((0, 1.0), (0.9, same), images=2))[0].startswith("On few images")


def test_images_that_were_not_looked_at_are_told():
    fcn = fullconv.convert(summing(), 8)
    said = shift.section(subject(fcn, as_pairs(constants())), 0, quiet)
    assert said.skipped == ("3 of 4 images: no time.",)


def test_features_that_are_no_numbers_are_skipped_with_the_reason():
    model = summing()
    nn.init.constant_(model[0].weight, float("nan"))
    said = shift.section(subject(fullconv.convert(model, 8), as_pairs(constants())), AMPLE, quiet)
    assert said.verdict == said.tables == said.charts == ()
    assert said.skipped == ("How features shift: features or scores of 8×8 px are not finite.",)
    json.dumps(said.facts, allow_nan=False)


def test_without_images_noise_is_drawn_at_every_size_and_says_so():
    said = shift.section(subject(fullconv.convert(summing(), 8)), AMPLE, quiet)
    assert said.facts["noise"] is True
    assert said.facts["images"] == NOISES
    assert said.verdict[0].startswith("No images were given, and noise has no objects that grow")
    assert len(said.verdict) == 1
    assert said.skipped
    # Another image at every size: no answers are compared, in facts, tables and charts neither.
    for row in said.facts["rows"]:
        assert row["agreement"] is None
        assert row["pooled"]["shift"] is None
        assert row["pooled"]["mean"] > 0
        assert 0 <= row["features"]["zeros"] < 1
    assert all("same" not in name for table in said.tables for name in table.header)
    names = [series.name for chart in said.charts for series in chart.series]
    assert "zeros, averaged" in names
    assert not any("same" in name or name == "averaged" for name in names)
    spoken = (*said.verdict, *(chart.alt for chart in said.charts))
    assert not any("answer" in sentence for sentence in spoken)


@pytest.mark.parametrize("dims", [1, 3])
def test_one_and_three_axes(dims):
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[dims](2, 3, 3, stride=2)
    model = ready(nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4**dims, 2)))
    image = ("a", noise(1, 2, *(9, 14, 10)[:dims]))
    fcn = fullconv.convert(model, 9)
    said = shift.section(subject(fcn, [image]), AMPLE, quiet)
    assert [row["size"] for row in said.facts["rows"]] == [
        (n,) * dims for n in (9, 11, 13, 19, 27)
    ] or len(said.facts["rows"]) == 5
    middle = image[1][(..., *(slice((n - 9) // 2, (n - 9) // 2 + 9) for n in (9, 14, 10)[:dims]))]
    with torch.no_grad():
        expected = conv(middle).relu()
    assert said.facts["rows"][0]["features"]["mean"] == pytest.approx(expected.mean().item())


class Excited(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(1, 3, 3, stride=2), nn.Conv2d(3, 3, 1)
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        x = self.conv(x).relu()
        x = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("context", "sees"), [("window", "the window around every"), ("image", "all of the image")]
)
def test_ops_that_look_at_the_whole_map_and_what_they_see(context, sees):
    fcn = fullconv.convert(ready(Excited()), 9, context=context)
    said = shift.section(subject(fcn, [("a", noise(1, 1, 20, 20))]), AMPLE, quiet)
    assert sees in said.text[-1]
    assert said.facts["context"] == context
    assert len(said.facts["contexts"]) == 1


def test_few_seconds_are_few_images():
    fcn = fullconv.convert(summing(), 8)
    assert measure(fcn, constants(), seconds=0, say=quiet).images == 1


def test_a_map_with_channels_last_is_counted_by_channel():
    torch.manual_seed(3)

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 3, 3), nn.Linear(3 * 36, 2)

        def forward(self, x):
            return self.fc(self.conv(x).relu().permute(0, 2, 3, 1).flatten(1))

    model = ready(Last())
    image = Named("a", noise(1, 1, 8, 8))
    found = measure(fullconv.convert(model, 8), [image], seconds=AMPLE, say=quiet)
    with torch.no_grad():
        expected = model.conv(image.pixels).relu()
    assert found.channels == 3
    assert found.rows[0].pooled.sd == pytest.approx(
        expected.mean((2, 3)).std(unbiased=False).item(), rel=1e-9
    )
