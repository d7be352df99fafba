"""The map of a scan is the map of one pass, and what it says of itself is so."""

import json

import numpy as np
import PIL.Image
import pytest
import scans
import tifffile
import torch
from scans import assert_map, network, noise, one_pass, prepared, scanned, slid
from torch import nn

import fullconv
from audited import excited
from fullconv.errors import InputError, RefusedError, UsageError
from fullconv.storage.maps import open_map
from fullconv.storage.sources import ArraySource, DrawnSource

SIZES = {"LeNet": (75, 61), "TinyVGG": (102, 90), "unpadded": (61, 47), "padded": (61, 47)}


@pytest.mark.parametrize("name", scans.NETWORKS)
@pytest.mark.parametrize(("strip", "band"), [(None, None), (1, 3), (3, 1), (4, 5)])
def test_a_scan_is_one_pass(name, strip, band, folder, strip_by_strip):
    model, fcn, channels = network(name)
    pixels = noise(*SIZES[name], channels)
    done, found = scanned(fcn, pixels, folder / "map", strip=strip, band=band)
    assert_map(found, one_pass(fcn, prepared(pixels)))
    if name != "padded":
        assert_map(found, slid(model, prepared(pixels), fcn.window, fcn.stride))
    assert done.chunks == done.computed == len(open_map(folder / "map").layout)
    assert done.cells == len(fcn.grid(SIZES[name]))
    assert (done.before, done.blank, done.faults) == (0, 0, ())


@pytest.mark.parametrize("method", ["dilate", "fragments"])
def test_finer_strides_are_scanned(method, folder, strip_by_strip):
    model, fcn, channels = network("LeNet", stride=1, method=method)
    pixels = noise(41, 37, channels)
    _, found = scanned(fcn, pixels, folder / "map", strip=3, band=4)
    assert_map(found, slid(model, prepared(pixels), (28, 28), (1, 1)))


