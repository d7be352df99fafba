"""What a report says of pools."""

from dataclasses import replace

import pytest
from torch import nn

from audited import check_section, excited, lenet, quiet, small
from fullconv.auditing.costs.pools import Pools, Replaced
from fullconv.auditing.costs.steps import Step
from fullconv.auditing.measuring.timing import Spread
from fullconv.auditing.sections import pools
from fullconv.auditing.subject import subject_of
from networks import Net


def flat(seconds: float) -> Spread:
    return Spread(seconds, seconds, seconds)


def pool(where: str, *seconds: float) -> Replaced:
    one, back, conv, conv_back = map(flat, seconds)
    forward, backward = flat(seconds[2] / seconds[0]), flat(seconds[3] / seconds[1])
    return Replaced(
        where, "max pool 2×2, stride 2×2", 64, ((8, 8), (4, 4)), 16_448, 262_144, one, back, conv,
        conv_back, forward, backward,
    )  # fmt: skip


def found() -> Pools:
    return Pools(
        (
            pool("features.2 (MaxPool2d)", 0.001, 0.002, 0.004, 0.010),
            pool("features.5 (MaxPool2d)", 0.003, 0.002, 0.004, 0.010),
        ),
        8,
        (
            Step("keep", 1_000_000, 10_000_000, flat(0.1), flat(1)),
            Step("conv", 1_032_896, 10_524_288, flat(0.12), flat(1.2)),
            Step("strided", 1_000_000, 4_000_000, flat(0.05), flat(0.5)),
        ),
        4,
        "",
        5,
        None,
        "cpu",
        2,
    )


def test_the_verdict_is_short_and_made_of_figures():
    section = pools.written(found())
    check_section(section)
    assert section.verdict == (
        "Convolutions in the place of the 2 pools add 32,896 parameters (3.3 %) and take 2.0 times "
        "as long forward (8.00 ms on 8 images) and 5.0 times as long backward (20.0 ms on 8 "
        "images).",
        "A whole step of training takes 1.2 times as long (1.20) with convolutions and 0.50 times "
        "as long (0.50) with strides in the layers before instead.",
    )
    assert (
        "In the place of pools they are 524 kMACs an image, 5.2 % of those of the network."
        in section.text
    )


def test_a_step_within_the_noise_is_called_so():
    """Rounds from 0.90 to 1.12 do not say that a step with convolutions is quicker."""
    base, conv, strided = found().steps
    noisy = replace(conv, ratio=Spread(0.969, 0.9, 1.12, 5))
    section = pools.written(replace(found(), steps=(base, noisy, strided)))
    assert section.verdict[1].startswith(
        "A whole step of training takes no longer than rounds differ (0.90–1.12) with convolutions"
    )
    once = replace(conv, ratio=Spread(0.969, 0.969, 0.969, 1))
    section = pools.written(replace(found(), steps=(base, once)))
    assert section.verdict[1] == (
        "A whole step of training takes 0.97 times as long in one round with convolutions."
    )


def test_a_single_pool_is_spoken_of_as_one():
    section = pools.written(replace(found(), pools=found().pools[:1], batch=1, rounds=1))
    check_section(section)
    assert section.verdict[0] == (
        "A convolution in the place of the pool adds 16,448 parameters (1.6 %) and takes 4.0 times "
        "as long forward (4.00 ms on 1 image) and 5.0 times as long backward (10.0 ms on 1 image)."
    )


def test_tables_and_chart_hold_the_same():
    section = pools.written(found())
    timed, added, steps = section.tables
    assert [row[0] for row in timed.rows] == [
        "features.2: max pool 2×2, stride 2×2", "features.5: max pool 2×2, stride 2×2",
    ]  # fmt: skip
    assert timed.rows[0][1:] == ("1.00", "4.00", "4.00", "2.00", "10.0", "5.00")
    assert added.rows[1][1:] == ("64", "8×8 → 4×4", "16,448", "262")
    assert [row[1:] for row in steps.rows] == [
        ("1,000,000", "10.0", "100", "1.00"),
        ("1,032,896", "10.5", "120", "1.20"),
        ("1,000,000", "4.00", "50.0", "0.500"),
    ]
    (chart,) = section.charts
    assert chart.ticks == ("features.2", "features.5")
    assert [(line.name, line.y) for line in chart.series] == [
        ("forward", (4.0, pytest.approx(4 / 3))), ("backward", (5.0, 5.0)),
    ]  # fmt: skip


def test_pools_of_the_same_place_have_numbers():
    same = tuple(replace(one, where="max_pool2d in LeNet") for one in found().pools)
    section = pools.written(replace(found(), pools=same))
    assert section.charts[0].ticks == ("max_pool2d in LeNet (1)", "max_pool2d in LeNet (2)")


@pytest.mark.parametrize(("build", "window"), [(lenet, 28), (small, 8), (lambda: small(1), 8)])
def test_a_whole_section(build, window):
    section = pools.section(subject_of(build(), window), 300.0, quiet)
    check_section(section)
    assert section.key == pools.KEY == "pools"
    assert len(section.verdict) == 2
    assert len(section.tables) == 3
    assert len(section.charts) == 1


def test_a_network_without_pools_says_so():
    section = pools.section(subject_of(excited(), 8), 2.0, quiet)
    check_section(section)
    assert section.verdict == ("There are no pools to replace.",)
    assert section.facts["pools"] == ()
    assert section.skipped == ()


def test_a_network_that_cannot_be_converted():
    model = Net(
        lambda m, x: m.fc(m.pool(m.conv(x)).flip(2).flatten(1)),
        conv=nn.Conv2d(3, 4, 3, padding=1), pool=nn.MaxPool2d(2), fc=nn.Linear(64, 2),
    ).eval()  # fmt: skip
    section = pools.section(subject_of(model, 8), 300.0, quiet)
    check_section(section)
    assert section.verdict[0].startswith(
        "A convolution in the place of the pool adds 68 parameters "
    )
    assert section.skipped == ("Whole steps of training: the network cannot be converted.",)


def test_a_network_that_cannot_be_traced():
    model = Net(lambda m, x: m.fc(x.flatten(1)) if x.sum() > 0 else x, fc=nn.Linear(192, 2))
    section = pools.section(subject_of(model, 8), 300.0, quiet)
    check_section(section)
    assert section.skipped == ("The network cannot be traced: no pool is known.",)


def test_a_network_with_several_answers_has_no_whole_steps():
    model = Net(
        lambda m, x: (lambda y: (m.a(y), m.b(y)))(m.pool(m.conv(x)).flatten(1)),
        conv=nn.Conv2d(3, 4, 3, padding=1), pool=nn.MaxPool2d(2), a=nn.Linear(64, 2),
        b=nn.Linear(64, 3),
    ).eval()  # fmt: skip
    section = pools.section(subject_of(model, 8), 300.0, quiet)
    check_section(section)
    assert section.skipped[0].startswith("Whole steps of training: the network gives 2 answers")
    assert "\n" not in section.skipped[0]
