"""Timing with few seconds: by a clock that the work moves, and by the real one."""

import math

import pytest
import torch
from torch import nn

from fullconv.auditing.measuring.timing import Deadline, Side, Spread, Times, in_turn


@pytest.fixture
def clock(monkeypatch):
    """A clock that the work itself moves."""

    class Clock:
        now = 0.0

        def side(self, seconds, **more):
            def run(_):
                self.now += seconds

            return Side(run, **more)

    found = Clock()
    monkeypatch.setattr("time.perf_counter", lambda: found.now)
    return found


def test_rounds_end_before_the_seconds_do(clock):
    times = in_turn({"short": clock.side(1), "long": clock.side(4)}, 5, seconds=17)
    # warm-ups take 5, two rounds 5 each, and the last 2 seconds are enough for the short one
    assert clock.now == 17
    assert times.rounds("short") == 4
    assert times.rounds("long") == 2
    assert times.of("long") == Spread(4, 4, 4, 2)
    assert times.ratio("long", "short") == Spread(4, 4, 4, 2)


def test_what_has_no_round_keeps_its_warm_up(clock):
    times = in_turn({"short": clock.side(1), "long": clock.side(10)}, 2, seconds=15)
    assert times.once == {"long"}
    assert times.of("long").median == 10
    assert times.rounds("long") == 1
    assert times.ratio("long", "short").median == 10


def test_what_is_foreseen_to_take_too_long_is_left_out(clock):
    sides = {name: clock.side(10 * work, work=work) for name, work in [("a", 1), ("b", 9)]}
    times = in_turn(sides, 1, seconds=200)
    assert times.foreseen == {}
    assert "b" in times
    clock.now = 0
    times = in_turn(sides, 1, seconds=189)  # 90 are more than half of the 179 after the first
    assert "b" not in times
    assert times.foreseen == {"b": 90}
    assert clock.now == 20


def test_the_first_one_is_foreseen_by_a_rate(clock):
    times = in_turn({"a": clock.side(80, work=8)}, 1, seconds=100, rate=10)
    assert (clock.now, times.foreseen, times.seconds) == (0, {"a": 80}, {})


def test_what_is_quick_is_not_left_out_where_no_seconds_are_left(clock):
    sides = {"long": clock.side(200, work=200), "quick": clock.side(0.9, work=0.9)}
    times = in_turn(sides, 3, seconds=100)
    assert set(times.seconds) == times.once == {"long", "quick"}


def test_ratios_need_rounds_that_both_have():
    times = Times({"slow": [8, math.nan, 30], "fast": [4, 1, math.nan]})
    assert times.ratio("slow", "fast") == Spread(2, 2, 2, 1)
    assert times.of("fast") == Spread(2.5, 1, 4, 2)
    assert Times({"slow": [math.nan, 6], "fast": [3, math.nan]}).ratio("slow", "fast").median == 2


def test_a_deadline(clock):
    deadline = Deadline(3)
    clock.now = 2
    assert deadline.left == 1
    clock.now = 5
    assert deadline.left == 0
    assert Deadline().left == math.inf


def test_more_work_really_takes_longer():
    """Fifty times the MACs; a factor of three is left for what else the machine does."""
    sides = {}
    for name, channels in (("small", 8), ("large", 400)):
        conv, x = nn.Conv2d(channels, 64, 3), torch.randn(1, channels, 32, 32)
        sides[name] = Side(lambda _, conv=conv, x=x: conv(x))
    with torch.inference_mode():
        times = in_turn(sides, 5, at_least=0.002, memory=True)
    assert 0 < times.of("small").low <= times.of("small").median
    assert times.ratio("large", "small").median > 3
    assert set(times.peaks) == {"small", "large"}


@pytest.mark.parametrize(
    ("ratio", "tells"),
    [
        (Spread(0.969, 0.9, 1.12, 5), False),
        (Spread(1.3, 1.001, 1.5, 5), False),  # 1.00 as it is written
        (Spread(1.3, 1.1, 1.5, 5), True),
        (Spread(0.8, 0.7, 0.9, 5), True),
        (Spread(1.0, 1.0, 1.0, 1), True),  # of a single round it is said that it is one
    ],
)
def test_a_ratio_tells_where_its_rounds_agree(ratio, tells):
    assert ratio.tells is tells


def test_a_ratio_the_other_way_round():
    assert Spread(2, 1, 4, 3).inverse == Spread(0.5, 0.25, 1, 3)
