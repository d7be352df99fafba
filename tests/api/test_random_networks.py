"""Networks nobody thought of: random bodies, random heads, random sizes, in one to three axes."""

from math import prod

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import fullconv
from by_hand import assert_at_window, assert_same, crop_map, head_map, whole_windows
from networks import Split, noise, ready

CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
MAX = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
AVERAGE = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
ADAPTIVE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
ADAPTIVE_MAX = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
CHANNELS = 4


class Residual(nn.Module):
    """Two branches that meet, equally large at the window.

    On some larger images one has a cell more: `cut` then does by hand what the FCN must do.
    """

    def __init__(self, left: nn.Module, right: nn.Module, join: str) -> None:
        super().__init__()
        self.left, self.right, self.join = left, right, join
        self.cut = False
        self.cells: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.left(x), self.right(x)
        if self.cut:
            sizes = zip(a.shape[2:], b.shape[2:], strict=True)
            spans = [slice(min(both)) for both in sizes]
            a, b = a[(..., *spans)], b[(..., *spans)]
        if a.shape[2:] != b.shape[2:]:
            raise ValueError("branches of different size at the window")
        self.cells = list(a.shape[2:])
        return torch.cat([a, b], 1)[:, 1:5] if self.join == "cat" else a + b


@st.composite
def layers(draw, dims: int) -> tuple[nn.Module, int]:
    """One layer of a body, and its stride."""
    place = dims - 1
    kind = draw(st.sampled_from(["conv", "conv", "conv", "max", "average", "norm", "relu", "join"]))
    kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    if kind == "norm":
        return NORM[place](CHANNELS), 1
    if kind == "relu":
        return nn.ReLU(inplace=draw(st.booleans())), 1
    if kind == "max":
        pad = draw(st.integers(0, kernel // 2))
        return MAX[place](kernel, stride, pad, ceil_mode=draw(st.booleans())), stride
    if kind == "average":
        pad = draw(st.integers(0, kernel // 2))
        counted = draw(st.booleans())
        ceil = draw(st.booleans())
        return AVERAGE[place](
            kernel, stride, pad, ceil_mode=ceil, count_include_pad=counted
        ), stride
    if kind == "join":
        left = CONV[place](CHANNELS, CHANNELS, 3, stride=stride)
        right = MAX[place](2, stride)
        return Residual(left, right, draw(st.sampled_from(["add", "cat"]))), stride
    conv = CONV[place](
        CHANNELS,
        CHANNELS,
        kernel,
        stride,
        padding=draw(st.integers(0, 2)),
        dilation=draw(st.integers(1, 2)),
        groups=draw(st.sampled_from([1, 2, 4])),
        bias=draw(st.booleans()),
    )
    return conv, stride


@st.composite
def bodies(draw, dims: int) -> tuple[nn.Sequential, int]:
    """A body on three channels, and its stride."""
    pairs = draw(st.lists(layers(dims), max_size=4))
    first = CONV[dims - 1](3, CHANNELS, draw(st.integers(1, 3)), padding=draw(st.integers(0, 1)))
    return nn.Sequential(first, *(layer for layer, _ in pairs)), prod(s for _, s in pairs)


@st.composite
def heads(draw, dims: int):
    """What a head does, as (name, size of adaptive pooling)."""
    name = draw(
        st.sampled_from(["flatten", "last", "adaptive", "adaptive max", "mean", "amax", "cover"])
    )
    sides = st.lists(st.integers(1, 4), min_size=dims, max_size=dims)
    return name, tuple(draw(sides))


def head_of(name: str, size: tuple[int, ...], cells: tuple[int, ...]):
    """A head for a map of `cells` cells: members and forward."""
    dims = len(cells)
    space = tuple(range(2, dims + 2))
    out = nn.Linear(CHANNELS * prod(cells), 3)
    if name == "flatten":
        return {"out": out}, lambda m, x: m.out(x.flatten(1))
    if name == "last":
        order = (0, *space, 1)
        return {"out": out}, lambda m, x: m.out(x.permute(order).flatten(1))
    if name in ("adaptive", "adaptive max"):
        kinds = ADAPTIVE if name == "adaptive" else ADAPTIVE_MAX
        if name == "adaptive max":  # only bins that divide the map convert
            size = tuple(n if c % n == 0 else 1 for n, c in zip(size, cells, strict=True))
        out = nn.Linear(CHANNELS * prod(size), 3)
        pool = kinds[dims - 1](size if dims > 1 else size[0])
        return {"pool": pool, "out": out}, lambda m, x: m.out(m.pool(x).flatten(1))
    if name == "cover":
        conv = CONV[dims - 1](CHANNELS, 3, cells)
        return {"out": conv}, lambda m, x: m.out(x).flatten(1)
    out = nn.Linear(CHANNELS, 3)
    if name == "mean":
        return {"out": out}, lambda m, x: m.out(x.mean(space))
    return {"out": out}, lambda m, x: m.out(x.amax(space))


def cells_at(body: nn.Module, window: tuple[int, ...]) -> tuple[int, ...] | None:
    """The body's map at a window, or None where it has none."""
    try:
        with torch.no_grad():
            return tuple(body(torch.zeros(1, 3, *window, dtype=torch.float64)).shape[2:])
    except (RuntimeError, ValueError):
        return None


def check(body: nn.Sequential, step: int, head, window, extra) -> None:
    dims = len(window)
    ready(body)
    cells = cells_at(body, window)
    assume(cells is not None and prod(cells) <= 200)
    assert cells is not None
    parts, forward = head_of(*head, cells)
    model = ready(Split(body, forward, **parts))
    try:
        fcn = fullconv.convert(model, window)
    except fullconv.RefusedError:
        # Whether a branch of one cell stands for the whole window cannot be told there.
        assume(not any(isinstance(m, Residual) and 1 in m.cells for m in body))
        raise
    assert_at_window(model, fcn, noise(2, 3, *window))
    size = tuple(w + e for w, e in zip(window, extra, strict=True))
    image = noise(1, 3, *size, seed=4)
    with torch.no_grad():
        ours = fcn(image.clone())
    counts = whole_windows(size, window, fcn.stride)
    assert ours.shape[2:] == fcn.grid(size).shape == counts
    # A 1×1 map may hide a stride of the last layer: there the FCN may have the finer map.
    assert all(step % stride == 0 for stride in fcn.stride)
    assert fcn.stride == (step,) * dims or 1 in cells
    if fcn.plan.exact_windows:
        assert_same(ours, crop_map(lambda x: model(x.clone()), image, window, fcn.stride))
    if fcn.stride != (step,) * dims:
        return
    for module in body:
        if isinstance(module, Residual):
            module.cut = True
    with torch.no_grad():
        features = model.body(image.clone())
    assert_same(ours, head_map(model.head, features, cells, counts))


@settings(max_examples=60)
@given(st.data())
def test_in_two_axes(data):
    body, step = data.draw(bodies(2))
    window = data.draw(st.tuples(st.integers(4, 22), st.integers(4, 22)))
    extra = data.draw(st.tuples(st.integers(0, 9), st.integers(0, 9)))
    check(body, step, data.draw(heads(2)), window, extra)


@settings(max_examples=40)
@given(st.data())
def test_in_one_axis(data):
    body, step = data.draw(bodies(1))
    window, extra = (data.draw(st.integers(4, 40)),), (data.draw(st.integers(0, 30)),)
    check(body, step, data.draw(heads(1)), window, extra)


@settings(max_examples=20)
@given(st.data())
def test_in_three_axes(data):
    body, step = data.draw(bodies(3))
    sides = st.tuples(*[st.integers(4, 9)] * 3)
    extra = data.draw(st.tuples(*[st.integers(0, 4)] * 3))
    check(body, step, data.draw(heads(3)), data.draw(sides), extra)
