"""What is known of a value that flows through the blueprint.

In the FCN every value that depends on the image is a map `(N, C, *cells)`, channels first. The
classifier may show the same numbers under another shape: flattened, channels last, pooled to a
vector, channels in groups. A `Map` remembers both: where the cells lie, and how the classifier
lays them out.
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
        parts: where the classifier sees the channels as several tensor axes, their lengths, slowest
            first; their labels are then 0, -1, -2, … Else empty.
        blocks: per axis the length of the inner part where the classifier has split it into
            (cells, block), on the way to moving the block into the channels (space to depth); the
            block of axis `a` has the label `len(axes) + a`. Else empty.
        soft: its numbers are to go through a softmax over all cells of the map: weights that wait
            for the product with another map (attention pooling).
    """

    channels: int
    axes: tuple[Axis, ...]
    layout: tuple[Group, ...]
    bins: tuple[Bins, ...] = ()
    parts: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()
    soft: bool = False

    @classmethod
    def plain(cls, channels: int, axes: tuple[Axis, ...]) -> Map:
        """A map with the ordinary layout `(C, *axes)`."""
        return cls(channels, axes, tuple((label,) for label in range(len(axes) + 1)))

    @property
    def is_plain(self) -> bool:
        """Whether the classifier sees it as `(N, C, *axes)`."""
        ordinary = tuple((label,) for label in range(len(self.axes) + 1))
        return self.layout == ordinary and not self.parts and not self.blocks

    @property
    def is_flattened(self) -> bool:
        """Whether one tensor axis holds more than one label."""
        return any(len(group) > 1 for group in self.layout)

    @property
    def is_whole(self) -> bool:
        """Whether neither channels nor axes are seen split."""
        return not self.parts and not self.blocks

    @property
    def is_collapsed(self) -> bool:
        """Whether its cells stand for whole windows along every axis."""
        return all(axis.collapsed or (axis.size == 1 and not axis.context) for axis in self.axes)

    @property
    def is_context(self) -> bool:
        """Whether it was pooled, along some axis, from a map it is to meet again."""
        return any(axis.context for axis in self.axes)

    @property
    def channel_labels(self) -> Group:
        """The labels that together are the channels, slowest first."""
        return tuple(-place for place in range(max(1, len(self.parts))))

    def length(self, label: int) -> int:
        """How long the classifier sees the channel, a part of it, an axis or a block."""
        if label <= CHANNEL:
            return self.parts[-label] if self.parts else self.channels
        if label > len(self.axes):
            return self.blocks[label - len(self.axes) - 1]
        if self.bins and self.bins[label - 1]:
            return len(self.bins[label - 1])
        return self.axes[label - 1].size // (self.blocks[label - 1] if self.blocks else 1)

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
        return tuple(label for label in labels if label <= CHANNEL or self.length(label) > 1)

    def laid_out(self, layout: tuple[Group, ...]) -> Map:
        """The same numbers under another layout."""
        return replace(self, layout=layout)

    def __str__(self) -> str:
        """`512×7×7 map`, `4096 vector`."""
        if (self.is_collapsed or self.is_context) and not self.bins:
            return f"vector of {self.channels}"
        labels = range(1, len(self.axes) + 1)
        lengths = [self.channels, *(self.length(label) for label in labels)]
        return f"{times(lengths)} map"


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value that does not depend on the image; `shape` is its true shape."""

    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"constant of shape {times(self.shape)}"


Value = Map | Fixed
