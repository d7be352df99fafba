"""Random small classifiers, in one to three axes, and what is known of them by hand."""

from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st
from random_context import Context
from random_heads import heads
from random_layers import Cells, Place, convolutions, layers
from random_parts import Chain, Part
from torch import Tensor

from by_hand import head_map, whole_windows
from networks import Split, ready

WINDOWS = {1: (6, 40), 2: (6, 22), 3: (5, 10)}
"""Px per axis, by the number of axes."""
STRIDES = {1: 12, 2: 8, 3: 4}
"""The largest native stride."""
EXTRA = {1: 40, 2: 10, 3: 4}
"""By how many px an image is larger than the window, at most."""


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
        """Whether at the window any layer sees something that is not image."""
        masks = [[True] * n for n in self.window]
        for part in self.body.members:
            masks = part.clean(masks)
            if not all(map(all, masks)):
                return True
        return False

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
def networks(draw, context: bool = False) -> Network:
    """A classifier of one to three axes, its window and a size of image."""
    torch.manual_seed(draw(st.integers(0, 999)))  # an example is the same whenever it is run
    dims = draw(st.sampled_from([2, 2, 1, 3]))
    window = tuple(draw(st.integers(*WINDOWS[dims])) for _ in range(dims))
    place = Place(window, (STRIDES[dims],) * dims, draw(st.booleans()), context)
    parts = [draw(convolutions(place, 3))]
    for _ in range(draw(st.integers(1, 5))):
        place = behind(place, parts[-1])
        parts.append(draw(layers(place)).eval())
    cells = behind(place, parts[-1]).cells
    body = Chain(*parts)
    members, head = draw(heads(cells))
    stride = body.stride(dims)
    larger = [draw(st.sampled_from([0, s, s, 2 * s])) + draw(st.integers(0, 3)) for s in stride]
    extra = [min(n, EXTRA[dims]) for n in larger]
    image = tuple(w + e for w, e in zip(window, extra, strict=True))
    return Network(ready(Split(body, head, **members)), window, image, stride, cells)


def behind(place: Place, part: Part) -> Place:
    """Where the next part goes."""
    steps = part.stride(len(place.cells))
    left = tuple(most // step for most, step in zip(place.strides, steps, strict=True))
    return replace(place, cells=part.after(place.cells), strides=left)
