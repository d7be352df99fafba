"""Parts of a scan by themselves: the proof, the passes, the reader, and which network it is."""

import threading
from itertools import pairwise

import numpy as np
import pytest
import scans
import torch
from hypothesis import given
from hypothesis import strategies as st
from scans import network, noise
from torch import nn

import fullconv
from fullconv.errors import InputError, RefusedError
from fullconv.hosts.torch_fx.identity import digest
from fullconv.hosts.torch_fx.streaming.reading import streamed
from fullconv.scanning import proof
from fullconv.scanning.plan import make_plan
from fullconv.scanning.work.passes import Pass, boxes, macs_of_pass, passes
from fullconv.scanning.work.pixels import Feed, Preparation
from fullconv.storage.sources import ArraySource

# --- the proof ----------------------------------------------------------------------------------


def test_a_stream_that_is_one_pass_is_let_through():
    for name in scans.NETWORKS:
        assert proof.prove(streamed(network(name)[1])) <= 1e-12
        assert proof.prove(streamed(network(name, stride=1)[1])) <= 1e-12


def test_a_stream_that_is_not_is_refused(monkeypatch, folder):
    _, fcn, channels = network("padded")
    right = proof._streamed

    def wrong(*given):
        found = right(*given).clone()
        found[..., 2, 3] += 1e-6 * found.abs().max()
        return found

    monkeypatch.setattr(proof, "_streamed", wrong)
    with pytest.raises(RefusedError) as refused:
        fullconv.scan(fcn, noise(40, 40, channels), folder / "map")
    assert str(refused.value) == (
        "scores of a streamed image differ from those of one pass by 1.0e-06 of the largest.\n"
        "A scan must give the map of one pass, and this network's would not be that. Score the "
        "image as a whole, with fcn(image) or fullconv heatmap, and report the network."
    )
    assert not (folder / "map").exists()


def test_the_proof_compiles_nothing(monkeypatch):
    _, fcn, _ = network("padded")
    fast = fcn.optimize()
    fast.__dict__["forward"] = None  # what torch.compile would have put there
    assert proof.prove(streamed(fast)) <= 1e-12


def test_a_network_is_in_inference_mode_only_while_it_is_scanned(folder):
    model = scans.ready(nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(8, 2)
    ))  # fmt: skip
    fcn = fullconv.convert(model, 4)
    pixels = noise(20, 20, 1)
    _, expected = scans.scanned(fcn, pixels, folder / "eval")
    fcn.train()
    _, found = scans.scanned(fcn, pixels, folder / "train")
    assert np.array_equal(found, expected)
    assert fcn.training
    assert not torch.is_inference_mode_enabled()


def test_after_an_error_nothing_is_left_in_inference_mode(folder):
    _, fcn, channels = network("padded")

    def stop(standing) -> None:
        raise InputError("enough.")

    threads = threading.active_count()
    try:
        fullconv.scan(fcn, noise(60, 60, channels), folder / "map", strip=2, progress=stop)
    except InputError:
        assert not torch.is_inference_mode_enabled()
        assert threading.active_count() <= threads + 1  # zarr keeps one
    else:
        raise AssertionError


# --- the passes ---------------------------------------------------------------------------------


def planned(height: int = 2, steps: int = 2):
    from dataclasses import replace

    _, fcn, _ = network("padded")
    size = (151, 60)
    plan = make_plan(
        streamed(fcn).course, size, fcn.grid(size).shape, fcn.stride, 2**30, score=16,
        height=height, width=11,
    )  # fmt: skip
    return replace(plan, steps=steps)


PLAN = planned()


@given(st.lists(st.booleans(), min_size=PLAN.chunks[0], max_size=PLAN.chunks[0]))
def test_passes_make_what_is_wanted_and_cost_no_more(wanted):
    band = PLAN.band(1)
    found = passes(PLAN, band, wanted)
    steps = [step for part in found for step in range(part.start, part.stop)]
    assert steps == sorted(set(steps))
    for number, want in enumerate(wanted):
        own = range(2 * number, min(2 * number + 2, PLAN.schedule.count))
        if want:
            assert set(own) <= set(steps)
    total = sum(macs_of_pass(PLAN, band, part) for part in found)
    alone = [
        Pass(2 * number, min(2 * number + 2, PLAN.schedule.count))
        for number, want in enumerate(wanted)
        if want
    ]
    assert total <= sum(macs_of_pass(PLAN, band, part) for part in alone)
    if all(wanted):
        assert found == [Pass(0, PLAN.schedule.count)]


