"""What happens to the parameters? The exact conversion keeps them all."""

from __future__ import annotations

from fullconv.auditing.figures import MACS, MISSING, Unit, amount, counted, figure, layer, percent
from fullconv.auditing.measuring.timing import Say
from fullconv.auditing.section import Chart, Section, Series, Table
from fullconv.auditing.subject import Subject
from fullconv.auditing.weights.counts import Parameters, measure
from fullconv.auditing.weights.lowrank import KEPT, Cut, LowRank

KEY, TITLE = "parameters", "What happens to the parameters?"

SHARE = 20.0
"""Of the time, against the shares of the other sections."""

BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes"))
COUNTS = ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands"), (1.0, ""))
"""As people count what a network holds: in powers of ten."""

HARDLY = 0.1
"""Of the MACs: FC layers with less hold parameters rather than work."""


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


def _verdict(found: Parameters) -> tuple[str, ...]:
    own = found.variants[0]
    exact = found.variant("exact")
    said = []
    few = len(found.layers) == 1
    part = (
        f"{own.head:,} of them ({percent(own.share, 1)}) are in its "
        f"{'FC layer' if few else counted(len(found.layers), 'FC layer')}"
        if found.layers
        else "none of them is in an FC layer"
    )
    if exact is None:
        said.append(
            f"The network has {own.parameters:,} parameters ({amount(own.bytes, BYTES)}); {part}."
        )
        if found.macs is not None:
            said.append(f"One image at the window takes {amount(found.macs, MACS)}s.")
        return tuple(said)
    keeps = (
        f"The exact conversion keeps all {own.parameters:,} parameters"
        if exact.parameters == own.parameters
        else f"The FCN has {exact.parameters:,} parameters, the classifier {own.parameters:,}"
    )
    said.append(f"{keeps} ({amount(own.bytes, BYTES)}), and saves none; {part}.")
    gap = found.variant("gap")
    if not found.layers:
        said.append("There is no FC layer to replace: it is fully convolutional already.")
    elif gap is not None and gap.same_function:
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
    return tuple(said)


def _ranks_in_words(found: Parameters) -> str:
    """What the layer holds, and the network answers, at the rank that is told of."""
    ranks = found.low_rank
    assert ranks is not None
    cut = _told(ranks)
    variant = found.variant(f"rank {cut.rank}")
    assert variant is not None
    share = percent(variant.parameters / found.variants[0].parameters, 1)
    words = (
        f"At rank {cut.rank:,} of {ranks.full:,} {layer(found.shrunk)} keeps {percent(cut.kept)} "
        f"of its squared singular values, and the network has {variant.parameters:,} parameters "
        f"({share})"
    )
    if cut.same is not None:
        source = "of noise" if ranks.noise else f"of {counted(ranks.images, 'image')}"
        words += (
            f"; without training, {cut.same} of {counted(ranks.views, 'view')} {source} "
            f"{'keeps its' if cut.same == 1 else 'keep their'} top class"
        )
    return f"{words}."


def _told(ranks: LowRank) -> Cut:
    """The cut that the verdict is about: the least that keeps 90 %, or else keeps most."""
    return next((cut for cut in ranks.cuts if cut.kept >= KEPT[0]), ranks.cuts[-1])


def _is_random(ranks: LowRank) -> bool:
    """Whether singular values fall off no faster than those of random numbers."""
    return all(cut.rank >= 0.97 * cut.random for cut in ranks.cuts)


def _text(found: Parameters) -> tuple[str, ...]:
    said = []
    if found.variant("exact") is not None and found.macs:
        head = found.variants[0].head_macs
        said.append(
            f"One image at the window takes {amount(found.macs, MACS)}s, of which the FC layers "
            f"take {percent(head / found.macs, 1)}: they hold parameters, not work."
            if head / found.macs < HARDLY
            else f"One image at the window takes {amount(found.macs, MACS)}s, of which the FC "
            f"layers take {percent(head / found.macs, 1)}."
        )
    if found.variant("exact") is not None:
        said.append(
            "Two things are called “replacing FC layers by convolutions”. The exact conversion "
            "writes the same numbers as the weights of convolutions: same function, same "
            "parameters. What saves parameters is another head, and with it the network is another "
            "one whose accuracy has to be trained and measured again."
        )
    small = found.variant("large field") or found.variant("decimated")
    if small is not None:
        said.append(
            f"DeepLab (Chen et al. 2015, section 3.2) keeps every second or third tap of the "
            f"kernel that {layer(found.shrunk)} becomes, with holes between them, and in LargeFOV "
            f"a quarter of its channels: so the network has {small.parameters:,} parameters "
            f"({percent(small.parameters / found.variants[0].parameters, 1)}), and is another one "
            "too."
        )
    ranks = found.low_rank
    if ranks is not None and ranks.cuts:
        said.append(
            "A layer of low rank is two smaller ones, one after the other; they save parameters "
            "below the rank at which inputs × outputs = rank × (inputs + outputs)."
        )
        said.append(
            _ranks_in_words(found)
            if not _is_random(ranks)
            else f"The singular values of {layer(found.shrunk)} fall off as those of random "
            "numbers do: its weights are not trained, or hardly. Those of trained weights fall "
            "off faster."
        )
    return tuple(said)


