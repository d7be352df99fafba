"""The loop: it learns, goes on where it was stopped, and says when it cannot."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fullconv.errors import FullconvError, InputError
from fullconv.training import Diverged, Recipe, error_of, predictions, start_afresh, train
from fullconv.training.batches import epoch_batches
from learnable import network, samples

RECIPE = Recipe(epochs=4, batch=20, rate=0.1, flip=True, shift=2)


def fresh(*end, **options):
    return start_afresh(network(*end, **options), 0)


def equal(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_learns_far_below_chance(dtype):
    net, test = fresh(), samples(150, seed=1)
    before = error_of(predictions(net, test), test.labels)
    told = []
    recipe = Recipe(epochs=8, batch=20, rate=0.1, dtype=dtype)
    epochs = train(net, samples(), recipe, note=told.append)
    assert told == list(epochs)
    assert [epoch.number for epoch in epochs] == list(range(1, 9))
    assert epochs[-1].loss < 0.5 * epochs[0].loss
    assert before > 50
    assert error_of(predictions(net, test), test.labels) < 10  # chance: 66.7
    assert not net.training
    assert next(net.parameters()).dtype == torch.float32


@pytest.mark.parametrize("ends", [False, True])
def test_one_score_or_probabilities_are_learnt_too(ends):
    found = samples(classes=2)
    found.labels.copy_(found.labels == 2)
    net = fresh(*([nn.Sigmoid()] if ends else []), outputs=1)
    train(net, found, Recipe(epochs=8, batch=20), probabilities=ends)
    assert error_of(predictions(net, found, probabilities=ends), found.labels) < 10


def test_every_step_is_that_of_the_definition():
    """Nesterov's momentum and weight decay, written out (Sutskever et al. 2013 as PyTorch has it)."""
    recipe = Recipe(epochs=2, batch=16, rate=0.05, decay=0.01, clip=0.5, momentum=0.8)
    found = samples(40)
    net = start_afresh(nn.Sequential(*(m for m in network() if not isinstance(m, nn.Dropout))), 0)
    by_hand = copy.deepcopy(net).double()
    velocity = {name: torch.zeros_like(p) for name, p in by_hand.named_parameters()}
    step, losses = 0, []
    for number in (1, 2):
        random = np.random.default_rng((recipe.seed, number))
        random.integers(2**63)  # the seed of dropout
        of_epoch = []
        for images, labels in epoch_batches(found, recipe, random):
            loss = F.cross_entropy(by_hand(images.double()), labels)
            of_epoch.append(loss.item())
            named = dict(by_hand.named_parameters())
            gradients = torch.autograd.grad(loss, list(named.values()))
            norm = torch.sqrt(sum((g**2).sum() for g in gradients))
            cut = min(1.0, recipe.clip / float(norm))
            rate = recipe.rate_at(step, 6)
            with torch.no_grad():
                for (name, p), g in zip(named.items(), gradients, strict=True):
                    g = cut * g + (recipe.decay * p if p.ndim > 1 else 0)
                    velocity[name] = recipe.momentum * velocity[name] + g
                    p -= rate * (g + recipe.momentum * velocity[name])
            step += 1
        losses.append(np.mean(of_epoch))
    epochs = train(net, found, recipe)
    assert [epoch.loss for epoch in epochs] == pytest.approx(losses, rel=1e-5)
    for mine, theirs in zip(net.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(mine.double(), theirs, atol=1e-5, rtol=1e-4)


class StoppedError(Exception):
    pass


def test_a_training_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    whole, parts = fresh(), fresh()
    expected = train(whole, samples(), RECIPE)
    for last in (1, 3):

        def stop(epoch, last=last):
            if epoch.number == last:
                raise StoppedError

        with pytest.raises(StoppedError):
            train(fresh(), samples(), RECIPE, state=tmp_path / "s.pt", note=stop)
    told = []
    found = train(parts, samples(), RECIPE, state=tmp_path / "s.pt", note=told.append)
    assert [(e.loss, e.error) for e in found] == [(e.loss, e.error) for e in expected]
    assert told == list(found)
    assert equal(parts, whole)
    again = fresh()
    assert train(again, samples(), RECIPE, state=tmp_path / "s.pt") == found  # nothing left to do
    assert equal(again, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["s.pt"]


def test_an_epoch_does_not_depend_on_who_else_draws_random_numbers():
    one, other = fresh(), fresh()
    torch.manual_seed(1)
    first = torch.rand(1)
    torch.manual_seed(1)
    train(one, samples(), RECIPE)
    assert torch.equal(torch.rand(1), first)
    torch.rand(100)
    train(other, samples(), RECIPE)
    assert equal(one, other)


def test_another_seed_is_another_training():
    one, other = fresh(), fresh()
    train(one, samples(), RECIPE)
    train(other, samples(), Recipe(epochs=4, batch=20, flip=True, shift=2, seed=1))
    assert not equal(one, other)


def test_a_loss_that_is_no_number_says_what_to_do():
    wild = Recipe(epochs=3, batch=20, rate=1e9, clip=None)
    with pytest.raises(Diverged) as error:
        train(fresh(), samples(), wild)
    assert error.value.exit_code == 1
    assert "the loss is no longer a number by step " in str(error.value)
    assert str(error.value).endswith(
        " of 18.\nThe learning rate rises to 1e+09, and the gradient is not clipped. Lower it "
        "(--rate, rate=), or clip the gradient (clip=1.0)."
    )


def test_states_that_cannot_be_gone_on_with(tmp_path):
    path = tmp_path / "s.pt"
    short = Recipe(epochs=1, batch=60)
    train(fresh(), samples(), short, state=path)
    whole = path.read_bytes()
    again = "Delete it, and this training begins anew."
    with pytest.raises(InputError) as error:
        train(fresh(), samples(), Recipe(epochs=2, batch=60), state=path)
    said = "is the state of a training with other settings."
    assert str(error.value) == f"{path}: {said}\n{again}"
    with pytest.raises(InputError, match="is the state of another network"):
        train(fresh(outputs=4), samples(), short, state=path)
    for damaged in (b"", whole[: len(whole) // 2], b"cos\nsystem\n(S'true'\ntR."):
        path.write_bytes(damaged)
        with pytest.raises(InputError) as error:
            train(fresh(), samples(), short, state=path)
        assert str(error.value) == f"{path}: is damaged, or no state of a training.\n{again}"


def test_a_network_in_float64_stays_there():
    net = fresh().double()
    (epoch,) = train(net, samples(), Recipe(epochs=1, batch=40))
    assert next(net.parameters()).dtype == torch.float64
    assert predictions(net, samples(6)).shape == (6, 3)
    assert epoch.loss < 2


def test_batches_that_are_too_small_for_batch_norm():
    net = nn.Sequential(nn.Conv2d(1, 3, 16), nn.BatchNorm2d(3), nn.Flatten())
    with pytest.raises(InputError) as error:
        train(net, samples(4), Recipe(epochs=1, batch=1))
    assert str(error.value).startswith("a step of 1 images is too small for batch norm: Expected")
    assert str(error.value).endswith("Give it more (--batch, batch=).")


class Greedy(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return torch.empty(2**60, dtype=torch.uint8) * self.scale


def test_memory_that_does_not_suffice():
    with pytest.raises(FullconvError) as error:
        train(Greedy(), samples(4), Recipe(epochs=1, batch=2))
    assert str(error.value) == (
        "the memory does not suffice for a step of 2 images.\nGive it fewer (--batch, batch=)."
    )


class Picky(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        if not (x > 1e9).any():
            raise ValueError("no pixel is bright")
        return self.net(x)


def test_an_error_of_the_networks_own_is_told_with_its_line():
    line = Picky.forward.__code__.co_firstlineno + 2
    for doing, call in (
        ("a step of 2", lambda: train(Picky(), samples(4), Recipe(epochs=1, batch=2))),
        ("the answers to 4", lambda: predictions(Picky(), samples(4))),
    ):
        with pytest.raises(FullconvError) as error:
            call()
        assert str(error.value) == (
            f"{__file__}:{line}: {doing} images failed with ValueError: no pixel is bright"
        )


class Counting(nn.Module):
    """Too much for its memory where there are more than two images."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        if len(x) > 2:
            raise torch.OutOfMemoryError
        return self.net(x)


def test_memory_that_does_not_suffice_for_answers():
    with pytest.raises(FullconvError) as error:
        predictions(Counting(), samples(4), batch=3)
    assert str(error.value) == (
        "the memory does not suffice for the answers to 3 images.\nGive it fewer (--batch, batch=)."
    )
    assert predictions(Counting(), samples(4), batch=2).shape == (4, 3)
