"""The generated part of `docs/drawbacks.md`: what audits and the study have measured."""

from __future__ import annotations

from typing import Any

from fullconv.auditing.figures import BYTES, MACS, TIME_UNITS, Unit, amount, figure, percent
from fullconv.geometry import times
from studies.all_convolutional_words import conclusion
from studies.pages import markdown, wrapped

MADE_BY = "make drawbacks"
NAMES = {
    "vgg16": "VGG-16", "alexnet": "AlexNet", "resnet50": "ResNet-50", "mobilenetv2": "MobileNetV2",
}  # fmt: skip

Facts = dict[str, Any]


def body(audits: dict[str, Facts], study: Facts) -> str:
    """All of it, as Markdown."""
    facts = {
        name: {key: section["facts"] for key, section in audit["sections"].items()}
        for name, audit in audits.items()
    }
    vgg, mobile = facts["vgg16"], facts["mobilenetv2"]
    parts = [
        "## The exact conversion: what it costs",
        *_parameters(facts),
        *_growth(facts, vgg["growth"]),
        *_coarseness(vgg["coarseness"]),
        *_borders(mobile["function"], facts),
        *_scale(mobile["shift"]),
        *_batches(mobile["batching"]),
        CONTEXT,
        "## Another head: 1×1 convolution and average",
        *_head(facts, study),
        "## Convolutions in the place of pools",
        *_pools(facts, study),
        "## How these figures came about",
        _how(audits, study),
    ]
    return "\n\n".join(part if part.startswith(("|", "#")) else wrapped(part) for part in parts)


def _parameters(facts: Facts) -> list[str]:
    rows = []
    for name, one in facts.items():
        known = {variant["key"]: variant for variant in one["parameters"]["variants"]}
        before, exact, gap = known["classifier"], known["exact"], known.get("gap")
        share = percent(before["head"] / before["parameters"], 1)
        gone = "–" if gap is None or gap["same_function"] else f"{gap['parameters']:,}"
        rows.append(
            (NAMES[name], f"{before['parameters']:,}", f"{before['head']:,} ({share})",
             f"{exact['parameters']:,}", gone, f"{one['function']['certificate']['native']:.0e}")
        )  # fmt: skip
    header = (
        "network", "parameters", "of them in FC layers", "converted exactly",
        "with 1×1 convolution and average", "largest difference, exact",
    )  # fmt: skip
    return [
        "**No parameter is saved.** The FC weights are seen in another shape, that is all. The "
        "last column is the largest difference between FCN and classifier at the window, relative "
        "to the largest score, in float64. (–: the head is an average and one FC layer; as a 1×1 "
        "convolution and an average it is the same function.)",
        markdown(header, rows),
    ]


def _growth(facts: Facts, vgg: Facts) -> list[str]:
    rows = vgg["rows"]
    macs = Unit.of([row["macs"] for row in rows], MACS)
    memory = Unit.of([row["forward"]["counted"] for row in rows], BYTES)
    times_of = [_median(row["forward"]["seconds"]) for row in rows]
    seconds = Unit.of(times_of, TIME_UNITS)
    lines = [
        (times(row["size"]), f"{row['cells']:,}", macs.write(row["macs"]),
         memory.write(row["forward"]["counted"]), memory.write(row["training"]["counted"]),
         seconds.write(took), figure(row["ceiling"]))
        for row, took in zip(rows, times_of, strict=True)
    ]  # fmt: skip
    header = (
        "VGG-16, px", "cells", macs.name, f"activations forward, {memory.name}",
        f"kept for the way back, {memory.name}", f"forward, {seconds.name}",
        "MACs of crops ÷ MACs",
    )  # fmt: skip
    first, last = rows[0], rows[-1]
    area = _pixels(last) / _pixels(first)
    limits = [f"{NAMES[name]} {figure(one['growth']['limit'])}" for name, one in facts.items()]
    return [
        "**Time and memory grow with the area.** "
        f"{last['size'][0] / first['size'][0]:.3g} times the side of VGG-16's window is "
        f"{area:.3g} times its px, {figure(last['macs'] / first['macs'])} times its MACs and "
        f"{figure(last['forward']['counted'] / first['forward']['counted'])} times its activations;"
        f" training keeps {amount(last['training']['counted'], BYTES)} for the way back of one "
        "image.",
        markdown(header, lines),
        "The other side of it: the same cells as crops cost many times more. What one pass saves "
        "at most, on ever larger images and at the native stride: "
        f"{', '.join(limits)} times the MACs. Measured speed-ups beside that ceiling stand "
        "in [the benchmarks](benchmarks.md).",
    ]


