"""Images and places that cannot be used: one error each, and nothing left behind."""

import os
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from cli_runs import files, picture

SEEN = {"nets.py", "photo.png"}


def bomb(side: int) -> bytes:
    """A small PNG that declares `side` by `side` px."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    packed = zlib.compressobj(9)
    rows = b"".join(packed.compress(bytes(3 * side + 1)) for _ in range(300)) + packed.flush()
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def small() -> np.ndarray:
    return np.zeros((15, 200, 3), np.uint8)


@pytest.fixture
def images(here):
    """A folder of images that cannot be scored."""
    whole = (here / "photo.png").read_bytes()
    (here / "zero.png").touch()
    (here / "cut.png").write_bytes(whole[: len(whole) // 2])
    (here / "text.png").write_text("no image")
    (here / "bomb.png").write_bytes(bomb(30_000))
    PIL.Image.fromarray(small()).save(here / "small.png")
    noise = np.random.default_rng(0).integers(0, 256, (40, 57, 3), np.uint8)
    PIL.Image.fromarray(noise).save(here / "whole.jpg")
    (here / "cut.jpg").write_bytes((here / "whole.jpg").read_bytes()[:900])
    (here / "folder").mkdir()
    os.mkfifo(here / "pipe")
    return here


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zero.png", "the file is empty: 0 bytes."),
        ("cut.png", ""),
        ("cut.jpg", ""),
        ("text.png", "this is not an image that can be read"),
        ("bomb.png", "the image is 30000×30000 px: 900,000,000 pixels"),
        ("small.png", "the image is 15×200 px, smaller than the 16×16 window of the classifier."),
        ("folder", "this is a directory."),
        ("pipe", "this is not a regular file."),
        ("missing.png", "there is no such file."),
        ("missing/photo.png", "there is no such file: the folder missing does not exist."),
        ("x" * 300, "the file cannot be opened."),
        ("a/" * 3000, ""),
        ("-", "there is no such file."),
        ("nets.py", "this is not an image that can be read"),
    ],
)
def test_an_image_that_cannot_be_scored(name, message, fullconv, images):
    before = files(images)
    for words in (["heatmap", "-o", "out.png", "--map", "out.npy"], ["check"]):
        command, *options = words
        run = fullconv(command, "nets.py:build", name, *options)
        assert run.code == 3
        assert run.error.startswith(f"{name.rstrip('/')}: {message}")
    assert files(images) == before


def test_more_pixels_are_read_if_asked_for(fullconv, here):
    assert fullconv("heatmap", "nets.py:build", "photo.png", "--max-pixels", "2279").code == 3
    assert fullconv("heatmap", "nets.py:build", "photo.png", "--max-pixels", "2280").code == 0


@pytest.mark.parametrize("option", ["-o", "--map"])
def test_a_folder_that_is_missing(option, fullconv, here):
    ending = {"-o": "png", "--map": "npy"}[option]
    run = fullconv("heatmap", "missing.py:f", "photo.png", option, f"no/such/place.{ending}")
    assert run.code == 1
    assert run.error.startswith(f"no/such/place.{ending}: cannot be written: the folder")
    assert "does not exist." in run.error
    assert files(here) == SEEN


@pytest.mark.parametrize("name", ["dir.png", "dir.npy", "dir.json"])
def test_a_directory_is_no_file(name, fullconv, here):
    (here / name).mkdir()
    words = ["-o", "dir.png", "--map", "dir.npy"]
    run = fullconv("heatmap", "missing.py:f", "photo.png", *words)
    assert run.code == 1
    assert run.error.startswith(f"{name}: cannot be written: it is a directory.")
    assert files(here) == SEEN | {name}


def test_the_image_is_not_overwritten(fullconv, here):
    before = (here / "photo.png").read_bytes()
    (here / "link.png").symlink_to("photo.png")
    os.link("photo.png", "hard.png")
    for name in ("photo.png", "./photo.png", str(here / "photo.png"), "link.png", "hard.png"):
        run = fullconv("heatmap", "nets.py:build", "photo.png", "-o", name)
        assert run.code == 2
        assert run.error.startswith("-o: ")
        assert "would overwrite the image." in run.error
    assert (here / "photo.png").read_bytes() == before


def test_the_geometry_overwrites_nothing_else(fullconv, here):
    assert fullconv("convert", "nets.py:build", "-o", "net.safetensors").code == 0
    (here / "notes.json").write_text("{}")
    (here / "names.json").write_text('["a", "b", "c", "d"]')
    before = {name: (here / name).read_bytes() for name in files(here)}
    for words, message in {
        ("--map", "net.npy"): "beside --map: net.json would overwrite the network's description.",
        ("--map", "notes.npy"): "notes.json: is there already, and is something else.",
        ("--map", "names.npy", "--classes", "names.json"):
            "beside --map: names.json would overwrite the class names.",
    }.items():  # fmt: skip
        run = fullconv("heatmap", "net.safetensors", "photo.png", *words)
        assert run.code == 2
        assert run.error.startswith(message)
    assert {name: (here / name).read_bytes() for name in files(here)} == before


def test_a_map_may_be_written_again(fullconv, here):
    for _ in range(2):
        assert fullconv("heatmap", "nets.py:build", "photo.png", "--map", "m.npy").code == 0
    assert files(here) == SEEN | {"photo-heatmap.png", "m.npy", "m.json"}


def test_a_loop_of_links_is_no_image(fullconv, here):
    (here / "loop.png").symlink_to("loop.png")
    run = fullconv("heatmap", "nets.py:build", "loop.png")
    assert run.code == 3
    assert run.error.startswith("loop.png: ")
    run = fullconv("heatmap", "nets.py:build", "photo.png", "-o", "loop.png")
    assert run.code in (0, 1)  # the link is replaced, or refused


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a/" * 3000 + "b.png"])
def test_a_name_that_is_too_long(name, fullconv, here):
    run = fullconv("heatmap", "nets.py:build", "photo.png", "-o", name)
    assert run.code == 1
    assert run.error.startswith(f"{name}: cannot be written: ")
    assert files(here) == SEEN


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")
def test_a_folder_that_cannot_be_written_to(fullconv, here):
    run = fullconv("heatmap", "nets.py:build", "photo.png", "-o", "/proc/out.png")
    assert run.code == 1
    assert run.error.startswith("/proc/out.png: cannot be written: ")


def test_a_folder_that_is_read_only(fullconv, here):
    folder = here / "locked"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    for words in (["heatmap", "nets.py:build", "photo.png", "-o", "locked/out.png"],
                  ["convert", "nets.py:build", "-o", "locked/net.safetensors"]):  # fmt: skip
        run = fullconv(*words)
        assert run.code == 1
        assert "cannot be written: Permission denied." in run.error
    assert files(folder) == set()


def test_a_picture_too_large_for_jpeg(fullconv, here):
    picture(here / "long.png", 16, 66_000)
    run = fullconv("heatmap", "nets.py:build", "long.png", "-o", "out.jpg", "--map", "out.npy")
    assert run.code == 1
    assert run.error.startswith("out.jpg: a picture of ")
    assert run.error.endswith("Name a .png file.")
    assert files(here) == SEEN | {"long.png"}
    assert fullconv("heatmap", "nets.py:build", "long.png", "-o", "out.png").code == 0
