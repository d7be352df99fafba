"""Can pools be convolutions? Each pool against the strided convolution in its place."""

from __future__ import annotations

from collections.abc import Sequence

from fullconv.auditing.costs.pools import Pools, Replaced, measure
from fullconv.auditing.figures import (
    MACS,
    TIME_UNITS,
    Unit,
    amount,
    busy,
    compared,
    counted,
    figure,
    layer,
    listed,
    percent,
    rough,
    span,
)
from fullconv.auditing.measuring.timing import Say, Spread
from fullconv.auditing.section import Chart, Section, Series, Table
from fullconv.auditing.subject import Subject
from fullconv.geometry import times

KEY, TITLE = "pools", "What if pools become strided convolutions?"

SHARE = 25.0
"""Of the time, against the shares of the other sections."""

WORDS = {
    "keep": "pools kept",
    "conv": "convolutions in their place (All-CNN)",
    "strided": "dropped, their strides in the convolutions before (Strided-CNN)",
}


def section(subject: Subject, seconds: float, say: Say) -> Section:
    """What there is to say about the pools of a network."""
    if subject.reading is None:
        return Section(KEY, TITLE, skipped=("The network cannot be traced: no pool is known.",))
    found = measure(
        subject.model,
        subject.reading,
        subject.converted,
        max_memory=subject.max_memory,
        seconds=seconds,
        say=say,
    )
    return written(found)


def written(found: Pools) -> Section:
    """The section of what was found."""
    if not found.pools:
        return Section(
            KEY,
            TITLE,
            verdict=("There are no pools to replace.",),
            text=("What makes its maps smaller are convolutions with strides, if anything.",),
            facts=found.to_dict(),
        )
    return Section(
        KEY,
        TITLE,
        verdict=(_added(found), *_whole(found)),
        text=_text(found),
        tables=(_timed(found), _adds(found), *_steps(found)),
        charts=_charts(found),
        facts=found.to_dict(),
        skipped=_skipped(found),
        how=_how(found),
    )


def _added(found: Pools) -> str:
    """What convolutions in the place of all pools add, and how much longer than pools they take."""
    parameters = sum(one.parameters for one in found.pools)
    base = next((step for step in found.steps if step.pools == "keep"), None)
    share = f" ({percent(parameters / base.parameters, 1)})" if base and base.parameters else ""
    several = len(found.pools) > 1
    what = (
        f"Convolutions in the place of the {len(found.pools):,} pools add"
        if several
        else "A convolution in the place of the pool adds"
    )
    return f"{what} {counted(parameters, 'parameter')}{share}{_longer(found)}."


def _longer(found: Pools) -> str:
    """All convolutions together against all pools together."""
    known = [one for one in found.pools if one.forward is not None]
    if not known:
        return ""
    sums = {
        name: sum(spread.median for one in known if (spread := getattr(one, name)) is not None)
        for name in ("pool_forward", "pool_backward", "conv_forward", "conv_backward")
    }
    ways = [
        f"{rough(sums[f'conv_{way}'] / sums[f'pool_{way}'])} times as long {way} "
        f"({amount(sums[f'conv_{way}'], TIME_UNITS)} on {counted(found.batch, 'image')})"
        for way in ("forward", "backward")
    ]
    verb = "take" if len(found.pools) > 1 else "takes"
    once = {getattr(one, way).count for one in known for way in ("forward", "backward")} == {1}
    return f" and {verb} {listed(ways)}{', in one round' if once else ''}"


def _whole(found: Pools) -> tuple[str, ...]:
    """Whole steps, as far as rounds agree."""
    ratios = {step.pools: step.ratio for step in found.steps if step.ratio is not None}
    words = {"conv": "with convolutions", "strided": "with strides in the layers before instead"}
    said = [f"{_step(ratios[name])} {how}" for name, how in words.items() if name in ratios]
    return (f"A whole step of training takes {listed(said)}.",) if said else ()


def _step(ratio: Spread) -> str:
    if not ratio.tells:
        return f"no longer than rounds differ ({span(ratio.low, ratio.high)})"
    return compared(ratio.median, ratio.low, ratio.high, ratio.count)


def _text(found: Pools) -> tuple[str, ...]:
    said = [
        "Springenberg et al. 2015 replace pools by convolutions with their kernel and stride that "
        "learn from all channels (All-CNN), or drop them and let the convolution before make their "
        "strides (Strided-CNN). Both are other networks, to be trained again; a pool is never in "
        "the way of an exact FCN.",
    ]
    work = sum(one.macs for one in found.pools)
    base = next((step for step in found.steps if step.pools == "keep"), None)
    share = (
        f", {percent(work / base.macs, 1)} of those of the network" if base and base.macs else ""
    )
    said.append(f"In the place of pools they are {amount(work, MACS)}s an image{share}.")
    if any(step.pools == "strided" for step in found.steps):
        said.append(
            "Strides in a convolution save: it is computed at the places that the pool would have "
            "kept one of."
        )
    return tuple(said)


