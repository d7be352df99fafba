"""What messages are made of."""

import pytest

from fullconv.errors import listed


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, ""),
        (1, "\n- 0"),
        (3, "\n- 0\n- 1\n- 2"),
        (4, "\n- 0\n- 1\n- 2\n- and 1 more"),
        (1003, "\n- 0\n- 1\n- 2\n- and 1,000 more"),
    ],
)
def test_long_lists_are_cut(count, text):
    assert listed(range(count), 3) == text


def test_twenty_by_default():
    assert listed(range(20)).endswith("- 19")
    assert listed(range(21)).endswith("- 19\n- and 1 more")
