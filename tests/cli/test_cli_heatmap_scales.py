"""`fullconv heatmap` with scales, mirror images, several classes and regions."""

import json
from collections import Counter

import numpy as np
import PIL.Image
import pytest
from cli_runs import files

import fullconv as package
from fullconv.evaluate.maps.heatmap import heatmap
from fullconv.hosts.torch_fx.fcn import About
from fullconv.models import load_model

SEEN = {"nets.py", "photo.png"}
NAMES = ("cat", "dog", "tiger cat, Felis tigrina", "bird")
NET = ("heatmap", "nets.py:build", "photo.png", "--no-optimize")


def made(target=None, **options) -> package.Heatmap:
    """The same from Python."""
    fcn = package.convert(
        load_model("nets.py:build").module, 16, stride=options.pop("stride", None)
    )
    fcn.about = About("", NAMES, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    return heatmap(fcn, "photo.png", target, **options)


def pixels_of(name: str) -> np.ndarray:
    with PIL.Image.open(name) as picture:
        return np.asarray(picture)


def test_scales_are_fused_into_one_picture_and_map(fullconv, here):
    words = ["--class", "dog", "--scales", "24,1x,1.5x", "--flip", "--map", "out.npy", "--json"]
    run = fullconv(*NET, *words)
    assert run.code == 0
    expected = made("dog", scales=[24, "1x", "1.5x"], flip=True)
    found = np.load("out.npy")
    assert found.dtype == np.float32
    assert found.shape == (1, 40, 57)
    assert np.array_equal(found[0], expected.pixels(), equal_nan=True)
    assert np.array_equal(pixels_of("photo-heatmap.png"), np.asarray(expected.overlay().picture))
    geometry = json.loads((here / "out.json").read_text(encoding="utf-8"))
    assert geometry == expected.pixel_geometry([1])
    assert geometry["names"] == ["dog"]
    assert (geometry["window"], geometry["stride"]) == ([1, 1], [1, 1])
    assert geometry.items() <= run.json.items()
    assert (run.json["peak"], tuple(run.json["peak_box"])) == expected.peak
    assert run.json["maps"] == [
        {"scale": "24", "size": [24, 34], "window": [16, 16], "stride": [2, 2], "shape": [5, 10]},
        {"scale": "1x", "size": [40, 57], "window": [16, 16], "stride": [2, 2], "shape": [13, 21]},
        {"scale": "1.5x", "size": [60, 86], "window": [16, 16], "stride": [2, 2],
         "shape": [23, 36]},
    ]  # fmt: skip


def test_one_scale_keeps_the_raw_scores_of_the_scaled_image(fullconv, here):
    run = fullconv(*NET, "--scales", "60", "--map", "out.npy", "--json")
    expected = made(scales=60)
    assert np.array_equal(np.load("out.npy"), expected.scores)
    geometry = json.loads((here / "out.json").read_text(encoding="utf-8"))
    assert geometry == expected.geometry()
    assert geometry["values"] == "scores"
    assert (geometry["size"], geometry["image_size"]) == ([60, 86], [40, 57])
    assert run.json["shape"] == [4, 23, 36]


def test_the_text_tells_the_maps(fullconv):
    lines = fullconv(*NET, "--scales", "24,60", "--flip", "--class", "cat").out.splitlines()
    assert lines[:3] == [
        "photo.png: 40×57 px, each averaged with that of the mirror image",
        "  at 24×34 px a map of 5×10 windows (16×16 px, every 2×2 px)",
        "  at 60×86 px a map of 23×36 windows (16×16 px, every 2×2 px)",
    ]
    assert lines[3].startswith("cat: at most 0.")
    one = fullconv(*NET, "--scales", "60").out.splitlines()[0]
    assert one == "photo.png: 40×57 px, at 60×86 px a map of 23×36 windows (16×16 px, every 2×2 px)"


@pytest.mark.parametrize("stride", ["1", "2"])
def test_a_stride_goes_with_all_of_it(stride, fullconv):
    words = ["--stride", stride, "--scales", "24,1x", "--flip", "--top", "2", "--threshold", "0.3"]
    run = fullconv(*NET, *words, "--map", "out.npy", "--json")
    assert run.code == 0
    expected = made(stride=int(stride), scales=[24, "1x"], flip=True)
    assert [entry["class"] for entry in run.json["found"]] == [p.index for p in expected.top(2)]
    found = np.load("out.npy")
    assert found.shape == (2, 40, 57)
    for values, peak in zip(found, expected.top(2), strict=True):
        np.testing.assert_allclose(values, expected.pixels(peak.index), atol=1e-6)


def test_the_best_classes_side_by_side(fullconv, here):
    run = fullconv(*NET, "--top", "3", "-o", "three.png", "--json")
    assert run.code == 0
    expected = made()
    assert np.array_equal(pixels_of("three.png"), np.asarray(expected.figure(3)))
    assert run.json["found"] == [
        {"class": p.index, "name": p.name, "peak": p.probability, "peak_box": list(p.box)}
        for p in expected.top(3)
    ]
    assert run.json["class"] == expected.index
    text = fullconv(*NET, "--top", "3").out.splitlines()
    assert [line.split(":")[0] for line in text] == [
        "photo.png", *(p.name for p in expected.top(3)), "written"
    ]  # fmt: skip


def test_more_classes_than_there_are(fullconv):
    assert len(fullconv(*NET, "--top", "99", "--json").json["found"]) == 4


def test_regions_are_listed_and_drawn(fullconv):
    expected = made("dog")
    threshold = float(np.round(np.nanquantile(expected.pixels(), 0.9), 3))
    regions = expected.regions(threshold)
    assert len(regions) > 1
    words = [*NET, "--class", "dog", "--threshold", str(threshold)]
    run = fullconv(*words, "--json")
    assert run.json["threshold"] == threshold
    assert run.json["found"][0]["regions"] == [
        {"box": list(r.box), "area": r.area, "peak": r.peak, "mean": r.mean, "place": list(r.place)}
        for r in regions
    ]
    drawn = np.asarray(expected.overlay(threshold=threshold).picture)
    assert np.array_equal(pixels_of("photo-heatmap.png"), drawn)
    lines = fullconv(*words).out.splitlines()[2:-1]
    top, left, bottom, right = regions[0].box
    assert lines[0] == (
        f"  rows {top} to {bottom}, columns {left} to {right}: {regions[0].area} px, "
        f"at most {regions[0].peak:.3f}, {regions[0].mean:.3f} on average"
    )
    assert len(lines) == min(len(regions), 21)


def test_no_region_reaches_one(fullconv):
    run = fullconv(*NET, "--threshold", "1")
    assert run.out.splitlines()[2] == "  no pixel reaches 1"
    assert fullconv(*NET, "--threshold", "1", "--json").json["found"][0]["regions"] == []


def test_very_many_regions_are_not_all_told(fullconv, here):
    """Stripes as wide as windows are far apart."""
    from fullconv.cli.commands import heatmap_answer

    regions = heatmap_answer._regions((made(0).regions(0.01)[0],) * 1234, 0.01)
    assert len(regions) == 21
    assert regions[-1] == "  and 1,214 more (all with --json)"


def test_a_scale_that_is_too_small_is_said_and_left_out(fullconv):
    run = fullconv(*NET, "--scales", "8,40,0.2x", "--json")
    assert run.code == 0
    said = "photo.png: left out at 8, 0.2x: smaller there than the 16×16 window"
    assert run.err.splitlines()[-1] == said
    assert "Warning" not in run.err
    assert run.json["skipped"] == ["8", "0.2x"]
    assert run.json["scales"] == ["40"]


def test_no_scale_is_left(fullconv, here):
    run = fullconv(*NET, "--scales", "8,15")
    assert run.code == 3
    assert run.error == (
        "photo.png: an image of 40×57 px is 8×11 px and 15×21 px at scales 8, 15, and the window "
        "of the classifier is 16×16.\n"
        "A score needs one whole window. Give a scale of at least 16: the shortest side in px."
    )
    assert files(here) == SEEN


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ("x", "'x' is no scale."), ("256;384", "'256;384' is no scale."), ("", "'' is no scale."),
        ("24,", "'' is no scale."), ("nan", "'nan' is no scale."), ("1/0", "'1/0' is no scale."),
        ("0", "scale 0 must be above 0."), ("-1x", "scale -1x must be above 0."),
    ],
)  # fmt: skip
def test_scales_that_are_none(scales, message, fullconv, here):
    run = fullconv("heatmap", "missing.py:build", "photo.png", "--scales", scales)
    assert run.code == 2
    assert run.error.startswith(f"Invalid value for '--scales': {message}")
    assert files(here) == SEEN


