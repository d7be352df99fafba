"""Networks that are not converted: what a person is told, and what to do."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from by_hand import assert_untouched, numbers, portrait
from fullconv.errors import MissingExtraError, RefusedError, UsageError
from fullconv.models.torchvision_import import import_torchvision
from networks import LeNet, Net, padded_body, ready, unpadded_body


def refusal(model: nn.Module, window=18, **options) -> RefusedError:
    """The error of planning, which is that of converting, which leaves the model alone."""
    before = portrait(model), numbers(model)
    with pytest.raises(RefusedError) as planned:
        fullconv.plan(model, window, **options)
    with pytest.raises(RefusedError) as converted:
        fullconv.convert(model, window, **options)
    assert str(planned.value) == str(converted.value)
    assert converted.value.exit_code == 4
    assert_untouched(model, before)
    return converted.value


# --- a window that does not fit ---


def test_lenet_at_another_window():
    assert str(refusal(LeNet(), 32)) == (
        "view in LeNet: expects 256 features, but its input is a 16×5×5 map (400).\n"
        "The window given was 32×32; pass window=28, the sizes the layer fits (28 to 31 px)."
    )


def test_a_view_that_happens_to_divide():
    """At 44 px two images make eight rows of 256."""
    assert str(refusal(LeNet(), 44)).startswith(
        "view in LeNet: expects 256 features, but its input is a 16×8×8 map (1024).\nThe window "
        "given was 44×44; pass window=28"
    )


def test_a_view_that_mixes_the_batch_into_the_features():
    model = Net(
        lambda m, x: m.fc(m.body(x).view(-1, 90)), body=unpadded_body(), fc=nn.Linear(90, 4)
    )
    assert str(refusal(model)).startswith(
        "view in Net: expects 90 features, but its input is a 5×6×6 map (180).\n"
    )


def vgg_without_adaptive_pool() -> nn.Module:
    """VGG's own shape: five halvings, and a head for 7×7 cells."""
    blocks = [
        layer
        for _ in range(5)
        for layer in (nn.LazyConv2d(4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    ]
    model = nn.Sequential(nn.Sequential(*blocks), nn.Flatten(), nn.Linear(196, 10))
    model(torch.zeros(1, 3, 224, 224))
    return model


def test_a_vgg_at_192():
    assert str(refusal(vgg_without_adaptive_pool(), 192)) == (
        "2 (Linear): expects 196 features, but its input is a 4×6×6 map (144).\n"
        "The window given was 192×192; pass window=224, the sizes the layer fits (224 to 255 px)."
    )


def test_an_oblong_window_that_does_not_fit():
    assert "pass window=224, the sizes the layer fits" in str(
        refusal(vgg_without_adaptive_pool(), (224, 192))
    )


def test_the_window_it_suggests_is_right():
    model = vgg_without_adaptive_pool()
    for window in (224, 240, 255):
        assert fullconv.plan(model, window).window == (window, window)
    refusal(model, 223)
    refusal(model, 256)


def test_a_window_smaller_than_the_kernels():
    message = str(
        refusal(
            Net(lambda m, x: m.fc(m.body(x).flatten(1)), body=unpadded_body(), fc=nn.Linear(5, 2)),
            4,
        )
    )
    assert message.startswith(
        "body.2 (Conv2d): the network could not be traced at a window of 4×4 with 3 channels.\n"
        "It stopped with RuntimeError: Calculated padded input size per channel: (1 x 1). Kernel "
        "size: (3 x 3)."
    )
    assert message.endswith("Check the window, or pass example= with an input it accepts.")


# --- networks that are no plain CNN classifiers ---


def test_a_vision_transformer():
    try:
        models = import_torchvision().models
    except MissingExtraError:
        pytest.skip("torchvision is not installed")
    with torch.device("meta"):
        model = models.vit_b_16()
    message = str(refusal(model, 224))
    assert (
        "encoder.layers.encoder_layer_0.self_attention (MultiheadAttention) and 11 more: "
        in message
    )
    assert "MultiheadAttention has no exact dense form.\nAttention mixes all positions" in message
    assert "cat in VisionTransformer: concatenates a map with a constant." in message


def test_a_position_embedding():
    model = Net(
        lambda m, x: m.fc((m.body(x) + m.places).mean((2, 3))),
        body=unpadded_body(),
        places=nn.Parameter(torch.randn(1, 5, 6, 6)),
        fc=nn.Linear(5, 4),
    )
    assert str(refusal(model)) == (
        "add in Net: joins a 5×6×6 map with a constant of shape 1×5×6×6, a value for every position "
        "of the window (a position embedding?).\nIt is tied to the window; outside it there is no "
        "value. Only constants that are the same at every position can slide."
    )


def test_weights_for_every_position():
    model = Net(
        lambda m, x: m.fc(m.body(x).flatten(1) * m.scale),
        body=unpadded_body(),
        scale=torch.rand(180),
        fc=nn.Linear(180, 4),
    )
    assert str(refusal(model)).startswith(
        "mul in Net: joins a 5×6×6 map with a constant of shape 180"
    )


def test_a_class_token():
    model = Net(
        lambda m, x: m.fc(torch.cat([m.body(x), m.token.expand(2, 5, 6, 6)], 1).mean((2, 3))),
        body=unpadded_body(),
        token=nn.Parameter(torch.randn(1, 5, 6, 6)),
        fc=nn.Linear(10, 4),
    )
    assert str(refusal(model)).startswith(
        "cat in Net: concatenates a map with a constant.\nA constant has no place in the image"
    )


def test_an_lstm_over_the_columns():
    model = Net(
        lambda m, x: m.fc(m.lstm(m.body(x).mean(2).transpose(1, 2))[0][:, -1]),
        body=unpadded_body(),
        lstm=nn.LSTM(5, 7, batch_first=True),
        fc=nn.Linear(7, 4),
    )
    assert str(refusal(model)) == (
        "lstm (LSTM): LSTM has no exact dense form.\nA recurrent layer reads positions as a sequence "
        "and carries state from one to the next. fullconv converts convolutional classifiers."
    )


def test_a_gate_with_weights_for_every_position():
    """Squeeze-excite pools; what weighs every position has no box that could stand for the map."""

    def forward(m, x):
        y = m.body(x)
        gate = m.gate(y.flatten(1)).sigmoid().view(-1, 5, 1, 1)
        return m.fc((y * gate).mean((2, 3)))

    model = Net(forward, body=padded_body(), gate=nn.Linear(180, 5), fc=nn.Linear(5, 4))
    assert str(refusal(model, 12)) == (
        "gate (Linear): makes one vector of the whole map, which then meets a map again at mul in "
        "Net.\nIt has a weight for every position of the window, so no box of a larger map can stand "
        "for the whole. Pool the map first, as squeeze-excite does."
    )


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (
            lambda m, x: m.rows(m.body(x).view(x.size(0), 30, 6)).mean(1),
            "rows (Linear): is applied along space, to the last axis of a 5×6×6 map.",
        ),
        (
            lambda m, x: m.body(x).view(x.size(0), 10, 18).mean(2),
            "mean in Net: works on a 5×2×6 map, its cells seen in blocks of 3×1.\nOnly moving the blocks",
        ),
        (
            lambda m, x: m.body(x).permute(0, 2, 3, 1).reshape(x.size(0), 5, 6, 6).mean((2, 3)),
            "reshape in Net: reshape turns 6×6×5 into 5×6×6, which mixes channels and space.",
        ),
        (
            lambda m, x: m.body(x).view(x.size(0), 36, 5).mean(1),
            "view in Net: view turns 5×6×6 into 36×5, which mixes channels and space.",
        ),
        (
            lambda m, x: F.pixel_shuffle(m.body(x)[:, :4], 2).mean((2, 3)),
            "pixel_shuffle in Net: there is no rule for ",
        ),
    ],
)
def test_reshapes_that_mix_space_and_channels(forward, message):
    model = Net(forward, body=unpadded_body(), rows=nn.Linear(6, 4))
    assert str(refusal(model)).startswith(message)


