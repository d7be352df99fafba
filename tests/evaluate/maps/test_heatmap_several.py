"""Several scales, several classes, regions: what a heat map tells beyond one map."""

import io
import warnings
from fractions import Fraction

import numpy as np
import PIL.Image
import pytest
import torch
from fused_by_hand import by_hand
from torch import nn

import fullconv
from fullconv.errors import InputError, UsageError
from fullconv.evaluate.maps.heatmap import heatmap
from fullconv.evaluate.pictures import overlay as overlays
from fullconv.hosts.torch_fx.fcn import About

PIXELS = np.random.default_rng(3).integers(0, 256, (21, 34, 3), np.uint8)
NAMES = ("ape", "bee", "cow", "dog")


@pytest.fixture(scope="module")
def fcn() -> fullconv.FCN:
    torch.manual_seed(0)
    body = nn.Conv2d(3, 5, 3, stride=2), nn.ReLU(), nn.Flatten()
    made = fullconv.convert(nn.Sequential(*body, nn.Linear(125, 4)).eval(), 12)
    made.about = About("net", NAMES, (0.5,), (0.05,))
    return made


@pytest.fixture(scope="module")
def made(fcn) -> fullconv.Heatmap:
    return heatmap(fcn, PIXELS, "cow", scales=[14, "1x", 30], flip=True)


@pytest.mark.parametrize("target", [None, 0, "dog"])
def test_pixels_are_the_mean_of_the_scales_whose_windows_lie_there(target, made, monkeypatch):
    monkeypatch.setattr("fullconv.evaluate.maps.heatmap.BLOCK", 70)  # two rows at a time
    index = {None: 2, 0: 0, "dog": 3}[target]
    maps = np.array([by_hand(m.probabilities[index], m.grid, (21, 34)) for m in made.maps])
    values = made.pixels(target)
    assert values.shape == (21, 34)
    assert values.dtype == np.float32
    assert 0 < np.isnan(maps).sum() < maps.size / 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a pixel in no window
        expected = np.nanmean(maps, axis=0)
    np.testing.assert_allclose(values, expected, atol=1e-6)


def test_pixels_in_no_window_are_not_a_number(fcn):
    values = heatmap(fcn, PIXELS, 0).pixels()
    # Windows of 12 px, 2 px apart: the last one ends at row 20 of 21.
    assert np.isnan(values[20]).all()
    assert np.isfinite(values[:20]).all()


def test_peaks_are_the_highest_of_any_window_at_any_scale(made):
    top = made.top(3)
    highest = [max(float(m.probabilities[k].max()) for m in made.maps) for k in range(4)]
    assert [peak.probability for peak in top] == sorted(highest, reverse=True)[:3]
    for peak in top:
        assert peak.probability == highest[peak.index]
        assert peak.name == NAMES[peak.index]
        assert peak == made.peak_of(peak.index) == made.peak_of(peak.name)
        m = max(made.maps, key=lambda m: m.probabilities[peak.index].max())
        values = m.probabilities[peak.index]
        cell = np.unravel_index(values.argmax(), values.shape)
        box = m.grid.box(*(int(i) for i in cell))
        for axis, size in enumerate((21, 34)):
            share = Fraction(size, m.grid.size[axis])
            start, stop = box[axis] * share, box[axis + 2] * share
            assert peak.box[axis] <= start < peak.box[axis] + 1
            assert peak.box[axis + 2] - 1 < stop <= peak.box[axis + 2]
    assert made.peak == (made.peak_of(2).probability, made.peak_of(2).box)
    assert len(made.top(9)) == 4


def test_the_class_is_the_most_probable_one_at_any_scale(fcn):
    found = heatmap(fcn, PIXELS, scales=[14, 21, 30])
    assert found.index == found.top(1)[0].index
    alone = [heatmap(fcn, PIXELS, scales=[scale]) for scale in (14, 21, 30)]
    best = max(alone, key=lambda one: one.peak[0])
    assert found.peak == best.peak
    assert found.index == best.index