def test_a_scale_beyond_max_pixels(fullconv, here):
    run = fullconv(*NET, "--scales", "256.0", "--max-pixels", "9999")
    assert run.code == 3
    assert run.error.startswith("photo.png: scale 256x makes 40×57 px to 10240×14592, 149,")
    assert files(here) == SEEN


@pytest.mark.parametrize("threshold", ["0", "-1", "1.01", "nan", "inf"])
def test_a_threshold_that_is_no_probability(threshold, fullconv, here):
    run = fullconv("heatmap", "missing.py:build", "photo.png", "--threshold", threshold)
    assert run.code == 2
    assert run.error.startswith(f"threshold={float(threshold)} must lie above 0 and be at most 1.")
    assert files(here) == SEEN


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--top", "0"], "Invalid value for '--top': 0 is not in the range x>=1."),
        (["--top", "two"], "Invalid value for '--top': 'two' is not a valid integer range."),
        (["--threshold", "much"], "Invalid value for '--threshold': 'much' is not a valid float."),
        (["--top", "2", "--class", "dog"], "--top and --class exclude each other."),
    ],
)
def test_options_that_cannot_be(words, message, fullconv, here):
    run = fullconv("heatmap", "missing.py:build", "photo.png", *words)
    assert run.code == 2
    assert run.error.startswith(message)
    assert files(here) == SEEN


