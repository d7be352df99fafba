"""What messages are made of."""

import pickle

import pytest

from fullconv.errors import FullconvError, InputError, MissingExtraError, RefusedError, listed
from fullconv.training import Diverged


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


@pytest.mark.parametrize(
    "error",
    [
        FullconvError("failed.", where="here", why="So it is.", hint="Leave it."),
        MissingExtraError("matplotlib", "plot", "The picture"),
        RefusedError.merge([RefusedError("one."), RefusedError("two.", where="there")]),
        Diverged("no number."),
        InputError("is damaged."),
    ],
)
def test_errors_come_whole_from_other_processes(error):
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert (found.what, found.where, found.why, found.hint) == (
        error.what, error.where, error.why, error.hint,
    )  # fmt: skip
