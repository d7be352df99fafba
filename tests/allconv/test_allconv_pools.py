"""Pools as convolutions, against PyTorch's own pools."""

import pytest
import torch
import torch.nn.functional as F
from small_networks import AVERAGE_POOLS, CONVS, MAX_POOLS, MEANS, Cifar, pools_left, sequence
from torch import nn

import fullconv
from fullconv.allconv.build import plan
from fullconv.allconv.edits import DropPool, PoolToConv, Restride
from fullconv.allconv.plan import STARTS
from networks import LeNet, Net, noise, ready

WINDOW = {1: 29, 2: 21, 3: 13}


def image(dims: int, *, more: int = 0, batch: int = 2, channels: int = 3) -> torch.Tensor:
    return noise(batch, channels, *(WINDOW[dims] + more + 2 * axis for axis in range(dims)))


def window(dims: int) -> tuple[int, ...]:
    return tuple(WINDOW[dims] + 2 * axis for axis in range(dims))


EXACT = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 2, "stride": 3},
    {"kernel_size": 4, "stride": 3, "padding": 2},
    {"kernel_size": 1, "stride": 2},
]


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("how", EXACT, ids=str)
def test_average_pools_are_reproduced_in_images_of_any_size(dims, how):
    model = sequence(dims, AVERAGE_POOLS[dims - 1](**how), relu=dims != 2)
    network = fullconv.all_convolutional(model, window(dims))
    (step,) = [step for step in network.plan.steps if not step.is_head]
    assert step.start == "exact"
    assert network.plan.is_exact
    layer = network.get_submodule(step.layer)
    assert [type(module) for module in layer if not isinstance(module, nn.ReLU)] == [
        CONVS[dims - 1]
    ]
    for more in range(4):
        x = noise(2, 5, *(n + more for n in window(dims))).abs()
        torch.testing.assert_close(layer(x), MEANS[dims - 1](x, **how), atol=1e-12, rtol=0)
        torch.testing.assert_close(network(image(dims, more=more)), model(image(dims, more=more)),
                                   atol=1e-10, rtol=0)  # fmt: skip
    assert pools_left(network) == []


@pytest.mark.parametrize("how", [{"divisor_override": 3}, {"divisor_override": 7, "padding": 1}])
def test_a_divisor_of_its_own_is_taken(how):
    model = sequence(2, nn.AvgPool2d(3, 2, **how))
    network = fullconv.all_convolutional(model, window(2))
    assert network.plan.steps[0].start == "exact"
    for more in (0, 1):
        x = image(2, more=more)
        torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_padding_that_is_not_counted_is_zeros_that_count_at_the_border(dims):
    how = {"kernel_size": 3, "stride": 2, "padding": 1}
    model = sequence(dims, AVERAGE_POOLS[dims - 1](**how, count_include_pad=False))
    network = fullconv.all_convolutional(model, window(dims))
    step = network.plan.steps[0]
    assert step.start == "exact inside"
    assert STARTS[step.start] == "exact inside; at the border zeros count"
    assert not network.plan.is_exact
    x = noise(2, 5, *window(dims)).abs()
    made = network.get_submodule(step.layer)(x)
    counted = MEANS[dims - 1](x, **how, count_include_pad=True)
    torch.testing.assert_close(made, counted, atol=1e-12, rtol=0)
    inner = (..., *(slice(1, -1) for _ in range(dims)))
    wanted = MEANS[dims - 1](x, **how, count_include_pad=False)
    torch.testing.assert_close(made[inner], wanted[inner], atol=1e-12, rtol=0)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("maximum", [True, False])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_ceil_mode_gives_as_many_cells_in_images_of_any_size(dims, maximum, padding):
    kinds = MAX_POOLS if maximum else AVERAGE_POOLS
    pool = kinds[dims - 1](3, 2, padding, ceil_mode=True)
    network = fullconv.all_convolutional(sequence(dims, pool), window(dims))
    step = network.plan.steps[0]
    layer = network.get_submodule(step.layer)
    for more in range(4):
        x = noise(1, 5, *(n + more for n in window(dims))).abs()
        wanted = pool(x)
        assert layer(x).shape == wanted.shape
        if not maximum:
            inner = (..., *(slice(1, -1) for _ in range(dims)))
            torch.testing.assert_close(layer(x)[inner], wanted[inner], atol=1e-12, rtol=0)