def _coarseness(found: Facts) -> list[str]:
    rows = found["rows"]
    native = rows[0]
    lines = [
        (times(row["stride"]), f"{row['cells']:,}", figure(row["macs"] / native["macs"]),
         "1" if row is native else _seconds_ratio(row), figure(row["limit"]))
        for row in rows
    ]  # fmt: skip
    header = (
        f"stride, VGG-16 on {times(found['size'])} px", "cells", "MACs ÷ native",
        "seconds ÷ native", "ceiling against crops, large images",
    )  # fmt: skip
    finest = rows[-1]
    return [
        f"**The map is coarse.** VGG-16 has a score every {native['stride'][0]} px, and each sees "
        f"{times(found['field'])} px. Finer maps exist, down to every px, and cost: "
        f"{figure(finest['macs'] / native['macs'])} times the MACs at a stride of "
        f"{finest['stride'][0]} px here, for {figure(finest['cells'] / native['cells'])} times the "
        "cells.",
        markdown(header, lines),
    ]


def _borders(found: Facts, facts: Facts) -> list[str]:
    reach = found["reach"]
    rings = [
        (str(ring["distance"]), f"{ring['cells']:,}",
         "0" if ring["difference"] == 0 else f"{ring['difference']:.2g}")
        for ring in reach["rings"]
    ]  # fmt: skip
    padded = ", ".join(
        f"{NAMES[name]} {len(one['function']['certificate']['padded'])}"
        for name, one in facts.items()
    )
    return [
        "**Borders are not those of crops.** A padded network sees zeros around each crop; its map "
        "has the neighbouring pixels there (Simonyan & Zisserman 2015, section 3.2). Layers that "
        f"pad: {padded}. MobileNetV2 with trained weights, on {len(found['images'])} photographs: "
        f"the top class of {percent(found['estimate']['changed'])} of the cells is not that of the "
        f"crop at the same place; scores differ by {figure(found['estimate']['difference'])} of "
        f"their standard deviation over classes and cells (by {found['compared']:,} of "
        f"{found['estimate']['cells']:,} cells, rim and rest weighed by what they hold). Which "
        "of the two is more often right is another question; [one study](dense-evaluation.md) "
        "finds cells inside the map to err less than crops.",
        "The border of the image itself reaches inwards. Cells that far from the rim of the map "
        "differ from those of the same picture with more picture around it by so much of the "
        f"standard deviation of the scores; the {reach['deepest']} outermost do, as many as the "
        "padding can reach by its geometry, and the one in the middle of this map does not "
        "(MobileNetV2):",
        markdown(("cells from the rim", "cells", "difference"), rings),
        "Networks without padding have none of this: each cell is its crop, exactly.",
    ]


def _scale(found: Facts) -> list[str]:
    rows = found["rows"]
    lines = [
        (times(row["size"]), figure(row["pooled"]["shift"] or 0.0),
         percent(row["pooled"]["zeros"], 1), percent(row["confidence"], 1),
         percent(row["agreement"]))
        for row in rows
    ]  # fmt: skip
    first, last = rows[0], rows[-1]
    return [
        "**Any size is not any scale.** The network knows objects of the size it was trained on; a "
        "larger image with larger objects shifts its features, and an average over more cells is "
        f"less sparse (FixRes, Touvron et al. 2019). MobileNetV2 on {found['images']} photographs, "
        "each scaled to all sizes: how far the averaged feature vector moves, in standard "
        "deviations at the window, how many of its numbers are zero, the probability of the top "
        "class, and how often the answer is that at the window.",
        markdown(("px", "shift, sd", "zeros", "probability", "same answer"), lines),
        f"At {times(last['size'])} px the answer is the same for "
        f"{percent(last['agreement'])} of the photographs, and the top class has "
        f"{percent(last['confidence'])} instead of {percent(first['confidence'])}. Bring images to "
        "the scale of training first, or train for theirs.",
    ]


def _batches(found: Facts) -> list[str]:
    ways = {way["name"]: way for way in found["ways"]}
    known = {name: way for name, way in ways.items() if way["seconds"] is not None}
    named = {"single": "one by one", "bucketed": "equal sizes together", "padded": "padded"}
    said = [f"{figure(way['images_per_second'])} {named[name]}" for name, way in known.items()]
    text = (
        f"**Different sizes do not share a batch.** MobileNetV2 on {len(found['sizes'])} images of "
        f"{len({tuple(size) for size in found['sizes']})} sizes, images a second: "
        f"{', '.join(said)}. Padding to the largest wastes {percent(found['wasted'])} of the px"
    )
    if found["padding"] is not None:
        padding = found["padding"]
        text += (
            f", and changes the map: {percent(padding['touched'])} of the images' own cells, by up "
            f"to {figure(padding['largest'])} of the largest score"
            if padding["touched"]
            else ", and leaves the images' own cells as they are"
        )
    return [text + "."]