@pytest.mark.parametrize("dims", [1, 3])
def test_signals_and_volumes_are_scanned(dims, folder, strip_by_strip):
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[dims]
    model = scans.ready(nn.Sequential(
        conv(2, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4**dims, 2)
    ))  # fmt: skip
    fcn = fullconv.convert(model, 8)
    pixels = noise(*(23, 14, 11)[:dims], 2, dtype=np.float32)
    source = ArraySource(pixels, axes=dims)
    _, found = scanned(fcn, source, folder / "map", strip=2, band=2)
    assert_map(found, one_pass(fcn, prepared(pixels)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pixels_are_prepared_as_everywhere(dtype, folder):
    _, fcn, channels = network("TinyVGG")
    pixels = noise(80, 72, channels, dtype=dtype)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    _, found = scanned(fcn, pixels, folder / "map", mean=mean, std=std)
    assert_map(found, one_pass(fcn, prepared(pixels, mean, std)))
    fcn.about = fullconv.hosts.torch_fx.fcn.About(mean=mean, std=std)
    _, again = scanned(fcn, pixels, folder / "again")
    assert np.array_equal(found, again)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_files_are_scanned(suffix, folder, strip_by_strip):
    _, fcn, channels = network("unpadded")
    pixels = noise(70, 66, channels)
    path = folder / f"photo.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, pixels, photometric="rgb", tile=(16, 32), compression="zlib")
    else:
        PIL.Image.fromarray(pixels).save(path)
        pixels = np.asarray(PIL.Image.open(path))
    _, found = scanned(fcn, path, folder / "map", strip=2, band=7)
    assert_map(found, one_pass(fcn, prepared(pixels)))
    assert open_map(folder / "map").about.source == str(path)


@pytest.mark.parametrize("kind", ["file", "array"])
def test_a_region_is_scanned_by_itself(kind, folder):
    _, fcn, channels = network("padded")
    pixels = noise(70, 66, channels)
    PIL.Image.fromarray(pixels).save(folder / "photo.png")
    source = folder / "photo.png" if kind == "file" else pixels
    _, found = scanned(fcn, source, folder / "map", region=(10, 3, 50, 61))
    assert_map(found, one_pass(fcn, prepared(pixels[10:50, 3:61])))
    about = open_map(folder / "map").about
    assert about.size == (40, 58)
    assert about.frame["origin"] == ["10", "3"]


def test_levels_of_a_pyramid(folder):
    _, fcn, channels = network("unpadded")
    large = noise(128, 96, channels)
    small = large[::2, ::2].copy()
    path = folder / "pyramid.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(large, photometric="rgb", tile=(32, 32), subifds=1)
        file.write(small, photometric="rgb", tile=(32, 32), subfiletype=1)
    _, found = scanned(fcn, path, folder / "map", level=1)
    assert_map(found, one_pass(fcn, prepared(small)))
    assert open_map(folder / "map").about.frame["scale"] == ["2", "2"]


def test_pixels_may_be_computed_when_they_are_asked_for(folder, strip_by_strip):
    _, fcn, channels = network("unpadded")
    pixels, asked = noise(60, 50, channels), []

    def draw(box):
        asked.append(box)
        return pixels[box[0] : box[2], box[1] : box[3]]

    source = DrawnSource((60, 50), channels, "uint8", draw)
    _, found = scanned(fcn, source, folder / "map", strip=3)
    assert_map(found, one_pass(fcn, prepared(pixels)))
    rows = [box[0] for box in asked if box[3] - box[1] == 49]
    assert rows == sorted(set(rows)), "rows are read once, from top to bottom"


def test_probabilities_and_chosen_classes(folder):
    _, fcn, channels = network("LeNet")
    pixels = noise(50, 44, channels)
    scores = one_pass(fcn, prepared(pixels))
    expected = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    _, found = scanned(fcn, pixels, folder / "all", values="probabilities")
    assert_map(found, expected)
    _, found = scanned(fcn, pixels, folder / "two", keep=[7, 2])
    assert_map(found, scores[..., [7, 2]])
    scanned(fcn, pixels, folder / "top", keep=("top", 3), dtype="float16")
    best, classes = open_map(folder / "top").top(3)
    order = np.argsort(-scores, axis=-1, kind="stable")[..., :3]
    assert np.array_equal(classes, order)
    assert np.allclose(best, np.take_along_axis(scores, order, axis=-1), rtol=1e-3)
    scanned(fcn, pixels, folder / "bytes", values="probabilities", dtype="uint8")
    assert np.abs(open_map(folder / "bytes").read() - expected).max() <= 0.5 / 254 + 1e-6


def test_a_single_score_becomes_a_probability(folder):
    model = scans.ready(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(4, 1)))
    fcn = fullconv.convert(model, 4)
    pixels = noise(11, 9, 1)
    _, found = scanned(fcn, pixels, folder / "map", values="probabilities")
    assert_map(found, 1 / (1 + np.exp(-one_pass(fcn, prepared(pixels)))))


def test_classes_are_kept_by_name(folder):
    _, fcn, channels = network("LeNet")
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    fcn.about = fullconv.hosts.torch_fx.fcn.About(classes=names)
    pixels = noise(40, 40, channels)
    scanned(fcn, pixels, folder / "map", keep=["seven", 2])
    there = open_map(folder / "map")
    assert there.numbers == (7, 2)
    assert there.about.classes == names
    with pytest.raises(UsageError, match="the network has no class 'sevn'"):
        fullconv.scan(fcn, pixels, folder / "other", keep=["sevn"])


@pytest.mark.parametrize("optimized", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_precisions_stay_near(optimized, dtype, folder, strip_by_strip):
    model, fcn, channels = network("TinyVGG")
    pixels = noise(100, 90, channels)
    expected = one_pass(fcn, prepared(pixels))
    other = fcn.optimize(dtype=dtype) if optimized else fullconv.convert(model.to(dtype), 64)
    _, found = scanned(other, pixels, folder / "map", strip=2, band=3)
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 0.1}[dtype]
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def test_what_a_map_says_of_itself(folder):
    _, fcn, channels = network("unpadded")
    pixels = noise(60, 50, channels)
    done, _ = scanned(fcn, pixels, folder / "map", strip=5)
    about = open_map(folder / "map").about
    assert (about.window, about.stride, about.size) == ((18, 18), (2, 2), (60, 50))
    assert about.settings == {
        "mean": [0.0], "std": [1.0], "numbers": "float64", "device": "cpu", "mask": None,
        "strip": 5, "band": 17,
    }  # fmt: skip
    assert about.made_by == f"fullconv {fullconv.__version__}"
    assert about.fingerprint == ArraySource(pixels).fingerprint()
    assert json.loads(json.dumps(done.to_dict())) == json.loads(json.dumps(done.to_dict()))
    assert 0.9 < done.ratio <= 1.0
    facts = dict(done.summary())
    assert facts["image"] == "the array, 60×50 px"
    assert facts["score map"] == f"{folder / 'map'}, 22×17 cells, 2×2 px apart"
    assert facts["chunks"] == "1: 1 computed"
    assert facts["without a score"] == "0 of the cells written"


def test_bands_make_halos_again_and_say_so(folder):
    _, fcn, channels = network("unpadded")
    pixels = noise(60, 50, channels)
    done, _ = scanned(fcn, pixels, folder / "map", band=4)
    assert done.macs == pytest.approx(done.plan.macs)
    assert done.ratio == pytest.approx(done.plan.ratio)
    assert done.ratio > 1.2


def test_a_network_that_looks_at_whole_images_is_refused(folder):
    fcn = fullconv.convert(excited(), 8, context="image")
    with pytest.raises(RefusedError) as refused:
        fullconv.scan(fcn, noise(40, 40, 3), folder / "map")
    assert "whole image" in str(refused.value)
    assert not (folder / "map").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "cat"}, 'keep=\'cat\' must be "all", a list of classes, or ("top", k).\nTo keep one class, write keep=[\'cat\'].'),
        ({"keep": []}, 'keep names no class.\nWrite keep="all" to keep all of them.'),
        ({"keep": ("top", 11)}, "the best 11 classes are to be stored, and there are 10."),
        ({"values": "logits"}, "values='logits' must be one of 'scores', 'probabilities'."),
        ({"dtype": "int8"}, "dtype='int8' must be one of 'float32', 'float16', 'uint8'."),
        ({"dtype": "uint8"}, "dtype='uint8' holds probabilities, from 0 to 1, and scores are asked for.\nAsk for values='probabilities', or for float32 or float16."),
        ({"strip": 0}, "strip=0 must be a positive whole number."),
        ({"max_memory": -1}, "max_memory=-1 must be a positive whole number."),
        ({"level": 1}, "level cannot be given: only files have levels."),
        ({"region": (0, 0, 60, 20)}, "the array: the region (0, 0, 60, 20) does not lie inside the image of 40×40 px.\nIt is half-open: top, left, bottom, right in px of the level that is read. Stay within (0, 0, 40, 40)."),
        ({"mean": (0.5, 0.5, 0.5)}, "mean has 3 numbers, but the network takes 1 channel.\nGive one number, or one per channel."),
        ({"mask": "auto"}, "the array: background is found by its lack of colour, and the image is not RGB.\nGive a mask as an image."),
    ],
)  # fmt: skip
def test_calls_that_cannot_be(options, message, folder):
    _, fcn, _ = network("LeNet")
    with pytest.raises(UsageError) as wrong:
        fullconv.scan(fcn, noise(40, 40, 1), folder / "map", **options)
    assert str(wrong.value) == message
    assert not (folder / "map").exists()


def test_what_is_no_network_and_what_is_no_image(folder):
    model, fcn, _ = network("LeNet")
    with pytest.raises(UsageError, match="a scan needs an FCN, not a LeNet"):
        fullconv.scan(model, noise(40, 40, 1), folder / "map")
    with pytest.raises(UsageError, match="a list is no image"):
        fullconv.scan(fcn, [1, 2], folder / "map")
    with pytest.raises(InputError, match="none.png: "):
        fullconv.scan(fcn, folder / "none.png", folder / "map")
    with pytest.raises(InputError) as small:
        fullconv.scan(fcn, noise(20, 40, 1), folder / "map")
    assert str(small.value) == (
        "the array: the image is 20×40 px, smaller than the 28×28 window of the classifier.\n"
        "A score needs one whole window. Use a larger image, or enlarge this one to at least the "
        "window."
    )
    assert not (folder / "map").exists()


def test_weights_that_are_no_numbers(folder):
    model, _, channels = network("LeNet")
    model.fc2.weight.data[0, 0] = torch.nan
    fcn = fullconv.convert(model, 28)
    with pytest.raises(InputError, match=r"fc2.weight: holds numbers that are not finite"):
        fullconv.scan(fcn, noise(40, 40, channels), folder / "map")
