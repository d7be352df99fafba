"""Well-known networks, streamed in strips and bands: the map of one pass, at every kind of stride."""

import pytest
from test_strides import CASES, NIGHTLY, Case, network

import fullconv
from streamed import assert_streams
from zoo.draw import noise


def image(fcn, window: int):
    size = (window + 4 * fcn.plan.native_stride[0] + 3, window + 2 * fcn.plan.native_stride[1] + 1)
    return noise(fcn.plan.channels, size, 7)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_native_stride(case: Case):
    if case.heavy and not NIGHTLY:
        pytest.skip("takes minutes; make nightly runs it")
    fcn = fullconv.convert(network(case), case.window)
    assert_streams(fcn, image(fcn, case.window), 2, 2)


FINER = tuple(case for case in CASES if NIGHTLY or (case.stride <= 4 and not case.heavy))


@pytest.mark.parametrize("case", FINER, ids=lambda case: case.name)
@pytest.mark.parametrize("method", ["dilate", "fragments"])
def test_finer_stride_along_the_rows(case: Case, method: str):
    model = network(case)
    native = fullconv.plan(model, case.window).stride
    fcn = fullconv.convert(model, case.window, stride=(case.stride, native[1]), method=method)
    rows = case.window + 2 * native[0] + 1
    assert_streams(fcn, noise(fcn.plan.channels, (rows, case.window), 7), 3)
