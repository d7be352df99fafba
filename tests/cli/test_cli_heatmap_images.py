"""Every kind of image through the command: what is scored is what a person sees."""

import io
from contextlib import redirect_stdout

import numpy as np
import PIL.Image
import pytest
import tifffile
import torch

import fullconv as package
from fullconv.models import load_model

PIXELS = np.random.default_rng(5).integers(0, 256, (40, 57, 3), np.uint8)
GREY = PIXELS[..., 0]
MEAN, STD = np.float32([0.5, 0.4, 0.3]), np.float32([0.2, 0.25, 0.3])


def scored(form: str, pixels: np.ndarray) -> np.ndarray:
    """The map of pixels `(H, W, 3)` from 0 to 1, prepared by hand."""
    x = (pixels.astype(np.float32) - MEAN) / STD
    with torch.no_grad(), redirect_stdout(io.StringIO()):
        fcn = package.convert(load_model(form).module, 16)
        return fcn(torch.from_numpy(x).permute(2, 0, 1)[None])[0].numpy()


def image(folder, kind: str) -> np.ndarray:
    """Write an image of a kind; what is to be seen, `(H, W, 3)` from 0 to 1."""
    path = folder / "image"
    if kind == "RGB":
        PIL.Image.fromarray(PIXELS).save(path, "PNG")
        return PIXELS / 255
    if kind == "grey":
        PIL.Image.fromarray(GREY).save(path, "PNG")
        return np.repeat(GREY[..., None], 3, 2) / 255
    if kind == "16 bit":
        wide = PIXELS.astype(np.uint16) * 257 + 100
        wide = np.minimum(wide, 65535)
        tifffile.imwrite(path, wide, photometric="rgb")
        return wide / 65535
    if kind == "16 bit grey":
        wide = GREY.astype(np.uint16) * 200
        PIL.Image.fromarray(wide).save(path, "PNG")
        return np.repeat(wide[..., None], 3, 2) / 65535
    if kind == "alpha":
        alpha = np.where(np.arange(57) < 20, 0, 255).astype(np.uint8) * np.ones((40, 1), np.uint8)
        PIL.Image.fromarray(np.dstack([PIXELS, alpha])).save(path, "PNG")
        return np.where(alpha[..., None] == 0, 255, PIXELS) / 255  # over white
    if kind == "palette":
        small = PIL.Image.fromarray(PIXELS).quantize(16)
        small.save(path, "PNG")
        return np.asarray(small.convert("RGB")) / 255
    if kind == "CMYK":
        inks = PIL.Image.fromarray(PIXELS).convert("CMYK")
        inks.save(path, "TIFF")
        return np.asarray(inks.convert("RGB")) / 255
    if kind == "EXIF":
        turned = PIL.Image.fromarray(PIXELS)
        exif = turned.getexif()
        exif[0x0112] = 6  # to be turned by 90° to the right
        turned.save(path, "PNG", exif=exif)
        return np.rot90(PIXELS, -1) / 255
    assert kind == "GIF"
    small = PIL.Image.fromarray(PIXELS).quantize(200)
    small.save(path, "GIF")
    return np.asarray(small.convert("RGB")) / 255


KINDS = ("RGB", "grey", "16 bit", "16 bit grey", "alpha", "palette", "CMYK", "EXIF", "GIF")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_seen_is_scored(kind, fullconv, here):
    seen = image(here, kind)
    run = fullconv("heatmap", "nets.py:build", "image", "--map", "out.npy", "--json")
    assert run.code == 0
    assert run.json["size"] == list(seen.shape[:2])
    np.testing.assert_allclose(
        np.load("out.npy"), scored("nets.py:build", seen), atol=0.02 if kind == "CMYK" else 1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_shows_the_image_upright_under_the_tint(kind, fullconv, here):
    seen = image(here, kind)
    assert fullconv("heatmap", "nets.py:build", "image", "--class", "0").code == 0
    made = np.asarray(PIL.Image.open("image-heatmap.png").convert("RGB")).astype(float)
    height, width = seen.shape[:2]
    assert made.shape[0] > height
    assert made.shape[1] > width
    # The image lies somewhere in the frame: the best place correlates well with it.
    pale = seen * 255 - (seen * 255).mean()
    best = max(
        float(np.corrcoef(pale.ravel(), made[y : y + height, x : x + width].ravel())[0, 1])
        for y in range(made.shape[0] - height + 1)
        for x in range(40)
        if x + width <= made.shape[1]
    )
    assert best > 0.9


def test_a_grey_network_gets_luminance(fullconv, here):
    (here / "one.py").write_text(
        (here / "nets.py")
        .read_text()
        .replace("MEAN, STD = ", "MEAN, STD = (0.25,), (0.5,)\nOLD = ")
    )
    PIL.Image.fromarray(PIXELS).save("image.png")
    run = fullconv("heatmap", "one.py:grey", "image.png", "--map", "out.npy")
    assert run.code == 0
    luminance = np.asarray(PIL.Image.fromarray(PIXELS).convert("L")) / np.float32(255)
    x = torch.from_numpy(((luminance - 0.25) / 0.5).astype(np.float32))[None, None]
    with torch.no_grad():
        expected = package.convert(load_model("one.py:grey").module, 16)(x)[0].numpy()
    np.testing.assert_allclose(np.load("out.npy"), expected, atol=1e-5)


def test_a_grey_network_with_the_mean_of_three_channels(fullconv, here):
    PIL.Image.fromarray(PIXELS).save("image.png")
    run = fullconv("heatmap", "nets.py:grey", "image.png")
    assert run.code == 2
    assert run.error.startswith("mean has 3 numbers, but the network takes 1 channel.")
    assert fullconv("heatmap", "nets.py:grey", "image.png", "--mean", "0", "--std", "1").code == 0
