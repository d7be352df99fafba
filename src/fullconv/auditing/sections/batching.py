"""Can images of different sizes share a batch? Throughput in three ways, and what padding does."""

from __future__ import annotations

from fullconv.auditing.costs.batches import Batches, Way, measure
from fullconv.auditing.costs.calls import COUNTS
from fullconv.auditing.costs.padding import SAME
from fullconv.auditing.figures import (
    MISSING,
    TIME_UNITS,
    amount,
    busy,
    compared,
    counted,
    figure,
    listed,
    percent,
    rough,
    span,
)
from fullconv.auditing.measuring.timing import Say, Spread
from fullconv.auditing.section import Chart, Section, Series, Table
from fullconv.auditing.subject import Subject
from fullconv.geometry import times

KEY, TITLE = "batching", "Can images of different sizes share a batch?"

SHARE = 18.0
"""Of the time, against the shares of the other sections."""

WORDS = {
    "single": "one by one",
    "bucketed": "equal sizes together",
    "padded": "padded to the largest",
}

MEGA = 1e6


def section(subject: Subject, seconds: float, say: Say) -> Section:
    """What there is to say about batches of a network."""
    images = [pixels for _, pixels in subject.images]
    found = measure(subject.fcn, images, max_memory=subject.max_memory, seconds=seconds, say=say)
    return written(found, given=len(images))


def written(found: Batches, given: int = 0) -> Section:
    """The section of what was found, where so many images were given."""
    return Section(
        KEY,
        TITLE,
        verdict=(*_throughput(found), *_of_padding(found)),
        text=_text(found),
        tables=_table(found),
        charts=_chart(found),
        facts=found.to_dict(),
        skipped=_skipped(found, given),
        how=_how(found),
    )


def _rate(found: Batches, way: Way) -> float | None:
    """Images a second."""
    return None if way.seconds is None else len(found.sizes) / way.seconds.median


def _pixels(found: Batches, way: Way) -> float | None:
    """Px of images a second."""
    return None if way.seconds is None else found.pixels / way.seconds.median


def _throughput(found: Batches) -> tuple[str, ...]:
    """What to do, against one image at a time; rates stand in the table."""
    known = {way.name: way.ratio for way in found.ways if way.ratio is not None}
    said = []
    if (equal := known.get("bucketed")) is not None:
        faster = _faster(equal)
        said.append(
            f"Batch equal sizes: {faster} one by one"
            if equal.tells and equal.median < 1
            else f"Batches of equal sizes are {faster} one by one"
        )
    if (padded := known.get("padded")) is not None:
        waste = f", with {percent(found.wasted)} of its px for padding" if found.wasted > 0 else ""
        said.append(f"padding to the largest is {_faster(padded)} one by one{waste}")
    if not said:
        return ()
    text = "; ".join(said)
    return (f"{text[0].upper()}{text[1:]}.",)


def _faster(ratio: Spread) -> str:
    """How fast a way is, of which the seconds against those of single runs are given."""
    speed = ratio.inverse
    if not speed.tells:
        return f"no faster than rounds differ ({span(speed.low, speed.high)}) against"
    if speed.median >= 1:
        return compared(speed.median, speed.low, speed.high, speed.count, "times as fast") + " as"
    rounds = "in one round" if speed.count == 1 else f"({span(speed.low, speed.high)})"
    return f"slower, {rough(speed.median)} times as fast {rounds} as"


def _of_padding(found: Batches) -> tuple[str, ...]:
    padding = found.padding
    if padding is None:
        return ()
    if padding.largest <= SAME:
        return (f"Padding leaves the cells of an image as they are{_rounding(padding.largest)}.",)
    other = (
        ""
        if found.noise or not padding.other
        else f"; {percent(padding.other, 1)} of cells have another top class"
    )
    return (
        f"Padding is another map: {percent(padding.touched)} of the cells can see the zeros beyond "
        f"the border, and scores differ by up to {percent(padding.largest, 1)} of the largest"
        f"{other}.",
    )


def _rounding(difference: float) -> str:
    """How much the same is, relative to the largest score."""
    return f" but for rounding ({difference:.0e} of the largest score)" if difference else ""