def test_branches_at_different_strides():
    model = Net(
        lambda m, x: m.fc(torch.cat([m.body(x).mean((2, 3)), x.mean((2, 3))], 1)),
        body=unpadded_body(),
        fc=nn.Linear(8, 4),
    )
    assert str(refusal(model)) == (
        "cat in Net: joins branches that do not line up: their cells are 1 and 2 px apart.\nCell by "
        "cell they would belong to different windows. Give all branches the same total stride."
    )


@pytest.mark.parametrize(
    "decide",
    [
        lambda x: x * 2 if x.sum() > 0 else x,
        lambda x: x / x.max().item(),
        lambda x: x[:, x.mean((0, 2, 3)) > 0],
    ],
    ids=["if", "item", "mask"],
)
def test_decisions_by_pixel_values(decide):
    model = Net(lambda m, x: m.body(decide(x)).mean((2, 3)), body=unpadded_body())
    message = str(refusal(model))
    assert "what it computes depends on the pixel values" in message
    assert message.endswith(
        "Such a network cannot be traced: every window could take another path. Move the decision "
        "out of forward."
    )


def test_decisions_by_size_are_fine():
    def forward(m, x):
        y = m.body(x)
        if y.shape[-1] > 100:
            raise AssertionError("not at this window")
        assert y.shape[0] == x.shape[0]
        return m.fc(y.flatten(1)) if y.ndim == 4 else y

    model = Net(forward, body=unpadded_body(), fc=nn.Linear(180, 4))
    assert fullconv.plan(model, 18).outputs == 4


