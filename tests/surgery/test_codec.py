"""Dataclasses to JSON and back."""

import json
from dataclasses import dataclass

import pytest

from fullconv.surgery.codec import decode, encode


@dataclass(frozen=True)
class Point:
    x: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    ends: tuple[Point, ...]
    closed: bool | None = None


TYPES = {"Point": Point, "Line": Line}
LINE = Line((Point(1, ("a", "b")), Point(-2)), None)


def test_there_and_back_through_json():
    data = json.loads(json.dumps(encode(LINE)))
    assert data == {
        "type": "Line",
        "ends": [
            {"type": "Point", "x": 1, "names": ["a", "b"]},
            {"type": "Point", "x": -2, "names": []},
        ],
        "closed": None,
    }
    assert decode(data, TYPES) == LINE


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"type": "Path", "ends": []}, "unexpected type 'Path'"),
        ({"ends": []}, "unexpected type None"),
        ({"type": ["Point"], "x": 1}, r"unexpected type \['Point'\]"),
        ({"type": "Point", "x": 1, "y": 2}, "not a Point: .*'y'"),
        ({"type": "Point"}, "not a Point: .*'x'"),
        ({"type": "Line", "ends": [{"type": "os.system", "x": 1}]}, "unexpected type 'os.system'"),
    ],
)
def test_nothing_but_the_given_types(data, message):
    with pytest.raises(ValueError, match=message):
        decode(data, TYPES)