def _text(found: Batches) -> tuple[str, ...]:
    rates = [
        f"{figure(rate)} {WORDS[way.name]}"
        for way in found.ways
        if (rate := _rate(found, way)) is not None
    ]
    said = [
        "A batch is one tensor. Images of other sizes go by themselves, wait for others of their "
        "size, or get zeros at the right and bottom, whose cells are computed and thrown away.",
    ]
    if rates:
        said.append(
            f"Images a second, of {counted(len(found.sizes), 'image')} of "
            f"{counted(found.buckets, 'size')}: {listed(rates)}."
        )
    padding = found.padding
    if padding is not None and padding.largest > SAME:
        said.append(
            "A network that pads has zeros beyond the border at every layer. In a padded batch "
            "only the first layer has: the others see what it made of the zeros."
        )
        if padding.elsewhere is not None:
            said.append(
                f"Cells that cannot see the zeros are the same{_rounding(padding.elsewhere)}."
            )
    return tuple(said)


def _table(found: Batches) -> tuple[Table, ...]:
    if not found.ways:
        return ()
    base = found.ways[0].macs
    rows = []
    for way in found.ways:
        rate, pixels = _rate(found, way), _pixels(found, way)
        rows.append(
            (
                WORDS[way.name],
                str(way.passes),
                figure(way.macs / base) if base else MISSING,
                figure(rate),
                MISSING if pixels is None else figure(pixels / MEGA),
                MISSING if way.ratio is None else figure(1 / way.ratio.median),
            )
        )
    header = ("images", "passes", "MACs ÷ single", "images/s", "Mpx/s", "speed ÷ single")
    caption = (
        f"{counted(len(found.sizes), 'image')} of {counted(found.buckets, 'size')} up to "
        f"{times(found.largest)} px; px are those of the images, without padding."
    )
    return (Table(header, tuple(rows), caption),)


def _chart(found: Batches) -> tuple[Chart, ...]:
    rates = [(way, rate) for way in found.ways if (rate := _rate(found, way)) is not None]
    if len(rates) < 2:
        return ()
    return (
        Chart(
            "Throughput of images of different sizes",
            "",
            "images a second",
            (Series("images/s", tuple(map(float, range(len(rates)))), tuple(r for _, r in rates)),),
            bars=True,
            ticks=tuple(WORDS[way.name] for way, _ in rates),
            alt="; ".join(
                f"{WORDS[way.name]}: {figure(rate)} images a second" for way, rate in rates
            ),
        ),
    )


def _skipped(found: Batches, given: int) -> tuple[str, ...]:
    said = []
    if found.problem:
        said.append(f"The images that were given: {found.problem}.")
    elif given == 1:
        said.append("A single image was given: sizes were drawn instead.")
    elif 0 < len(found.sizes) < given and not found.noise:
        left = given - len(found.sizes)
        enough = len(found.sizes) == COUNTS[0]
        why = f"at most {COUNTS[0]} are run" if enough else "no time"
        said.append(f"{left} of {counted(given, 'image')}: {why}.")
    elif not given:
        said.append("No images were given: sizes were drawn from one window to two.")
    if not found.ways:
        said.append("Nothing was run: not even the smallest image fits the memory.")
    elif all(way.name != "padded" for way in found.ways):
        said.append(f"Padded to {times(found.largest)} px: not even one image fits the memory.")
    elif found.padding is None and all(way.seconds is not None for way in found.ways):
        said.append("What padding does to maps: scores are not finite.")
    for way in found.ways:
        if way.foreseen is not None:
            said.append(
                f"{WORDS[way.name].capitalize()}: not timed, it would take about "
                f"{amount(way.foreseen, TIME_UNITS)} here."
            )
    return tuple(said)


def _how(found: Batches) -> tuple[str, ...]:
    if not found.rounds:
        return ()
    source = "Random images" if found.noise else "The images that were given"
    said = [
        *busy(found.waited),
        f"{source}, run by the optimized network on {found.device} with "
        f"{counted(found.threads, 'thread')}; medians of up to {counted(found.rounds, 'round')} in "
        "turn, with the work of putting batches together.",
    ]
    if found.once:
        names = listed([WORDS[name] for name in found.once])
        said.append(f"Run once only, for want of time: {names}.")
    if found.padding is not None:
        said.append(
            f"Padded maps were compared with those of single runs at "
            f"{counted(found.padding.cells, 'cell')}."
        )
    return tuple(said)
