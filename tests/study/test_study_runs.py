"""Whole studies of small networks, stopped and killed and gone on with."""

import json
import multiprocessing
import os
import signal
from dataclasses import replace

import pytest
import torch
from torch import nn

from fullconv.errors import FullconvError, IncompleteError, InputError, RefusedError, UsageError
from fullconv.study import jobs as processes
from fullconv.study import study
from fullconv.study.variants import build
from fullconv.training import Parts, Recipe, predictions, start_afresh, train
from learnable import network, samples, write

RECIPE = Recipe(epochs=3, batch=20)
VARIANTS = ("fc", "exact", "gap", "strided", "convpool", "allconv")


def parts(**options) -> Parts:
    return Parts(samples(), samples(60, seed=1), **options)


def made(folder, **options):
    options = {
        "recipe": RECIPE, "variants": ("fc", "gap"), "seeds": 2, "threads": 1,
        **options,
    }  # fmt: skip
    return study(network(), options.pop("data", parts()), 16, folder=folder, **options)


def results(found):
    """Everything of a study that must not depend on how often it was stopped."""
    return [
        (run.variant, run.seed, run.error, [(e.number, e.loss, e.error) for e in run.epochs])
        for row in found.rows
        for run in row.runs
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study that nothing disturbed."""
    return made(tmp_path_factory.mktemp("studies") / "whole")


def test_all_variants_are_trained_and_compared(tmp_path):
    said = []
    found = made(tmp_path / "s", variants=VARIANTS, seeds=3, recipe=replace(RECIPE, epochs=6),
                 say=said.append)  # fmt: skip
    assert [row.variant for row in found.rows] == list(VARIANTS)
    assert all(sorted(row.errors) == [0, 1, 2] for row in found.rows)
    assert found.row("fc").mean < 20  # chance: 66.7
    assert found.row("exact").mean < 20
    by_hand = {
        # 3×3 convolutions of 1 to 6 and 6 to 8 channels, then FC layers 128 to 12 to 3.
        "fc": (60 + 440 + 1548 + 39, 1548 + 39),
        "exact": (60 + 440 + 1548 + 39, 1548 + 39),
        "gap": (60 + 440 + 27, 27),
        "strided": (60 + 440 + 27, 27),
        "convpool": (60 + 440 + 27 + (4 * 36 + 6) + (4 * 64 + 8), 27),
        "allconv": (60 + 440 + 27 + (4 * 36 + 6) + (4 * 64 + 8), 27),
    }
    assert {row.variant: (row.parameters, row.head) for row in found.rows} == by_hand
    assert 0 <= found.row("exact").gap < 1e-12
    for row in found.rows:
        assert row.step.forward > 0
        assert row.step.backward > 0
        assert row.step.threads == 1
        assert row.step.batch == 20
        assert row.step.low <= row.step.ratio <= row.step.high
        assert (row.against is None) == (row.variant == "fc")
    assert found.base.step.ratio == 1
    assert "convpool, seed 2: " in "\n".join(said)
    text = str(found)
    for line in ("2,087", "seed 2", "exact is the same function as fc", "Against fc, at 95 %"):
        assert line in text
    answer = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert answer["rows"][2]["errors"] == {str(s): e for s, e in found.row("gap").errors.items()}


def test_variants_of_a_seed_start_equal_where_they_share_layers(tmp_path):
    base = start_afresh(network(), 4)
    shared = base.state_dict()["0.weight"]
    for name in VARIANTS:
        state = build(name, base, (16, 16), 4).state_dict()
        assert torch.equal(state["0.weight"], shared)
    assert torch.equal(base.state_dict()["0.weight"], shared)


def test_a_run_is_what_training_it_by_itself_gives(whole):
    (first, second) = whole.row("gap").runs
    net = build("gap", start_afresh(network(), 1), (16, 16), 1)
    torch.set_num_threads(1)
    epochs = train(net, samples(), replace(RECIPE, seed=1))
    predicted = predictions(net, samples(60, seed=1)).argmax(1)
    wrong = 100 * float((predicted != samples(60, seed=1).labels).double().mean())
    assert second.error == pytest.approx(wrong)
    assert [epoch.loss for epoch in second.epochs] == [epoch.loss for epoch in epochs]
    assert [epoch.loss for epoch in first.epochs] != [epoch.loss for epoch in epochs]


def test_variants_and_seeds_may_be_added_later(tmp_path, whole):
    made(tmp_path / "s", variants=("gap",), seeds=[1])
    said = []
    found = made(tmp_path / "s", say=said.append)
    assert results(found) == results(whole)
    assert f"{tmp_path / 's'}: 1 of 4 runs are done already" in said


def test_the_same_function_is_measured_before_batch_norms_have_seen_a_step(tmp_path):
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
              nn.Linear(4 * 49, 3)]  # fmt: skip
    found = study(nn.Sequential(*layers), parts(), 16, folder=tmp_path / "s", seeds=1, threads=1,
                  recipe=Recipe(epochs=1, batch=40), variants=("fc", "exact"))  # fmt: skip
    assert found.row("exact").gap < 1e-12
    assert set(found.settings["versions"]) == {"fullconv", "torch"}


class StoppedError(Exception):
    pass


def test_what_was_done_before_is_told_first(tmp_path):
    def stop(done, total):
        if done == 5:
            raise StoppedError

    told = []
    with pytest.raises(StoppedError):
        made(tmp_path / "s", progress=stop)
    made(tmp_path / "s", progress=lambda *numbers: told.append(numbers))
    assert told[0] == (5, 12)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (12, 12)


def test_runs_that_were_not_trained_alike_are_told_apart(tmp_path):
    alike = made(tmp_path / "s", seeds=1)
    assert "not all trained alike" not in str(alike)
    assert {(run.threads, run.device) for run in alike.base.runs} == {(1, "cpu")}
    said = []
    found = made(tmp_path / "s", seeds=2, threads=2, say=said.append)
    remark = (
        "runs were not all trained alike: threads 1 (2 runs), 2 (2 runs). Their rounding differs, "
        "and after many steps their errors may for that alone"
    )
    assert said[-1] == found.remarks[-1] == remark
    assert remark in str(found)
    assert found.base.runs[0].torch == torch.__version__


def test_a_study_that_was_stopped_goes_on_to_the_same_end(tmp_path, whole):
    def stop_at(last):
        def progress(done, total):
            assert total == 12
            if done == last:
                raise StoppedError

        return progress

    for last in (2, 5, 12):
        with pytest.raises(StoppedError):
            made(tmp_path / "s", progress=stop_at(last))
    assert results(made(tmp_path / "s")) == results(whole)
    lines = [json.loads(line) for line in (tmp_path / "s" / "log.jsonl").read_text().splitlines()]
    assert sorted((x["seed"], x["variant"], str(x["epoch"])) for x in lines) == sorted(
        (s, v, e) for s in (0, 1) for v in ("fc", "gap") for e in ("1", "2", "3", "end")
    )


def test_a_damaged_state_is_named(tmp_path):
    def stop(done, total):
        if done:
            raise StoppedError

    with pytest.raises(StoppedError):
        made(tmp_path / "s", progress=stop)
    state = tmp_path / "s" / "runs" / "fc-0.pt"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(InputError) as error:
        made(tmp_path / "s")
    assert str(error.value).startswith(f"{state}: is damaged, or no state of a training.")


def test_a_run_that_diverges_is_entered_and_the_others_go_on(tmp_path):
    wild = Recipe(epochs=2, batch=20, rate=3e3, clip=None)
    found = made(tmp_path / "s", recipe=wild, variants=("gap", "allconv", "fc"), seeds=1)
    again = made(tmp_path / "s", recipe=wild, variants=("gap", "allconv", "fc"), seeds=1)
    assert results(found) == results(again)
    assert found.failed
    for run in found.failed:
        assert run.error is None
        assert "the loss is no longer a number" in run.failed
        assert f"{run.variant} has no result (1 of 1 runs failed: seed 0)." in str(found)
    json.dumps(found.to_dict(), allow_nan=False)


class Small(nn.Module):
    """Answers as many images as training gives it, and no more; ends in no number if it must."""

    def __init__(self, end=1.0, most=20):
        super().__init__()
        self.net, self.end, self.most = network(), end, most

    def forward(self, x):
        if x.shape[0] > self.most:
            raise torch.OutOfMemoryError
        return self.net(x) * (1.0 if self.training else self.end)


def test_scores_that_are_no_numbers_are_a_run_that_failed(tmp_path):
    options = {"folder": tmp_path / "s", "recipe": Recipe(epochs=1, batch=20), "seeds": 2,
               "variants": ("fc",), "threads": 1}  # fmt: skip
    found = study(Small(end=float("inf")), parts(), 16, **options)
    assert [run.error for run in found.failed] == [None, None]
    assert all("scores are not finite" in run.failed for run in found.failed)
    assert [len(run.epochs) for run in found.failed] == [1, 1]


def test_images_are_answered_in_batches_as_large_as_those_of_training(tmp_path):
    options = {"recipe": Recipe(epochs=1, batch=20), "seeds": 1, "variants": ("fc",), "threads": 1}
    found = study(Small(), parts(), 16, folder=tmp_path / "s", **options)
    assert found.failed == ()
    with pytest.raises(FullconvError, match="memory does not suffice for a step of 20 images"):
        study(Small(most=4), parts(), 16, folder=tmp_path / "t", **options)


class Fussy(nn.Sequential):
    def forward(self, x):
        if self.training:
            raise ValueError("I was never meant to be trained")
        return super().forward(x)


def test_an_error_of_the_networks_own_is_the_same_from_all_processes(tmp_path):
    said = set()
    for jobs in (1, 2):
        with pytest.raises(FullconvError) as error:
            study(Fussy(*network()), parts(), 16, folder=tmp_path / str(jobs), recipe=RECIPE,
                  seeds=2, variants=("fc",), jobs=jobs, threads=1)  # fmt: skip
        said.add(str(error.value))
    (text,) = said
    assert text.startswith(f"{__file__}:")
    assert text.endswith(
        ": a step of 20 images failed with ValueError: I was never meant to be trained"
    )


def test_processes_come_to_the_same_end_also_if_one_dies(tmp_path, whole):
    done, killed = [], []

    def kill(*numbers):
        done.append(numbers)
        if not killed and multiprocessing.active_children():
            child = multiprocessing.active_children()[0]
            os.kill(child.pid, signal.SIGKILL)
            killed.append(child.pid)

    found = made(tmp_path / "s", jobs=2, progress=kill)
    assert killed
    assert results(found) == results(whole)
    assert done[-1] == (12, 12)
    assert not (tmp_path / "s" / ".images").exists()
    assert multiprocessing.active_children() == []


def test_processes_that_die_again_and_again_leave_a_study_that_can_go_on(
    tmp_path, monkeypatch, whole
):
    monkeypatch.setattr(processes, "TRIES", 1)
    died = []

    def kill(done, total):
        if not died and multiprocessing.active_children():
            (child,) = multiprocessing.active_children()[:1]
            os.kill(child.pid, signal.SIGKILL)
            died.append(child)

    with pytest.raises(IncompleteError) as error:
        made(tmp_path / "s", jobs=2, seeds=1, progress=kill)
    assert error.value.exit_code == 5
    assert "the processes that trained 1 of 2 runs ended, 1 times each:" in str(error.value)
    assert "ended by SIGKILL" in str(error.value)
    assert "Too little memory ends processes so." in str(error.value)
    assert results(made(tmp_path / "s")) == results(whole)


def test_distilled_variants_start_from_the_networks_weights(tmp_path):
    teacher = start_afresh(network(), 0)
    train(teacher, samples(), Recipe(epochs=8, batch=20))
    options = {"recipe": Recipe(epochs=2, batch=20), "distill": True, "seeds": 2,
               "variants": ("fc", "gap"), "threads": 1}  # fmt: skip
    found = study(teacher, parts(), 16, folder=tmp_path / "s", **options)
    assert found.given < 10
    assert found.row("fc").mean < 10
    assert found.row("fc").runs[0].epochs[0].error < 20  # no start from scratch
    assert "learning its answers at temperature 4" in str(found)
    torch.nn.init.zeros_(teacher[-1].bias)
    with pytest.raises(InputError, match="other weights where variants learn from them"):
        study(teacher, parts(), 16, folder=tmp_path / "s", **options)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network()
        self.gain = nn.Parameter(torch.ones(1, 1, 1, 1))

    def forward(self, x):
        return self.net(x * self.gain)


def test_what_is_refused_is_refused_before_anything_is_written(tmp_path):
    for model, error, said in (
        (Scaled(), RefusedError, "- gain"),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(0)), FullconvError, "Flatten"),
    ):
        with pytest.raises(error, match=said):
            study(model, parts(), 16, folder=tmp_path / "s")
    for options, said in (
        ({"variants": ()}, "no variant is named"),
        ({"variants": ("fc", "alconv")}, "'alconv' is no variant"),
        ({"seeds": 0}, "seeds=0 cannot be"),
        ({"seeds": [-1]}, "cannot be"),
        ({"jobs": 0}, "jobs=0 and threads=1 must be at least 1"),
        ({"threads": 0}, "threads=0"),
        ({"distill": True, "temperature": float("inf")}, "temperature=inf"),
        ({"distill": True, "temperature": float("nan")}, "temperature=nan"),
    ):
        with pytest.raises(UsageError, match=said):
            made(tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_a_network_that_cannot_be_sent_to_other_processes(tmp_path):
    model = network()
    model.extra = lambda: None
    with pytest.raises(UsageError, match="the network cannot be sent to other processes"):
        study(model, parts(), 16, folder=tmp_path / "s", recipe=RECIPE, jobs=2)


def test_a_path_will_do_for_the_data(tmp_path):
    data = write(tmp_path / "d.npz", 30, 12)
    found = made(tmp_path / "s", data=data, seeds=1, variants=("fc",))
    assert found.images == (30, 12)
    assert "pixels: mean" in str(found)
