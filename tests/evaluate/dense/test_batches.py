import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fullconv.errors import InputError
from fullconv.evaluate.dense import batches as module
from fullconv.evaluate.dense.batches import Loaded, batches, in_order, loaded
from fullconv.evaluate.dense.views import Views
from fullconv.evaluate.scales import AS_IT_IS


def image(size: int) -> Views:
    return Views((size, size), (torch.zeros(1, 1, size, size),), (AS_IT_IS,))


def read(source):
    if source == 0:
        raise InputError("is bad.", where="zero")
    return image(source)


def test_images_come_in_order_and_errors_in_their_place():
    found = [one for one in loaded([3, 0, 5], read) if one]
    assert [one.index for one in found] == [0, 1, 2]
    assert [one.source for one in found] == [3, 0, 5]
    assert found[0].views.size == (3, 3)
    assert found[1].views is None
    assert str(found[1].error) == "zero: is bad."
    assert found[2].error is None


def test_mistakes_in_code_are_raised():
    with pytest.raises(ZeroDivisionError):
        list(loaded([1, 0], lambda n: image(1 // n)))


def test_images_are_read_before_they_are_asked_for_but_not_all_of_them():
    asked, third = [], threading.Event()

    def slow(source):
        asked.append(source)
        if len(asked) == 3:
            third.set()
        return image(1)

    stream = loaded(range(100), slow, ahead=2)
    next(one for one in stream if one)  # two ahead of it at most
    assert third.wait(10)
    stream.close()
    assert len(asked) <= 4
    readers = [one for one in threading.enumerate() if one.name.startswith("fullconv-read")]
    assert len(readers) <= module.DECODERS


def test_sources_are_not_all_asked_for_at_once():
    taken = []

    def sources():
        for n in range(50):
            taken.append(n)
            yield 1

    stream = loaded(sources(), read, ahead=3)
    next(one for one in stream if one)
    assert len(taken) == 4
    stream.close()


def test_an_image_that_is_not_there_yet_is_told_once_and_waited_for(monkeypatch):
    go = threading.Event()

    def slow(source):
        go.wait(30)
        return image(source)

    monkeypatch.setattr(module, "PATIENCE", 0.001)
    stream = loaded([7, 8], slow)
    assert next(stream) is None
    go.set()
    rest = list(stream)
    assert [one.source for one in rest if one] == [7, 8]
    assert rest.count(None) <= 1  # of the second one


def test_memory_that_runs_out_is_an_error_of_the_image():
    def read(source):
        if source == 1:
            raise MemoryError
        if source == 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")
        return image(1)

    found = [one for one in loaded([0, 1, 2], read, name="image {}".format) if one]
    assert found[0].error is None
    for one in found[1:]:
        assert str(one.error) == f"image {one.source}: the memory does not suffice to read it."
    with pytest.raises(RuntimeError, match="another"):
        list(loaded([0], lambda n: (_ for _ in ()).throw(RuntimeError("another"))))


def test_large_images_are_not_read_far_ahead(monkeypatch):
    monkeypatch.setattr(module, "AHEAD_BYTES", 100)
    asked = []

    def read(source):
        asked.append(source)
        return image(8)  # 256 bytes

    stream = (one for one in loaded(range(20), read, ahead=6) if one)
    for count in range(1, 21):
        assert next(stream).source == count - 1
        # As many as there are threads, and then one by one.
        assert len(asked) <= count + module.DECODERS


def test_an_error_without_a_name_gets_that_of_its_source():
    def read(source):
        raise InputError("is bad.", why="So it is.", hint="Mend it.")

    (one,) = [one for one in loaded(["a"], read, name="{}.png".format) if one]
    assert str(one.error) == "a.png: is bad.\nSo it is. Mend it."


def put(sizes, most):
    """The indices that come together."""
    images = [
        None
        if size is None
        else Loaded(i, size, image(size))
        if size
        else Loaded(i, size, error=InputError("bad"))
        for i, size in enumerate(sizes)
    ]
    return [[one.index for one in batch] for batch in batches(images, most)]


def test_equal_sizes_come_together():
    assert put([4, 5, 4, 4, 5, 6], 2) == [[0, 2], [1, 4], [3], [5]]


def test_errors_come_by_themselves_at_once():
    assert put([4, 0, 4], 2) == [[1], [0, 2]]


def test_the_first_one_does_not_wait_for_ever():
    # Six of other sizes: three batches' worth of two are held, then the first goes.
    assert put([1, 2, 3, 4, 5, 6, 7], 2)[:2] == [[0], [1]]


def test_what_waits_goes_on_while_the_next_is_not_there_yet():
    assert put([None, 4, 5, None, None, None, 4, 4], 2) == [[1], [2], [6, 7]]


def test_one_of_another_size_does_not_wait_for_the_last():
    found = put([4] + [5] * 1000, 2)
    assert found.index([0]) <= 3
    assert sorted(i for batch in found for i in batch) == list(range(1001))


def test_no_more_bytes_wait_than_may(monkeypatch):
    monkeypatch.setattr(module, "WAITING_BYTES", 4 * (10 * 10 + 20 * 20))
    assert put([10, 20, 30, 40], 8) == [[0], [1], [2], [3]]
    assert put([10, 10, 10, 10], 8) == [[0, 1, 2, 3]]


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 5))
def test_every_image_comes_once_with_others_of_its_size(sizes, most):
    found = put(sizes, most)
    assert sorted(i for batch in found for i in batch) == list(range(len(sizes)))
    for batch in found:
        assert len(batch) <= most
        assert len({sizes[i] for i in batch}) == 1
        assert batch == sorted(batch)
    back = in_order([[(i, sizes[i]) for i in batch] for batch in found])
    assert list(back) == sizes


def test_answers_come_as_soon_as_their_turn_is_there():
    def answers():
        for some in ([(1, "b")], [(0, "a")], [(3, "d"), (2, "c")]):
            given.append(some)
            yield some

    given = []
    stream = in_order(answers())
    assert next(stream) == "a"
    assert len(given) == 2
    assert list(stream) == ["b", "c", "d"]
