"""Sweeps for Hypothesis, and stacks of them counted layer by layer."""

from hypothesis import strategies as st

from fullconv.geometry import Sweep

kernels = st.integers(1, 7)
strides = st.integers(1, 4)
dilations = st.integers(1, 3)


@st.composite
def convolutions(draw) -> Sweep:
    """Sweeps a convolution can make: any padding, also more after than before."""
    padding = (draw(st.integers(0, 4)), draw(st.integers(0, 4)))
    return Sweep(draw(kernels), draw(strides), padding, draw(dilations))


@st.composite
def pools(draw) -> Sweep:
    """Sweeps PyTorch's pools accept: padding up to half the kernel, the same on both sides."""
    kernel = draw(kernels)
    pad = draw(st.integers(0, kernel // 2))
    return Sweep(kernel, draw(strides), (pad, pad), draw(dilations), draw(st.booleans()))


stacks = st.lists(st.one_of(convolutions(), pools()), min_size=1, max_size=6)


def chained(sweeps: list[Sweep], pixels: int) -> int:
    """Cells after all sweeps, layer by layer; 0 where the map has run out."""
    for sweep in sweeps:
        if pixels + sum(sweep.padding) < sweep.extent:
            return 0
        pixels = sweep.count(pixels)
    return pixels


def smallest(sweeps: list[Sweep]) -> int:
    """An image that all sweeps get through: walking back, what one output cell needs."""
    cells = 1
    for sweep in reversed(sweeps):
        cells = max(1, (cells - 1) * sweep.stride + sweep.extent - sum(sweep.padding))
    return cells
