"""What cannot be read, or is no data, is NaN where it was looked at, and nowhere else."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scans
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scans import assert_map, network, noise, one_pass, prepared, scanned

import fullconv
from fullconv.errors import InputError
from fullconv.scanning.sight.gaps import joined
from fullconv.storage.maps import open_map
from fullconv.storage.sources import ArraySource, Fault, Region


class Damaged(ArraySource):
    """An array of which some boxes cannot be read, and some px are no data."""

    def __init__(self, pixels, bad=(), missing=None) -> None:
        super().__init__(pixels)
        self._bad, self._none = bad, missing

    def read(self, box) -> Region:
        found = super().read(box)
        faults = [Fault(bad, "a hole").within(box) for bad in self._bad]
        top, left, bottom, right = box
        missing = None if self._none is None else self._none[top:bottom, left:right].copy()
        for fault in filter(None, faults):
            a, b, c, d = fault.box
            found.pixels[a - top : c - top, b - left : d - left] = 0
        if missing is not None:
            found.pixels[missing] = 77  # means nothing
        return replace(found, faults=tuple(filter(None, faults)), missing=missing)


def spoiled(pixels, *boxes):
    """The image with NaN in some boxes: whatever is computed from them is NaN."""
    image = prepared(pixels)
    for top, left, bottom, right in boxes:
        image[..., top:bottom, left:right] = torch.nan
    return image


def part_that_matters(fcn, pixels, box):
    """The box of the px that make any cell NaN, one by one."""
    rows, cols = set(), set()
    for row, col in product(range(box[0], box[2]), range(box[1], box[3])):
        if np.isnan(one_pass(fcn, spoiled(pixels, (row, col, row + 1, col + 1)))).any():
            rows.add(row)
            cols.add(col)
    return min(rows), min(cols), max(rows) + 1, max(cols) + 1


HOLES = [(20, 10, 23, 14), (0, 40, 5, 47), (58, 0, 61, 3), (33, 30, 34, 31)]


@pytest.mark.parametrize("name", ["unpadded", "padded"])
@pytest.mark.parametrize("size", [{"strip": 1, "band": 4}, {"strip": 3}, {}])
def test_cells_that_look_at_px_that_cannot_be_read_are_nan(name, size, folder, strip_by_strip):
    _, fcn, channels = network(name)
    pixels = noise(61, 47, channels)
    told = []
    done, found = scanned(fcn, Damaged(pixels, HOLES), folder / "map", on_fault=told.append, **size)
    # NaN in, NaN out: an independent account of what every cell looks at.
    expected = one_pass(fcn, spoiled(pixels, *HOLES))
    assert 0 < np.isnan(expected[..., 0]).sum() < expected[..., 0].size
    assert_map(found, expected)
    assert done.blank == np.isnan(expected[..., 0]).sum()
    # Of what nobody looks at, trailing px, nothing is said.
    matter = [part_that_matters(fcn, pixels, box) for box in HOLES]
    assert {fault.box for fault in done.faults} == {*matter}
    assert {fault.why for fault in told} == {"a hole"}
    assert len(told) == len(set(told))


@settings(max_examples=settings.default.max_examples // 8)
@given(st.data())
def test_holes_anywhere(data):
    _, fcn, channels = network("padded", stride=data.draw(st.sampled_from([1, 2])))
    pixels = noise(53, 45, channels)
    boxes = []
    for _ in range(data.draw(st.integers(1, 3))):
        top, left = data.draw(st.integers(0, 52)), data.draw(st.integers(0, 44))
        tall, wide = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
        boxes.append((top, left, min(53, top + tall), min(45, left + wide)))
    with scans.in_memory() as folder:
        _, found = scanned(
            fcn,
            Damaged(pixels, boxes),
            folder / "map",
            strip=data.draw(st.integers(1, 6)),
            band=data.draw(st.integers(1, 9)),
        )
    assert_map(found, one_pass(fcn, spoiled(pixels, *boxes)))


def test_between_the_taps_of_dilated_layers_nothing_is_left_out(folder):
    """An interval is all that is told of an axis: more may be NaN, never less."""
    _, fcn, channels = network("LeNet", stride=1)
    pixels, hole = noise(60, 60, channels), (30, 30, 31, 31)
    _, found = scanned(fcn, Damaged(pixels, [hole]), folder / "map")
    empty = np.isnan(one_pass(fcn, spoiled(pixels, hole)))
    assert np.isnan(found)[empty].all()
    assert np.isnan(found[..., 0]).sum() == 28 * 28  # the windows that hold the px


@pytest.mark.parametrize("size", [{"strip": 2, "band": 5}, {}])
def test_cells_whose_window_holds_no_data_are_nan(size, folder, strip_by_strip):
    _, fcn, channels = network("padded")
    pixels, missing = noise(61, 47, channels), np.zeros((61, 47), bool)
    missing[:9, :] = True
    missing[40:44, 20:22] = True
    missing[60, 46] = True
    done, found = scanned(fcn, Damaged(pixels, missing=missing), folder / "map", **size)
    # What is no data is 0 to the network, as beyond the borders of the image.
    image = prepared(pixels)
    image[:, :, torch.from_numpy(missing)] = 0
    expected = one_pass(fcn, image)
    for row, col in fcn.grid((61, 47)):
        top, left, bottom, right = fcn.grid((61, 47)).box(row, col)
        if missing[top:bottom, left:right].any():
            expected[row, col] = np.nan
    assert_map(found, expected)
    assert done.faults == ()
    assert done.blank == np.isnan(expected[..., 0]).sum() > 20


def test_no_data_and_holes_at_once(folder, strip_by_strip):
    _, fcn, channels = network("unpadded")
    pixels, missing = noise(61, 47, channels), np.zeros((61, 47), bool)
    missing[50:] = True
    source = Damaged(pixels, [(10, 10, 12, 12), (55, 3, 56, 4)], missing)
    done, found = scanned(fcn, source, folder / "map", strip=4)
    image = spoiled(pixels, (10, 10, 12, 12))
    expected = one_pass(fcn, image)
    for row, col in fcn.grid((61, 47)):
        if fcn.grid((61, 47)).box(row, col)[2] > 50:
            expected[row, col] = np.nan
    assert_map(found, expected)
    assert [fault.box for fault in done.faults] == [(10, 10, 12, 12), (55, 3, 56, 4)]


def test_a_strict_scan_stops_at_the_first(folder, strip_by_strip):
    _, fcn, channels = network("unpadded")
    pixels = noise(61, 47, channels)
    with pytest.raises(InputError) as stopped:
        fullconv.scan(fcn, Damaged(pixels, HOLES[:1]), folder / "map", strip=1, strict=True)
    assert str(stopped.value) == (
        "the array: px could not be read: rows 20 to 21, columns 10 to 14: a hole.\n"
        "2 chunks are written and kept. Repair the file, or scan without strict: what looks at "
        "these px then has no score."
    )
    # Without it, the same map is gone on with.
    done, found = scanned(fcn, Damaged(pixels, HOLES[:1]), folder / "map", strip=1)
    assert done.before == 2
    assert_map(found, one_pass(fcn, spoiled(pixels, HOLES[0])))


def test_a_damaged_file(folder, strip_by_strip):
    """A tile of a TIFF whose bytes are not what they were."""
    _, fcn, channels = network("unpadded")
    pixels = noise(96, 80, channels)
    path = folder / "tiled.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(32, 16), compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset, length = (
            file.pages[0].dataoffsets[7],
            file.pages[0].databytecounts[7],
        )  # second row, third column of tiles
    content = bytearray(path.read_bytes())
    content[offset : offset + length] = bytes(length)
    path.write_bytes(bytes(content))
    done, found = scanned(fcn, path, folder / "map", strip=3, band=9)
    assert_map(found, one_pass(fcn, spoiled(pixels, (32, 32, 64, 48))))
    (fault,) = done.faults
    assert fault.box == (32, 32, 64, 48)
    assert open_map(folder / "map").faults
    assert dict(done.summary())["not read"] == "512 px in 1 place"


def test_pixels_that_are_no_numbers(folder, strip_by_strip):
    _, fcn, channels = network("unpadded")
    pixels = noise(61, 47, channels, dtype=np.float32)
    pixels[20, 30, 1] = np.nan
    pixels[44:46, 5:9] = 7.5
    done, found = scanned(fcn, pixels, folder / "map", strip=2)
    clean = np.where((pixels >= 0) & (pixels <= 1), pixels, 0)
    assert_map(found, one_pass(fcn, spoiled(clean, (20, 30, 21, 31), (44, 5, 46, 9))))
    assert [fault.box for fault in done.faults] == [(20, 30, 21, 31), (44, 5, 46, 9)]


def test_faults_are_told_in_few_boxes():
    tile = [Fault((row, 0, row + 1, 8), "cut short") for row in range(10)]
    other = [Fault((row, 8, row + 1, 12), "cut short") for row in range(10)]
    apart = Fault((20, 0, 21, 4), "cut short")
    why = Fault((3, 0, 4, 8), "NaN")
    assert joined([*tile, *other, apart, why]) == (
        Fault((0, 0, 10, 12), "cut short"),
        Fault((3, 0, 4, 8), "NaN"),
        Fault((20, 0, 21, 4), "cut short"),
    )
    assert joined([]) == ()
    scattered = [Fault((2 * k, 5 * k, 2 * k + 1, 5 * k + 1), "NaN") for k in range(9)]
    assert len(joined(scattered, most=9)) == 9
    assert joined(scattered, most=8) == (Fault((0, 0, 17, 41), "NaN"),)
    volume = [Fault((0, 0, k, 4, 4, k + 1), "gone") for k in range(3)]
    assert joined(volume) == (Fault((0, 0, 0, 4, 4, 3), "gone"),)
