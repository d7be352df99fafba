import json

import numpy as np
import PIL.Image
import pytest
import torch
from cli_runs import files, picture

import fullconv as package
from fullconv.evaluate.preparation import prepared
from fullconv.models import load_model
from fullconv.storage.images import read_image

SEEN = {"nets.py", "photo.png"}


def scores_of(form: str, image, mean, std) -> np.ndarray:
    """The map as Python gives it: `(K, rows, cols)`."""
    fcn = package.convert(load_model(form).module, 16)
    with torch.no_grad():
        return fcn(prepared(image, mean, std))[0].numpy()


def test_the_picture_lies_beside_and_the_answer_names_the_place(fullconv, here):
    run = fullconv("heatmap", "nets.py:build", "photo.png", "--class", "dog")
    assert run.code == 0
    first, second, third = run.out.splitlines()
    assert first == "photo.png: 40×57 px, a map of 13×21 windows (16×16 px, every 2×2 px)"
    assert second.startswith("dog: at most 0.")
    assert third == "written: photo-heatmap.png"
    assert files(here) == SEEN | {"photo-heatmap.png"}
    loaded, optimized, scoring = run.err.splitlines()
    assert loaded == "nets.py:build: weights as built by nets.py:build"
    assert optimized.startswith("optimized: batch norms 0 of 0 folded; matrix products 1 on small")
    assert scoring == "scoring photo.png ..."


def test_the_raw_map_is_the_fcn_of_the_prepared_image(fullconv, here):
    words = ["--map", "out.npy", "--json", "--no-optimize"]
    run = fullconv("heatmap", "nets.py:build", "photo.png", *words)
    assert run.code == 0
    assert run.json["written"] == ["photo-heatmap.png", "out.npy", "out.json"]
    expected = scores_of(
        "nets.py:build", read_image("photo.png"), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    )
    found = np.load("out.npy")
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


def test_the_geometry_says_where_every_cell_lies(fullconv, here):
    run = fullconv("heatmap", "nets.py:build", "photo.png", "--map", "out.npy", "--json")
    geometry = json.loads((here / "out.json").read_text(encoding="utf-8"))
    assert geometry.items() <= run.json.items()
    scores = np.load("out.npy")
    assert geometry["shape"] == list(scores.shape) == [4, 13, 21]
    assert geometry["axes"] == ["class", "row", "col"]
    assert geometry["size"] == [40, 57]
    assert geometry["classes"] == ["cat", "dog", "tiger cat, Felis tigrina", "bird"]
    grid = package.convert(load_model("nets.py:build").module, 16).grid((40, 57))
    for cell in grid:
        top, left = (
            o + i * s for o, i, s in zip(geometry["offset"], cell, geometry["stride"], strict=True)
        )
        bottom, right = top + geometry["window"][0], left + geometry["window"][1]
        assert grid.box(*cell) == (top, left, bottom, right)


