"""Tables and charts of growth."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fullconv.auditing.costs.grown import WAYS, Growth, Row
from fullconv.auditing.figures import BYTES, MACS, TIME_UNITS, Unit, figure
from fullconv.auditing.section import Chart, Series, Table
from fullconv.geometry import times

X = "side of the image, px"
WORDS = {"forward": "forward", "training": "forward and backward"}

Column = tuple[str, Callable[[Row], float | None]]
"""What is shown, and how a row has it."""

EXPONENTS = {
    "macs": "MACs of the map",
    "crop_macs": "MACs of crops",
    "forward_seconds": "seconds forward",
    "training_seconds": "seconds forward and backward",
    "forward_counted": "memory forward, counted",
    "forward_peak": "memory forward, measured",
    "training_counted": "memory kept for the way back, counted",
    "training_peak": "memory forward and backward, measured",
}


def tables(found: Growth) -> tuple[Table, ...]:
    """MACs, the seconds of both ways, memory, and exponents."""
    made = [_compute(found), *(_timed(found, way) for way in WAYS), _memory(found)]
    if found.exponents:
        rows = [(EXPONENTS[name], f"{value:.2f}") for name, value in found.exponents.items()]
        made.append(Table(("what", "exponent"), tuple(rows), "Exponents over the side."))
    return tuple(table for table in made if table is not None)


def charts(found: Growth) -> tuple[Chart, ...]:
    """Seconds, speed-up and memory over the side; none where there is but one size."""
    if len(found.rows) < 2:
        return ()
    made = (_seconds_chart(found), _speed_up_chart(found), _memory_chart(found))
    return tuple(chart for chart in made if chart is not None)


def _compute(found: Growth) -> Table:
    unit = Unit.of([row.macs for row in found.rows], MACS)
    rows = [
        (
            f"{times(row.size)} px",
            f"{row.cells:,}",
            unit.write(row.macs),
            unit.write(row.crop_macs),
            figure(row.ceiling),
        )
        for row in found.rows
    ]
    header = ("image", "cells", f"map, {unit.name}s", f"crops, {unit.name}s", "crops ÷ map")
    return Table(header, tuple(rows), "Multiply-accumulate operations, counted: a pass forward.")


def _timed(found: Growth, way: str) -> Table | None:
    unit = _second(found, [way])
    if all(row.way(way).seconds is None for row in found.rows):
        return None
    rows = [
        (
            f"{times(row.size)} px",
            unit.write(_map(row, way)),
            unit.write(_crops(row, way)),
            figure(_speed_up(row, way)),
            figure(row.ceiling),
        )
        for row in found.rows
    ]
    header = ("image", f"map, {unit.name}", f"crops, {unit.name}", "speed-up", "by MACs")
    caption = f"Seconds {WORDS[way]}, against crops at the same cells."
    return Table(header, tuple(rows), caption)


def _memory(found: Growth) -> Table:
    unit = _byte(found)
    columns = [
        column
        for column in _memory_columns()
        if not column[0].startswith("batch") or any(column[1](row) for row in found.rows)
    ]
    rows = [
        (f"{times(row.size)} px", *(unit.write(value(row)) for _, value, _ in columns))
        for row in found.rows
    ]
    header = ("image", *(f"{name}, {unit.name}" for name, _, _ in columns))
    return Table(header, tuple(rows), "Memory beside the weights.")


def _memory_columns() -> tuple[tuple[str, Callable[[Row], float | None], bool], ...]:
    """Name, value, and whether it is measured."""
    return (
        ("forward, counted", lambda row: row.forward.counted, False),
        ("forward, measured", lambda row: row.forward.peak, True),
        ("kept for the way back, counted", lambda row: row.training.counted, False),
        ("forward and backward, measured", lambda row: row.training.peak, True),
        ("batch of crops forward, measured", lambda row: row.forward.crops_peak, True),
        ("batch of crops in training, measured", lambda row: row.training.crops_peak, True),
    )


def _map(row: Row, way: str) -> float | None:
    seconds = row.way(way).seconds
    return None if seconds is None else seconds.median


def _crops(row: Row, way: str) -> float | None:
    seconds = row.way(way).crops
    return None if seconds is None else seconds.median


def _speed_up(row: Row, way: str) -> float | None:
    speed = row.way(way).speed_up
    return None if speed is None else speed.median


def _second(found: Growth, ways: Iterable[str]) -> Unit:
    return Unit.of([_map(row, way) for row in found.rows for way in ways], TIME_UNITS)


def _byte(found: Growth) -> Unit:
    return Unit.of([row.training.counted for row in found.rows], BYTES)


def _series(
    found: Growth, name: str, value: Callable[[Row], float | None], measured: bool = True
) -> list[Series]:
    """A line through the rows that have the value; none where no row has it."""
    points = [(row.side, known) for row in found.rows if (known := value(row)) is not None]
    if not points:
        return []
    x, y = zip(*points, strict=True)
    return [Series(name, x, y, measured)]


def _seconds_chart(found: Growth) -> Chart | None:
    unit = _second(found, WAYS)
    series: list[Series] = []
    for way in WAYS:
        for what, value in (("map", _map), ("crops", _crops)):
            series += _series(
                found,
                f"{what}, {WORDS[way]}",
                lambda row, way=way, value=value: (  # type: ignore[misc]
                    None if value(row, way) is None else value(row, way) / unit.size
                ),
            )
    if not series:
        return None
    return Chart(
        "Seconds as the image grows", X, unit.name, tuple(series), log_x=True, log_y=True,
        alt=_ends(series, unit.name),
    )  # fmt: skip


def _speed_up_chart(found: Growth) -> Chart | None:
    series: list[Series] = []
    for way in WAYS:
        series += _series(found, WORDS[way], lambda row, way=way: _speed_up(row, way))  # type: ignore[misc]
    beyond = _series(
        found, "by MACs", lambda row: row.ceiling if row.cells > 1 else None, measured=False
    )
    series += beyond
    if not series:
        return None
    return Chart(
        "Speed-up against crops", X, "times as fast", tuple(series), log_x=True, alt=_ends(series)
    )


def _memory_chart(found: Growth) -> Chart:
    unit = _byte(found)
    series: list[Series] = []
    for name, value, measured in _memory_columns():
        series += _series(
            found,
            name,
            lambda row, value=value: None if value(row) is None else value(row) / unit.size,  # type: ignore[misc]
            measured,
        )
    return Chart(
        "Memory as the image grows", X, unit.name, tuple(series), log_x=True, log_y=True,
        alt=_ends(series, unit.name),
    )  # fmt: skip


def _ends(series: Iterable[Series], unit: str = "") -> str:
    """Where the lines begin and end, in words."""
    parts = [
        f"{line.name}: {figure(line.y[0])} to {figure(line.y[-1])} {unit}".rstrip()
        for line in series
    ]
    return "; ".join(parts)