CONTEXT = (
    "**Some layers have no dense form.** Squeeze-and-excitation, norms over space and attention "
    "pooling look at all of the map. For them a choice is to be made (`context=`), and the result "
    "is the classifier's at its window only; [how it works](how-it-works.md) says what is "
    "chosen from. "
    "Attention between positions is refused."
)


def _head(facts: Facts, study: Facts) -> list[str]:
    saved = []
    for name in ("alexnet", "vgg16"):
        known = {variant["key"]: variant for variant in facts[name]["parameters"]["variants"]}
        share = 1 - known["gap"]["parameters"] / known["classifier"]["parameters"]
        saved.append(f"{percent(share, 1)} of {NAMES[name]}'s parameters")
    return [
        "This is what people mean by saving parameters (Lin et al. 2014, section 3.2): "
        f"{' and '.join(saved)} go. Between the two lies an fc6 with fewer taps and channels, as "
        f"DeepLab took it (Chen et al. 2015, section 3.2): {known['large field']['parameters']:,} "
        "parameters for VGG-16. Each is another network, to be trained again. Does it lose "
        "accuracy? From [the study](all-convolutional-study.md) on CIFAR-10, small "
        "networks with five seeds each:",
        conclusion(study)["control"],
        conclusion(study)["gap"],
    ]


def _pools(facts: Facts, study: Facts) -> list[str]:
    lines = []
    for name, one in facts.items():
        pools, steps = one["pools"]["pools"], {s["pools"]: s for s in one["pools"]["steps"]}
        if not pools:
            continue
        base, conv = steps.get("keep"), steps.get("conv")
        both = base is not None and conv is not None
        added = sum(pool["parameters"] for pool in pools)
        lines.append(
            (NAMES[name], str(len(pools)), f"{added:,}",
             _sum_ratio(pools, "forward"), _sum_ratio(pools, "backward"),
             _with_span(conv["ratio"]) if both else "–")
        )  # fmt: skip
    header = (
        "network", "pools", "parameters added", "convolution ÷ pool, forward",
        "convolution ÷ pool, backward", "whole step, with convolutions ÷ with pools",
    )  # fmt: skip
    return [
        "A pool has no weights; a convolution of all channels in its place has C² times its "
        "kernel. Each pool of the body timed against that convolution, and a whole training step "
        "(in brackets the lowest and the highest round; where they hold 1, nothing is told "
        "apart):",
        markdown(header, lines),
        "The same study on what it does to accuracy, and to a step of small networks:",
        *(conclusion(study)[variant] for variant in ("strided", "convpool", "allconv")),
        "Springenberg et al. (2015), table 3, after long training of networks six times as wide: "
        "All-CNN errs less than its base in families A, B and C, Strided-CNN more in all three.",
    ]


def _how(audits: dict[str, Facts], study: Facts) -> str:
    runs = [audit["run"] for audit in audits.values()]
    taken = ", ".join(
        f"{NAMES[name]} {audit['run']['seconds']:.0f} s" for name, audit in audits.items()
    )
    return (
        "Each network was audited as `fullconv audit` does it; your own network has other figures, "
        "and the same command gives them. VGG-16, AlexNet and ResNet-50 have random weights here, "
        "on which nothing quoted from them depends but the rounding in the first table. "
        "MobileNetV2 is a trained ImageNet classifier of "
        f"1,001 classes. {runs[0]['processor']}, {runs[0]['threads']} threads, PyTorch "
        f"{runs[0]['torch']}; time taken: {taken}. Seconds are medians of few rounds: read ratios. "
        f"All figures lie in `docs/studies/drawbacks.json`. Study: {study['data']}."
    )


def _sum_ratio(pools: list[Facts], way: str) -> str:
    """All convolutions together against all pools together."""
    conv = sum(pool[f"conv_{way}"]["median"] for pool in pools)
    return figure(conv / sum(pool[f"pool_{way}"]["median"] for pool in pools))


def _with_span(ratio: Facts) -> str:
    return f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def _seconds_ratio(row: Facts) -> str:
    return "–" if row["slower"] is None else figure(row["slower"]["median"])


def _median(seconds: Facts | None) -> float | None:
    return None if seconds is None else float(seconds["median"])


def _pixels(row: Facts) -> int:
    return int(row["size"][0] * row["size"][1])
