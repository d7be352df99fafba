"""What a report says of growth: sentences from figures, and charts that hold what tables hold."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from audited import check_section, column, lenet, quiet, small
from fullconv.auditing.costs.grown import Growth, Pass, Row
from fullconv.auditing.measuring.timing import Spread
from fullconv.auditing.sections import growth
from fullconv.auditing.subject import subject_of
from networks import Net

MIB = 2**20


def flat(seconds: float) -> Spread:
    return Spread(seconds, 0.9 * seconds, 1.1 * seconds)


def found() -> Growth:
    """Figures like those of VGG-16."""
    rows = (
        Row(
            (224, 224), 1, 15_000_000_000, 15_000_000_000,
            Pass(25 * MIB, 100 * MIB, True, flat(0.2), None, None, 30 * MIB, None, 3),
            Pass(70 * MIB, 900 * MIB, True, flat(0.9), None, None, 950 * MIB, None, 2),
        ),
        Row(
            (448, 448), 64, 60_000_000_000, 960_000_000_000,
            Pass(100 * MIB, 300 * MIB, True, flat(0.8), flat(12), flat(15), 110 * MIB, None, 3),
            Pass(280 * MIB, 1200 * MIB, True, flat(2.5), flat(50), flat(20), 1100 * MIB, None, 2),
        ),
        Row(
            (896, 896), 484, 300_000_000_000, 7_260_000_000_000,
            Pass(420 * MIB, 600 * MIB, True, flat(4), flat(90), flat(22.5), 500 * MIB, None, 1),
            Pass(1126 * MIB, 2100 * MIB, True, foreseen=12.5),
        ),
    )  # fmt: skip
    return Growth(
        rows, (224, 224), (32, 32), 35.4, 528 * MIB, {"forward": 16, "training": 8}, 20_000 * MIB, False,
        {"macs": 2.15, "forward_seconds": 2.16}, ("forward at 896×896 px",), True, None, "cpu", 2,
    )  # fmt: skip


def test_the_verdict_is_short_and_made_of_figures():
    section = growth.written(found())
    check_section(section)
    assert section.verdict == (
        "At 896×896 px, 16 times the px of the window, a pass takes 300 GMACs, 20 times as many: "
        "4.00 s and 500 MiB forward (420 MiB of activations counted); 1.10 GiB counted as kept for "
        "the way back, forward and backward not run.",
        "Crops take 22 times as long (20–25) forward at the 484 cells of 896×896 px, 24.2 by their "
        "MACs; 20 times as long (18–22) in training at the 64 cells of 448×448 px, 16.0 by their "
        "MACs; by their MACs 35.4 on ever larger images.",
    )
    assert section.skipped == (
        "896×896 px, forward and backward: not timed, it would take about 12.5 s here, more than "
        "there was for it.",
    )


def test_tables_and_charts_hold_the_same():
    section = growth.written(found())
    compute, forward, training, memory, exponents = section.tables
    assert compute.header == ("image", "cells", "map, GMACs", "crops, GMACs", "crops ÷ map")
    assert column(section, 0, "crops, GMACs") == ["15.0", "960", "7,260"]
    assert column(section, 1, "map, ms") == ["200", "800", "4,000"]
    assert column(section, 1, "speed-up") == ["–", "15.0", "22.5"]
    assert column(section, 2, "map, s") == ["0.900", "2.50", "–"]
    assert column(section, 3, "forward and backward, measured, MiB") == ["950", "1,100", "–"]
    assert exponents.rows == (("MACs of the map", "2.15"), ("seconds forward", "2.16"))
    assert forward.caption.startswith("Seconds forward")
    assert training.caption.startswith("Seconds forward and backward")
    assert memory.rows[0][0] == "224×224 px"
    seconds, speed_up, bytes_ = section.charts
    lines = {line.name: line for line in seconds.series}
    assert lines["map, forward"].x == (224, 448, 896)
    assert lines["map, forward"].y == pytest.approx((200, 800, 4000))
    assert lines["crops, forward and backward"].x == (448,)
    assert lines["crops, forward and backward"].y == (50_000,)
    assert seconds.y == "ms"
    speeds = {line.name: line for line in speed_up.series}
    assert speeds["forward"].y == (15, 22.5)
    assert speeds["forward and backward"].y == (20,)
    assert speeds["by MACs"].y == pytest.approx((16, 24.2))
    assert not speeds["by MACs"].measured
    held = {line.name: line for line in bytes_.series}
    assert held["kept for the way back, counted"].y == pytest.approx((70, 280, 1126))
    assert not held["kept for the way back, counted"].measured
    assert held["forward, measured"].y == (30, 110, 500)


def test_both_ways_at_one_size_share_a_sentence():
    section = growth.written(replace(found(), rows=found().rows[:2]))
    assert section.verdict[1] == (
        "Crops at its 64 cells take 15 times as long (14–16) forward and 20 times as long (18–22) "
        "in training; by their MACs it would be 16.0 times, and 35.4 on ever larger images."
    )


def test_the_memory_that_was_measured_is_told_and_the_counted_called_so():
    """The counted bytes are no bound of what a process holds."""
    first, second, _ = found().rows
    section = growth.written(replace(found(), rows=(first, second)))
    assert section.verdict[0] == (
        "At 448×448 px, 4 times the px of the window, a pass takes 60.0 GMACs, 4 times as many: "
        "800 ms and 110 MiB forward (100 MiB of activations counted); 2.50 s and 1.07 GiB forward "
        "and backward (280 MiB counted as kept for the way back)."
    )
    assert not any("at most" in sentence for sentence in section.verdict)


def test_speed_ups_within_the_noise_and_of_a_single_round_are_called_so():
    first, second, _ = found().rows
    second = replace(
        second,
        forward=replace(second.forward, speed_up=Spread(0.969, 0.9, 1.12, 3)),
        training=replace(second.training, speed_up=Spread(20.3, 20.3, 20.3, 1)),
    )
    section = growth.written(replace(found(), rows=(first, second)))
    assert section.verdict[1].startswith(
        "Crops at its 64 cells take no longer than rounds differ (0.90–1.12) forward and 20 times "
        "as long in one round in training; "
    )


def test_the_memory_of_a_batch_of_crops_is_shown():
    first, second, third = found().rows
    held = replace(second, forward=replace(second.forward, crops_peak=77 * MIB))
    section = growth.written(replace(found(), rows=(first, held, third)))
    shown = column(section, 3, "batch of crops forward, measured, MiB")
    assert shown == ["–", "77.0", "–"]
    assert "batch of crops in training, measured, MiB" not in section.tables[3].header
    assert section.facts["rows"][1]["forward"]["crops_peak"] == 77 * MIB


def test_crops_that_were_not_timed_are_counted():
    first, second, _ = found().rows
    quick = replace(second, forward=Pass(1, 1), training=Pass(1, 1))
    section = growth.written(replace(found(), rows=(first, quick)))
    check_section(section)
    assert section.verdict[1] == (
        "By their MACs crops at the 64 cells of 448×448 px take 16.0 times as long, and 35.4 on "
        "ever larger images; they were not timed."
    )


def test_a_busy_machine_is_told():
    assert growth.written(replace(found(), waited=0.3)).how[0] == (
        "Its threads waited for a core 30 % of the time, as they do where other work runs too: "
        "seconds are too long, and ratios are rough."
    )
    calm = growth.written(replace(found(), waited=0.01)).how
    assert calm == growth.written(found()).how


def test_speed_ups_above_the_ceiling_are_explained():
    said = " ".join(growth.written(found()).text)
    assert "Where the map is faster than its MACs allow" in said
    rows = found().rows
    slow = replace(rows[1], training=replace(rows[1].training, speed_up=flat(8)))
    said = " ".join(growth.written(replace(found(), rows=(rows[0], slow, rows[2]))).text)
    assert "faster than its MACs allow" not in said


def test_how_it_was_measured_is_said():
    said = growth.written(found()).how
    assert said[0] == (
        "Seconds are medians of 1 to 3 rounds in which everything is timed in turn, forwards and "
        "backwards, on cpu with 2 threads; ratios are taken within a round."
    )
    assert "Run once only, for want of time: forward at 896×896 px." in said
    assert any("the gradients of all parameters, 528 MiB at every size" in line for line in said)
    assert any(line.startswith("Crops run in batches of 16, in training 8, ") for line in said)
    silent = replace(
        found(),
        rows=tuple(
            replace(row, forward=replace(row.forward, peak=None),
                    training=replace(row.training, peak=None))
            for row in found().rows
        ),
    )  # fmt: skip
    assert "does not tell the peak" in growth.written(silent).how[-1]


@pytest.mark.parametrize("given", [True, False])
def test_a_size_that_does_not_fit_is_skipped_with_the_estimate(given):
    rows = found().rows
    large = replace(
        rows[2],
        forward=Pass(420 * MIB, 600 * MIB, False),
        training=Pass(1126 * MIB, 2100 * MIB, False),
    )
    section = growth.written(
        replace(found(), rows=(*rows[:2], large), allowed=512 * MIB, given=given)
    )
    left = "allowed" if given else "free"
    assert (
        f"896×896 px, forward: not run, it needs 600.0 MiB of memory, and 512.0 MiB is {left}."
        in section.skipped
    )
    assert (
        f"896×896 px, forward and backward: not run, it needs 2.1 GiB of memory, and 512.0 MiB is "
        f"{left}." in section.skipped
    )
    check_section(section)


@pytest.mark.parametrize(("build", "window"), [(lenet, 28), (small, 8), (lambda: small(1), 8)])
def test_a_whole_section(build, window):
    subject = subject_of(build(), window)
    section = growth.section(subject, 300.0, quiet)
    check_section(section)
    assert section.key == growth.KEY == "growth"
    assert len(section.charts) == 3
    assert len(section.verdict) == 2
    assert len(section.facts["rows"]) == 4


def test_sizes_and_memory_of_the_subject_are_taken():
    subject = subject_of(small(), 8, sizes=[20, (3000, 3000)], max_memory=150 * MIB)
    section = growth.section(subject, 300.0, quiet)
    check_section(section)
    assert [row["size"] for row in section.facts["rows"]] == [(8, 8), (20, 20), (3000, 3000)]
    assert section.facts["allowed"] == 150 * MIB
    assert section.skipped[0].startswith("3000×3000 px, forward: not run, it needs ")


def test_one_size_has_no_charts():
    subject = subject_of(small(), 8, sizes=[8])
    section = growth.section(subject, 2.0, quiet)
    check_section(section)
    assert section.charts == ()
    assert section.verdict[0].startswith("A pass over the window takes ")


def test_a_network_that_cannot_be_converted_is_timed_by_itself():
    model = Net(
        lambda m, x: m.fc(F.relu(m.conv(x)).flip(2).flatten(1)),
        conv=nn.Conv2d(3, 4, 3, padding=1), fc=nn.Linear(256, 2),
    )  # fmt: skip
    subject = subject_of(model.train(), 8)
    assert subject.refused is not None
    section = growth.section(subject, 2.0, quiet)
    check_section(section)
    assert section.verdict[0].startswith("One image of 8×8 px takes the classifier ")
    assert "forward and backward" in section.verdict[0]
    assert section.facts["forward"]["median"] > 0
    assert section.skipped == (
        "Larger images, and crops against the map: the network cannot be converted.",
    )
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_network_that_does_not_even_run():
    model = Net(
        lambda m, x: m.fc(x.flip(2).flatten(1)[:, : int(x.sum()) * 0 + 7]), fc=nn.Linear(9, 2)
    )
    subject = subject_of(model, 8)
    section = growth.section(subject, 2.0, quiet)
    check_section(section)
    assert section.verdict == section.tables == ()
    assert section.skipped[1].startswith("A pass at the window: RuntimeError: ")
    assert torch.is_grad_enabled()