def test_the_peak_is_the_crop_that_scores_highest(fullconv, here):
    data = fullconv("heatmap", "nets.py:build", "photo.png", "--class", "1", "--json").json
    assert (data["class"], data["name"]) == (1, "dog")
    top, left, bottom, right = data["peak_box"]
    x = prepared(read_image("photo.png"), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    model = load_model("nets.py:build").module
    with torch.no_grad():
        crop = model(x[:, :, top:bottom, left:right]).softmax(1)[0, 1]
        every = [
            model(x[:, :, i : i + 16, j : j + 16]).softmax(1)[0, 1]
            for i in range(0, 25, 2)
            for j in range(0, 42, 2)
        ]
    assert data["peak"] == pytest.approx(float(crop), abs=1e-6)
    assert data["peak"] == pytest.approx(float(max(every)), abs=1e-6)


def test_without_a_class_the_most_probable_one_is_shown(fullconv, here):
    run = fullconv("heatmap", "nets.py:build", "photo.png", "--map", "out.npy", "--json")
    scores = torch.from_numpy(np.load("out.npy"))
    best = int(scores.softmax(0).flatten(1).amax(1).argmax())
    assert run.json["class"] == best


@pytest.mark.parametrize("name", ["Felis tigrina", "TIGER CAT", "tiger cat, felis tigrina", "2"])
def test_a_class_goes_by_any_of_its_names_or_its_number(name, fullconv):
    run = fullconv("heatmap", "nets.py:build", "photo.png", "--class", name, "--json")
    assert run.json["name"] == "tiger cat, Felis tigrina"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dgo", "the network has no class 'dgo'.\nDid you mean dog"),
        ("tigercat", "the network has no class 'tigercat'.\nDid you mean tiger cat"),
        ("zebra fish", "It has 'cat', 'dog', 'tiger cat, Felis tigrina', 'bird'."),
        ("4", "class 4: the network has classes 0 to 3."),
        ("-1", "class -1: the network has classes 0 to 3."),
        ("", "the network has no class ''."),
    ],
)
def test_a_class_that_is_not_there(name, message, fullconv, here):
    run = fullconv("heatmap", "nets.py:build", "photo.png", "--class", name, "--map", "out.npy")
    assert run.code == 2
    assert message in run.error
    assert files(here) == SEEN


def test_a_name_where_names_are_not_known(fullconv, here):
    (here / "bare.py").write_text((here / "nets.py").read_text().replace("CLASSES", "OTHERS"))
    run = fullconv("heatmap", "bare.py:build", "photo.png", "--class", "dog")
    assert run.code == 2
    assert run.error == (
        "class 'dog': the names of the classes are not known.\n"
        "Give a number from 0 to 3, or the names (fcn.about.classes, --classes FILE)."
    )


@pytest.mark.parametrize(
    "text", ["ape\nbee\ncow\nfox\n", "\ufeffape\r\nbee\r\n\r\ncow\r\nfox", ' ["ape", "bee", "cow", "fox"]']
)  # fmt: skip
def test_class_names_from_a_file(text, fullconv, here):
    (here / "names").write_bytes(text.encode())
    words = ["--classes", "names", "--class", "cow", "--json"]
    data = fullconv("heatmap", "nets.py:build", "photo.png", *words).json
    assert data["class"] == 2
    assert data["classes"] == ["ape", "bee", "cow", "fox"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ape\nbee\n", "holds 2 class names, but the network has 4 scores."),
        (b"", "holds 0 class names"),
        (b"\xff\xfe\x00", "is no text in UTF-8.\nClass names stand one per line."),
        (b"[1, 2, 3, 4]", "is JSON, but no list of class names."),
        (b'{"0": "ape"}', "is JSON, but no list of class names."),
        (b'["ape", ', "begins like JSON, and is none: "),
        (b"[" * 100_000, "begins like JSON, and is none: "),
        (None, "cannot be read: No such file or directory."),
    ],
)
def test_class_names_that_cannot_be(content, message, fullconv, here):
    if content is not None:
        (here / "names").write_bytes(content)
    run = fullconv("heatmap", "nets.py:build", "photo.png", "--classes", "names")
    assert run.code == 3
    assert run.error.startswith(f"names: {message}")
    assert files(here) - {"names"} == SEEN


def test_mean_and_std_by_hand(fullconv, here):
    words = ["--mean", "0.1", "--std", "0.5,1,2", "--map", "out.npy", "--no-optimize"]
    assert fullconv("heatmap", "nets.py:build", "photo.png", *words).code == 0
    expected = scores_of("nets.py:build", read_image("photo.png"), (0.1,), (0.5, 1.0, 2.0))
    assert np.array_equal(np.load("out.npy"), expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mean", "1,2"], "mean has 2 numbers, but the network takes 3 channels."),
        (["--std", "1,2,3,4"], "std has 4 numbers, but the network takes 3 channels."),
        (["--std", "0"], "std=0 cannot be."),
        (["--std", "1,-1,1"], "std=1,-1,1 cannot be."),
    ],
)
def test_a_preparation_that_cannot_be(words, message, fullconv, here):
    run = fullconv("heatmap", "nets.py:build", "photo.png", *words)
    assert run.code == 2
    assert run.error.startswith(message)
    assert files(here) == SEEN


