"""`fullconv evaluate`: the table, its files, and what it says of data that cannot be used."""

import csv
import os

import numpy as np
import PIL.Image
import pytest
from cli_runs import files, process

NAMES = ["cat", "dog", "tiger_cat", "bird"]  # of the folders; the class is "tiger cat"


@pytest.fixture
def photos(here):
    """Twelve images in folders by the names of the classes, in `photos`."""
    random = np.random.default_rng(8)
    for index in range(12):
        folder = here / "photos" / NAMES[index % 4]
        folder.mkdir(parents=True, exist_ok=True)
        shape = (20, 24, 3) if index < 8 else (33, 18, 3)
        PIL.Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(folder / f"{index}.png")
    return here / "photos"


@pytest.fixture
def arrays(here):
    random = np.random.default_rng(7)
    pixels = random.integers(0, 256, (30, 18, 20, 3), np.uint8)
    np.savez(here / "data.npz", x_val=pixels, y_val=np.arange(30) % 4)
    return here / "data.npz"


def test_a_folder_of_photographs(fullconv, photos):
    run = fullconv("evaluate", "nets.py:build", "--data", "photos")
    assert run.code == 0
    assert "photos: 12 images" in run.err.splitlines()
    header, *lines = run.out.splitlines()
    assert header.split("  ")[0] == "scale"
    assert "top-1 error %" in header
    assert "top-5" not in header  # of four classes
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["1x", "centre"], ["1x", "dense"], ["1x", "multi-crop"], ["1x", "both"]
    ]  # fmt: skip
    assert "12 images, 4 classes; dense averages scores; with flips" in run.out


def test_options_reach_the_evaluation(fullconv, photos):
    from fullconv.evaluate.accuracy import accuracy
    from fullconv.evaluate.class_names import find_class
    from fullconv.storage.datasets import open_dataset

    run = fullconv(
        "evaluate", "nets.py:build", "--data", "photos", "--scales", "18, 1.5x", "--no-flip",
        "--average", "probabilities", "--evaluations", "dense,centre", "--json",
    )  # fmt: skip
    assert run.code == 0
    assert (run.json["flip"], run.json["average"]) == (False, "probabilities")
    assert [(row["scale"], row["evaluation"]) for row in run.json["rows"]] == [
        (scale, evaluation) for scale in ("18", "1.5x", "all") for evaluation in ("centre", "dense")
    ]
    from fullconv.cli.loading import load_fcn
    from fullconv.cli.options import Asked

    fcn = load_fcn(Asked("nets.py:build", None, None, None, None, None))
    data = open_dataset(
        photos, resolve=lambda name: find_class(name, fcn.about.classes, 4), outputs=4
    )
    found = accuracy(
        fcn, data, scales=[18, "1.5x"], flip=False, average="probabilities",
        evaluations=["centre", "dense"],
    )  # fmt: skip
    assert run.json["rows"] == found.to_dict()["rows"]
    assert 0 < found.rows[0].error().value < 100


def test_arrays_a_split_a_limit_and_csv(fullconv, arrays, here):
    run = fullconv(
        "evaluate", "nets.py:build", "--data", "data.npz", "--split", "val", "--limit", "8",
        "--csv", "errors.csv",
    )  # fmt: skip
    assert run.code == 0
    assert "8 of 30 images, drawn evenly over the classes" in run.err
    assert "8 of 30 images, drawn evenly over the classes" in run.out
    assert run.err.endswith("written: errors.csv\n")
    with (here / "errors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["evaluation"] for row in rows] == ["centre", "dense", "multi-crop", "both"]
    assert {row["images"] for row in rows} == {"8"}
    assert all(0 <= float(row["top1_error_low"]) <= float(row["top1_error"]) for row in rows)


def test_a_network_that_was_converted_and_class_names_by_hand(fullconv, photos, here):
    plain = fullconv("evaluate", "nets.py:build", "--data", "photos", "--json").json
    assert fullconv("convert", "nets.py:build", "-o", "net.safetensors").code == 0
    saved = fullconv("evaluate", "net.safetensors", "--data", "photos", "--json").json
    assert saved["rows"] == plain["rows"]
    (here / "names.txt").write_text("bird\ndog\ntiger cat\ncat\n")  # two change places
    other = fullconv(
        "evaluate", "net.safetensors", "--data", "photos", "--classes", "names.txt", "--json"
    )
    assert other.json["rows"] != plain["rows"]


def test_images_that_cannot_be_evaluated_are_named_at_the_end(fullconv, photos):
    (photos / "dog" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    PIL.Image.new("RGB", (40, 10)).save(photos / "dog" / "small.png")
    run = fullconv("evaluate", "nets.py:build", "--data", "photos", "--json")
    assert run.code == 3
    assert run.json["images"] == 12
    assert [problem["image"] for problem in run.json["problems"]] == [
        "photos/dog/broken.jpg", "photos/dog/small.png"
    ]  # fmt: skip
    message = run.err.partition("error: ")[2].splitlines()
    assert message[0] == (
        "2 of 14 images could not be evaluated; the errors are those of the others."
    )
    assert message[1].startswith("- photos/dog/broken.jpg: cannot be decoded as JPEG")
    assert message[2].startswith("- photos/dog/small.png: ")
    assert "10×40 px" in message[2]
    text = fullconv("evaluate", "nets.py:build", "--data", "photos", "--evaluations", "centre")
    assert text.code == 3
    assert "12 images, 4 classes" in text.out


def test_a_long_list_of_problems_is_cut(fullconv, photos):
    for index in range(25):
        (photos / "dog" / f"z{index:02}.png").write_bytes(b"no")
    run = fullconv("evaluate", "nets.py:build", "--data", "photos", "--evaluations", "centre")
    assert run.code == 3
    assert "- photos/dog/z19.png" in run.err
    assert "- photos/dog/z20.png" not in run.err
    assert run.err.endswith("- and 5 more\n")


def test_no_image_at_all(fullconv, photos):
    run = fullconv("evaluate", "nets.py:build", "--data", "photos", "--scales", "9")
    assert run.code == 3
    assert run.error.startswith("none of the 12 images can be evaluated:\n- photos/bird/11.png: ")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "Missing option '--data'.\nTry fullconv evaluate --help."),
        (["--data", "phots"], 3, "phots: there is no such folder or file.\nCheck the path."),
        (["--data", "photos", "--scales", "big"], 2, "Invalid value for '--scales': 'big' is"),
        (
            ["--data", "photos", "--evaluations", "crops"],
            2,
            "Invalid value for '--evaluations': 'crops' is no evaluation; name some of centre, "
            "dense, multi-crop, both.",
        ),
        (["--data", "photos", "--evaluations", ""], 2, "Invalid value for '--evaluations': ''"),
        (["--data", "photos", "--batch", "0"], 2, "Invalid value for '--batch'"),
        (["--data", "photos", "--limit", "0"], 2, "Invalid value for '--limit'"),
        (["--data", "photos", "--csv", "no/t.csv"], 1, "no/t.csv: cannot be written: the folder"),
        (
            ["--data", "nets.py", "--csv", "nets.py"],
            2,
            "--csv: nets.py would overwrite the data.\nName another file.",
        ),
        (
            ["--data", "photos", "--csv", "nets.py"],
            2,
            "--csv: nets.py would overwrite the network.\nName another file.",
        ),
        (["--data", "photo.png"], 3, "photo.png: is no .npz file.\n"),
        (["--data", "."], 3, ".: 1 of 1 sub-folders are no classes of the network:\n- photos: "),
    ],
)
def test_mistakes(words, code, message, fullconv, photos, here):
    before = files(here)
    run = fullconv("evaluate", "nets.py:build", *words)
    assert run.code == code
    assert run.error.startswith(message)
    assert files(here) == before


