"""What happens to the parameters? The exact conversion keeps them all."""

from __future__ import annotations

from fullconv.auditing.counts import Parameters, measure
from fullconv.auditing.figures import MACS, MISSING, amount, counted, figure, percent
from fullconv.auditing.lowrank import KEPT, LowRank
from fullconv.auditing.measuring.timing import Say
from fullconv.auditing.section import Chart, Section, Series, Table
from fullconv.auditing.subject import Subject

KEY, TITLE = "parameters", "What happens to the parameters?"

SECONDS = 20.0
"""What it takes with VGG-16 on two cores, nearly all of it for singular values."""

MEGA = 1e6


def section(subject: Subject, seconds: float, say: Say) -> Section:
    """What there is to say about the parameters of a network."""
    found = measure(subject, seconds=seconds, say=say)
    return Section(
        KEY,
        TITLE,
        verdict=_verdict(found),
        text=_text(found),
        tables=(_table(found), *_rank_table(found)),
        charts=_chart(found),
        facts=found.to_dict(),
        skipped=_skipped(found),
        how=_how(found),
    )


def _megabytes(count: int) -> str:
    return f"{count / MEGA:,.1f}" if count >= MEGA / 10 else figure(count / MEGA)


def _verdict(found: Parameters) -> tuple[str, ...]:
    own = found.variants[0]
    exact = found.variant("exact")
    said = []
    layers = counted(len(found.layers), "FC layer")
    part = (
        f"{own.head:,} of them ({percent(own.share, 1)}) are in its {layers}"
        if found.layers
        else "none of them is in an FC layer"
    )
    if exact is None:
        said.append(
            f"The network has {own.parameters:,} parameters ({_megabytes(own.bytes)} MB); {part}."
        )
        if found.macs is not None:
            said.append(f"One image at the window takes {amount(found.macs, MACS)}s.")
        return tuple(said)
    keeps = (
        f"The exact conversion keeps all {own.parameters:,} parameters"
        if exact.parameters == own.parameters
        else f"The FCN has {exact.parameters:,} parameters, the classifier {own.parameters:,}"
    )
    said.append(f"{keeps} ({_megabytes(own.bytes)} MB), and saves none; {part}.")
    gap = found.variant("gap")
    if found.averages:
        said.append(
            "Its head already is one FC layer behind a global average, the same as a 1×1 "
            "convolution and the average of its scores: there is nothing to save."
        )
    elif gap is not None:
        said.append(
            f"With a 1×1 convolution and a global average for a head it has "
            f"{gap.parameters:,} ({percent(gap.parameters / own.parameters, 1)}): another "
            "network, to be trained again."
        )
    small = found.variant("large field") or found.variant("decimated")
    if small is not None:
        said.append(
            f"With DeepLab's decimation of {found.shrunk} it has {small.parameters:,} "
            f"({percent(small.parameters / own.parameters, 1)}): another network too."
        )
    said += _ranks_in_words(found)
    return tuple(said)


def _ranks_in_words(found: Parameters) -> list[str]:
    ranks = found.low_rank
    if ranks is None or not ranks.cuts:
        return []
    cut, kept = ranks.cuts[0], KEPT[0]
    own, cut_down = found.variants[0], found.variants[3 if found.variant("gap") else 2]
    words = (
        f"{found.shrunk} at rank {cut.rank:,} keeps {percent(kept)} of its squared singular "
        f"values; the network has {cut_down.parameters:,} parameters then "
        f"({percent(cut_down.parameters / own.parameters, 1)})"
    )
    if cut.same is not None:
        views = counted(ranks.views, "view")
        source = "of noise" if ranks.noise else f"of {counted(ranks.images, 'image')}"
        words += f", and without training {cut.same} of {views} {source} keep their top class"
    return [f"{words}."]


def _is_random(ranks: LowRank) -> bool:
    """Whether singular values fall off no faster than those of random numbers."""
    return all(cut.rank >= 0.97 * cut.random for cut in ranks.cuts)


def _text(found: Parameters) -> tuple[str, ...]:
    said = []
    if found.variant("exact") is not None:
        said.append(
            "Two things are called “replacing FC layers by convolutions”. The exact conversion "
            "writes the same numbers as the weights of convolutions: same function, same "
            "parameters. What saves parameters is another head, and with it the network is another "
            "one whose accuracy has to be trained and measured again."
        )
    if found.shrunk:
        said.append(
            f"DeepLab (Chen et al. 2015, section 3.1) keeps every second or third tap of the "
            f"kernel that {found.shrunk} becomes, with holes between them, and in LargeFOV a "
            "quarter of its channels."
        )
    ranks = found.low_rank
    if ranks is not None and ranks.cuts:
        said.append(
            "A layer of low rank is two smaller ones, one after the other; they save parameters "
            "below the rank at which inputs × outputs = rank × (inputs + outputs)."
        )
        if _is_random(ranks):
            said.append(
                f"The singular values of {found.shrunk} fall off as those of random numbers do: "
                "its weights are not trained, or hardly. Those of trained weights fall off faster."
            )
    return tuple(said)


