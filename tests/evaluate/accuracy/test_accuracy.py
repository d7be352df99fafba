"""Errors on labelled images against crops that are cut, classified and counted by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from labelled import MEAN, STD, WINDOW, Pictures, converted, network, pictures
from torch import nn

from fullconv.api.memory import Budget
from fullconv.errors import FullconvError, InputError, UsageError
from fullconv.evaluate.accuracy import Accuracies, Row, accuracy
from fullconv.evaluate.accuracy.measure import rank
from fullconv.evaluate.dense.batches import Loaded, batches
from fullconv.evaluate.dense.passes import dense
from fullconv.evaluate.dense.views import Views
from fullconv.evaluate.scales import scales_of

SIZES = [(16, 14), (20, 13), (16, 14), (13, 19), (16, 14), (16, 14), (20, 13), (24, 24)]


def scaled(image, shortest: int) -> torch.Tensor:
    """A prepared image in float64, its shortest side as given, rounded half up."""
    pixels = torch.from_numpy(image.pixels.astype(np.float64) / 255)
    pixels = (pixels - torch.tensor(MEAN).double()) / torch.tensor(STD).double()
    x = pixels.permute(2, 0, 1)[None]
    size = [int(side * shortest / min(image.size) + 0.5) for side in image.size]
    # As the library does; tests of the resizing itself stand elsewhere.
    return F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)


def crop(x: torch.Tensor, top: int, left: int) -> torch.Tensor:
    return x[:, :, top : top + WINDOW[0], left : left + WINDOW[1]]


@torch.no_grad()
def by_hand(
    model: nn.Module, x: torch.Tensor, evaluation: str, flip: bool, average: str = "scores"
):
    """Probabilities of one image by plain loops over its crops; nothing pads in `model`."""
    height, width = (n - w for n, w in zip(x.shape[2:], WINDOW, strict=True))
    if evaluation == "centre":
        return model(crop(x, height // 2, width // 2)).softmax(1)[0]
    if evaluation == "both":
        parts = [by_hand(model, x, part, flip, average) for part in ("dense", "multi-crop")]
        return (parts[0] + parts[1]) / 2
    answers = []
    for view in [x, x.flip(3)] if flip else [x]:
        if evaluation == "dense":
            places = [(i, j) for i in range(0, height + 1, 2) for j in range(0, width + 1, 2)]
            scores = torch.stack([model(crop(view, *place))[0] for place in places])
            if average == "scores":
                answers.append(scores.mean(0).softmax(0))
            else:
                answers.append(scores.softmax(1).mean(0))
        else:
            steps = range(5)
            places = [
                (int(i * height / 4 + 0.5), int(j * width / 4 + 0.5)) for i in steps for j in steps
            ]
            answers += [model(crop(view, *place)).softmax(1)[0] for place in places]
    return torch.stack(answers).mean(0)


def hand_rank(probabilities: torch.Tensor, label: int) -> int:
    order = sorted(range(len(probabilities)), key=lambda k: (-float(probabilities[k]), k))
    return order.index(label)


@pytest.mark.parametrize(("flip", "average"), [(True, "scores"), (False, "probabilities")])
def test_every_row_is_what_plain_loops_find(flip, average):
    model, data = network(), pictures(SIZES)
    found = accuracy(
        converted(model), data, scales=[13, 18], flip=flip, average=average, batch_size=3
    )
    evaluations = ["centre", "dense", "multi-crop", "both"]
    scales = ["13", "18", "all"]
    assert [(r.scale, r.evaluation) for r in found.rows] == [
        (scale, evaluation) for scale in scales for evaluation in evaluations
    ]
    for evaluation in evaluations:
        at = {
            shortest: [
                by_hand(model, scaled(data.image(i), shortest), evaluation, flip, average)
                for i in range(len(data))
            ]
            for shortest in (13, 18)
        }
        every = [(a + b) / 2 for a, b in zip(at[13], at[18], strict=True)]
        for scale, answers in (("13", at[13]), ("18", at[18]), ("all", every)):
            row = found.row(evaluation, scale)
            expected = [hand_rank(p, label) for p, label in zip(answers, data.labels, strict=True)]
            assert row.ranks.tolist() == expected, (evaluation, scale)
            assert row.error(1).value == pytest.approx(100 * np.mean(np.array(expected) > 0))
            assert row.error(5).value == pytest.approx(100 * np.mean(np.array(expected) >= 5))
    assert len({tuple(row.ranks) for row in found.rows}) > 5  # the rows are not all alike


def test_batches_change_nothing_and_every_image_is_counted(patient):
    fcn, data = converted(network(padding=1)), pictures(SIZES * 3)
    seen: list[tuple[int, int]] = []
    alone = accuracy(fcn, data, scales="1.5x", batch_size=1)
    together = accuracy(
        fcn, data, scales="1.5x", batch_size=7, progress=lambda *done: seen.append(done)
    )
    for one, other in zip(alone.rows, together.rows, strict=True):
        assert one.ranks.tolist() == other.ranks.tolist()
    assert seen[-1] == (24, 24)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert len(seen) < 24


def test_as_many_images_at_once_as_the_memory_takes(monkeypatch, patient):
    from fullconv.evaluate.dense import evaluations

    fcn, data = converted(network()), pictures([(300, 250)] * 5)
    whole = accuracy(fcn, data, evaluations="dense")
    most: list[int] = []

    def counted(fcn, x, **options):
        most.append(len(x))
        return dense(fcn, x, **options)

    monkeypatch.setattr(evaluations, "dense", counted)
    limit = Budget(fcn).needed((300, 250), 2)
    assert limit < Budget(fcn).needed((300, 250), 3)
    found = accuracy(fcn, data, evaluations="dense", max_memory=limit)
    assert max(most) == 2
    assert found.rows[0].ranks.tolist() == whole.rows[0].ranks.tolist()


def test_images_that_do_not_fit_the_memory_are_listed():
    fcn, data = converted(network()), pictures([(16, 14), (600, 500), (16, 14), (600, 500)])
    limit = Budget(fcn).needed((300, 250))
    found = accuracy(fcn, data, max_memory=limit)
    assert [problem.index for problem in found.problems] == [1, 3]
    assert "a pass over 600×500 px needs" in found.problems[0].reason
    assert found.images == 2
    crops = accuracy(fcn, data, evaluations=["centre", "multi-crop"], max_memory=limit)
    assert crops.images == 4


def test_an_image_that_cannot_be_scored_does_not_take_others_with_it(monkeypatch):
    from fullconv.evaluate.dense import evaluations

    def failing(fcn, x, *, average, where):
        if float(x[..., 0, 0].max()) > 2.4:
            raise FullconvError("the memory does not suffice.", where=where, why="It is large.")
        return dense(fcn, x, average=average, where=where)

    fcn, data = converted(network()), pictures([(16, 14)] * 12)
    whole = accuracy(fcn, data, evaluations="dense", flip=False).rows[0].ranks
    monkeypatch.setattr(evaluations, "dense", failing)
    found = accuracy(fcn, data, evaluations="dense", flip=False)
    assert 0 < len(found.problems) < 12
    assert {p.reason for p in found.problems} == {"the memory does not suffice. It is large."}
    failed = [p.index for p in found.problems]
    assert (found.rows[0].ranks[failed] == -1).all()
    rest = np.delete(np.arange(12), failed)
    assert found.rows[0].ranks[rest].tolist() == whole[rest].tolist()


def test_images_of_one_size_at_other_scales_are_not_mixed():
    """12×10 px at scale 2x, and 24×20 px as they are, are of one size and other rows."""
    half, one = scales_of(["0.5x", "1x"])
    x = torch.zeros(1, 3, 12, 10)
    forms = [Views((24, 20), (x,), (half,), (one,)), Views((12, 10), (x,), (one,), (half,))]
    listed = [Loaded(i, i, view) for i, view in enumerate([*forms, forms[0]])]
    assert [[image.index for image in part] for part in batches(listed, 8)] == [[0, 2], [1]]


def test_only_what_was_asked_for_is_computed(monkeypatch):
    from fullconv.evaluate.dense import evaluations

    monkeypatch.setattr(evaluations, "regular", lambda *_: 1 / 0)  # the grid of crops
    data = pictures(SIZES)
    found = accuracy(converted(network()), data, evaluations=["dense", "centre"])
    assert [row.evaluation for row in found.rows] == ["centre", "dense"]
    assert [row.scale for row in found.rows] == ["1x", "1x"]
    with pytest.raises(UsageError) as caught:
        found.row("both", "1x")
    assert str(caught.value) == (
        "there is no row of 'both' at '1x'.\nThere are centre at 1x, dense at 1x."
    )
    assert accuracy(converted(network()), data, evaluations="dense").estimates[0][
        "top1_difference"
    ] is None  # fmt: skip


def test_the_size_a_model_is_tested_at_is_the_default():
    fcn = converted(network())
    fcn.about = replace(fcn.about, shortest=15)
    (row,) = accuracy(fcn, pictures(SIZES), evaluations="dense").rows
    assert row.scale == "15"


def test_images_that_cannot_be_evaluated_are_listed():
    sizes = [(16, 14), (11, 30), (16, 14), (24, 11), (16, 14)]
    data = pictures(sizes, broken=(2,))
    found = accuracy(converted(network()), data)
    assert found.images == 3
    assert [(p.index, p.name) for p in found.problems] == [(1, "picture 1"), (2, "picture 2")]
    assert str(found.problems[1]) == "picture 2: is cut short. It ends early."
    assert "11×30 px" in found.problems[0].reason
    assert "12×10" in found.problems[0].reason
    assert found.rows[0].images == 3
    assert (found.rows[0].ranks < 0).tolist() == [False, True, True, False, False]
    whole = accuracy(converted(network()), Pictures([sizes[0]], data.labels[:1]))
    assert found.rows[1].ranks[0] == whole.rows[1].ranks[0]


def test_a_scale_that_does_not_fit_every_image_counts_those_it_fits():
    data = pictures([(16, 14), (40, 40), (16, 14)])
    found = accuracy(converted(network()), data, scales=["0.5x", "1x"], evaluations="dense")
    half, one, every = found.rows
    assert (half.images, one.images, every.images) == (1, 3, 3)
    assert half.ranks.tolist()[::2] == [-1, -1]
    assert every.ranks[0] == one.ranks[0]
    assert every.difference(half).value in (-100, 0, 100)
    assert "images" in str(found)
    absent = Row("dense", "2x", np.full(3, -1))
    with pytest.raises(UsageError, match="the two have no image in common"):
        absent.difference(half)


def test_a_difference_is_paired():
    one = Row("dense", "1x", np.array([0, 0, 3, 6, 0, 0, 2, 0] * 20))
    other = Row("centre", "1x", np.array([0, 2, 3, 6, 0, 0, 2, 0] * 20))
    found = one.difference(other)
    assert found.value == pytest.approx(-12.5)
    # Only the images on which they differ spread it; alone, each interval is far wider.
    assert found.high - found.low < 11 < one.error().high - one.error().low
    assert one.difference(other, places=5).value == 0


def test_no_top_five_of_five_classes_or_fewer():
    found = accuracy(converted(network(0, 5)), pictures(SIZES, 5))
    assert found.places == (1,)
    assert "top-5" not in str(found)
    assert not any("top5" in name for row in found.to_dict()["rows"] for name in row)
    assert accuracy(converted(network(0, 6)), pictures(SIZES, 6)).places == (1, 5)


@pytest.mark.parametrize("end", [[], [nn.Sigmoid()]])
def test_a_single_score_is_the_probability_of_class_one(end):
    model, data = network(0, 1, *end), pictures([(12, 10)] * 12, 2)
    found = accuracy(converted(model), data, flip=False)
    assert found.classes == 2
    with torch.no_grad():
        answers = torch.cat([model(scaled(data.image(i), 10)) for i in range(12)])[:, 0]
    said = answers > (0.5 if end else 0)
    wrong = said.numpy() != (data.labels == 1)
    assert 0 < wrong.sum() < 12
    for row in found.rows:
        assert (row.ranks == 1).tolist() == wrong.tolist()


def test_ranks_break_ties_as_argmax_does():
    p = torch.tensor([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8]])
    assert rank(p, torch.tensor([0, 1, 1, 2])).tolist() == [0, 1, 2, 0]


def test_the_table_the_json_and_the_csv_say_the_same():
    data = pictures(SIZES * 4, broken=(3,), remarks=("drawn by hand",))
    found = accuracy(converted(network()), data, scales=[13, 18])
    text = str(found)
    assert "top-1 error %" in text
    assert "vs centre" in text
    assert "31 images, 7 classes; dense averages scores; with flips" in text
    assert "drawn by hand" in text
    told = json.loads(json.dumps(found.to_dict()))
    assert told["images"] == 31
    assert told["problems"] == [{"image": "picture 3", "reason": "is cut short. It ends early."}]
    header, *lines = found.lines()
    assert len(lines) == len(told["rows"]) == 12
    for line, row in zip(lines, told["rows"], strict=True):
        cells = dict(zip(header, line, strict=True))
        assert (cells["evaluation"], cells["scale"]) == (row["evaluation"], row["scale"])
        for name in ("top1_error", "top5_error"):
            for end, key in (("", "value"), ("_low", "low"), ("_high", "high")):
                assert float(cells[name + end]) == pytest.approx(row[name][key], abs=1e-4)
            assert f"{row[name]['value']:.2f} [{row[name]['low']:.2f}," in text
        assert (row["top1_difference"] is None) == (row["evaluation"] == "centre")
        assert (cells["top1_difference"] == "") == (row["evaluation"] == "centre")


def test_options_that_do_not_fit():
    fcn, data = converted(network()), pictures(SIZES)

    def refused(network=fcn, images=data, **options) -> str:
        with pytest.raises(UsageError) as caught:
            accuracy(network, images, **options)
        return str(caught.value)

    assert refused(network()) == (
        "an evaluation needs an FCN, not a Sequential.\n"
        "Make one with fullconv.convert(model, window)."
    )
    assert refused(evaluations=["dens"]) == (
        "evaluation='dens' must be one of 'centre', 'dense', 'multi-crop', 'both'."
    )
    assert refused(evaluations=[]) == (
        "no evaluation was asked for.\nName some of centre, dense, multi-crop, both."
    )
    assert refused(average="sum").startswith("average='sum' must be one of")
    assert refused(batch_size=0) == "batch_size=0 must be positive."
    assert refused(images=Pictures(SIZES, data.labels + 1)) == (
        "labels reach from 1 to 7, for 7 classes."
    )


def test_no_image_is_left():
    with pytest.raises(InputError) as caught:
        accuracy(converted(network()), pictures([(16, 14)] * 7, broken=tuple(range(7))))
    assert str(caught.value).splitlines()[:2] == [
        "none of the 7 images can be evaluated:",
        "- picture 0: is cut short. It ends early.",
    ]
    with pytest.raises(InputError, match="none of the 0 images can be evaluated"):
        accuracy(converted(network()), pictures([]))


def test_scores_that_are_not_finite_name_the_images():
    model = network()
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match=r"0\.weight: holds numbers that are not finite"):
        accuracy(converted(model), pictures(SIZES))


def test_what_it_returns_is_a_value():
    found = accuracy(converted(network()), pictures(SIZES), evaluations="centre")
    assert isinstance(found, Accuracies)
    with pytest.raises(AttributeError):
        found.flip = False


def test_scales_make_no_image_larger_than_may_be():
    data = pictures([(16, 14), (40, 30)])
    found = accuracy(converted(network()), data, scales="2x", max_pixels=2000)
    assert [problem.index for problem in found.problems] == [1]
    assert found.problems[0].reason.startswith("scale 2x makes 40×30 px to 80×60, 4,800 px in all")
