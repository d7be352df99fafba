"""Random layers, each drawn to fit the map it gets."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from hypothesis import strategies as st
from random_context import Norm, SqueezeExcite
from random_parts import (
    AVERAGE,
    CHANNELS,
    CONV,
    MAX,
    Blur,
    Chain,
    Every,
    Halves,
    Join,
    Layer,
    Padded,
    Part,
    Shuffle,
    Taps,
)
from torch import nn

from networks import NORMS

Cells = tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Where a layer goes: `cells` of its map, what stride is left to it, what the network may do."""

    cells: Cells
    strides: Cells
    pads: bool
    context: bool

    @property
    def axes(self) -> list[tuple[int, int]]:
        """Per axis, the cells and the largest stride; a single cell is not stepped over."""
        pairs = zip(self.cells, self.strides, strict=True)
        return [(n, 1 if n == 1 else most) for n, most in pairs]


def _stride(draw, most: int) -> int:
    return draw(st.sampled_from([s for s in (1, 1, 1, 2, 2, 3, 4) if s <= most]))


def _kernel(draw, widest: int) -> int:
    """Seldom so wide that next to nothing is left of the map."""
    covers = draw(st.sampled_from([False] * 7 + [True]))
    return draw(st.integers(1, max(1, min(5, widest if covers else widest // 2))))


@st.composite
def convolutions(draw, place: Place, channels: int = CHANNELS) -> Part:
    """A convolution; where its strides are 1 perhaps with padding="same"."""
    groups = draw(st.sampled_from([1, 2, 4])) if channels == CHANNELS else 1
    same, taps = place.pads and draw(st.sampled_from([False] * 4 + [True])), []
    for n, most in place.axes:
        before = draw(st.sampled_from([0, 1, 2])) if place.pads and n > 1 else 0
        dilation = draw(st.sampled_from([1, 1, 2]))
        kernel = _kernel(draw, (n + 2 * before - 1) // dilation + 1) if n > 1 else 1
        taps.append(Taps(kernel, 1 if same else _stride(draw, most), before, dilation))
    before = [t.before for t in taps]
    if same:
        taps = [t._replace(before=t.dilation * (t.kernel - 1) // 2) for t in taps]
    kernel, strides, _, dilation = zip(*taps, strict=True)
    padding, bias = "same" if same else before, draw(st.booleans())
    kind = CONV[len(taps) - 1]
    op = kind(channels, CHANNELS, kernel, strides, padding, dilation, groups, bias)
    return Layer(op, taps)


@st.composite
def pools(draw, place: Place) -> Part:
    """A maximum or an average, with all their options."""
    dims, most = len(place.cells), draw(st.booleans())
    ceil = place.pads and draw(st.booleans())
    taps = []
    for n, largest in place.axes:
        kernel = _kernel(draw, n)
        before = draw(st.sampled_from([0, kernel // 2])) if place.pads else 0
        wide = most and 2 * kernel - 1 <= n and n > 3
        dilation = draw(st.integers(1, 2)) if wide else 1
        taps.append(Taps(kernel, _stride(draw, largest), before, dilation))
    kernel, strides, before, dilation = zip(*taps, strict=True)
    if most:
        op = MAX[dims - 1](kernel, strides, before, dilation, ceil_mode=ceil)
        return Layer(op, taps)
    options = {"ceil_mode": ceil, "count_include_pad": draw(st.booleans())}
    if dims > 1:
        options["divisor_override"] = draw(st.sampled_from([None, None, 3]))
    return Layer(AVERAGE[dims - 1](kernel, strides, before, **options), taps)


@st.composite
def pads(draw, place: Place) -> Part:
    """F.pad, more on one side than on the other, perhaps by less than nothing."""
    cells = place.cells
    mode = draw(st.sampled_from(["constant", "constant", "reflect", "replicate"]))
    sides = st.integers(-1 if min(cells) > 4 else 0, min(2, min(cells) - 1))
    amounts = [draw(st.tuples(sides, sides)) for _ in cells]
    return Padded(amounts, mode, draw(st.sampled_from([0.0, 1.5])))


@st.composite
def joins(draw, place: Place) -> Part:
    """A block of two branches of the same strides; one branch alone if no other fits."""
    index = len(place.cells) - 1
    strides = tuple(_stride(draw, min(most, max(1, n // 3))) for n, most in place.axes)
    padded = [(3, 1), (3, 1), (5, 2)] if place.pads else []
    kernel, before = draw(st.sampled_from([(3, 0), (2, 0), *padded]))
    main = Chain(
        Layer(CONV[index](CHANNELS, CHANNELS, 1)),
        Layer(
            CONV[index](CHANNELS, CHANNELS, kernel, strides, before),
            [Taps(kernel, stride, before) for stride in strides],
        ),
        Layer(nn.ReLU(inplace=True)),
    )
    size = main.after(place.cells)
    # One cell does not tell whether it is a place of the map or stands for all of it.
    fitting = [] if 1 in size else [b for b in _shortcuts(strides) if b.after(place.cells) == size]
    if not fitting:
        return main
    how = draw(st.sampled_from(["add", "concatenate", "multiply"]))
    return Join(main, draw(st.sampled_from(fitting)), how)


def _shortcuts(strides: Cells) -> list[Chain]:
    """What stands beside a convolution of these strides."""
    index = len(strides) - 1

    def point(stride: int | Cells = 1) -> nn.Module:
        return CONV[index](CHANNELS, CHANNELS, 1, stride)

    mean = AVERAGE[index](strides, strides, ceil_mode=True, count_include_pad=False)
    return [
        Chain(Layer(point(strides), [Taps(1, stride) for stride in strides])),
        Chain(Every(0, strides)),
        Chain(Every(1, strides), Layer(point())),
        Chain(Layer(MAX[index](2, strides), [Taps(2, stride) for stride in strides])),
        Chain(Layer(mean, [Taps(stride, stride) for stride in strides]), Layer(point())),
    ]


@st.composite
def layers(draw, place: Place) -> Part:
    """One part of a body."""
    dims, smallest = len(place.cells), min(place.cells)
    kinds: list[Callable[[], Part]] = [
        *[lambda: draw(convolutions(place))] * 4,
        *[lambda: draw(pools(place))] * 2,
        lambda: Layer(NORMS[dims - 1](CHANNELS)),
        lambda: Layer(draw(st.sampled_from([nn.ReLU(inplace=True), nn.ReLU(), nn.PReLU()]))),
    ]
    if smallest > 2 and place.pads:
        kinds += [
            lambda: draw(pads(place)),
            lambda: Blur([_stride(draw, min(2, m)) for m in place.strides]),
        ]
    if smallest > 3:
        kinds += [lambda: draw(joins(place))] * 4
    if place.context and prod(place.cells) > 1:
        kinds += [lambda: SqueezeExcite(dims, draw(st.booleans()))] * 8
        kinds += [lambda: Norm(dims, draw(st.sampled_from([1, 2, 4])), draw(st.booleans()))] * 8
    if draw(st.sampled_from([False] * 29 + [True])):
        kinds = [Shuffle, lambda: Halves(dims)]
    return draw(st.sampled_from(kinds))()