def _table(found: Parameters) -> Table:
    rows = [
        (
            variant.name,
            f"{variant.parameters:,}",
            _megabytes(variant.bytes),
            f"{variant.head:,}",
            percent(variant.share, 1),
            f"{variant.head_macs:,}",
            "yes" if variant.same_function else "no",
        )
        for variant in found.variants
    ]
    return Table(
        ("network", "parameters", "MB", "of the head", "share", "MACs of a cell", "same function"),
        tuple(rows),
        "Parameters in all and in the FC layers, or what stands in their place; the head's MACs "
        "for one cell of the map.",
    )


def _rank_table(found: Parameters) -> tuple[Table, ...]:
    ranks = found.low_rank
    if ranks is None or not ranks.cuts:
        return ()
    rows = [
        (
            f"{percent(kept)} of the squares",
            f"{cut.rank:,}",
            f"{cut.random:,}",
            f"{cut.parameters:,}",
            MISSING if cut.same is None else f"{cut.same} of {ranks.views}",
            MISSING if cut.difference is None else figure(cut.difference),
        )
        for cut, kept in zip(ranks.cuts, KEPT, strict=True)
    ]
    return (
        Table(
            (
                "kept", "rank", "rank of random numbers", "parameters", "same top class",
                "largest difference",
            ),
            tuple(rows),
            f"{found.shrunk} at lower ranks, without training; differences of scores relative to "
            "the largest score.",
        ),
    )  # fmt: skip


def _chart(found: Parameters) -> tuple[Chart, ...]:
    if len(found.variants) < 3:
        return ()
    places = tuple(float(place) for place in range(len(found.variants)))
    heads = tuple(variant.head / MEGA for variant in found.variants)
    whole = tuple(variant.parameters / MEGA for variant in found.variants)
    names = {
        "classifier": "classifier", "exact": "FCN", "gap": "1×1 + average",
        "decimated": "decimated", "large field": "LargeFOV",
    }  # fmt: skip
    return (
        Chart(
            "Parameters by head",
            "",
            "millions of parameters",
            (
                Series("the network", places, whole, measured=False),
                Series("its head", places, heads, measured=False),
            ),
            bars=True,
            ticks=tuple(names.get(variant.key, variant.key) for variant in found.variants),
            alt="; ".join(
                f"{variant.name}: {variant.parameters:,}, of which {variant.head:,} in the head"
                for variant in found.variants
            ),
        ),
    )


def _skipped(found: Parameters) -> tuple[str, ...]:
    said = []
    if found.macs is None:
        said.append("The MACs at the window: the network does not run on an image of zeros.")
    if found.without_gap:
        said.append(f"A head of a 1×1 convolution and an average: {found.without_gap}")
    ranks = found.low_rank
    if ranks is not None and ranks.foreseen is not None:
        said.append(
            f"Lower ranks of {found.shrunk}: its singular values would take about "
            f"{ranks.foreseen:.0f} s here, more than there was."
        )
    elif ranks is not None and ranks.problem:
        said.append(f"Lower ranks of {found.shrunk}: {ranks.problem}.")
    if ranks is not None and ranks.cuts and ranks.noise:
        said.append("No images were given: answers at lower ranks are those on noise.")
    return tuple(said)


def _how(found: Parameters) -> tuple[str, ...]:
    exact = found.variant("exact")
    said = ["Parameters count once, however many layers share them; 1 MB is 10⁶ bytes."]
    if exact is not None:
        share = found.shared / exact.parameters if exact.parameters else 1.0
        said.append(
            f"Those of the FCN were counted in it; {percent(share)} of them lie in the "
            "classifier's own memory. Those of other heads follow from their shapes."
        )
    ranks = found.low_rank
    if ranks is not None and ranks.cuts and ranks.views:
        source = (
            "random numbers"
            if ranks.noise
            else "the middle and the corners of every image, its shortest side 8/7 of the window"
        )
        said.append(
            f"Answers at lower ranks were compared at the window on {source}; the layer's "
            "products were projected onto its first singular vectors."
        )
    return tuple(said)
