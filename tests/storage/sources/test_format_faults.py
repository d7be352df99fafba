import numpy as np
import pytest
from broken_files import HEIGHT, RGB, SMOOTH, WIDTH
from format_faults import (
    BEGIN,
    END,
    FAULTS,
    PAGE,
    Lost,
    Missing,
    ReadWhole,
    Refused,
    Unnoticed,
    table,
)

from fullconv.errors import InputError, UsageError
from fullconv.storage.sources import open_source


def boxes(mask_shape, found):
    mask = np.zeros(mask_shape, bool)
    for top, left, bottom, right in found:
        mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: f"{case.format}: {case.fault}")
def test_a_fault_gives_what_the_table_says(case, tmp_path):
    path = case.make(tmp_path)
    if isinstance(case.outcome, Refused):
        with pytest.raises((InputError, UsageError)) as caught:
            open_source(path, **case.options)
        assert case.outcome.text in str(caught.value)
        assert str(path) in str(caught.value)
        return
    whole = RGB if case.whole is None else case.whole
    lossy = whole is SMOOTH
    with open_source(path, **case.options) as source:
        everything = source.read((0, 0, *source.size))
        lost = boxes(source.size, [fault.box for fault in everything.faults])
        missing = np.zeros(source.size, bool) if everything.missing is None else everything.missing
        assert lost.any() == isinstance(case.outcome, Lost)
        assert missing.any() == (isinstance(case.outcome, Missing) or "GeoTIFF" in case.format)
        if isinstance(case.outcome, Lost):
            assert np.array_equal(lost, boxes(source.size, case.outcome.boxes))
            assert all(case.outcome.why in fault.why for fault in everything.faults)
        if isinstance(case.outcome, Missing):
            assert np.array_equal(missing, boxes(source.size, case.outcome.boxes))
        assert not everything.pixels[lost].any()
        sound = ~(lost | missing)[:HEIGHT, :WIDTH]
        difference = np.abs(everything.pixels[:HEIGHT, :WIDTH][sound] - whole[sound].astype(float))
        worst = difference.max(initial=0)
        most = 12 if lossy else 0
        assert worst > most if isinstance(case.outcome, Unnoticed) else worst <= most
        # What is lost does not depend on the box that is read.
        rng = np.random.default_rng(3)
        for _ in range(8):
            top, bottom = sorted(rng.integers(0, source.size[0] + 1, 2))
            left, right = sorted(rng.integers(0, source.size[1] + 1, 2))
            part = source.read((top, left, bottom, right))
            inside = np.s_[top:bottom, left:right]
            assert np.array_equal(part.pixels, everything.pixels[inside])
            found = [
                (a - top, b - left, c - top, d - left)
                for a, b, c, d in (fault.box for fault in part.faults)
            ]
            assert np.array_equal(boxes(part.pixels.shape[:2], found), lost[inside])


def test_the_page_has_the_table():
    text = PAGE.read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0] == table()


def test_there_are_enough_cases():
    assert len(FAULTS) >= 40
    assert len({(case.format, case.fault) for case in FAULTS}) == len(FAULTS)
    assert {type(case.outcome) for case in FAULTS} == {Lost, Missing, ReadWhole, Refused, Unnoticed}
