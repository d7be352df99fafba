"""What a report says of images of different sizes."""

from dataclasses import replace

import pytest
import torch

from audited import check_section, column, excited, lenet, quiet, small
from fullconv.auditing.costs.batches import Batches, Way
from fullconv.auditing.costs.padding import Padding
from fullconv.auditing.measuring.timing import Spread
from fullconv.auditing.sections import batching
from fullconv.auditing.subject import subject_of


def flat(seconds: float) -> Spread:
    return Spread(seconds, seconds, seconds)


def found() -> Batches:
    return Batches(
        ((100, 100), (100, 100), (200, 100), (200, 200)),
        (200, 200),
        (
            Way("single", 4, 1000, flat(1.0)),
            Way("bucketed", 3, 1000, flat(0.8), flat(0.8)),
            Way("padded", 1, 2000, flat(2.0), flat(2.0)),
        ),
        Padding(50, 0.4, 0.125, 2e-7, 0.1),
        True,
        "",
        (),
        5,
        None,
        "cpu",
        2,
    )


def test_the_verdict_is_short_and_made_of_figures():
    section = batching.written(found())
    check_section(section)
    assert section.verdict == (
        "Batch equal sizes: 1.2 times as fast (1.25) as one by one; padding to the largest is "
        "slower, 0.50 times as fast (0.50) as one by one, with 50 % of its px for padding.",
        "Padding is another map: 40 % of the cells can see the zeros beyond the border, and scores "
        "differ by up to 12.5 % of the largest.",
    )
    assert section.text[1] == (
        "Images a second, of 4 images of 3 sizes: 4.00 one by one, 5.00 equal sizes together and "
        "2.00 padded to the largest."
    )
    assert section.text[-1] == (
        "Cells that cannot see the zeros are the same but for rounding (2e-07 of the largest "
        "score)."
    )


def test_batches_that_are_no_faster_than_rounds_differ():
    noisy = Way("bucketed", 3, 1000, flat(1.03), Spread(1.03, 0.8, 1.25, 5))
    single, _, padded = found().ways
    section = batching.written(replace(found(), ways=(single, noisy, padded)))
    check_section(section)
    assert section.verdict[0].startswith(
        "Batches of equal sizes are no faster than rounds differ (0.80–1.25) against one by one; "
    )
    once = Way("bucketed", 3, 1000, flat(0.5), Spread(0.5, 0.5, 0.5, 1))
    section = batching.written(replace(found(), ways=(single, once)))
    assert section.verdict[0] == (
        "Batch equal sizes: 2.0 times as fast in one round as one by one."
    )


def test_images_that_were_not_run_are_told():
    real = replace(found(), noise=False)
    assert batching.written(real, given=7).skipped == ("3 of 7 images: no time.",)
    many = replace(real, sizes=real.sizes * 4)
    assert batching.written(many, given=20).skipped == ("4 of 20 images: at most 16 are run.",)


def test_top_classes_are_told_for_real_images_only():
    section = batching.written(replace(found(), noise=False), given=4)
    assert section.verdict[1].endswith("; 10.0 % of cells have another top class.")
    assert section.skipped == ()


@pytest.mark.parametrize(
    ("largest", "words"),
    [(0.0, ""), (3e-7, " but for rounding (3e-07 of the largest score)")],
)
def test_maps_that_are_the_same_are_called_so(largest, words):
    section = batching.written(replace(found(), padding=Padding(50, 0.0, largest, largest, 0.0)))
    assert section.verdict[1] == f"Padding leaves the cells of an image as they are{words}."


def test_table_and_chart_hold_the_same():
    section = batching.written(found())
    check_section(section)
    assert column(section, 0, "passes") == ["4", "3", "1"]
    assert column(section, 0, "MACs ÷ single") == ["1.00", "1.00", "2.00"]
    assert column(section, 0, "images/s") == ["4.00", "5.00", "2.00"]
    assert column(section, 0, "Mpx/s") == ["0.0800", "0.100", "0.0400"]
    assert column(section, 0, "speed ÷ single") == ["–", "1.25", "0.500"]
    (chart,) = section.charts
    assert chart.ticks == ("one by one", "equal sizes together", "padded to the largest")
    assert chart.series[0].y == (4, 5, 2)


def test_what_was_left_out_is_said():
    ways = (*found().ways[:2], Way("padded", 1, 2000, foreseen=30))
    section = batching.written(replace(found(), ways=ways, padding=None, once=("bucketed",)))
    check_section(section)
    assert "Padded to the largest: not timed, it would take about 30.0 s here." in section.skipped
    assert "Run once only, for want of time: equal sizes together." in section.how
    section = batching.written(replace(found(), ways=found().ways[:2], padding=None))
    assert "Padded to 200×200 px: not even one image fits the memory." in section.skipped
    section = batching.written(replace(found(), problem="they would take too long"), given=3)
    assert section.skipped[0] == "The images that were given: they would take too long."


@pytest.mark.parametrize(
    ("build", "window"), [(lenet, 28), (small, 8), (lambda: small(1), 8), (excited, 8)]
)
def test_a_whole_section(build, window):
    section = batching.section(subject_of(build(), window), 300.0, quiet)
    check_section(section)
    assert section.key == batching.KEY == "batching"
    assert len(section.verdict) == 2
    assert section.skipped[0] == ("No images were given: sizes were drawn from one window to two.")


def test_the_images_of_the_subject_are_run():
    images = [torch.randn(3, *size) for size in ((8, 9), (20, 16), (8, 9))]
    section = batching.section(subject_of(small(), 8, images=images), 300.0, quiet)
    check_section(section)
    assert section.facts["sizes"] == ((8, 9), (20, 16), (8, 9))
    assert section.facts["padding"]["cells"] == 1 + 4 * 3 + 1
    assert section.skipped == ()
    single = batching.section(subject_of(small(), 8, images=images[0]), 300.0, quiet)
    assert single.skipped == ("A single image was given: sizes were drawn instead.",)


def test_no_memory_at_all():
    section = batching.section(subject_of(small(), 8, max_memory=1), 2.0, quiet)
    check_section(section)
    assert "Nothing was run: not even the smallest image fits the memory." in section.skipped


def test_scores_that_are_no_numbers_are_not_compared():
    """Weights are finite, and what they make is not."""
    model = small()
    for place in (0, 3):
        torch.nn.init.constant_(model[place].weight, 1e30)
    section = batching.section(subject_of(model, 8), 300.0, quiet)
    check_section(section)
    assert section.facts["padding"] is None
    assert "What padding does to maps: scores are not finite." in section.skipped
    assert not any("Padding leaves" in sentence for sentence in section.verdict)
