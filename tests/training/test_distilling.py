"""A network that learns another one's answers."""

import copy

import pytest
import torch
from torch.nn import functional as F

import fullconv
from fullconv.errors import UsageError
from fullconv.training import Recipe, distill, error_of, predictions, start_afresh, train
from learnable import network, samples


@pytest.fixture(scope="module")
def teacher():
    net = start_afresh(network(), 0)
    train(net, samples(), Recipe(epochs=8, batch=20))
    return net


def test_a_student_learns_from_answers_alone(teacher):
    """Its labels are all wrong, and have no share in the loss."""
    found, test = samples(), samples(150, seed=1)
    found.labels.copy_((found.labels + 1) % 3)
    before = copy.deepcopy(teacher.state_dict())
    student = fullconv.all_convolutional(teacher, 16)
    epochs = distill(student, teacher, found, Recipe(epochs=8, batch=20), hard=0)
    assert len(epochs) == 8
    assert error_of(predictions(student, test), test.labels) < 15
    assert all(torch.equal(a, b) for a, b in zip(before.values(), teacher.state_dict().values(),
                                                 strict=True))  # fmt: skip


@pytest.mark.parametrize("ends", [False, True])
def test_the_loss_is_that_of_the_paper(teacher, ends):
    """`T² · H(soft teacher, soft student)`, weighed against the labels; in one step, by hand."""
    end = [torch.nn.Softmax(1)] if ends else []
    taught, student = torch.nn.Sequential(teacher, *end), torch.nn.Sequential(network(), *end)
    student.eval()
    student.train = lambda mode=True: student  # without dropout
    found, t = samples(30), 3.0
    with torch.no_grad():
        x = found.prepared(found.pixels)
        z, v = student[0](x), teacher(x)
    soft = -(torch.softmax(v / t, 1) * torch.log_softmax(z / t, 1)).sum(1).mean()
    expected = 0.75 * t**2 * soft + 0.25 * F.cross_entropy(z, found.labels)
    (epoch,) = distill(
        student, taught, found, Recipe(epochs=1, batch=30), temperature=t, hard=0.25,
        probabilities=ends,
    )  # fmt: skip
    if not ends:
        assert epoch.loss == pytest.approx(float(expected), rel=1e-5)
    else:  # logits are known up to a constant, which no softmax sees
        assert epoch.loss == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"temperature": float("inf")},
                                     {"hard": 1.5}, {"hard": -0.1}])  # fmt: skip
def test_numbers_that_cannot_be(teacher, options):
    with pytest.raises(UsageError, match="cannot be"):
        distill(network(), teacher, samples(6), Recipe(), **options)


def test_the_teachers_mode_is_left_as_it_was(teacher):
    teacher.train()
    distill(copy.deepcopy(teacher), teacher, samples(20), Recipe(epochs=1))
    assert teacher.training
