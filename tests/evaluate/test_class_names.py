import numpy as np
import pytest

from fullconv.errors import UsageError
from fullconv.evaluate.class_names import find_class

NAMES = ("tabby, tabby cat", "tiger cat", "Egyptian cat", "crane", "crane", " Owl ")


@pytest.mark.parametrize(
    ("target", "index"),
    [
        (0, 0), (np.int64(5), 5), (True, 1), ("0", 0), (" 3 ", 3), ("+2", 2), ("tabby", 0),
        ("Tabby Cat", 0), ("tabby, tabby cat", 0), ("TIGER CAT", 1), ("owl", 5), (" owl", 5),
    ],
)  # fmt: skip
def test_names_and_numbers(target, index):
    assert find_class(target, NAMES, 6) == index


@pytest.mark.parametrize("target", [6, -1, "6", "-1", "99999999999999999999"])
def test_numbers_that_are_not_there(target):
    number = int(target)
    with pytest.raises(UsageError, match=rf"^class {number}: the network has classes 0 to 5\.$"):
        find_class(target, NAMES, 6)


def test_a_name_that_several_classes_have():
    with pytest.raises(UsageError, match=r"ambiguous: 3 \(crane\), 4 \(crane\)\.\nGive its number"):
        find_class("crane", NAMES, 6)


def test_the_whole_name_goes_before_one_of_several():
    assert find_class("cat", ("wild cat, cat", "cat", "cat, house cat"), 3) == 1


def test_a_name_that_is_a_number_goes_before_the_number():
    digits = ("3", "1", "2")
    assert [find_class(name, digits, 3) for name in digits] == [0, 1, 2]
    assert find_class("0", digits, 3) == 0
    assert find_class(2, digits, 3) == 2
    ordered = tuple("0123456789")
    assert [find_class(name, ordered, 10) for name in ordered] == list(range(10))


def test_near_names_are_suggested():
    with pytest.raises(UsageError, match="no class 'tiger'.\nDid you mean tiger cat?"):
        find_class("tiger", NAMES, 6)


def test_some_names_are_shown_where_none_is_near():
    many = tuple(f"name{i}" for i in range(20))
    with pytest.raises(UsageError, match=r"no class 'qqq'\.\nIt has 'name0', .*'name7', …\."):
        find_class("qqq", many, 20)


def test_without_names_only_numbers_will_do():
    assert find_class("3", None, 4) == 3
    with pytest.raises(UsageError, match=r"names of the classes are not known\.\nGive a number"):
        find_class("owl", None, 4)


def test_names_that_are_too_few():
    with pytest.raises(UsageError, match="there are 6 class names for 7 scores"):
        find_class("owl", NAMES, 7)
