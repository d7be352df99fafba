"""What an evaluation says of scales and images that it leaves out."""

import json

import pytest
from labelled import converted, network, pictures

from fullconv.errors import InputError
from fullconv.evaluate.accuracy import NothingEvaluated, accuracy


def test_scales_at_which_images_hold_no_window_are_told():
    # Windows are 12 × 10 px.
    data = pictures([(16, 14), (40, 40), (16, 14)], remarks=("drawn by hand",))
    found = accuracy(converted(network()), data, scales=["0.5x", "1x", "9"], evaluations="dense")
    assert [row.scale for row in found.rows] == ["0.5x", "1x", "all"]
    assert found.remarks == (
        "drawn by hand",
        "0.5x: left out for 2 of 3 images, smaller there than the 12×10 window",
        "9: left out for 3 of 3 images, smaller there than the 12×10 window",
    )
    assert all(f"{remark}\n" in str(found) for remark in found.remarks)
    assert json.loads(json.dumps(found.to_dict()))["remarks"] == list(found.remarks)


def test_images_that_are_problems_are_not_counted():
    sizes = [(16, 14), (40, 40), (11, 30), (16, 14), (16, 14)]
    data = pictures(sizes, broken=(3,))
    found = accuracy(converted(network()), data, scales=["0.5x", "1x"], evaluations="centre")
    assert [problem.index for problem in found.problems] == [2, 3]
    assert found.remarks == (
        "0.5x: left out for 2 of 3 images, smaller there than the 12×10 window",
    )


def test_scales_that_fit_are_not_told_of():
    assert accuracy(converted(network()), pictures([(16, 14)] * 3), scales=[12, 20]).remarks == ()


def test_nothing_evaluated_has_the_problems_and_no_rows():
    data = pictures([(16, 14)] * 23, broken=tuple(range(23)), remarks=("drawn by hand",))
    with pytest.raises(NothingEvaluated) as caught:
        accuracy(converted(network()), data, flip=False)
    assert isinstance(caught.value, InputError)
    lines = str(caught.value).splitlines()
    assert lines[0] == "none of the 23 images can be evaluated:"
    assert lines[1:21] == [f"- picture {i}: is cut short. It ends early." for i in range(20)]
    assert lines[21:] == ["- and 3 more"]
    found = caught.value.found
    assert (found.images, found.rows, len(found.problems)) == (0, (), 23)
    told = found.to_dict()
    assert (told["rows"], told["images"], told["classes"], told["flip"]) == ([], 0, 7, False)
    assert told["problems"][22] == {"image": "picture 22", "reason": "is cut short. It ends early."}