def test_weights_and_window_are_used(fullconv, here):
    net = load_model("nets.py:build").module
    with torch.no_grad():
        net[5].bias[3] += 100
    torch.save({"state_dict": net.state_dict()}, "w.pth")
    words = ["--weights", "w.pth", "--window", "15", "--json"]
    data = fullconv("heatmap", "nets.py:build", "photo.png", *words).json
    assert data["name"] == "bird"
    assert data["peak"] == pytest.approx(1)
    assert data["window"] == [15, 15]


@pytest.mark.parametrize("name", ["a.png", "b.PNG", "c.jpg", "d.jpeg"])
def test_the_picture_is_of_the_kind_its_ending_says(name, fullconv, here):
    assert fullconv("heatmap", "nets.py:build", "photo.png", "-o", name).code == 0
    with PIL.Image.open(name) as made:
        assert made.format == ("PNG" if name.lower().endswith("png") else "JPEG")


@pytest.mark.parametrize("name", ["a.gif", "a", ".png", "a.npy"])
def test_another_ending_is_refused_before_anything_is_loaded(name, fullconv, here):
    run = fullconv("heatmap", "missing.py:build", "photo.png", "-o", name)
    assert run.code == 2
    assert run.error == f"-o {name} must be a name that ends in .png or .jpg."


@pytest.mark.parametrize("name", ["a.npz", "a", ".npy", "a.png"])
def test_another_ending_of_the_map(name, fullconv, here):
    run = fullconv("heatmap", "missing.py:build", "photo.png", "--map", name)
    assert run.code == 2
    assert run.error == f"--map {name} must be a name that ends in .npy."


def test_a_network_that_is_saved_gives_the_same(fullconv, here):
    assert fullconv("convert", "nets.py:build", "-o", "net.safetensors").code == 0
    one = fullconv("heatmap", "nets.py:build", "photo.png", "--map", "1.npy", "--json").json
    two = fullconv("heatmap", "net.safetensors", "photo.png", "--map", "2.npy", "--json").json
    assert np.array_equal(np.load("1.npy"), np.load("2.npy"))
    differ = {key for key in one if one[key] != two[key]}
    assert differ == {"model", "written"}


@pytest.mark.parametrize("words", [["--window", "16"], ["--stride", "2"], ["--weights", "w.pth"]])
def test_a_saved_network_takes_no_window_or_weights(words, fullconv, here):
    run = fullconv("heatmap", "net.safetensors", "photo.png", *words)
    assert run.code == 2
    assert run.error.startswith(f"net.safetensors: {words[0]} cannot be given for a network that")


def test_very_many_classes(fullconv, here):
    run = fullconv("heatmap", "nets.py:many", "photo.png", "--map", "out.npy", "--json")
    assert run.code == 0
    assert "its 4 class names are left out, for 20000 scores" in run.err
    assert np.load("out.npy").shape == (20000, 13, 21)
    assert run.json["name"] == f"class {run.json['class']}"


def test_an_image_of_exactly_one_window(fullconv, here):
    picture(here / "one.png", 16, 16)
    data = fullconv("heatmap", "nets.py:build", "one.png", "--json").json
    assert data["shape"] == [4, 1, 1]
    assert data["peak_box"] == [0, 0, 16, 16]


def test_names_with_spaces_accents_and_brackets(fullconv, here):
    folder = here / "Füße [1] 日本"
    folder.mkdir()
    picture(folder / "ein Bild.png")
    out = str(folder / "Wärme {2}.png")
    words = ["-o", out, "--map", str(folder / "m,1.npy")]
    run = fullconv("heatmap", "nets.py:build", str(folder / "ein Bild.png"), *words)
    assert run.code == 0
    assert out in run.out
    assert files(folder) == {"ein Bild.png", "Wärme {2}.png", "m,1.npy", "m,1.json"}