@pytest.mark.parametrize("count", [0, -1])
def test_no_class_is_no_top(count, made):
    for call in (made.top, made.figure):
        with pytest.raises(UsageError, match=f"top={count}: at least one class is shown"):
            call(count)


def test_regions_are_those_of_the_pixels(made):
    values = made.pixels(1)
    threshold = float(np.nanquantile(values, 0.7))
    regions = made.regions(threshold, "bee")
    assert sum(region.area for region in regions) == (values >= threshold).sum() > 100
    assert regions[0].peak == np.nanmax(values)
    assert values[regions[0].place] == regions[0].peak
    assert made.regions(1.0, 1) == ()
    with pytest.raises(UsageError, match=r"^threshold=0 must lie above 0 and be at most 1\."):
        made.regions(0)


def test_the_overlay_draws_the_regions_of_its_class(made, monkeypatch):
    drawn = []
    real = overlays.mark
    monkeypatch.setattr(overlays, "mark", lambda *a: drawn.append(a[3]) or real(*a))
    threshold = float(np.nanquantile(made.pixels(), 0.9))
    plain, boxed = made.overlay(), made.overlay(threshold=threshold)
    assert [list(boxes) for boxes in drawn] == [[], [r.box for r in made.regions(threshold)]]
    assert np.any(np.asarray(plain.picture) != np.asarray(boxed.picture))


def test_the_figure_shows_the_image_and_the_best_classes(made, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "fullconv.evaluate.maps.heatmap.figure",
        lambda image, panels, *, opacity: seen.append((image, panels, opacity)),
    )
    made.figure(2, threshold=0.4, opacity=0.3)
    ((image, panels, opacity),) = seen
    assert np.array_equal(image, PIXELS)
    assert opacity == 0.3
    top = made.top(2)
    assert [(p.title, p.note) for p in panels] == [
        ("array", ""), *((peak.name, f"{peak.probability:.3f}") for peak in top)
    ]  # fmt: skip
    for panel, peak in zip(panels[1:], top, strict=True):
        assert [layer.grid for layer in panel.layers] == [m.grid for m in made.maps]
        assert all(
            np.array_equal(layer.values, m.probabilities[peak.index])
            for layer, m in zip(panel.layers, made.maps, strict=True)
        )
        assert list(panel.boxes) == [r.box for r in made.regions(0.4, peak.index)]


def test_a_notebook_shows_the_overlay_and_one_line(made, fcn):
    with PIL.Image.open(io.BytesIO(made._repr_png_())) as picture:
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture), np.asarray(made.overlay().picture))
    assert repr(made) == f"<Heatmap of cow: at most {made.peak[0]:.3f}, 2×6, 5×12, 10×19 windows>"
    assert repr(heatmap(fcn, PIXELS, 0)).endswith(", 5×12 windows>")


def test_the_geometry_of_fused_maps_is_that_of_the_pixels(made):
    assert made.pixel_geometry([3, 0]) == {
        "format": "fullconv-map-1", "image": "array", "image_size": [21, 34], "size": [21, 34],
        "window": [1, 1], "stride": [1, 1], "offset": [0, 0], "shape": [2, 21, 34],
        "axes": ["class", "row", "col"], "values": "probabilities", "classes": list(NAMES),
        "scales": ["14", "1x", "30"], "flip": True, "indices": [3, 0], "names": ["dog", "ape"],
    }  # fmt: skip
    raw = made.geometry()
    assert (raw["image_size"], raw["size"], raw["shape"]) == ([21, 34], [14, 23], [4, 2, 6])


# --- scales that cannot be ---


def test_a_scale_below_the_window_is_skipped_with_a_warning(fcn):
    with pytest.warns(UserWarning, match="left out") as caught:
        found = heatmap(fcn, PIXELS, 0, scales=[8, 21, "0.5x"])
    assert [str(w.message) for w in caught] == [
        "array: left out at 8, 0.5x: smaller there than the 12×12 window"
    ]
    assert caught[0].filename == __file__
    assert [str(scale) for scale in found.skipped] == ["8", "0.5x"]
    assert [str(m.scale) for m in found.maps] == ["21"]


