import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullconv.errors import UsageError
from fullconv.evaluate.maps.regions import Region, check_threshold, regions_of


def flooded(values: np.ndarray, threshold: float) -> list[set[tuple[int, int]]]:
    """The pixels of every region, found by walking from neighbour to neighbour."""
    left = {(i, j) for i, j in np.ndindex(*values.shape) if values[i, j] >= threshold}
    found = []
    while left:
        region, edge = set(), [left.pop()]
        while edge:
            i, j = edge.pop()
            region.add((i, j))
            for place in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                if place in left:
                    left.remove(place)
                    edge.append(place)
        found.append(region)
    return found


@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    seed=st.integers(0, 2**32 - 1),
    threshold=st.sampled_from([0.1, 0.5, 0.7, 0.95, 1.0]),
)
def test_regions_are_what_a_flood_reaches(shape, seed, threshold):
    rng = np.random.default_rng(seed)
    values = np.round(rng.random(shape) ** 0.5, 1).astype(np.float32)
    values[rng.random(shape) < 0.1] = np.nan
    found = regions_of(values, threshold)
    expected = []
    for region in flooded(values, threshold):
        rows, cols = zip(*region, strict=True)
        own = {place: float(values[place]) for place in region}
        peak = max(own.values())
        expected.append(
            (
                -peak, min(p for p, value in own.items() if value == peak), len(region),
                (min(rows), min(cols), max(rows) + 1, max(cols) + 1), sum(own.values()) / len(own),
            )
        )  # fmt: skip
    expected.sort()
    assert [(-r.peak, r.place, r.area, r.box) for r in found] == [e[:4] for e in expected]
    assert [r.mean for r in found] == pytest.approx([e[4] for e in expected])


def test_a_value_equal_to_the_threshold_reaches_it():
    values = np.array([[0.7, 0.1, 0.69999]], np.float32)
    assert regions_of(values, 0.7) == (
        Region((0, 0, 1, 1), 1, float(np.float32(0.7)), float(np.float32(0.7)), (0, 0)),
    )


def test_corners_do_not_connect_and_nothing_gives_nothing():
    assert len(regions_of(np.eye(3), 0.5)) == 3
    assert regions_of(np.zeros((3, 4)), 0.5) == ()
    assert regions_of(np.full((3, 4), np.nan), 0.5) == ()


@pytest.mark.parametrize("threshold", [0, -0.1, 1.001, float("nan"), float("inf"), "0.5", None])
def test_a_threshold_that_is_no_probability(threshold):
    with pytest.raises(UsageError) as caught:
        check_threshold(threshold)
    assert str(caught.value) == (
        f"threshold={threshold} must lie above 0 and be at most 1.\n"
        "It is a probability: every pixel reaches 0, and none exceeds 1."
    )


@pytest.mark.parametrize("threshold", [1, 1.0, 1e-9, np.float32(0.5)])
def test_a_threshold_that_is_one(threshold):
    check_threshold(threshold)
