"""The numbers of an FCN: shared with the classifier until it has its own; gradients, states, hooks.

The network has convolutions, batch norms, fully-connected layers on a map and on a vector, and a
layer that nobody calls.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from by_hand import assert_same, assert_untouched, crop_map, numbers, portrait
from fullconv.errors import FullconvError, InputError, RefusedError
from networks import LeNet, Net, Split, noise, padded_body, ready, unpadded_body

WINDOW = 18
IMAGE = noise(2, 3, 23, 21, seed=3)


@pytest.fixture
def model() -> nn.Module:
    return ready(
        Split(
            nn.Sequential(*unpadded_body(), nn.BatchNorm2d(5)),
            lambda m, x: m.fc2(F.relu(m.norm(m.drop(m.fc1(m.flat(x)))))),
            flat=nn.Flatten(),
            fc1=nn.Linear(180, 7),
            drop=nn.Dropout(),
            norm=nn.BatchNorm1d(7),
            fc2=nn.Linear(7, 4),
            unused=nn.Linear(3, 2),
            constant=torch.tensor(3.0),
        )
    )


@pytest.fixture
def fcn(model) -> fullconv.FCN:
    return fullconv.convert(model, WINDOW)


def crops(model: nn.Module, image: torch.Tensor = IMAGE) -> torch.Tensor:
    return crop_map(model, image, (WINDOW, WINDOW), (2, 2))


@pytest.fixture
def scores(model) -> torch.Tensor:
    return crops(model)


def assert_scores(fcn: nn.Module, scores: torch.Tensor) -> None:
    with torch.no_grad():
        assert_same(fcn(IMAGE), scores)


# --- shared ---


def test_all_but_the_reshaped_are_the_very_same_parameters(model, fcn):
    names = [name for name, _ in model.named_parameters()]
    assert [name for name, _ in fcn.named_parameters()] == names
    reshaped = {n for n in names if fcn.get_parameter(n) is not model.get_parameter(n)}
    assert reshaped == {"fc1.weight", "fc2.weight"}
    for ours, theirs in zip(fcn.state_dict().values(), model.state_dict().values(), strict=True):
        assert ours.data_ptr() == theirs.data_ptr()


def test_training_either_is_training_both(model, fcn):
    with torch.no_grad():
        for parameter in fcn.parameters():
            parameter.mul_(1.1)
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        model.norm.running_mean.add_(0.3)
    assert_scores(fcn, crops(model))


def test_frozen_parameters_stay_frozen(model):
    model.fc1.weight.requires_grad_(False)
    model.body[0].bias.requires_grad_(False)
    fcn = fullconv.convert(model, WINDOW)
    frozen = {name for name, p in fcn.named_parameters() if not p.requires_grad}
    assert frozen == {"fc1.weight", "body.0.bias"}


# --- its own ---


@pytest.mark.parametrize(
    ("change", "dtype"),
    [
        (lambda fcn: fcn.float(), torch.float32),
        (lambda fcn: fcn.half(), torch.float16),
        (lambda fcn: fcn.bfloat16(), torch.bfloat16),
        (lambda fcn: fcn.to(torch.float32), torch.float32),
        (lambda fcn: fcn.to("meta"), torch.float64),
        (lambda fcn: fcn.to(device="cpu", dtype=torch.float32), torch.float32),
    ],
)
def test_casting_and_moving_leave_the_classifier_alone(model, fcn, change, dtype):
    before = portrait(model), numbers(model)
    assert change(fcn) is fcn
    assert {p.dtype for p in fcn.parameters()} == {dtype}
    assert {b.dtype for b in fcn.buffers() if b.is_floating_point()} == {dtype}
    assert_untouched(model, before)


def test_double_gives_a_single_precision_network_numbers_of_its_own(model):
    single = copy.deepcopy(model).float()
    fcn = fullconv.convert(single, WINDOW)
    before = portrait(single), numbers(single)
    fcn.double()
    assert_untouched(single, before)
    assert_scores(fcn, crops(copy.deepcopy(single).double()))
    fcn.get_parameter("fc1.weight").data.zero_()
    assert single.fc1.weight.abs().sum() > 0


def test_an_fcn_follows_a_classifier_that_was_cast(model, fcn):
    """What they share was cast with it; casting the FCN likewise brings the rest along."""
    model.float()
    fcn.float()
    assert {p.dtype for p in fcn.parameters()} == {torch.float32}
    with torch.no_grad():
        ours = fcn(IMAGE.float())
    theirs = crops(model, IMAGE.float())
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_deep_copies(model, fcn, scores):
    fcn.about = type(fcn.about)("a form", ("a", "b", "c", "d"))
    twin = copy.deepcopy(fcn)
    assert isinstance(twin, fullconv.FCN)
    assert (twin.plan, twin.about) == (fcn.plan, fcn.about)
    assert list(twin.state_dict()) == list(fcn.state_dict())
    theirs = {p.data_ptr() for p in (*model.parameters(), *model.buffers())}
    assert not theirs & {p.data_ptr() for p in (*twin.parameters(), *twin.buffers())}
    assert_scores(twin, scores)
    again = copy.deepcopy(twin.train())
    assert all(module.training for module in again.modules())
    pair = copy.deepcopy(nn.ModuleList([fcn, fcn]))
    assert pair[0] is pair[1] is not fcn
    assert_scores(pair[0], scores)


def test_two_fcns_of_one_classifier():
    """At another window the head is another convolution of the same numbers."""
    pooled = ready(
        Split(
            padded_body(),
            lambda m, x: m.fc(m.pool(x).flatten(1)),
            pool=nn.AdaptiveAvgPool2d(2),
            fc=nn.Linear(20, 3),
        )
    )
    small, large = fullconv.convert(pooled, 12), fullconv.convert(pooled, 18)
    image = noise(1, 3, 18, 18)
    with torch.no_grad():
        assert_same(large(image).flatten(1), pooled(image))
        assert_same(small(image[..., :12, :12]).flatten(1), pooled(image[..., :12, :12]))


def test_converting_twice_is_the_same(model, fcn):
    again = fullconv.convert(model, WINDOW)
    assert (again.plan, again.code) == (fcn.plan, fcn.code)
    assert fcn.plan == fullconv.plan(model, WINDOW)


def test_numbers_that_come_later():
    """A classifier on the meta device converts; its state is loaded afterwards."""
    with torch.device("meta"):
        fcn = fullconv.convert(LeNet(), 28)
    assert fcn(torch.empty(1, 1, 40, 33, device="meta")).shape == (1, 10, 4, 2)
    real = ready(LeNet())
    fcn.load_state_dict(real.state_dict(), assign=True)
    image = noise(1, 1, 40, 33)
    with torch.no_grad():
        assert_same(fcn(image), crop_map(real, image, (28, 28), (4, 4)))


# --- modes and gradients ---


def test_in_training_mode_its_layers_train(model, fcn):
    """Dropout draws; batch norms gather statistics, which the classifier shares."""
    before = model.norm.running_mean.clone()
    fcn.train()
    assert not torch.equal(fcn(IMAGE), fcn(IMAGE))
    assert not torch.equal(model.norm.running_mean, before)


def test_gradients_are_those_of_all_crops(model, fcn):
    weights = noise(2, 4, 3, 2, seed=8)
    (fcn(IMAGE) * weights).sum().backward()
    twin = copy.deepcopy(model)
    twin.zero_grad()
    for row in range(3):
        for col in range(2):
            crop = IMAGE[:, :, 2 * row : 2 * row + WINDOW, 2 * col : 2 * col + WINDOW]
            (twin(crop) * weights[:, :, row, col]).sum().backward()
    for name, parameter in twin.named_parameters():
        ours = fcn.get_parameter(name).grad
        if parameter.grad is None:
            assert name.startswith("unused")
            assert ours is None
        else:
            assert_same(ours.reshape(parameter.shape), parameter.grad)


def test_gradients_pass_through_folded_pooling():
    head = {"pool": nn.AdaptiveAvgPool2d(4), "fc": nn.Linear(80, 3)}
    model = ready(Split(padded_body(), lambda m, x: m.fc(m.pool(x).flatten(1)), **head))
    fcn, twin = fullconv.convert(model, 12), copy.deepcopy(model)
    image, other = noise(2, 3, 12, 12).requires_grad_(), noise(2, 3, 12, 12).requires_grad_()
    fcn(image).sin().sum().backward()
    twin(other).sin().sum().backward()
    assert_same(fcn.get_parameter("fc.weight").grad.reshape(3, 80), twin.fc.weight.grad)
    assert_same(image.grad, other.grad)
    assert "(fc): FoldedConv(5, 3, bins=4×4, kernel=6×6)" in repr(fcn)


def test_an_optimiser_step(fcn):
    optimiser = torch.optim.SGD(fcn.parameters(), lr=0.1)
    before = fcn(IMAGE).square().mean()
    before.backward()
    optimiser.step()
    assert fcn(IMAGE).square().mean() < before


# --- state dicts ---


def other_state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: torch.rand_like(value) if value.is_floating_point() else value.clone()
        for name, value in model.state_dict().items()
    }


@pytest.mark.parametrize("assign", [False, True])
def test_the_classifiers_state_is_reshaped_and_itself_left_alone(model, fcn, assign):
    reference = copy.deepcopy(model)
    state = other_state(model)
    kept = {name: tensor.clone() for name, tensor in state.items()}
    reference.load_state_dict(state)
    result = fcn.load_state_dict(state, assign=assign)
    assert (result.missing_keys, result.unexpected_keys) == ([], [])
    assert_scores(fcn, crops(reference))
    assert all(torch.equal(state[name], kept[name]) for name in kept)


def test_its_own_state(fcn, scores):
    own = {name: tensor.clone() for name, tensor in fcn.state_dict().items()}
    fcn.load_state_dict({name: torch.zeros_like(tensor) for name, tensor in own.items()})
    fcn.load_state_dict(own)
    assert_scores(fcn, scores)


def test_a_state_in_another_order_of_features():
    """Flattened height, width, channel: loading puts the numbers where the kernel has them."""
    model = ready(
        Split(
            unpadded_body(),
            lambda m, x: m.fc(x.permute(0, 2, 3, 1).flatten(1)),
            fc=nn.Linear(180, 4),
        )
    )
    fcn = fullconv.convert(model, WINDOW).float().double()
    model.load_state_dict(other_state(model))
    fcn.load_state_dict(model.state_dict())
    assert_scores(fcn, crops(model))


def test_states_that_do_not_fit(model, fcn):
    state = model.state_dict()
    with pytest.raises(InputError, match=r"^fc1\.weight: has 1274 numbers, the network 1260\.$"):
        fcn.load_state_dict({**state, "fc1.weight": torch.zeros(7, 182)})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        fcn.load_state_dict({**state, "fc9.weight": torch.zeros(1)})
    result = fcn.load_state_dict({"fc9.weight": torch.zeros(1)}, strict=False)
    assert result.unexpected_keys == ["fc9.weight"]


def test_constants_made_in_forward_are_no_part_of_the_state():
    model = ready(
        Net(
            lambda m, x: m.fc(
                (m.body(x) * torch.tensor([1.0, 2, 3, 4, 5])[:, None, None]).mean((2, 3))
            ),
            body=unpadded_body(),
            fc=nn.Linear(5, 4),
        )
    )
    fcn = fullconv.convert(model, WINDOW)
    assert list(fcn.state_dict()) == list(model.state_dict())
    assert_scores(fcn, crops(model))
    assert copy.deepcopy(fcn).float()(IMAGE.float()).dtype == torch.float32


# --- hooks ---

LEAVES = ("body.0", "body.1", "body.3", "flat", "fc1", "drop", "norm", "fc2")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_of_every_layer_fire_in_both(model, when, kind):
    fired: list[str] = []
    fcn = fullconv.convert(model, WINDOW) if when == "after" else None
    for name in LEAVES:
        register = getattr(model.get_submodule(name), kind)
        register(lambda *_, name=name: fired.append(name))
    fcn = fcn or fullconv.convert(model, WINDOW)
    assert not fired, "converting must not run hooks"
    fcn(IMAGE)
    assert fired == list(LEAVES)
    fired.clear()
    model(noise(1, 3, WINDOW, WINDOW))
    assert fired == list(LEAVES)


def test_hooks_may_change_what_they_see_until_they_are_removed(model, fcn, scores):
    handle = model.fc1.register_forward_hook(lambda layer, inputs, output: output * 0)
    with torch.no_grad():
        assert torch.unique(fcn(IMAGE)[0, 0]).numel() == 1
    handle.remove()
    assert_scores(fcn, scores)


def test_backward_hooks_registered_before_fire(model):
    fired: list[str] = []
    for name in ("body.0", "fc1", "fc2"):
        model.get_submodule(name).register_full_backward_hook(
            lambda *_, name=name: fired.append(name)
        )
    fcn = fullconv.convert(model, WINDOW)
    fcn(IMAGE.clone().requires_grad_()).sum().backward()
    assert fired == ["fc2", "fc1", "body.0"]


# --- the rest of a module's life ---


def test_torch_save_takes_its_state_and_not_itself(fcn, scores, tmp_path):
    with pytest.raises(FullconvError) as error:
        torch.save(fcn, tmp_path / "fcn.pt")
    assert str(error.value) == (
        "an FCN is not pickled: reading a pickle can run code.\nUse fullconv.save(fcn, path) and "
        "fullconv.load(path), or save its state_dict()."
    )
    torch.save(fcn.state_dict(), tmp_path / "state.pt")
    fcn.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert_scores(fcn, scores)


@pytest.mark.parametrize("name", ["plan", "graph", "code", "window", "about", "meta", "_graph"])
def test_members_with_a_name_of_the_fcns_own(name):
    model = Net(lambda m, x: m.fc(getattr(m, name)(x).flatten(1)), fc=nn.Linear(180, 4))
    model.add_module(name, unpadded_body())
    ready(model)
    with pytest.raises(RefusedError) as refusal:
        fullconv.convert(model, WINDOW)
    assert str(refusal.value) == (
        f"the network has a member called {name!r}, a name that FCN uses itself.\nRename it, or "
        "wrap the network in an nn.Module that holds it."
    )
    assert_scores(fullconv.convert(nn.Sequential(model), WINDOW), crops(model))


def test_batches_of_any_size(fcn, scores):
    with torch.no_grad():
        assert_same(fcn(IMAGE[:1]), scores[:1])
        assert fcn(IMAGE[:0]).shape == (0, 4, 3, 2)
        five = fcn(torch.cat([IMAGE, IMAGE, IMAGE[:1]]))
        assert_same(five, torch.cat([scores, scores, scores[:1]]))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_memory_layouts(fcn, scores, layout):
    with torch.no_grad():
        assert_same(fcn(IMAGE.contiguous(memory_format=layout)), scores)
    assert_scores(fcn.to(memory_format=layout), scores)


def test_a_forward_with_more_arguments_than_it_needs():
    class Loose(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.fc = unpadded_body(), nn.Linear(180, 4)

        def forward(self, x, mask=None, *more, scale=2.0, **options):
            y = self.body(x) * scale
            return self.fc(y.flatten(1) if mask is None else (y * mask).flatten(1))

    model = ready(Loose())
    assert_scores(fullconv.convert(model, WINDOW), crops(model))