def test_no_scale_that_holds_a_window(fcn):
    with pytest.raises(InputError) as caught:
        heatmap(fcn, PIXELS, 0, scales=[8, 11])
    assert str(caught.value).startswith(
        "array: an image of 21×34 px is 8×13 px and 11×18 px at scales 8, 11, and the window of "
        "the classifier is 12×12."
    )


def test_a_scale_above_max_pixels(fcn):
    with pytest.raises(InputError) as caught:
        heatmap(fcn, PIXELS, 0, scales=["1x", 256.0], max_pixels=1000)
    assert str(caught.value) == (
        "array: scale 256x makes 21×34 px to 5376×8704, 46,792,704 px in all, and no more than "
        "1,000 are scored.\nWhole numbers are the shortest side in px, others factors; or raise "
        "max_pixels."
    )


@pytest.mark.parametrize("scales", [[], "x", 0, "256,384", [None]])
def test_what_is_no_scale(scales, fcn):
    with pytest.raises(UsageError, match=r"scale"):
        heatmap(fcn, PIXELS, 0, scales=scales)


def test_an_image_below_the_window_can_be_enlarged(fcn):
    small = PIXELS[:9]
    with pytest.raises(InputError, match="the image is 9×34 px, smaller than the 12×12 window"):
        heatmap(fcn, small, 0)
    with pytest.warns(UserWarning, match="array: left out at 1x: smaller there"):
        heatmap(fcn, small, 0, scales=["1x", 18])
    found = heatmap(fcn, small, 0, scales=18)
    assert found.grid.size == (18, 68)
    assert found.overlay().image().size == (34, 9)


def test_the_maps_of_all_classes_count_as_memory(fcn):
    """One class: a pass and its maps fit; with a limit of the pass alone they do not."""
    from fullconv.api.memory import Budget
    from fullconv.evaluate.maps.score_maps import held_bytes

    sizes = [(21, 34), (30, 49)]
    cells = [len(fcn.grid(size)) for size in sizes]
    assert held_bytes(fcn, sizes, False) == 4 * 4 * (2 * sum(cells) + max(cells))
    assert held_bytes(fcn, sizes, True) == 4 * 4 * (2 * sum(cells) + 3 * max(cells))
    need = Budget(fcn, 1).needed((21, 34))  # counted, so near the limit
    held = held_bytes(fcn, [(21, 34)], False)
    heatmap(fcn, PIXELS, max_memory=need + held)
    with pytest.raises(InputError, match="a pass over 21×34 px needs"):
        heatmap(fcn, PIXELS, max_memory=need + held - 1)
    with pytest.raises(InputError) as caught:
        heatmap(fcn, PIXELS, max_memory=held)
    assert str(caught.value) == (
        "array: the maps of 4 classes take 2.8 KiB of memory, and 2.8 KiB is allowed.\n"
        "Take a larger stride, fewer or smaller scales, or cut the image into parts."
    )


def test_boxes_of_regions_that_are_known_already(made, monkeypatch):
    threshold = float(np.nanquantile(made.pixels(), 0.8))
    boxed = np.asarray(made.overlay(threshold=threshold).picture)
    several = np.asarray(made.figure(2, threshold=threshold))
    known = {peak.index: made.regions(threshold, peak.index) for peak in made.top(2)}
    own = made.regions(threshold)
    assert own
    monkeypatch.setattr(type(made), "pixels", lambda *_: 1 / 0)
    assert np.array_equal(np.asarray(made.overlay(regions=own).picture), boxed)
    assert np.array_equal(np.asarray(made.figure(2, regions=known)), several)
    plain = np.asarray(made.overlay(threshold=threshold, regions=()).picture)
    assert np.array_equal(plain, np.asarray(made.overlay().picture))
    assert not np.array_equal(plain, boxed)
