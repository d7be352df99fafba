"""float32 against bf16: how much faster, and on how many cells of real photos top-1 is the same.

    python benchmarks/precision.py --models squeezenet1_0 --size 512
    python benchmarks/precision.py --photos FOLDER       # photos to compare the answers on

Speed: random weights, noise. Agreement: trained weights where there are some (MobileNetV2 and
SqueezeNet, in $FULLCONV_DATA/weights). The others keep their random weights but for the last layer,
which is fitted to tell the photos apart, one class per photo: ridge regression (no intercept,
penalty 10⁻³ of the features' mean square) on what that layer gets in float32 at the cells of the
left half of each photo. Their agreement is of the right halves, and their scores, fitted to 0 and
1, stand for probabilities. On a GPU also TF32 and torch.compile.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import fullconv
from bench import networks, report
from bench.networks import Trained, scores_of
from bench.report import Row, listed, markdown, percent, span, with_range
from bench.timing import Side, in_turn, progress
from fullconv.errors import InputError

TITLE = "float32 against bf16"
CLEAR = 0.05
"""A cell is clear where the two most probable classes are at least so far apart in float32."""
RIDGE = 1e-3
"""Of the mean square of the features."""


def sides_of(fcn: fullconv.FCN, image: Tensor, compiled: bool) -> dict[str, Side]:
    """The FCN in every number format that is compared, float32 first."""
    cuda = image.is_cuda
    floats = networks.optimized(fcn)
    halves = networks.optimized(fcn, torch.bfloat16)

    def in_tf32(_: int) -> None:
        networks.set_tf32(True)
        floats(image)
        networks.set_tf32(False)

    sides = {
        "float32": Side(lambda _: floats(image)),
        "bf16": Side(lambda _: halves(image.to(torch.bfloat16))),
    }
    if cuda:
        sides["TF32"] = Side(in_tf32)
    if compiled:
        fast = networks.optimized(fcn, compile=True)
        faster = networks.optimized(fcn, torch.bfloat16, compile=True)
        sides["float32, compiled"] = Side(lambda _: fast(image))
        sides["bf16, compiled"] = Side(lambda _: faster(image.to(torch.bfloat16)))
    return sides


@dataclass(frozen=True, slots=True)
class Fitted:
    """A network whose scores tell the photos apart.

    Attributes:
        network: how it is fed.
        probabilities: from scores `(K, rows, cols)`.
        how: "trained", or "fitted".
    """

    network: Trained
    probabilities: Callable[[Tensor], Tensor]
    how: str


def with_weights(
    name: str, data: Path, photos: Mapping[str, Tensor], stride: int, device: str
) -> Fitted:
    """The network with trained weights, or else with a last layer fitted to the photos."""
    known = networks.trained(name, data)
    if known is not None:
        known.model.to(device)
        return Fitted(known, lambda scores: scores.softmax(0), "trained")
    mean = (2.0, 2.0, 2.0)  # pixels around 0, as ImageNet's networks are given them
    network = Trained(networks.build(name, device), networks.WINDOW, 4.4, mean)
    return Fitted(fitted(network, photos, stride), lambda scores: scores, "fitted")


def fitted(network: Trained, photos: Mapping[str, Tensor], stride: int) -> Trained:
    """`network` with a last layer that tells the photos apart: one score for each, 0 to 1.

    Ridge regression without intercept of which photo it is on what the last layer gets, at the
    cells of the left half of every photo.
    """
    model = copy.deepcopy(network.model)
    last = [key for key, layer in model.named_modules() if isinstance(layer, nn.Linear)][-1]
    parent, _, own = last.rpartition(".")
    old: Any = model.get_submodule(last)
    setattr(model.get_submodule(parent), own, nn.Identity())
    fast = networks.optimized(fullconv.convert(model, network.window, stride=stride))
    device = old.weight.device
    features, targets = [], []
    for number, pixels in enumerate(photos.values()):
        progress(f"fitting the last layer, photo {number + 1} of {len(photos)}")
        with torch.inference_mode():
            found = scores_of(fast, network.prepare(pixels).to(device))[0]  # (C, rows, cols)
        found = found[:, :, : found.shape[2] // 2].flatten(1).T.double()
        features.append(found)
        targets.append(torch.full((len(found),), number, device=device))
    x = torch.cat(features)
    y = nn.functional.one_hot(torch.cat(targets), len(photos)).double()
    square = x.T @ x
    square.diagonal().add_(RIDGE * square.diagonal().mean())
    new = nn.Linear(old.in_features, len(photos), bias=False)
    new.weight = nn.Parameter(torch.linalg.solve(square, x.T @ y).T.float().contiguous())
    setattr(model.get_submodule(parent), own, new.to(device))
    progress("")
    return Trained(model.eval(), network.window, network.scale, network.mean, network.bgr)


def agreement(net: Fitted, photos: Mapping[str, Tensor], stride: int, device: str) -> Row:
    """On how many cells float32 and bf16 have the same top-1, all cells and the clear ones."""
    fcn = fullconv.convert(net.network.model, net.network.window, stride=stride)
    floats, halves = networks.optimized(fcn), networks.optimized(fcn, torch.bfloat16)
    counts = {"cells": 0, "same": 0, "clear": 0, "clear_same": 0, "right": 0}
    for number, pixels in enumerate(photos.values()):
        progress(f"agreement, photo {number + 1} of {len(photos)}")
        x = net.network.prepare(pixels).to(device)
        with torch.inference_mode():
            full = scores_of(floats, x)[0].float()  # (K, rows, cols)
            half = scores_of(halves, x.to(torch.bfloat16))[0].float()
        if net.how == "fitted":
            full, half = (scores[:, :, scores.shape[2] // 2 :] for scores in (full, half))
            counts["right"] += int((full.argmax(0) == number).sum())
        for key, count in agreeing(net.probabilities(full), half).items():
            counts[key] += count
    progress("")
    return {**counts, "how": net.how, "photos": len(photos)}


def agreeing(probabilities: Tensor, other: Tensor) -> dict[str, int]:
    """Cells in all, of the same top-1, clear ones, and clear ones of the same top-1.

    Args:
        probabilities: `(K, rows, cols)`; where two classes are `CLEAR` apart a cell is clear.
        other: scores of the same cells.
    """
    first, second = probabilities.topk(2, dim=0).values
    clear = first - second >= CLEAR
    same = probabilities.argmax(0) == other.argmax(0)
    return {
        "cells": same.numel(),
        "same": int(same.sum()),
        "clear": int(clear.sum()),
        "clear_same": int((same & clear).sum()),
    }


def measure(options: argparse.Namespace) -> list[Row]:
    """Speed of every network, then agreement."""
    cuda = torch.device(options.device).type == "cuda"
    if not cuda:
        report.say("TF32 is a number format of GPUs: not measured on the CPU")
    rows = []
    folder = options.photos or networks.data_folder() / "photos"
    try:
        photos, reason = networks.photos(folder, options.shortest), ""
    except InputError as error:
        if options.photos:
            raise
        photos, reason = {}, "there are no photographs; --photos FOLDER names some"
        report.say(f"agreement is not measured: {error}")
    for name in options.models:
        fcn = fullconv.convert(networks.build(name, options.device), networks.WINDOW)
        sides = sides_of(
            fcn, networks.image_of(options.size, options.device), cuda or options.compile
        )
        title = f"{name} on {options.size}²"
        times = in_turn(sides, options.rounds, options.device, title=title)
        row: Row = {
            "model": name,
            "size": options.size,
            "seconds": {side: report.kept(times.of(side)) for side in sides},
            "ratio": {side: report.kept(times.ratio("float32", side)) for side in sides},
        }
        if photos:
            data = networks.data_folder()
            net = with_weights(name, data, photos, options.stride, options.device)
            row["agreement"] = {
                **agreement(net, photos, options.stride, options.device),
                "stride": options.stride,
                "shortest": options.shortest,
            }
        else:
            row["reason"] = reason
        rows.append(row)
    return rows


def section(rows: Sequence[Row]) -> str:
    """Both tables and what they say."""
    head = ("network", "image", "numbers", "s", "float32 ÷ this")
    lines = [
        (
            networks.NAMES.get(row["model"], row["model"]),
            f"{row['size']}²",
            side,
            with_range(row["seconds"][side]),
            with_range(row["ratio"][side]),
        )
        for row in rows
        for side in row["seconds"]
    ]
    return "\n\n".join([markdown(head, lines), sentence(rows), *agreements(rows)])


def sentence(rows: Sequence[Row]) -> str:
    """How much faster bf16 is."""
    parts = [
        f"{row['ratio']['bf16']['median']:.2f} with "
        f"{networks.NAMES.get(row['model'], row['model'])}"
        for row in rows
    ]
    return f"bf16 speeds the FCN up by a factor of {listed(parts)}."


def agreements(rows: Sequence[Row]) -> list[str]:
    """The table of agreement and what it says, or why there is none."""
    found = [row for row in rows if "agreement" in row]
    if not found:
        return [f"Agreement was not measured: {rows[0]['reason']}."]
    head = ("network", "weights", "cells", "same top-1", "clear cells", "same top-1 of these")
    lines, shares, clear = [], {}, []
    for row in found:
        counts, name = row["agreement"], networks.NAMES.get(row["model"], row["model"])
        shares[name] = counts["same"] / counts["cells"]
        of_clear = counts["clear_same"] / counts["clear"] if counts["clear"] else None
        if of_clear is not None:
            clear.append(of_clear)
        weights = counts["how"]
        if weights == "fitted":
            weights += f" ({percent(counts['right'] / counts['cells'])} of the cells right)"
        lines.append(
            (
                name,
                weights,
                f"{counts['cells']:,}",
                percent(shares[name], 2),
                percent(counts["clear"] / counts["cells"]),
                "–" if of_clear is None else percent(of_clear, 2),
            )
        )
    first = found[0]["agreement"]
    said = (
        f"On {first['photos']} photographs, shortest side {first['shortest']} px, stride "
        f"{first['stride']}: top-1 is the same on "
        f"{listed([f'{percent(share, 2)} of the cells with {n}' for n, share in shares.items()])}."
    )
    if clear:
        said += (
            f" Of the clear cells (the two most probable classes at least {CLEAR} apart in "
            f"float32) {span(clear, lambda share: percent(share, 2))}."
        )
    return [markdown(head, lines), said]


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = report.parser(__doc__, rounds=3)
    add = parser.add_argument
    models = ["vgg16", "resnet50", "mobilenet_v2", "squeezenet1_0"]
    add("--models", nargs="+", default=models, help="classifiers of torchvision")
    add("--size", type=int, default=1024, help="side of the image that is timed, px (1024)")
    add("--photos", type=Path, help="folder of *.jpg ($FULLCONV_DATA/photos)")
    add("--shortest", type=int, default=512, help="shortest side of the photos, px (512)")
    add("--stride", type=int, default=16, help="px between the cells that are compared (16)")
    add("--compile", action="store_true", help="torch.compile too; always on a GPU")
    return report.run("precision", parser.parse_args(arguments), measure, section, arguments)


if __name__ == "__main__":
    sys.exit(main())
