"""Random small classifiers: every layer drawn to fit the map it gets, in one to three axes."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from hypothesis import strategies as st
from random_context import Context, Norm, SqueezeExcite
from random_heads import heads
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
from torch import Tensor, nn

from by_hand import head_map, whole_windows
from networks import NORMS, Split, ready

WINDOWS = {1: (6, 40), 2: (6, 22), 3: (5, 9)}
"""Px per axis, by the number of axes."""
STRIDES = {1: 12, 2: 8, 3: 4}
"""The largest native stride."""
EXTRA = {1: 40, 2: 10, 3: 4}
"""By how many px an image is larger than the window, at most."""
REFUSED = (Shuffle, Halves, nn.LayerNorm)
"""What there is no rule for yet: networks with one of these may be refused without being counted."""

Cells = tuple[int, ...]


@dataclass
class Network:
    """A classifier, how it is used, and what is known of it by hand."""

    model: Split
    window: Cells
    image: Cells
    stride: Cells
    cells: Cells

    @property
    def body(self) -> Chain:
        return self.model.body

    @property
    def has_context(self) -> bool:
        return any(isinstance(part, Context) for part in self.body.parts)

    @property
    def pads(self) -> bool:
        """Whether at the window a score sees something that is not image."""
        return not all(mask == [True] for mask in self.clean(self.window))

    @property
    def may_be_refused(self) -> bool:
        return any(isinstance(module, REFUSED) for module in self.model.modules())

    def clean(self, size: Cells) -> list[list[bool]]:
        """Per axis, whether the cells of the native map of an image see nothing but image."""
        counts = whole_windows(size, self.window, self.stride)
        masks = self.body.clean([[True] * n for n in size])
        return [
            [all(mask[i : i + length]) for i in range(count)]
            for mask, length, count in zip(masks, self.cells, counts, strict=True)
        ]

    def clean_at(self, stride: Cells) -> list[list[int]]:
        """Per axis, the cells at a finer stride that see nothing but image.

        Where a cell lies is what counts, so it is asked on the image cut to begin at its phase.
        """
        every = []
        for axis, count in enumerate(whole_windows(self.image, self.window, stride)):
            clean = []
            for cell in range(count):
                number, phase = divmod(cell * stride[axis], self.stride[axis])
                size = list(self.image)
                size[axis] -= phase
                if self.clean(tuple(size))[axis][number]:
                    clean.append(cell)
            every.append(clean)
        return every

    def by_hand(self, image: Tensor, context: str = "window") -> Tensor:
        """The head slid over the map of the body on the whole image (promise 3)."""
        counts = whole_windows(image.shape[2:], self.window, self.stride)
        features = self.body.dense(image.clone(), self.window, context).detach()
        return head_map(self.model.head, features, self.cells, counts)

    def __repr__(self) -> str:
        return (
            f"window {self.window}, image {self.image}, stride {self.stride}, map {self.cells}: "
            f"{self.model}"
        )


@st.composite
def convolutions(draw, cells: Cells, budget: Cells, channels: int = CHANNELS) -> Part:
    """A convolution; where strides are 1 perhaps with padding="same"."""
    out, groups = CHANNELS, draw(st.sampled_from([1, 2, 4])) if channels == CHANNELS else 1
    same, taps = draw(st.sampled_from([False] * 5 + [True])), []
    for n, most in zip(cells, budget, strict=True):
        before = 0 if n == 1 else draw(st.sampled_from([0, 0, 1, 2]))
        dilation = draw(st.sampled_from([1, 1, 2]))
        widest = (n + 2 * before - 1) // dilation + 1 if n > 1 else 1
        kernel = draw(st.integers(1, min(5, widest)))
        stride = 1 if n == 1 or same else draw(st.integers(1, min(4, most)))
        taps.append(Taps(kernel, stride, before, dilation))
    before = [t.before for t in taps]
    if same:
        taps = [t._replace(before=t.dilation * (t.kernel - 1) // 2) for t in taps]
    kernel, strides, _, dilation = zip(*taps, strict=True)
    op = CONV[len(cells) - 1](
        channels, out, kernel, strides, "same" if same else before, dilation, groups,
        bias=draw(st.booleans()),
    )  # fmt: skip
    return Layer(op, taps)


@st.composite
def pools(draw, cells: Cells, budget: Cells) -> Part:
    """A maximum or an average, with all their options."""
    dims, most, ceil = len(cells), draw(st.booleans()), draw(st.booleans())
    taps = []
    for n, largest in zip(cells, budget, strict=True):
        kernel = 1 if n == 1 else draw(st.integers(1, min(4, n)))
        stride = 1 if n == 1 else draw(st.integers(1, min(4, largest)))
        before = draw(st.sampled_from([0, 0, kernel // 2]))
        wide = most and 2 * kernel - 1 <= n and n > 3
        taps.append(Taps(kernel, stride, before, draw(st.integers(1, 2)) if wide else 1))
    kernel, strides, before, dilation = zip(*taps, strict=True)
    if most:
        op = MAX[dims - 1](kernel, strides, before, dilation, ceil_mode=ceil)
        return Layer(op, taps)
    options = {"ceil_mode": ceil, "count_include_pad": draw(st.booleans())}
    if dims > 1:
        options["divisor_override"] = draw(st.sampled_from([None, None, 3]))
    return Layer(AVERAGE[dims - 1](kernel, strides, before, **options), taps)


@st.composite
def pads(draw, cells: Cells) -> Part:
    """F.pad, more on one side than on the other, perhaps by less than nothing."""
    mode = draw(st.sampled_from(["constant", "constant", "reflect", "replicate"]))
    least = -1 if min(cells) > 4 else 0
    sides = st.integers(least, min(2, min(cells) - 1))
    amounts = [draw(st.tuples(sides, sides)) for _ in cells]
    return Padded(amounts, mode, draw(st.sampled_from([0.0, 1.5])))


@st.composite
def joins(draw, cells: Cells, budget: Cells) -> Part:
    """A block of two branches of the same strides; one branch alone if they do not fit."""
    place = len(cells) - 1
    strides = tuple(draw(st.integers(1, min(3, most))) for most in budget)
    taps = [Taps(1, stride) for stride in strides]
    kernel, before = draw(st.sampled_from([(3, 1), (3, 1), (3, 0), (5, 2), (2, 0)]))
    main = Chain(
        Layer(CONV[place](CHANNELS, CHANNELS, 1)),
        Layer(
            CONV[place](CHANNELS, CHANNELS, kernel, strides, before),
            [Taps(kernel, stride, before) for stride in strides],
        ),
        Layer(nn.ReLU(inplace=True)),
    )
    point = Layer(CONV[place](CHANNELS, CHANNELS, 1))
    most = MAX[place](2, strides)
    mean = AVERAGE[place](strides, strides, ceil_mode=True, count_include_pad=False)
    shortcuts: dict[str, Callable[[], Chain]] = {
        "strided convolution": lambda: Chain(
            Layer(CONV[place](CHANNELS, CHANNELS, 1, strides), taps)
        ),
        "slice": lambda: Chain(Every(0, strides)),
        "later slice": lambda: Chain(Every(1, strides), point),
        "maximum": lambda: Chain(Layer(most, [Taps(2, stride) for stride in strides])),
        "mean": lambda: Chain(Layer(mean, [Taps(stride, stride) for stride in strides]), point),
    }
    shortcut = shortcuts[draw(st.sampled_from(list(shortcuts)))]()
    how = draw(st.sampled_from(["add", "concatenate", "multiply"]))
    sizes = main.after(cells), shortcut.after(cells)
    # One cell does not tell whether it is a place of the map or stands for all of it.
    fits = sizes[0] == sizes[1] and 1 not in sizes[0]
    return Join(main, shortcut, how) if fits else main


@st.composite
def layers(draw, cells: Cells, budget: Cells, context: bool) -> Part:
    """One part of a body, for a map of `cells` cells, its strides within the budget."""
    dims = len(cells)
    kinds = ["convolution"] * 4 + ["pool"] * 3 + ["norm", "activation"]
    if min(cells) > 2:
        kinds += ["pad", "blur"]
    if min(cells) > 3:
        kinds += ["join"] * 3
    if context and prod(cells) > 1:
        kinds += ["squeeze-excite", "context norm"] * 5
    kind = draw(st.sampled_from(kinds))
    if kind == "convolution":
        return draw(convolutions(cells, budget))
    if kind == "pool":
        return draw(pools(cells, budget))
    if kind == "pad":
        return draw(pads(cells))
    if kind == "join":
        return draw(joins(cells, budget))
    if kind == "blur":
        return Blur([draw(st.integers(1, min(2, most))) for most in budget])
    if kind == "squeeze-excite":
        return SqueezeExcite(dims, draw(st.booleans()))
    if kind == "context norm":
        return Norm(dims, draw(st.sampled_from([1, 2, CHANNELS])), draw(st.booleans()))
    if kind == "norm":
        return Layer(NORMS[dims - 1](CHANNELS))
    if draw(st.sampled_from([False] * 9 + [True])):
        return draw(st.sampled_from([Shuffle(), Halves(dims)]))
    return Layer(draw(st.sampled_from([nn.ReLU(inplace=True), nn.ReLU(), nn.GELU(), nn.PReLU()])))


@st.composite
def networks(draw, context: bool = False) -> Network:
    """A classifier of one to three axes, its window and a size of image."""
    torch.manual_seed(draw(st.integers(0, 999)))  # an example is the same whenever it is run
    dims = draw(st.sampled_from([2, 2, 1, 3]))
    window = tuple(draw(st.integers(*WINDOWS[dims])) for _ in range(dims))
    budget = (STRIDES[dims],) * dims
    cells, parts = window, []
    for number in range(draw(st.integers(1, 5))):
        strategy = layers(cells, budget, context) if number else convolutions(cells, budget, 3)
        part = draw(strategy).eval()
        parts.append(part)
        cells = part.after(cells)
        budget = tuple(b // s for b, s in zip(budget, part.stride(dims), strict=True))
    body = Chain(*parts)
    members, head = draw(heads(cells))
    stride = body.stride(dims)
    extra = [draw(st.integers(0, min(EXTRA[dims], 2 * s + 3))) for s in stride]
    image = tuple(w + e for w, e in zip(window, extra, strict=True))
    return Network(ready(Split(body, head, **members)), window, image, stride, cells)
