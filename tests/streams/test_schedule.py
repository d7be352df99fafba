"""Which rows are made when: everything once, nothing before what it needs, from anywhere the same."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullconv.geometry import Sweep
from fullconv.streams.bands import band
from fullconv.streams.cost import cost, macs_of
from fullconv.streams.course import Course, Limit, Stage
from fullconv.streams.reach import Nearest, Same, Swept
from fullconv.streams.schedule import Schedule


def swept(kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> Swept:
    return Swept(Sweep(kernel, stride, (pad, pad), dilation))


@st.composite
def courses(draw) -> Course:
    """A chain with a few branches that meet again, along one axis."""
    stages = [Stage("image", cell=3)]
    last, count = "image", 0

    def behind(name: str) -> str:
        nonlocal count
        count += 1
        kernel = draw(st.integers(1, 4))
        reach = draw(
            st.sampled_from(
                [
                    swept(kernel, draw(st.integers(1, 2)), draw(st.integers(0, kernel // 2))),
                    swept(kernel, 1, 0, 2),
                    Nearest(kernel),
                    Same(),
                ]
            )
        )
        stages.append(Stage(f"s{count}", (name,), (reach,), cell=4, macs=kernel))
        return stages[-1].name

    for _ in range(draw(st.integers(1, 4))):
        before, last = last, behind(last)
        if draw(st.booleans()):
            other = last
            for _ in range(draw(st.integers(0, 2))):
                count += 1
                reach = swept(3, 1, 1)
                stages.append(Stage(f"s{count}", (other,), (reach,), cell=4, macs=3))
                other = stages[-1].name
            count += 1
            stages.append(Stage(f"s{count}", (last, other), (Same(),), cell=4))
            last = stages[-1].name
        assert before
    return Course(tuple(stages), (last,))


@given(courses(), st.integers(30, 60), st.integers(1, 5))
def test_every_row_is_made_once_and_after_what_it_needs(course, pixels, height):
    schedule = Schedule(course, (pixels,), height, course.cells((pixels,))[course.answers[0]][0])
    if schedule.rows < 1:
        return
    there: dict[str, int] = dict.fromkeys(course.by_name, 0)
    let_go: dict[str, int] = dict.fromkeys(course.by_name, 0)
    readers = course.readers()
    for step in range(schedule.first, schedule.count):
        for stage in course.stages:
            first, last = schedule.made(stage.name, step)
            assert first == there[stage.name]
            there[stage.name] = last
            for name in stage.inputs if last > first else ():
                cells = schedule.cells[name][0]
                assert stage.reaches[0].start(first, cells) >= let_go[name] or let_go[name] == 0
                assert min(stage.reaches[0].stop(last, cells), cells) <= there[name]
        for name, known in readers.items():
            let_go[name] = schedule.needed(name, known, step)
        answer = course.answers[0]
        assert there[answer] == max(0, min((step + 1) * height, schedule.rows))
    for name, rows in there.items():
        assert rows <= schedule.cells[name][0]


@given(courses(), st.integers(30, 60), st.integers(1, 5), st.data())
def test_a_pass_that_begins_later_makes_the_same_pieces_or_none(course, pixels, height, data):
    schedule = Schedule(course, (pixels,), height, course.cells((pixels,))[course.answers[0]][0])
    if schedule.rows < 1:
        return
    start = data.draw(st.integers(0, schedule.count - 1))
    begins = schedule.begins(start)
    for stage in course.stages:
        for step in range(begins[stage.name], schedule.count):
            first, last = schedule.made(stage.name, step)
            for name in stage.inputs if last > first else ():
                need = max(0, stage.reaches[0].start(first, schedule.cells[name][0]))
                own = schedule.made(name, begins[name])[0]
                assert own <= need, "a row is missing that a later piece needs"


def test_a_chain_by_hand():
    """Two 3×3 convolutions with padding and a pool of 2: a strip of one row has two rows below."""
    course = Course(
        (
            Stage("image", cell=1),
            Stage("a", ("image",), (swept(3, 1, 1),), cell=1, macs=9),
            Stage("b", ("a",), (swept(3, 1, 1),), cell=1, macs=9),
            Stage("pool", ("b",), (swept(2, 2),), cell=1),
        ),
        ("pool",),
    )
    schedule = Schedule(course, (20,), 1, 10)
    assert {name: schedule.done(0)[name] for name in course.by_name} == {
        "image": 4, "a": 3, "b": 2, "pool": 1,
    }  # fmt: skip
    assert schedule.first == -1  # two of the four rows of the first strip come a step earlier
    assert schedule.done(-1) == {"pool": 0, "b": 0, "a": 1, "image": 2}
    assert schedule.made("image", 3) == (8, 10)
    readers = course.readers()
    assert schedule.needed("image", readers["image"], 3) == 8
    assert schedule.done(9) == {"pool": 10, "b": 20, "a": 20, "image": 20}


def test_limits_cut_trailing_cells():
    stage = Stage("a", ("image",), (Same(),), (Limit(4, -10, 1, 1),))
    course = Course((Stage("image"), stage), ("a",))
    assert course.cells((25,))["a"] == ((25 - 10) // 4 + 1,)


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (2, 4)])
def test_bands_by_hand(start, stop):
    course = Course(
        (Stage("image", cell=1), Stage("a", ("image",), (Same(), swept(3, 2, 1)), cell=2, macs=7)),
        ("a",),
    )
    cells = course.cells((4, 10))
    assert cells["a"] == (4, 5)
    found = band(course, (4, 10), cells, start, stop)
    assert found.spans["a"] == ((start, stop),)
    assert found.spans["image"] == ((max(0, start * 2 - 1), (stop - 1) * 2 - 1 + 3),)
    schedule = Schedule(course, (4, 10), 2, 4)
    assert macs_of(schedule, found) == 7 * 4 * (stop - start)
    width = found.spans["image"][0][1] - found.spans["image"][0][0]
    counted = cost(schedule, found)
    assert counted.macs == 7 * 4 * (stop - start)
    # Two rows of the image are read and two come out; with padding beside, a copy is read.
    copied = 2 * (width + 1) if start == 0 else 0
    assert counted.bytes == 2 * width + copied + 2 * prod((stop - start,)) * 2


def test_a_course_is_in_order():
    with pytest.raises(AssertionError, match="out of order"):
        Course((Stage("image"), Stage("a", ("b",))), ("a",))
    with pytest.raises(AssertionError, match="answers"):
        Course((Stage("image"),), ("b",))
