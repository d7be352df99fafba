"""Networks nobody thought of, streamed: in whatever strips and bands, the map is that of one pass."""

import torch
from hypothesis import event, given
from hypothesis import strategies as st
from random_networks import Network, networks

import fullconv
from by_hand import assert_same
from fullconv.geometry import times
from fullconv.hosts.torch_fx.streaming.reading import streamed
from fullconv.hosts.torch_fx.streaming.stream import Stream
from fullconv.streams.bands import band
from fullconv.streams.schedule import Schedule
from networks import noise
from streamed import Reader, assert_streams, stream


def drawn(network: Network, data: st.DataObject, finer: bool) -> fullconv.FCN | None:
    """The FCN at some stride, by some method; None where it is refused."""
    options = {"method": data.draw(st.sampled_from(["dilate", "fragments"]))}
    try:
        fcn = fullconv.convert(network.model, network.window, **options)
        if finer:
            divisors = [[t for t in range(1, s + 1) if s % t == 0] for s in fcn.stride]
            stride = tuple(data.draw(st.sampled_from(choices)) for choices in divisors)
            fcn = fullconv.convert(network.model, network.window, stride=stride, **options)
    except fullconv.RefusedError:
        event("refused")
        return None
    event(f"stride {times(fcn.stride)}")
    return fcn


def image_for(network: Network, data: st.DataObject) -> torch.Tensor:
    """Taller than the window by up to six strides, and by a few pixels."""
    tall = data.draw(st.integers(0, 6)) * network.stride[0] + data.draw(st.integers(0, 3))
    size = (max(network.image[0], network.window[0] + tall), *network.image[1:])
    return noise(1, 3, *size, seed=4)


def test_strips_and_bands():
    streamed_ones = []

    @given(st.booleans().flatmap(networks), st.data(), st.booleans())
    def each(network: Network, data: st.DataObject, finer: bool) -> None:
        fcn = drawn(network, data, finer)
        if fcn is None:
            return
        height, width = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 9))
        assert_streams(fcn, image_for(network, data), height, width)
        streamed_ones.append(fcn)

    each()
    assert len(streamed_ones) >= 80


def test_the_reference_that_is_no_fcn():
    @given(networks(), st.data())
    def each(network: Network, data: st.DataObject) -> None:
        fcn = drawn(network, data, False)
        if fcn is None:
            return
        image = image_for(network, data)
        found = stream(fcn, image, data.draw(st.integers(1, 5)))[0]
        steps = zip(network.stride, fcn.stride, strict=True)
        cells = (..., *(slice(None, None, own // step) for own, step in steps))
        assert_same(found[cells], network.by_hand(image))

    each()


def test_a_pass_from_the_middle_gives_the_very_same_bits():
    @given(st.booleans().flatmap(networks), st.data(), st.booleans())
    def each(network: Network, data: st.DataObject, finer: bool) -> None:
        fcn = drawn(network, data, finer)
        if fcn is None:
            return
        image = image_for(network, data)
        net, size = streamed(fcn), tuple(image.shape[2:])
        grid = fcn.grid(size).shape
        schedule = Schedule(net.course, size, data.draw(st.integers(1, 3)), grid[0])
        columns = grid[1] if len(grid) > 1 else 1
        whole = band(net.course, size, schedule.cells, 0, columns)
        passes = Stream(net, schedule, whole)
        every = list(passes.run(Reader(image)))
        start = data.draw(st.integers(0, schedule.count - 1))
        stop = data.draw(st.integers(start + 1, schedule.count))
        part = list(passes.run(Reader(image), start, stop))
        assert [strip.number for strip in part] == list(range(start, stop))
        for strip in part:
            for ours, theirs in zip(strip.answers, every[strip.number].answers, strict=True):
                assert torch.equal(ours, theirs)

    each()
