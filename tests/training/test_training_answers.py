"""Probabilities, whatever a network ends in."""

import pytest
import torch
from torch import nn

from fullconv.errors import FullconvError, RefusedError
from fullconv.training import error_of, predictions
from fullconv.training.answers import logits_of
from learnable import network, samples


@pytest.mark.parametrize("outputs", [3, 1])
@pytest.mark.parametrize("ends", [False, True])
def test_predictions_are_the_networks_own_in_inference_mode(outputs, ends):
    found = samples(10, classes=max(2, outputs))
    net = network(outputs=outputs).train()
    end = nn.Softmax(1) if outputs > 1 else nn.Sigmoid()
    with torch.no_grad():
        expected = end(net.eval()(found.prepared(found.pixels)))
    if outputs == 1:
        expected = torch.cat([1 - expected, expected], 1)
    net.train()
    given = nn.Sequential(net, end) if ends else net
    answered = predictions(given, found, probabilities=ends, batch=4)
    torch.testing.assert_close(answered, expected, atol=1e-6, rtol=1e-5)
    assert net.training


def test_logits_of_probabilities_give_them_back():
    p = torch.tensor([[0.2, 0.8], [1.0, 0.0]])
    torch.testing.assert_close(logits_of(p, probabilities=True).softmax(1), p)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((torch.zeros(1, 2), 3), "a tuple"),
        (torch.zeros(1, 2, 4, 4), "a tensor of shape (1, 2, 4, 4)"),
    ],
)
def test_what_is_no_score_vector(answer, said):
    with pytest.raises(RefusedError) as error:
        logits_of(answer, probabilities=False)
    assert str(error.value).startswith(f"the network returned {said}, not one tensor (N, K).")


def test_the_error_is_the_share_of_wrong_answers():
    predicted = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.2, 0.8]])
    assert error_of(predicted, torch.tensor([0, 1, 1, 1])) == 25.0


def test_scores_that_are_not_finite():
    net = network()
    net[0].weight.data[0] = float("nan")
    with pytest.raises(FullconvError, match="the network's scores are not finite"):
        predictions(net, samples(4))
