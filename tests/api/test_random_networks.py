"""Networks nobody thought of: the promises, on random bodies, heads and sizes."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st
from random_networks import Network, networks

import fullconv
from by_hand import (
    assert_at_window,
    assert_same,
    crop_map,
    shift_and_stitch,
    whole_windows,
)
from fullconv.api import stitching
from networks import noise


@dataclass
class Tally:
    """Counts refusals: a test of networks that are all refused would prove nothing."""

    seen: int = 0
    refused: int = 0

    def converted(self, network: Network, **options) -> torch.nn.Module | None:
        """The FCN, or None where `convert` and `plan` refuse."""
        self.seen += 1
        try:
            fcn = fullconv.convert(network.model, network.window, **options)
        except fullconv.RefusedError as refusal:
            with pytest.raises(fullconv.RefusedError):
                fullconv.plan(network.model, network.window, **options)
            self.refused += 1
            event(f"refused: {str(refusal)[:60]}")
            return None
        event("converted")
        return fcn

    def check(self, share: float) -> None:
        assert self.refused <= share * self.seen, f"{self.refused} of {self.seen} refused"


def native_cells(network: Network, fcn) -> tuple:
    """The cells of an FCN's map that are at the network's own strides.

    A map of one cell may hide a stride of the last layer: there the FCN may have the finer map.
    """
    steps = zip(network.stride, fcn.stride, network.cells, strict=True)
    assert all(own % step == 0 and (own == step or n == 1) for own, step, n in steps)
    ratio = zip(network.stride, fcn.stride, strict=True)
    return (..., *(slice(None, None, own // step) for own, step in ratio))


def crops(network: Network, image: torch.Tensor, stride: tuple[int, ...]) -> torch.Tensor:
    return crop_map(lambda x: network.model(x.clone()), image, network.window, stride)


def scores(fcn, image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        ours = fcn(image.clone())
    size = tuple(image.shape[2:])
    counts = whole_windows(size, fcn.window, fcn.stride)
    assert tuple(ours.shape[2:]) == fcn.grid(size).shape == counts
    return ours


def test_at_the_native_stride():
    tally = Tally()

    @given(networks())
    def each(network: Network) -> None:
        fcn = tally.converted(network)
        if fcn is None:
            return
        assert_at_window(network.model, fcn, noise(2, 3, *network.window))
        image = noise(1, 3, *network.image, seed=4)
        ours = scores(fcn, image)
        assert fcn.plan.exact_windows or network.pads
        if fcn.plan.exact_windows:
            assert_same(ours, crops(network, image, fcn.stride))
        assert_same(ours[native_cells(network, fcn)], network.by_hand(image))
        assert fullconv.verify(network.model, fcn, cells=3).ok

    each()
    tally.check(0.1)


def test_context_ops():
    tally = Tally()

    @given(networks(context=True), st.sampled_from(["window", "image"]))
    def each(network: Network, context: str) -> None:
        batch = noise(2, 3, *network.window)
        with torch.no_grad():
            answer = network.model(batch.clone())
        assert_same(network.by_hand(batch, context).flatten(1), answer)
        fcn = tally.converted(network, context=context)
        if fcn is None:
            return
        assert_at_window(network.model, fcn, batch)
        image = noise(1, 3, *network.image, seed=4)
        assert_same(scores(fcn, image)[native_cells(network, fcn)], network.by_hand(image, context))

    each()
    tally.check(0.1)


def test_finer_strides():
    tally = Tally()

    @given(st.booleans().flatmap(networks), st.data())
    def each(network: Network, data: st.DataObject) -> None:
        native = tally.converted(network)
        if native is None:
            return
        divisors = [[t for t in range(1, s + 1) if s % t == 0] for s in native.stride]
        stride = tuple(data.draw(st.sampled_from(choices)) for choices in divisors)
        image = noise(1, 3, *network.image, seed=4)
        coarse = [slice(None, None, s // t) for s, t in zip(native.stride, stride, strict=True)]
        maps = []
        for method in ("dilate", "fragments"):
            fcn = tally.converted(network, stride=stride, method=method)
            if fcn is None:
                continue
            assert fcn.stride == stride
            assert_at_window(network.model, fcn, noise(2, 3, *network.window))
            ours = scores(fcn, image)
            assert_same(ours[(..., *coarse)], scores(native, image))
            maps.append(ours)
            if not network.has_context:
                check_finer(network, ours, image, fcn)
        if len(maps) == 2 and not network.pads:
            assert_same(maps[1], maps[0])
        if not network.has_context:
            theirs = shift_and_stitch(
                network.by_hand, image, network.window, network.stride, stride
            )
            assert_same(stitching.shift_and_stitch(native, image, stride), theirs)

    each()
    tally.check(0.3)


def check_finer(network: Network, ours: torch.Tensor, image: torch.Tensor, fcn) -> None:
    """Promise 4, away from the borders, and promise 2 where nothing pads."""
    theirs = shift_and_stitch(network.by_hand, image, network.window, network.stride, fcn.stride)
    assert ours.shape == theirs.shape
    clean = network.clean_at(fcn.stride)
    for axis, cells in enumerate(clean, 2):
        ours, theirs = (
            x.index_select(axis, torch.tensor(cells, dtype=int)) for x in (ours, theirs)
        )
    if all(clean):
        assert_same(ours, theirs)
    if not network.pads:
        assert_same(ours, crops(network, image, fcn.stride))