def _median(spread: Spread | None) -> float | None:
    return None if spread is None else spread.median


def _timed(found: Pools) -> Table:
    names = ("pool_forward", "conv_forward", "pool_backward", "conv_backward")
    unit = Unit.of(
        [_median(getattr(one, name)) for one in found.pools for name in names], TIME_UNITS
    )
    rows = []
    for name, one in zip(_names(found.pools), found.pools, strict=True):
        took = {key: unit.write(_median(getattr(one, key))) for key in names}
        rows.append(
            (
                f"{name}: {one.what}",
                took["pool_forward"],
                took["conv_forward"],
                figure(_median(one.forward)),
                took["pool_backward"],
                took["conv_backward"],
                figure(_median(one.backward)),
            )
        )
    header = (
        "pool", f"pool forward, {unit.name}", "convolution", "ratio",
        f"pool backward, {unit.name}", "convolution", "ratio",
    )  # fmt: skip
    return Table(
        header,
        tuple(rows),
        f"Each pool and a convolution with its kernel, stride and padding, on "
        f"{counted(found.batch, 'image')}.",
    )


def _names(found: Sequence[Replaced]) -> list[str]:
    """Where pools are; with numbers where several are in the same place."""
    short = [layer(one.where.partition(" (")[0]) for one in found]
    return [
        f"{name} ({short[: place + 1].count(name)})" if short.count(name) > 1 else name
        for place, name in enumerate(short)
    ]


def _adds(found: Pools) -> Table:
    unit = Unit.of([one.macs for one in found.pools], MACS)
    rows = [
        (
            f"{name}: {one.what}",
            str(one.channels),
            f"{times(one.cells[0])} → {times(one.cells[1])}",
            f"{one.parameters:,}",
            unit.write(one.macs),
        )
        for name, one in zip(_names(found.pools), found.pools, strict=True)
    ]
    return Table(
        ("pool", "channels", "cells", "parameters", f"{unit.name}s an image"),
        tuple(rows),
        "What the convolutions would add.",
    )


def _steps(found: Pools) -> tuple[Table, ...]:
    if not found.steps:
        return ()
    second = Unit.of([_median(step.seconds) for step in found.steps], TIME_UNITS)
    work = Unit.of([step.macs for step in found.steps], MACS)
    timed = any(step.seconds is not None for step in found.steps)
    rows = [
        (
            WORDS[step.pools],
            f"{step.parameters:,}",
            work.write(step.macs),
            *((second.write(_median(step.seconds)), figure(_median(step.ratio))) if timed else ()),
        )
        for step in found.steps
    ]
    header = ("pools", "parameters", f"{work.name}s an image")
    return (
        Table(
            (*header, f"step, {second.name}", "ratio") if timed else header,
            tuple(rows),
            f"The whole network in training, on {counted(found.step_batch, 'image')} at the window."
            if timed
            else "The whole network.",
        ),
    )


def _charts(found: Pools) -> tuple[Chart, ...]:
    known = [one for one in found.pools if one.forward is not None]
    if not known:
        return ()
    places = tuple(float(place) for place in range(len(known)))
    lines = {"forward": "forward", "backward": "backward"}
    series = tuple(
        Series(name, places, tuple(_median(getattr(one, key)) or 0.0 for one in known))
        for key, name in lines.items()
    )
    return (
        Chart(
            "Convolutions in the place of pools",
            "pool",
            "times the seconds of the pool",
            series,
            bars=True,
            ticks=tuple(_names(known)),
            alt="; ".join(
                f"{name}: {figure(_median(one.forward))} forward, "
                f"{figure(_median(one.backward))} backward"
                for name, one in zip(_names(known), known, strict=True)
            ),
        ),
    )


def _skipped(found: Pools) -> tuple[str, ...]:
    if found.problem:
        return (f"Whole steps of training: {found.problem.rstrip('.')}.",)
    if not found.steps:
        return ("Whole steps of training: the network cannot be converted.",)
    return ()


def _how(found: Pools) -> tuple[str, ...]:
    said = [
        *busy(found.waited),
        f"Seconds are medians of up to {counted(found.rounds, 'round')} in turn, on "
        f"{found.device} with {counted(found.threads, 'thread')}; forward as in training, backward "
        "from the gradient of the output to those of input and weights.",
        "A pool is timed on random numbers of the shape that its map has at the window; maps and "
        "weights lie channels last, where a CPU is fastest.",
    ]
    if any(step.seconds is not None for step in found.steps):
        said.append(
            "A whole step is forward, cross entropy, backward and plain SGD, in training mode, on "
            "random images; the head is that of the classifier, as convolutions, in all networks."
        )
    return tuple(said)
