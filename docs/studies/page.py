"""The generated part of `docs/dense-evaluation.md`: tables and what they show, from the figures."""

from __future__ import annotations

from typing import Any

from fullconv.evaluate.accuracy.bootstrap import Estimate
from fullconv.evaluate.accuracy.table import signed
from studies.pages import markdown, wrapped

MADE_BY = "make study-dense"

Facts = dict[str, Any]


def body(facts: Facts) -> str:
    """All that the study found, as Markdown."""
    networks = facts["networks"]
    padded, unpadded = networks["padded"], networks["unpadded"]
    images, scales = facts["images"], ", ".join(map(str, facts["scales"]))
    rounding = max(scale["largest_difference"] for scale in unpadded["borders"])
    about = (
        f"Data: {facts['data']}; {images:,} of them, {images // 10} of each class. The figures are "
        "not those of the original CIFAR-10. Two networks with a window of "
        f"{facts['window']} px and a native stride of {padded['stride'][0]} px, trained for "
        f"{facts['epochs']} epochs on random windows of images scaled to {facts['jitter'][0]} … "
        f"{facts['jitter'][1]} px, half of them mirrored: one with zero-padded convolutions "
        f"({padded['parameters']:,} parameters, receptive field {padded['receptive_field'][0]} px),"
        f" one without padding ({unpadded['parameters']:,} parameters, receptive field "
        f"{unpadded['receptive_field'][0]} px). Evaluated at {scales} px (shortest side) with "
        f"flips; PyTorch {facts['versions']['torch']}, float32. One network of each kind was "
        "trained: the intervals are over images, not over trainings."
    )
    return f"""\
{wrapped(about)}

### Errors

Top-1 error in %, with 95 % bootstrap intervals over images, and its paired difference to the centre
crop at the same scale, in points.

{_errors(padded, unpadded)}

{wrapped(_on_errors(padded))}

### What borders do

Here the crops lie exactly where the cells of the map do, their scores are averaged as those of the
map are, and flips too: nothing but the border of the crops is different. *Dense − crops* is what
borders do; *crops − multi-crop* is what the other places, and averaging scores instead of
probabilities, do.

{_borders(networks)}

{wrapped(_on_borders(padded, unpadded, rounding))}

Cell by cell, for the padded network: how far scores differ, as a share of the standard deviation of
the scores; how often the best class is the same; and the top-1 error of single windows, as crops
and as cells of the map.

{_cells(padded)}

{wrapped(_on_cells(padded))}
"""


def _errors(padded: Facts, unpadded: Facts) -> str:
    rows = []
    for one, other in zip(padded["rows"], unpadded["rows"], strict=True):
        cells = [one["scale"], one["evaluation"]]
        for row in (one, other):
            cells.append(str(of(row["top1_error"])))
            cells.append(signed(of(row["top1_difference"])) if row["top1_difference"] else "")
        rows.append(cells)
    header = (
        "scale",
        "evaluation",
        "padded: error %",
        "vs centre",
        "unpadded: error %",
        "vs centre",
    )
    return markdown(header, rows)


def _on_errors(padded: Facts) -> str:
    every = {row["evaluation"]: row for row in padded["rows"] if row["scale"] == "all"}
    parts = [
        f"{name} {compared(of(every[name]['top1_difference']), 'the centre crop')}"
        for name in ("dense", "multi-crop", "both")
    ]
    return f"The padded network over all scales: {'; '.join(parts)}."


def _borders(networks: Facts) -> str:
    rows = []
    for name, network in networks.items():
        for scale in network["borders"]:
            rows.append(
                [
                    name,
                    str(scale["scale"]),
                    "×".join(map(str, scale["cells"])),
                    str(of(scale["crops"])),
                    str(of(scale["dense"])),
                    signed(of(scale["dense_minus_crops"])),
                    signed(of(scale["crops_minus_multi_crop"])),
                ]
            )
    header = (
        "network", "scale", "cells", "crops at the cells: error %", "dense: error %",
        "dense − crops", "crops − multi-crop",
    )  # fmt: skip
    return markdown(header, rows)


def _on_borders(padded: Facts, unpadded: Facts, rounding: float) -> str:
    parts = [
        f"at {scale['scale']} px {compared(of(scale['dense_minus_crops']), 'that of the crops')}"
        for scale in padded["borders"]
    ]
    deviation = min(scale["score_deviation"] for scale in unpadded["borders"])
    return (
        "Without padding the map is its crops: no score differs by more than "
        f"{rounding / deviation:.0e} of the scores' standard deviation, which is rounding. The "
        f"padded network's map is another than its crops. Its average {'; '.join(parts)}."
    )


def _cells(padded: Facts) -> str:
    rows = []
    for scale in padded["borders"]:
        for gap in scale["gaps"]:
            share = of(gap["difference"]).value / scale["score_deviation"]
            rows.append(
                [
                    str(scale["scale"]),
                    gap["where"],
                    str(gap["count"]),
                    f"{share:.3f}",
                    str(of(gap["agreement"])),
                    str(of(gap["crop_error"])),
                    str(of(gap["map_error"])),
                    signed(of(gap["map_minus_crop"])),
                ]
            )
    header = (
        "scale", "window lies", "cells", "difference", "same class %", "crop: error %",
        "cell: error %", "cell − crop",
    )  # fmt: skip
    return markdown(header, rows)


def _on_cells(padded: Facts) -> str:
    largest = padded["borders"][-1]
    first, last = largest["gaps"][0], largest["gaps"][-1]

    def share(gap: Facts) -> str:
        return f"{100 * of(gap['difference']).value / largest['score_deviation']:.0f} %"

    return (
        f"At {largest['scale']} px a window in a corner of the image, which has the same zeros as "
        f"its crop at two of its sides, differs from its crop by {share(first)} of the standard "
        f"deviation, one {last['where']}, where the map has real pixels on every side, by "
        f"{share(last)}. A cell in a corner {compared(of(first['map_minus_crop']), 'its crop')}; "
        f"one {last['where']} {compared(of(last['map_minus_crop']), 'its crop')}."
    )


def compared(difference: Estimate, other: str) -> str:
    """A difference of errors in words: no more is said than its interval allows."""
    points = f"{abs(difference.value):.2f} points [{difference.low:+.2f}, {difference.high:+.2f}]"
    if difference.high < 0:
        return f"errs less than {other}, by {points}"
    if difference.low > 0:
        return f"errs more than {other}, by {points}"
    return f"shows no difference from {other} ({signed(difference)} points)"


def of(numbers: dict[str, float]) -> Estimate:
    """An estimate as it stands in the JSON file."""
    return Estimate(**numbers)