def test_ceil_mode_says_whether_it_hangs_over_at_the_window():
    pool = nn.AvgPool2d(3, 2, ceil_mode=True)
    fits = fullconv.all_convolutional(sequence(2, pool), 21)
    assert fits.plan.steps[0].start == "exact at the window"
    assert fits.plan.is_exact
    model = sequence(2, pool)
    x = noise(2, 3, 21, 21)
    network = fullconv.all_convolutional(model, 21)
    torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)
    assert plan(sequence(2, pool), 22).steps[0].start == "exact inside"


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(
    "how", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 3,
            "stride": 2, "dilation": 2}, {"kernel_size": 2, "stride": 1}], ids=str
)  # fmt: skip
def test_max_pools_begin_as_the_average(dims, how):
    model = sequence(dims, MAX_POOLS[dims - 1](**how))
    network = fullconv.all_convolutional(model, window(dims))
    step = network.plan.steps[0]
    assert step.start == "average"
    assert step.edit.relu
    layer = network.get_submodule(step.layer)
    assert [name for name, _ in layer.named_children()] == ["conv", "relu"]
    taps = torch.zeros_like(layer.conv.weight)
    channels = torch.arange(5)
    taps[channels, channels] = 1 / layer.conv.weight[0, 0].numel()
    assert torch.equal(layer.conv.weight, taps)
    assert torch.equal(layer.conv.bias, torch.zeros(5).double())
    for more in range(3):
        x = image(dims, more=more)
        assert layer(model[:2](x)).shape == model[:3](x).shape


def test_subsampling_is_exact_for_maxima_too():
    model = sequence(2, nn.MaxPool2d(1, 2))
    network = fullconv.all_convolutional(model, 21)
    assert network.plan.steps[0].start == "exact"
    torch.testing.assert_close(network(image(2)[..., :21, :21]), model(image(2)[..., :21, :21]),
                               atol=1e-10, rtol=0)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "relu"),
    [("ReLU", True), ("ReLU6", True), ("Sigmoid", True), ("Softplus", True), ("Tanh", False),
     ("GELU", False), ("LeakyReLU", False), ("Identity", False)],
)  # fmt: skip
def test_a_relu_follows_where_it_changes_nothing(name, relu):
    model = ready(
        nn.Sequential(nn.Conv2d(3, 4, 3), getattr(nn, name)(), nn.Dropout(0.1), nn.AvgPool2d(2),
                      nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    )  # fmt: skip
    network = fullconv.all_convolutional(model, 16)
    step = network.plan.steps[0]
    assert step.edit.relu is relu
    assert ("relu" in dict(network.get_submodule(step.layer).named_children())) is relu
    assert ("ReLU" in step.becomes) is relu
    x = noise(2, 3, 16, 16)
    torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)


def test_signs_are_known_through_branches():
    def forward(self, x):
        a = F.relu(self.a(x))
        b = torch.sigmoid(self.b(x))
        both = F.avg_pool2d(torch.cat([a, b, a * b, a + b], 1), 2)
        mixed = F.avg_pool2d(torch.cat([a, self.b(x)], 1), 2)
        less = F.avg_pool2d(a - b, 2)
        return self.fc(torch.cat([both, mixed, less], 1).mean((2, 3)))

    model = ready(Net(forward, a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(3, 4, 3), fc=nn.Linear(28, 3)))
    made = plan(model, 16)
    assert [s.edit.relu for s in made.steps if not s.is_head] == [True, False, False]


def test_names_tell_the_place_of_the_pool():
    network = fullconv.all_convolutional(ready(LeNet()), 28)
    assert [s.layer for s in network.plan.steps] == ["pool_1", "pool_2", "fc3"]
    network = fullconv.all_convolutional(ready(Cifar()), 32)
    assert [s.layer for s in network.plan.steps] == ["pool_1", "pool_2", "fc3"]
    assert sorted(name for name, _ in network.named_parameters()) == [
        "conv1.bias", "conv1.weight", "conv2.bias", "conv2.weight", "fc3.bias", "fc3.weight",
        "pool_1.conv.bias", "pool_1.conv.weight", "pool_2.conv.bias", "pool_2.conv.weight",
    ]  # fmt: skip
    network = fullconv.all_convolutional(sequence(2, nn.MaxPool2d(2)), 16)
    assert [s.layer for s in network.plan.steps] == ["2", "7"]
    assert isinstance(network.get_submodule("2.conv"), nn.Conv2d)