def test_weights_that_are_not_finite(fullconv, photos, here):
    run = fullconv("evaluate", "nets.py:broken", "--data", "photos", "--csv", "t.csv")
    assert run.code == 3
    assert run.error.startswith("2.weight: holds numbers that are not finite")
    assert "t.csv" not in files(here)


def test_as_a_process_the_streams_are_apart(photos, here):
    run = process("evaluate", "nets.py:build", "--data", "photos", "--json", "--limit", "4")
    assert run.code == 0
    assert run.json["images"] == 4
    assert "images" in run.err


@pytest.mark.parametrize("more", [[], ["--limit", "4"]])
def test_the_table_overwrites_none_of_the_photographs(fullconv, photos, here, more):
    os.link(photos / "dog" / "1.png", here / "hard.png")
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    for name, meant in (("photos/cat/0.png", "photos/cat/0.png"), ("hard.png", "photos/dog/1.png")):
        run = fullconv("evaluate", "nets.py:build", "--data", "photos", "--csv", name, *more)
        assert run.code == 2
        assert run.error == (
            f"--csv: {name} would overwrite the image {meant}.\nName another file."
        )
        assert "12 images" not in run.err  # before the work
    assert {path: path.read_bytes() for path in photos.rglob("*.png")} == before
    new = fullconv("evaluate", "nets.py:build", "--data", "photos", "--csv", "photos/new.csv")
    assert new.code == 0


def test_words_are_checked_before_anything_is_loaded(fullconv, photos):
    run = fullconv("evaluate", "missing.py:f", "--data", "photos", "--evaluations", "dense,crops")
    assert run.code == 2
    assert "'crops' is no evaluation" in run.error


def test_the_batch_reaches_the_evaluation(fullconv, photos, monkeypatch):
    from fullconv.evaluate import accuracy as package

    seen = []
    before = package.accuracy

    def spied(*args, **options):
        seen.append(options["batch_size"])
        return before(*args, **options)

    monkeypatch.setattr(package, "accuracy", spied)
    plain = fullconv("evaluate", "nets.py:build", "--data", "photos", "--json")
    small = fullconv("evaluate", "nets.py:build", "--data", "photos", "--json", "--batch", "5")
    assert seen == [32, 5]
    assert small.json["rows"] == plain.json["rows"]


def test_a_scale_that_leaves_images_out_is_told_of(fullconv, photos):
    words = ["evaluate", "nets.py:build", "--data", "photos", "--scales", "12,1x"]
    remark = "12: left out for 12 of 12 images, smaller there than the 16×16 window"
    run = fullconv(*words, "--json")
    assert run.code == 0
    assert run.json["remarks"] == [remark]
    assert remark in fullconv(*words).out.splitlines()


def test_json_is_answered_also_if_there_is_nothing_but_problems(fullconv, photos, here):
    words = ["evaluate", "nets.py:build", "--data", "photos", "--scales", "9", "--csv", "t.csv"]
    run = fullconv(*words, "--json")
    assert run.code == 3
    assert run.json["images"] == 0
    assert run.json["rows"] == []
    assert len(run.json["problems"]) == 12
    assert run.json["model"] == "nets.py:build"
    *_, message = run.err.partition("error: ")
    assert message.startswith("none of the 12 images can be evaluated:\n- photos/bird/11.png: ")
    assert message.count("\n- ") == 12
    assert "t.csv" not in files(here)
