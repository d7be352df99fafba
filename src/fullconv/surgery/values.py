"""What is known of a value that flows through the blueprint.

In the FCN every value that depends on the image is a map `(N, C, *cells)`, channels first. The
classifier may show the same numbers under another shape: flattened, channels last, pooled to a
vector. A `Map` remembers both: where the cells lie, and how the classifier lays them out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from fullconv.geometry import Axis, times

CHANNEL = 0
"""The label of the channel in a layout; 1, 2, … are the spatial axes."""

Group = tuple[int, ...]
Bins = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Map:
    """A feature map and the shape the classifier gives it.

    Attributes:
        channels: C.
        axes: the spatial axes, in the order of the FCN's tensor.
        layout: one group of labels for each tensor axis after the batch; a group of several is
            flattened in that order, an empty one has length 1. `((0,), (1,), (2,))` is an ordinary
            map, `((0, 1, 2),)` a flattened one, `((1,), (2,), (0,))` is channels last and
            `((0,),)` is a vector: a map that is one cell at the window.
        bins: per axis, spans of FCN cells whose averages are the classifier's cells, not yet
            taken (overlapping bins of adaptive pooling, waiting for a linear layer); else empty.
    """

    channels: int
    axes: tuple[Axis, ...]
    layout: tuple[Group, ...]
    bins: tuple[Bins, ...] = ()

    @classmethod
    def plain(cls, channels: int, axes: tuple[Axis, ...]) -> Map:
        """A map with the ordinary layout `(C, *axes)`."""
        return cls(channels, axes, tuple((label,) for label in range(len(axes) + 1)))

    @property
    def is_plain(self) -> bool:
        """Whether the classifier sees it as `(N, C, *axes)`."""
        return self.layout == tuple((label,) for label in range(len(self.axes) + 1))

    @property
    def is_flattened(self) -> bool:
        """Whether one tensor axis holds more than one label."""
        return any(len(group) > 1 for group in self.layout)

    @property
    def is_collapsed(self) -> bool:
        """Whether its cells stand for whole windows along every axis."""
        return all(axis.collapsed or axis.size == 1 for axis in self.axes)

    def length(self, label: int) -> int:
        """How long the classifier sees the channel or an axis."""
        if label == CHANNEL:
            return self.channels
        if self.bins and self.bins[label - 1]:
            return len(self.bins[label - 1])
        return self.axes[label - 1].size

    def extent(self, group: Group) -> int:
        """The length of a tensor axis made of `group`."""
        return prod(self.length(label) for label in group)

    @property
    def shape(self) -> tuple[int, ...]:
        """The classifier's shape, without the batch."""
        return tuple(self.extent(group) for group in self.layout)

    def group(self, axis: int) -> Group:
        """The labels of tensor axis `axis` (batch = 0) that are longer than one.

        The channel always counts, also when there is only one.
        """
        labels = self.layout[axis - 1]
        return tuple(label for label in labels if label == CHANNEL or self.length(label) > 1)

    def laid_out(self, layout: tuple[Group, ...]) -> Map:
        """The same numbers under another layout."""
        return replace(self, layout=layout)

    def __str__(self) -> str:
        """`512×7×7 map`, `4096 vector`."""
        if self.is_collapsed and not self.bins:
            return f"vector of {self.channels}"
        lengths = [self.length(label) for label in range(len(self.axes) + 1)]
        return f"{times(lengths)} map"


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value that does not depend on the image; `shape` is its true shape."""

    shape: tuple[int, ...]


Value = Map | Fixed