def test_a_pool_in_a_block_gets_its_name_there():
    class Down(nn.Module):
        def __init__(self, pool_1):
            super().__init__()
            self.pool_1 = pool_1

        def forward(self, x):
            return F.avg_pool2d(self.pool_1(x), 2)

    model = ready(nn.Sequential(nn.Conv2d(3, 4, 3), Down(nn.Conv2d(4, 4, 1)), nn.Flatten(),
                                nn.Linear(4 * 49, 3)))  # fmt: skip
    network = fullconv.all_convolutional(model, 16, head="exact")
    assert network.plan.steps[0].layer == "1.pool_2"
    x = noise(2, 3, 16, 16)
    torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)


# --- dropped pools ---


def strided(*layers: nn.Module, size: int = 32) -> fullconv.AllConvolutional:
    model = ready(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3)))
    model(noise(1, 3, size, size))
    return fullconv.all_convolutional(model, size, pools="strided")


def cells(network, layer: str, size: int = 32) -> tuple[int, ...]:
    seen = []
    hook = network.get_submodule(layer).register_forward_hook(lambda m, a, y: seen.append(y.shape))
    network(noise(1, 3, size, size))
    hook.remove()
    return tuple(seen[0][2:])


@pytest.mark.parametrize("size", [32, 33, 35])
@pytest.mark.parametrize(
    "pool", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2},
             {"kernel_size": 3, "stride": 2, "padding": 1},
             {"kernel_size": 3, "stride": 2, "ceil_mode": True},
             {"kernel_size": 3, "stride": 1, "padding": 1}, {"kernel_size": 5, "stride": 3}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(
    "conv", [{"kernel_size": 3, "padding": 1}, {"kernel_size": 3}, {"kernel_size": 7, "stride": 2,
             "padding": 3}, {"kernel_size": 5, "padding": 2, "dilation": 1}], ids=str
)  # fmt: skip
def test_a_convolution_that_makes_the_steps_of_its_pool_gives_as_many_cells(conv, pool, size):
    layers = [nn.Conv2d(3, 4, **conv), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5),
              nn.MaxPool2d(**pool)]  # fmt: skip
    wanted = nn.Sequential(*layers)(torch.zeros(2, 3, size, size)).shape[2:]
    network = strided(*layers, size=size)
    assert [type(step.edit) for step in network.plan.steps[:2]] == [Restride, DropPool]
    assert cells(network, "0", size) == wanted
    new = network.get_submodule("0")
    assert isinstance(new.padding[0], int)
    assert new.stride == tuple(
        2 * [conv.get("stride", 1) * pool.get("stride", pool["kernel_size"])]
    )
    assert network.plan.added_by_pools == 0
    assert isinstance(network.get_submodule("4"), nn.Identity)
    assert pools_left(network) == []


def test_dropped_pools_leave_the_numbers_of_the_convolution_where_they_were():
    """What the convolution gives is what it gave before, at the middle of the pool's windows."""
    conv = nn.Conv2d(3, 4, 3, padding=1).double()
    for pool, places in ((nn.MaxPool2d(3, 2), slice(1, 31, 2)), (nn.MaxPool2d(2), slice(0, 31, 2)),
                         (nn.MaxPool2d(3, 2, 1), slice(0, 31, 2))):  # fmt: skip
        network = strided(conv, nn.ReLU(), pool)
        x = noise(1, 3, 32, 32)
        made = network.get_submodule("0")(x)
        whole = conv(x)[..., places, places]
        torch.testing.assert_close(made, whole, atol=1e-12, rtol=0)


def test_a_pool_wider_than_padding_can_answer_for_cuts_its_image():
    network = strided(nn.Conv2d(3, 4, 3), nn.MaxPool2d(9, 2), size=12)
    (step, _, _) = network.plan.steps
    assert step.becomes == "the same, stride 2×2, padding -4×-4"
    assert cells(network, "0", 12) == (1, 1)
    x = noise(2, 3, 12, 12)
    torch.testing.assert_close(
        network(x), fullconv.convert(network, 12)(x)[:, :, 0, 0], atol=1e-10, rtol=0
    )


def refused_steps(network) -> list[str]:
    return [s.why for s in network.plan.steps if isinstance(s.edit, PoolToConv)]


NO_CONVOLUTION = "no convolution of its own before it"


def test_a_pool_without_a_convolution_of_its_own_becomes_one():
    network = strided(nn.MaxPool2d(2), nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.MaxPool2d(2))
    assert refused_steps(network) == [NO_CONVOLUTION, NO_CONVOLUTION]
    network = strided(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.MaxPool2d(2))
    assert refused_steps(network) == [NO_CONVOLUTION]
    network = strided(nn.Conv2d(3, 4, 3, padding=5, padding_mode="reflect"), nn.MaxPool2d(7, 2))
    assert refused_steps(network) == []  # padding alike on both sides is as good as zeros
    network = strided(nn.Conv2d(3, 4, 3, padding_mode="reflect"), nn.MaxPool2d(9, 2), size=12)
    assert refused_steps(network) == [NO_CONVOLUTION]
    network = strided(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2))
    assert refused_steps(network) == ["averages are kept"]


