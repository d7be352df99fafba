import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullconv.errors import InputError
from fullconv.storage.description import (
    is_sealed,
    read_description,
    sealed,
    to_text,
    write_description,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)  # fmt: skip


@given(VALUES, st.integers(1, 200))
def test_the_text_is_json_of_the_same_value(value, width):
    assert json.loads(to_text(value, width=width)) == value


def test_what_fits_stands_on_one_line_and_the_rest_one_entry_per_line():
    value = {"a": [1, 2], "long": ["x" * 30, "y" * 30], "nested": {"b": {"c": None}}, "é": []}
    assert to_text(value, width=40) == (
        "{\n"
        ' "a": [1, 2],\n'
        ' "long": [\n'
        f'  "{"x" * 30}",\n'
        f'  "{"y" * 30}"\n'
        " ],\n"
        ' "nested": {"b": {"c": null}},\n'
        ' "é": []\n'
        "}\n"
    )


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_a_sealed_value_is_sealed_however_it_is_laid_out(value):
    value.pop("sha256", None)
    mark = sealed(value)
    assert is_sealed(mark)
    assert is_sealed(json.loads(json.dumps(mark, indent=4)))
    assert is_sealed(dict(reversed(mark.items())))
    assert not is_sealed({**mark, "another": 1})
    assert not is_sealed(value)


@pytest.mark.parametrize("changed", [{"a": 2}, {"a": True}, {"a": "1"}, {"a": 1.0}, {}, {"b": 1}])
def test_any_change_breaks_the_seal(changed):
    mark = sealed({"a": 1})["sha256"]
    assert not is_sealed({**changed, "sha256": mark})


def test_writing_and_reading(tmp_path):
    value = {"name": "Füße 猫", "odd": os.fsdecode(b"\xff.png"), "list": [1, 2.5, None]}
    write_description(tmp_path / "a.json", value)
    assert read_description(tmp_path / "a.json") == value
    assert "Füße 猫" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_numbers_that_json_lacks_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_description(tmp_path / "a.json", {"x": float("nan")})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no JSON: Expecting value"),
        (b"{", "is no JSON: "),
        (b'{"a": 1} x', "is no JSON: Extra data"),
        (b"\xff{}", "is no JSON: 'utf-8' codec"),
        (b'{"a": NaN}', "is no JSON: NaN is no number of JSON"),
        (b'{"a": -Infinity}', "is no JSON: -Infinity is no number of JSON"),
        (b"[" * 200_000, "is no JSON: "),
        (b'{"a": ' + b"9" * 10_000 + b"}", "is no JSON: "),
        (b"[1]", "is no JSON object."),
        (b"null", "is no JSON object."),
    ],
)
def test_what_is_no_description(content, message, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_description(tmp_path / "a.json")
    assert str(caught.value).startswith(f"{tmp_path / 'a.json'}: {message}")


def test_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match="is missing"):
        read_description(tmp_path / "a.json")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_description(tmp_path)
