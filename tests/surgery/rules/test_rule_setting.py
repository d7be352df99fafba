"""How much of a layer's stride may still step."""

from hypothesis import given
from hypothesis import strategies as st

from fullconv.geometry import Axis, Sweep
from fullconv.surgery.rules import Setting

small = st.integers(1, 6)


def test_the_native_stride_keeps_everything_but_what_follows_dilation():
    setting = Setting(None, frozenset(), (8,), 2)
    assert setting.keep(0, Axis(8, stride=4), Sweep(3, 2)) == 2
    assert setting.keep(0, Axis(8, stride=4, dilation=2), Sweep(3, 2)) == 1


@given(small, small, small, small)
def test_a_finer_stride_is_the_largest_step_that_does_not_overshoot(stride, step, dilation, times):
    wanted = stride * times
    setting = Setting((wanted,), frozenset(), (99,), 2)
    kept = setting.keep(0, Axis(9, stride=stride, dilation=dilation), Sweep(3, step))
    total = step * dilation
    fitting = [g for g in range(1, total + 1) if total % g == 0 and wanted % (stride * g) == 0]
    assert kept == max(fitting)