def test_what_others_read_keeps_its_steps():
    def forward(self, x):
        y = F.relu(self.conv(x))
        z = F.max_pool2d(y, 2)
        return self.fc(z.mean((2, 3)) + F.avg_pool2d(y, 2).mean((2, 3)))

    model = ready(Net(forward, conv=nn.Conv2d(3, 4, 3), fc=nn.Linear(4, 3)))
    network = fullconv.all_convolutional(model, 16, pools="strided", head="exact")
    assert refused_steps(network) == [NO_CONVOLUTION, "averages are kept"]


def test_a_convolution_used_twice_makes_longer_steps_only_where_its_pool_was():
    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2)  # (N, 3, 16, 16)
        return self.fc(F.relu(self.conv(x)).mean((2, 3)))

    model = ready(Net(forward, conv=nn.Conv2d(3, 3, 3, padding=1), fc=nn.Linear(3, 4)))
    network = fullconv.all_convolutional(model, 32, pools="strided")
    x = noise(2, 3, 32, 32)
    y = F.relu(F.conv2d(x, model.conv.weight, model.conv.bias, stride=2, padding=1))
    wanted = model.fc(F.relu(model.conv(y)).mean((2, 3)))
    torch.testing.assert_close(network(x), wanted, atol=1e-10, rtol=0)
    assert sorted(name for name, _ in network.named_parameters()) == [
        "conv.bias", "conv.weight", "fc.bias", "fc.weight"
    ]  # fmt: skip


def test_branches_agree_in_images_of_any_size():
    def forward(self, x):
        x = self.stem(x)
        pooled = F.max_pool2d(F.relu(self.conv(x)), 2)
        return self.fc(F.relu(pooled + self.other(x)).mean((2, 3)))

    model = ready(Net(forward, stem=nn.Conv2d(3, 4, 1), conv=nn.Conv2d(4, 4, 3, padding=1),
                      other=nn.Conv2d(4, 4, 2, 2), fc=nn.Linear(4, 3)))  # fmt: skip
    network = fullconv.all_convolutional(model, 16, pools="strided")
    assert "padding 1 and 0×1 and 0" in network.plan.steps[0].becomes
    for size in (16, 17, 18, 19):
        x = noise(1, 3, size, size)
        y = model.stem(x)
        own = F.conv2d(F.pad(y, (1, 0, 1, 0)), model.conv.weight, model.conv.bias, stride=2)
        wanted = model.fc(F.relu(F.relu(own) + model.other(y)).mean((2, 3)))
        torch.testing.assert_close(network(x), wanted, atol=1e-10, rtol=0)
    fcn = fullconv.convert(network, 16)
    x = noise(1, 3, 16, 16)
    torch.testing.assert_close(fcn(x)[:, :, 0, 0], network(x), atol=1e-10, rtol=0)


# --- convolutions before pools ---


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("maximum", [True, False])
@pytest.mark.parametrize("kernel", [2, 3])
def test_a_convolution_before_a_pool_begins_as_the_identity(dims, maximum, kernel):
    kinds = MAX_POOLS if maximum else AVERAGE_POOLS
    model = sequence(dims, kinds[dims - 1](kernel, 2), relu=maximum)
    network = fullconv.all_convolutional(model, window(dims), pools="convpool")
    step = network.plan.steps[0]
    layer = network.get_submodule(step.layer)
    assert [name for name, _ in layer.named_children()] == [
        *(["pad"] if kernel == 2 else []), "conv", *(["relu"] if maximum else []), "pool"
    ]  # fmt: skip
    assert layer.conv.kernel_size == (kernel,) * dims
    assert step.added == 25 * kernel**dims + 5
    assert network.plan.is_exact
    for more in (0, 3):
        x = image(dims, more=more)
        torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)


def test_pools_by_function_and_pools_called_twice_stay_behind_theirs():
    for model, size, channels in ((ready(LeNet()), 28, 1), (ready(Cifar()), 32, 3)):
        network = fullconv.all_convolutional(model, size, pools="convpool", head="exact")
        assert len(pools_left(network)) == 2
        x = noise(2, channels, size, size)
        torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)