@pytest.mark.parametrize("words", [["--scales", "24,40"], ["--flip"], ["--top", "2"]])
def test_weights_that_are_not_numbers_are_named(words, fullconv, here):
    run = fullconv("heatmap", "nets.py:broken", "photo.png", *words, "--map", "out.npy")
    assert run.code == 3
    assert run.error.startswith("2.weight: holds numbers that are not finite (NaN or infinite).")
    assert files(here) == SEEN


@pytest.mark.parametrize("words", [["--top", "2"], ["--scales", "24,40", "--flip"]])
def test_class_names_of_the_wrong_number(words, fullconv, here):
    (here / "names").write_text("ape\nbee\n")
    run = fullconv(*NET, "--classes", "names", *words)
    assert run.code == 3
    assert run.error == "names: holds 2 class names, but the network has 4 scores."
    assert files(here) - {"names"} == SEEN


def test_all_files_or_none(fullconv, here, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fullconv.cli.commands.heatmap_files.np.save", full)
    run = fullconv(*NET, "--scales", "24,40", "--map", "out.npy")
    assert run.code == 1
    assert "No space left on device" in run.error
    assert files(here) == SEEN


@pytest.mark.parametrize("words", [["--top", "3"], ["--class", "dog"]])
def test_each_class_is_fused_once(fullconv, here, monkeypatch, words):
    counts: Counter[int] = Counter()
    real = package.Heatmap.pixels

    def pixels(self, target=None):
        counts[self.index if target is None else target] += 1
        return real(self, target)

    monkeypatch.setattr(package.Heatmap, "pixels", pixels)
    run = fullconv(*NET, *words, "--flip", "--threshold", "0.3", "--map", "m.npy", "--json")
    assert run.code == 0
    shown = [one["class"] for one in run.json["found"]]
    assert counts == Counter(shown)
    assert len(shown) == (3 if "--top" in words else 1)


def test_neither_regions_nor_a_map_need_no_pixels(fullconv, here, monkeypatch):
    monkeypatch.setattr(package.Heatmap, "pixels", lambda *_: 1 / 0)
    assert fullconv(*NET, "--flip", "--top", "2").code == 0
    assert fullconv(*NET, "--map", "m.npy").code == 0


def test_a_map_that_does_not_fit_is_refused(fullconv, here, monkeypatch):
    from fullconv.cli.commands import heatmap_answer

    monkeypatch.setattr(heatmap_answer, "available_bytes", lambda: 10_000)
    run = fullconv(*NET, "--flip", "--top", "2", "--map", "out.npy")
    assert run.code == 3
    assert run.error.startswith(
        "--map: the fused map of 2 classes takes 17.8 KiB of memory, and 9.8 KiB is free.\n"
    )
    assert not (here / "out.npy").exists()