def _table(found: Parameters) -> Table:
    unit = Unit.of([found.variants[0].bytes], BYTES)
    rows = [
        (
            variant.name,
            f"{variant.parameters:,}",
            unit.write(variant.bytes),
            f"{variant.head:,}",
            percent(variant.share, 1),
            f"{variant.head_macs:,}",
            "yes" if variant.same_function else "no",
        )
        for variant in found.variants
    ]
    return Table(
        (
            "network",
            "parameters",
            unit.name,
            "of the head",
            "share",
            "MACs of a cell",
            "same function",
        ),
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
            f"{cut.rank:,}",
            percent(cut.kept, 1),
            f"{cut.random:,}",
            f"{cut.parameters:,}",
            MISSING if cut.same is None else f"{cut.same} of {ranks.views}",
            MISSING if cut.difference is None else figure(cut.difference),
        )
        for cut in ranks.cuts
    ]
    return (
        Table(
            (
                "rank", "kept", "random numbers need", "parameters", "same top class",
                "largest difference",
            ),
            tuple(rows),
            f"{layer(found.shrunk)} at lower ranks, without training: the share of its squared "
            "singular values that is kept, and differences of scores relative to the largest "
            "score.",
        ),
    )  # fmt: skip


def _chart(found: Parameters) -> tuple[Chart, ...]:
    if len(found.variants) < 3:
        return ()
    places = tuple(float(place) for place in range(len(found.variants)))
    unit = Unit.of([found.variants[0].parameters], COUNTS)
    heads = tuple(variant.head / unit.size for variant in found.variants)
    whole = tuple(variant.parameters / unit.size for variant in found.variants)
    names = {
        "classifier": "classifier", "exact": "FCN", "gap": "1×1 + average",
        "decimated": "decimated", "large field": "LargeFOV",
    }  # fmt: skip
    return (
        Chart(
            "Parameters by head",
            "",
            f"{unit.name} of parameters" if unit.name else "parameters",
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
    if ranks is not None and ranks.cuts and ranks.cuts[-1].kept < KEPT[-1]:
        last = ranks.cuts[-1]
        why = (
            f"rank {ranks.saving_none[0]:,} holds no fewer parameters than the layer itself"
            if ranks.saving_none
            else f"they are above {last.rank:,}"
        )
        said.append(
            f"Ranks that keep more than {percent(last.kept)} of {layer(found.shrunk)}: {why}."
        )
    if ranks is not None and ranks.foreseen is not None:
        said.append(
            f"Lower ranks of {layer(found.shrunk)}: its singular values would take about "
            f"{ranks.foreseen:.0f} s here, more than there was."
        )
    elif ranks is not None and ranks.problem:
        what = "Answers with lower ranks" if ranks.cuts else "Lower ranks"
        said.append(f"{what} of {layer(found.shrunk)}: {ranks.problem}.")
    if ranks is not None and ranks.cuts and ranks.views and ranks.noise:
        said.append("No images were given: answers at lower ranks are those on noise.")
    return tuple(said)


def _how(found: Parameters) -> tuple[str, ...]:
    exact = found.variant("exact")
    said = ["Parameters count once, however many layers share them; 1 kB is 1,000 bytes."]
    if exact is not None:
        share = found.shared / exact.parameters if exact.parameters else 1.0
        said.append(
            f"Those of the FCN were counted in it; {percent(share)} of them lie in the "
            "classifier's own memory. Those of other heads follow from their shapes."
        )
    ranks = found.low_rank
    if ranks is not None and ranks.found < ranks.full and ranks.cuts:
        said.append(
            f"The {ranks.found:,} largest singular values were found by random projection (Halko, "
            "Martinsson & Tropp 2011): they are not overrated, and may be underrated a little."
        )
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