# --- unknown ops ---


def test_all_unknown_ops_are_named_at_once():
    def forward(m, x):
        y = torch.roll(m.body(x), 1, 2)
        y = torch.cumsum(torch.fft.fft(y).real, 3) + torch.roll(y, 1, 3)
        return m.fc(y.flatten(1))

    model = Net(forward, body=unpadded_body(), fc=nn.Linear(180, 4))
    message = str(refusal(model))
    first, *places = message.split("\n- ")
    assert first == f"{len(places)} places cannot be converted:"
    for words in (
        "roll in Net and 1 more: there is no rule for torch.roll.",
        "fft_fft in Net: there is no rule for",
        "cumsum in Net: there is no rule for torch.cumsum.",
    ):
        assert any(place.startswith(words) for place in places), words
    assert message.count("An op is never guessed to be harmless") == len(places)


def test_an_unknown_module_of_pytorch_is_named():
    model = nn.Sequential(unpadded_body(), nn.PixelShuffle(1), nn.Flatten(), nn.Linear(180, 4))
    assert str(refusal(model)) == (
        "1 (PixelShuffle): there is no rule for torch.nn.PixelShuffle.\nAn op is never guessed "
        "to be harmless. docs/extending.md shows how to add a rule:\n"
        "    fullconv.api.extend.elementwise(torch.nn.PixelShuffle)  # if it works on each number by itself"
    )


@pytest.mark.parametrize(
    "use",
    [
        lambda x: torch.pow(x, 2.0).roll(1, 2),
        lambda x: torch.where(x > 0, x, 0.0),
        lambda x: torch.remainder(x, 2.0),
        lambda x: torch.float_power(x, 2.0),
        lambda x: torch.xlogy(x, 2.0),
        lambda x: torch.fmod(x, 2.0),
        lambda x: torch.full_like(x, 2.0),
    ],
)
def test_functions_that_look_for_numbers_before_tensors(use):
    """PyTorch's own parser must not take a recorded tensor for a number, and crash."""
    model = Net(lambda m, x: use(m.body(x)).mean((2, 3)), body=unpadded_body())
    assert "there is no rule for" in str(refusal(model))


def test_recorded_tensors_are_tensors():
    def forward(m, x):
        assert isinstance(x, torch.Tensor)
        assert torch.is_tensor(x)
        assert not isinstance(x, nn.Parameter)
        assert isinstance(m.fc.weight, torch.Tensor)
        assert not isinstance(x.size(0), torch.Tensor)
        return m.fc(m.body(x).flatten(1))

    model = Net(forward, body=unpadded_body(), fc=nn.Linear(180, 4))
    before = isinstance
    assert fullconv.plan(model, 18).outputs == 4
    assert __builtins__["isinstance"] is before


# --- forms of forward ---


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = unpadded_body()

    def forward(self, x, mask):
        return (self.body(x) * mask).mean((2, 3))


def test_a_second_input():
    assert str(refusal(TwoInputs())) == (
        "TwoInputs: forward needs a second input, 'mask'.\nfullconv converts networks that take one "
        "image."
    )