def test_a_pass_over_everything_takes_what_the_plan_says():
    count = PLAN.schedule.count
    total = sum(macs_of_pass(PLAN, PLAN.band(k), Pass(0, count)) for k in range(PLAN.bands))
    assert total == pytest.approx(PLAN.macs, rel=1e-12)


def test_the_boxes_of_a_pass_follow_on_each_other():
    found = list(boxes(PLAN, PLAN.band(1), Pass(9, 15)))
    assert all(one[2] == other[0] for one, other in pairwise(found))
    assert len({(box[1], box[3]) for box in found}) == 1


# --- the reader ---------------------------------------------------------------------------------


class Slow(ArraySource):
    """Tells when a read begins."""

    def __init__(self, pixels) -> None:
        super().__init__(pixels)
        self.begun = [threading.Event() for _ in range(4)]
        self.number = 0

    def read(self, box):
        self.begun[self.number].set()
        self.number += 1
        return super().read(box)


def prepared(fcn) -> Preparation:
    return Preparation.of(fcn, (0.5,), (0.25,))


@pytest.mark.parametrize("optimized", [False, True])
def test_the_next_strip_is_read_while_the_network_works(optimized):
    _, fcn, channels = network("unpadded")
    fcn = fcn.optimize() if optimized else fcn
    pixels = noise(40, 30, channels)
    source = Slow(pixels)
    wanted = [(row, 2, row + 10, 25) for row in range(0, 40, 10)]
    noted = []
    with Feed(source, iter(wanted), prepared(fcn), lambda *told: noted.append(told)) as feed:
        for number, (top, left, bottom, right) in enumerate(wanted):
            image = feed(((top, bottom), (left, right)))
            expected = scans.prepared(pixels[top:bottom, left:right], (0.5,), (0.25,))
            assert torch.equal(image, expected)
            last = optimized and image.is_contiguous(memory_format=torch.channels_last)
            assert last or image.is_contiguous()
            if number < 3:  # it is not asked for yet
                assert source.begun[number + 1].wait(20)
                assert source.number == number + 2
    assert [box for box, _ in noted] == wanted


def test_what_fails_in_the_reader_is_raised_where_it_is_asked_for():
    _, fcn, channels = network("unpadded")

    class Gone(ArraySource):
        def check(self) -> None:
            raise InputError("changed.", where="photo.png")

    source = Gone(noise(40, 30, channels))
    with (
        Feed(source, iter([(0, 0, 9, 9)]), prepared(fcn), lambda *told: None) as feed,
        pytest.raises(InputError, match=r"photo.png: changed."),
    ):
        feed(((0, 9), (0, 9)))


# --- which network it is ------------------------------------------------------------------------


def test_a_network_is_known_by_what_it_computes_and_its_numbers():
    model, fcn, _ = network("padded")
    same = network("padded")[1]
    assert digest(fcn) == digest(same)
    other = [
        network("unpadded")[1],
        network("padded", stride=1)[1],
        fullconv.convert(model.float(), 12),
        fcn.optimize(dtype=torch.float32),
        fcn.optimize(dtype=torch.bfloat16),
    ]
    digests = [digest(one) for one in other]
    assert len({digest(same), *digests}) == 1 + len(other)
    assert digest(fcn.optimize(dtype=torch.bfloat16)) == digests[-1]


def test_buffers_and_settings_count():
    def net(slope: float, mean: float):
        model = nn.Sequential(
            nn.Conv2d(1, 2, 3),
            nn.BatchNorm2d(2),
            nn.LeakyReLU(slope),
            nn.Flatten(),
            nn.Linear(8, 2),
        )
        torch.manual_seed(0)
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        model[1].running_mean.fill_(mean)
        return fullconv.convert(model.eval(), 4)

    assert digest(net(0.1, 0.5)) == digest(net(0.1, 0.5))
    assert len({digest(net(0.1, 0.5)), digest(net(0.2, 0.5)), digest(net(0.1, 0.6))}) == 3


def test_large_tensors_are_hashed_in_parts(monkeypatch):
    _, fcn, _ = network("LeNet")
    whole = digest(fcn)
    monkeypatch.setattr("fullconv.hosts.torch_fx.identity.PART", 100)
    assert digest(fcn) == whole
