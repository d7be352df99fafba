"""Finer strides and ceil mode spelt out, against running every phase of a map by itself."""

from math import prod

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fullconv.geometry import Axis, Sweep
from fullconv.surgery.rules import Setting
from sweeps import convolutions, pools, smallest

OUTSIDE = 0  # what padding and what hangs over the end look like

layers = st.one_of(convolutions(), pools())


def looked_at(cells: list[int], sweep: Sweep) -> list[int]:
    """A layer on a list of cells: every output is the hash of the cells it looks at, in order.

    Ceil mode counts one more window than fits, if that begins inside the input or its padding.
    """
    before, after = sweep.padding
    found, start = [], -before
    while True:
        over = start + sweep.extent - (len(cells) + after)
        hangs = sweep.ceil_mode and over < sweep.stride and start < len(cells)
        if over > 0 and not hangs:
            return found
        taps = [start + k * sweep.dilation for k in range(sweep.kernel)]
        inside = [cells[i] if 0 <= i < len(cells) else OUTSIDE for i in taps]
        found.append(hash((len(inside), *inside)))
        start += sweep.stride


def native(image: list[int], stack: list[Sweep]) -> list[int]:
    """The network as it is."""
    for sweep in stack:
        image = looked_at(image, sweep)
    return image


def shifted(phase: list[int], sweep: Sweep, offset: int) -> list[int]:
    """A layer on a map, its first window `offset` cells later than the layer would begin.

    What ceil mode hangs over the end by is what it would for a map that begins there.
    """
    before, after = sweep.padding
    over = min(after + sweep.stride - 1, sweep.extent - 1) if sweep.ceil_mode else after
    found = []
    for start in range(offset - before, len(phase) + over - sweep.extent + 1, sweep.stride):
        taps = [start + k * sweep.dilation for k in range(sweep.kernel)]
        inside = [phase[i] if 0 <= i < len(phase) else OUTSIDE for i in taps]
        found.append(hash((len(inside), *inside)))
    return found


def interleaved(phases: list[list[int]]) -> list[int]:
    """Phases put back into their places."""
    count = len(phases)
    cells = [phases[i % count][i // count] for i in range(sum(map(len, phases)))]
    assert [cells[p::count] for p in range(count)] == phases
    return cells


@given(pools(), st.integers(1, 60))
def test_ceil_mode_spelt_out(sweep, cells):
    """The same cells, made by padding and no ceil mode."""
    assume(cells + sum(sweep.padding) >= sweep.extent)
    explicit = sweep.explicit()
    assert not explicit.ceil_mode
    assert sweep.ceil_mode or explicit is sweep
    assert explicit.gain() == sweep.gain()
    image = list(range(1, cells + 1))
    assert looked_at(image, explicit) == looked_at(image, sweep)
    assert explicit.padding[0] == sweep.padding[0]


def divisors(number: int) -> list[int]:
    return [t for t in range(1, number + 1) if number % t == 0]


@settings(max_examples=200)
@given(st.lists(layers, min_size=1, max_size=4), st.data())
def test_every_finer_stride_has_the_native_cells_among_its_own(stack, data):
    """Its cells read every `s/t` are the native ones, and as many as one division says."""
    total = prod(sweep.stride for sweep in stack)
    wanted = data.draw(st.sampled_from(divisors(total)))
    setting = Setting((wanted,), frozenset(), (99,), 2)
    least = smallest(stack)
    window = least + data.draw(st.integers(0, 9))
    for pixels in range(window, window + min(2 * total, 24) + 1):
        axis, whole = Axis(window), Axis(window)
        cells = image = list(range(1, pixels + 1))
        for sweep in stack:
            keep = setting.keep(0, axis, sweep)
            cells = looked_at(cells, axis.inner(sweep, keep=keep))
            axis, whole = axis.swept(sweep, keep=keep), whole.swept(sweep)
            assert len(cells) == axis.count(pixels)
        assert (axis.stride, axis.stride * axis.dilation) == (wanted, total)
        assert (axis.size, axis.start, axis.field) == (whole.size, whole.start, whole.field)
        theirs = native(image, stack)
        assert cells[:: total // wanted] == theirs
        assert len(theirs) == whole.count(pixels)


@settings(max_examples=200)
@given(st.lists(layers, min_size=1, max_size=3), st.data())
def test_phases_are_maps_of_their_own(stack, data):
    """Every phase has the cells, and as many, that the next layer makes of it alone.

    In their places (à-trous) as side by side (fragments).
    """
    total = prod(sweep.stride for sweep in stack)
    window = smallest(stack) + data.draw(st.integers(0, 9))
    pixels = window + data.draw(st.integers(0, 2 * total))
    setting = Setting((1,), frozenset(), (99,), 2)
    axis = Axis(window)
    cells = list(range(1, pixels + 1))
    phases = [cells]
    for sweep in stack:
        keep = setting.keep(0, axis, sweep)
        assert keep == 1
        cells = looked_at(cells, axis.inner(sweep, keep=keep))
        beside = [looked_at(one, axis.inner(sweep, keep=1, fragments=True)) for one in phases]
        steps = range(sweep.stride)
        # The first of them is what the layer itself makes of the phase.
        assert all(shifted(one, sweep, 0) == looked_at(one, sweep) for one in phases)
        phases = [shifted(one, sweep, offset) for offset in steps for one in phases]
        assert [one[offset :: sweep.stride] for offset in steps for one in beside] == phases
        axis = axis.swept(sweep, keep=keep)
        assert len(phases) == axis.dilation
        assert interleaved(phases) == cells


@given(
    st.integers(1, 12), st.integers(1, 4), st.integers(1, 3), st.integers(0, 50), st.integers(1, 30)
)
def test_the_box_around_a_cell(size, stride, dilation, slack, field):
    """A local context op sees, beyond a cell's own field, the cells of a box of the map's size."""
    axis = Axis(size, stride=stride, slack=slack, field=field, dilation=dilation)
    around = axis.surveyed(local=True)
    boxed = range(-((size - 1) // 2), size - (size - 1) // 2)
    starts = [axis.start + at * dilation * stride for at in boxed]
    assert (around.start, around.end) == (min(starts), max(starts) + field)
    assert axis.surveyed(local=False) == axis
    assert [around.count(n) for n in range(60)] == [axis.count(n) for n in range(60)]


@given(layers, st.integers(1, 4), st.integers(0, 40))
def test_repeated_cells(sweep, factor, extra):
    """As many as the cells repeated, or a few less than the count says."""
    window = max(1, smallest([sweep])) + extra
    axis = Axis(window).swept(sweep)
    assume(axis.stride % factor == 0)
    large = axis.enlarged(factor)
    assert (large.size, large.stride * factor) == (axis.size * factor, axis.stride)
    assert large.loose == (factor > 1)
    for pixels in range(window, window + 20):
        assert 0 <= large.count(pixels) - axis.count(pixels) * factor < factor