def test_optional_inputs_take_their_defaults():
    class Optional(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.fc = unpadded_body(), nn.Linear(180, 4)

        def forward(self, x, mask=None, *more, scale=1.0, **options):
            x = self.body(x) * scale
            assert not more
            assert not options
            return self.fc((x if mask is None else x * mask).flatten(1))

    assert fullconv.plan(Optional(), 18).outputs == 4


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (
            lambda y: None,
            "Net: returns NoneType without a tensor.\nA score map needs an answer per ",
        ),
        (lambda y: (), "Net: returns tuple without a tensor."),
        (lambda y: {"x": [None]}, "Net: returns dict without a tensor."),
        (
            lambda y: {"a": y.mean((2, 3)), "b": y},
            "the network's output b: is a 5×6×6 map, not one score vector for the window.",
        ),
        (
            lambda y: (y.mean((2, 3)), torch.ones(3)),
            "the network's output 1: is a constant of shape 3, not one score vector",
        ),
    ],
)
def test_answers_that_are_no_score_vectors(wrap, message):
    model = Net(lambda m, x: wrap(m.body(x)), body=unpadded_body())
    assert str(refusal(model)).startswith(message)


def test_a_network_that_already_answers_everywhere():
    message = str(refusal(unpadded_body()))
    assert message.startswith("the network's output: is a 5×6×6 map, not one score vector")


# --- arguments ---


@pytest.mark.parametrize("model", [None, lambda x: x, nn.Linear, torch.zeros(2)])
def test_what_is_no_module(model):
    with pytest.raises(UsageError, match=r"^the model must be a torch\.nn\.Module, got "):
        fullconv.convert(model, 224)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": (18, 18, 18)}, r"window=\(18, 18, 18\) names 3 axes, but the network has 2"),
        ({"window": 0}, "window=0 must be made of positive whole numbers"),
        ({"window": (18, -18)}, "must be made of positive whole numbers"),
        (
            {"window": 18, "stride": 3},
            r"stride=3×3 px does not divide the network's native stride, 2×2 px\.\nEvery cell of the "
            r"native map must be a cell of the finer one\. Pass one of 2, 1\.",
        ),
        ({"window": 18, "method": "shift"}, "method='shift' must be one of 'dilate', 'fragments'"),
        ({"window": 18, "context": "globe"}, "context='globe' must be one of 'window', 'image'"),
    ],
)
def test_arguments_that_do_not_fit(options, message):
    model = Net(lambda m, x: m.body(x).mean((2, 3)), body=unpadded_body())
    with pytest.raises(UsageError, match=message):
        fullconv.convert(model, **options)
    with pytest.raises(UsageError, match=message):
        fullconv.plan(model, **options)


def test_the_classifier_may_be_in_training_mode():
    """It is read in inference mode, and gets each module's own mode back."""
    model = Net(
        lambda m, x: m.fc(F.dropout(m.norm(m.body(x)), 0.5, m.training).flatten(1)),
        body=unpadded_body(),
        norm=nn.BatchNorm2d(5),
        fc=nn.Linear(180, 4),
    )
    ready(model).train()
    model.body.eval()
    before = portrait(model), numbers(model)
    fcn = fullconv.convert(model, 18)
    assert_untouched(model, before)
    assert not any(module.training for module in fcn.modules())


def test_a_failed_conversion_leaves_the_modes_alone():
    model = Net(lambda m, x: m.body(x).roll(1, 2), body=unpadded_body())
    model.body.eval()
    refusal(model)


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_the_number_of_channels_is_found(channels):
    model = Net(
        lambda m, x: m.fc(m.body(x).mean((2, 3))),
        fc=nn.Conv1d(9, 9, 1),
        body=unpadded_body(channels),
    )
    model.fc = nn.Linear(5, 2)
    assert fullconv.plan(model, 18).channels == channels


def test_the_number_of_channels_is_found_behind_a_head_that_stands_first():
    model = Net(
        lambda m, x: m.head(m.body(x)).mean((2, 3)),
        head=nn.Conv2d(5, 4, 1),
        body=unpadded_body(),
    )
    assert fullconv.plan(model, 18).channels == 3


def test_an_example_settles_channels_and_axes():
    class Doubling(nn.Module):
        """Takes half the channels its convolution says."""

        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(4, 5, 3), nn.Linear(5, 2)

        def forward(self, x):
            return self.fc(self.conv(torch.cat([x, x * x], 1)).mean((2, 3)))

    with pytest.raises(RefusedError, match="could not be traced"):
        fullconv.plan(Doubling(), 9)
    assert fullconv.plan(Doubling(), 9, example=torch.zeros(1, 2, 9, 9)).channels == 2
