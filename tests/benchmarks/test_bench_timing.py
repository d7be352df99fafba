"""Timing in turn: order, pairs, samples."""

import itertools

import pytest
import torch

import sliding
from bench.timing import Side, Spread, Times, in_turn, sampled, spread
from fullconv.geometry import Grid


@pytest.fixture
def clock(monkeypatch):
    """A clock that the work itself moves."""

    class Clock:
        now = 0.0

    monkeypatch.setattr("time.perf_counter", lambda: Clock.now)
    return Clock


def test_rounds_alternate_and_the_warm_up_is_not_counted(clock):
    calls = []

    def side(name, seconds):
        def run(round_):
            assert torch.is_inference_mode_enabled()
            calls.append((name, round_))
            clock.now += seconds[round_]

        return run

    def prepare():
        calls.append(("b", "warm-up"))
        clock.now += 1000

    times = in_turn(
        {"a": Side(side("a", [1, 2, 4])), "b": Side(side("b", [10, 30, 20]), prepare)}, 3
    )
    assert calls == [
        ("a", 0), ("b", "warm-up"), ("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2),
    ]  # fmt: skip
    assert times.seconds == {"a": [1, 2, 4], "b": [10, 30, 20]}
    assert times.of("b") == Spread(20, 10, 30, 3)


def test_short_work_is_repeated_and_a_sample_is_counted_up(clock):
    calls = []

    def run(round_):
        calls.append(round_)
        clock.now += 0.25

    times = in_turn({"short": Side(run, times=8)}, 2, at_least=1.0)
    assert calls == [0, 0] + 4 * [0] + 4 * [1]
    assert times.seconds == {"short": [2, 2]}


def test_a_ratio_is_the_median_of_pairs_not_of_sides():
    times = Times({"slow": [10, 60, 20], "fast": [5, 10, 20]})
    # pairs: 2, 6, 1; the sides' own medians would give 20 / 10 and the pair of the best 10 / 5
    assert times.ratio("slow", "fast") == Spread(2, 1, 6, 3)
    times = Times({"slow": [10, 30, 90], "fast": [1, 10, 90]})
    assert times.ratio("slow", "fast") == Spread(3, 1, 10, 3)
    assert spread([4.0, 1.0]).median == 2.5
    assert Spread(2, 1, 6).scaled(0.5) == Spread(1, 0.5, 3)


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match="rounds=0 must be positive"):
        in_turn({}, 0)


@pytest.mark.parametrize(("count", "per_round", "rounds"), [(9, 3, 3), (11, 3, 3), (318, 3, 5)])
def test_samples_are_spread_and_no_batch_comes_twice(count, per_round, rounds):
    found = sampled(count, per_round, rounds)
    assert [len(batches) for batches in found] == [per_round] * rounds
    every = sorted(batch for batches in found for batch in batches)
    assert len(set(every)) == per_round * rounds
    assert every[0] >= 0
    assert every[-1] < count
    step = count / (per_round * rounds)
    assert all(abs(b - a - step) <= 1 for a, b in itertools.pairwise(every))
    # Each round by itself reaches from the first part of the image to the last one.
    part = count / per_round
    assert all(batches[0] < part and batches[-1] + 1 > count - part for batches in found)


@pytest.mark.parametrize(("count", "per_round"), [(8, 3), (0, 1), (5, 0)])
def test_too_few_batches_cannot_be_sampled(count, per_round):
    with pytest.raises(ValueError, match=f"3 rounds of {per_round} batches need"):
        sampled(count, per_round, 3)


def test_crops_that_take_long_are_sampled_and_counted_up():
    grid = Grid((1024, 1024), (224, 224), (8, 8))
    crops = sliding.crops_of(grid, 32, seconds=5.4, whole=20, rounds=3)
    assert (len(crops.batches), crops.timed) == (319, 9)
    assert crops.times == 10201 / 96
    assert [cell for batch in crops.batches for cell in batch] == list(grid)
    assert all(len(crops.batches[batch]) == 32 for batches in crops.rounds for batch in batches)


def test_crops_are_all_timed_where_that_is_short_or_a_sample_would_be_as_long():
    grid = Grid((512, 512), (224, 224), (32, 32))
    for seconds in (0.3, 5.4):
        crops = sliding.crops_of(grid, 32, seconds, whole=20, rounds=3)
        assert crops.rounds == [[0, 1, 2, 3]] * 3
        assert (crops.times, crops.timed) == (1.0, 4)


def test_fast_batches_are_sampled_in_greater_number():
    grid = Grid((1024, 1024), (224, 224), (8, 8))
    crops = sliding.crops_of(grid, 32, seconds=0.5, whole=20, rounds=3)
    assert crops.timed == 24
    assert crops.times == 10201 / (8 * 32)
