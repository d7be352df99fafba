"""Sliding against plain loops; the certificate, what it measures and what it notices."""

import json

import pytest
import torch
from torch import nn

import fullconv
from by_hand import assert_same, crop_map, numbers
from fullconv.api.costs import ceiling, macs
from networks import LeNet, Split, noise, padded_body, ready, unpadded_body


def classifier(body) -> nn.Module:
    """18 or 12 px to 4 classes, through 6×6 cells."""
    return ready(Split(body(), lambda self, x: self.fc(x.flatten(1)), fc=nn.Linear(180, 4)))


def unpadded() -> nn.Module:
    return classifier(unpadded_body)


def padded() -> nn.Module:
    return classifier(padded_body)


LINE = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(3 * 6, 5))
BLOCK = nn.Sequential(nn.Conv3d(1, 2, 2), nn.Flatten(), nn.Linear(2 * 27, 5))


@pytest.mark.parametrize(
    ("model", "image", "window", "stride"),
    [
        (LINE, noise(2, 2, 21), (8,), (3,)),
        (LeNet(), noise(1, 1, 33, 40), (28, 28), (3, 5)),
        (BLOCK, noise(1, 1, 6, 5, 7), (4, 4, 4), (1, 1, 2)),
    ],
    ids=["1-D", "2-D", "3-D"],
)
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_sliding_is_a_plain_loop(model, image, window, stride, batch_size):
    model = ready(model)
    told = []
    ours = fullconv.sliding(
        model, image, window, stride, batch_size, progress=lambda *done: told.append(done)
    )
    assert_same(ours, crop_map(model, image, window, stride))
    assert told[-1][0] == told[-1][1] == ours[0, 0].numel()
    assert_same(fullconv.sliding(model, image[0], window, stride), ours[:1])


def test_sliding_refuses_what_does_not_fit():
    model = ready(LeNet())
    with pytest.raises(fullconv.InputError, match="27×40 px, smaller than the 28×28 window"):
        fullconv.sliding(model, noise(1, 1, 27, 40), 28, 4)
    with pytest.raises(fullconv.UsageError, match="does not have 2 spatial axes"):
        fullconv.sliding(model, noise(40, 40), 28, 4)
    with pytest.raises(fullconv.UsageError, match="batch_size=0"):
        fullconv.sliding(model, noise(1, 1, 28, 28), 28, 4, 0)


def test_a_network_without_padding_is_exact():
    model = unpadded()
    fcn = fullconv.convert(model, 18)
    certificate = fullconv.verify(model, fcn)
    assert certificate.ok
    assert certificate.exact
    assert max(certificate.native, certificate.head, certificate.windows) <= 1e-10
    assert (certificate.cells, certificate.top1, certificate.noise) == (9, 1.0, True)
    assert "proven" in str(certificate)
    assert "every cell equals its crop" in str(certificate)


def test_a_padded_network_is_exact_but_for_its_crops():
    model = padded()
    fcn = fullconv.convert(model, 12)
    certificate = fullconv.verify(model, fcn, noise(3, 20, 31), cells=1000)
    assert certificate.ok
    assert not certificate.exact
    assert certificate.cells == 5 * 10
    assert certificate.images == ((20, 31),)
    # The gap to the crops, measured with plain loops.
    image = noise(3, 20, 31)[None]
    crops = crop_map(model, image, (12, 12), (2, 2))
    with torch.no_grad():
        gap = fcn(image) - crops
    scale = float(crops.abs().max())
    assert certificate.windows == pytest.approx(float(gap.abs().max()) / scale, rel=1e-9)
    assert certificate.windows_mean == pytest.approx(float(gap.abs().mean()) / scale, rel=1e-9)
    same = ((gap + crops).argmax(1) == crops.argmax(1)).double().mean()
    assert certificate.top1 == pytest.approx(float(same))
    assert "a crop sees a border" in str(certificate)


@pytest.mark.parametrize("name", ["fc.weight", "fc.bias", "body.0.weight"])
def test_a_changed_weight_is_noticed(name):
    model = unpadded()
    fcn = fullconv.convert(model, 18).double()
    fcn = fcn.to(torch.float32)  # parameters of its own
    with torch.no_grad():
        fcn.get_parameter(name).view(-1)[0] += 0.01
    certificate = fullconv.verify(model, fcn)
    assert not certificate.ok
    assert "NOT EQUAL" in str(certificate)


def test_nan_is_different():
    model = unpadded()
    fcn = fullconv.convert(model, 18).float()
    with torch.no_grad():
        fcn.get_parameter("fc.bias")[0] = float("nan")
    assert fullconv.verify(model, fcn).native == float("inf")


def test_another_network_does_not_belong():
    wider = ready(Split(unpadded_body(), lambda s, x: s.fc(x.flatten(1)), fc=nn.Linear(180, 5)))
    with pytest.raises(fullconv.InputError, match="4 scores, the model 5"):
        fullconv.verify(wider, fullconv.convert(unpadded(), 18))


def test_model_and_fcn_stay_as_they_were():
    model = unpadded().float().train()
    fcn = fullconv.convert(model, 18)
    before = {name: tensor.clone() for name, tensor in numbers(model).items()}
    fullconv.verify(model, fcn)
    assert model.training
    assert not fcn.training
    assert all(p.dtype == torch.float32 and p.grad is None for p in model.parameters())
    assert all(torch.equal(tensor, numbers(model)[name]) for name, tensor in before.items())


def test_the_certificate_goes_to_json():
    model = padded()
    data = json.loads(json.dumps(fullconv.verify(model, fullconv.convert(model, 12)).to_dict()))
    assert data["ok"] is True
    assert data["exact"] is False
    assert data["window"] == [12, 12]
    assert data["padded"] == ["body.0 (Conv2d)", "body.2 (Conv2d)"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (noise(1, 4, 20, 20), "does not fit a network of 3 channels"),
        ([noise(20, 20)], "does not fit"),
        (noise(3, 17, 40), "smaller than the 18×18 window"),
    ],
)
def test_images_that_do_not_fit(images, message):
    model = unpadded()
    with pytest.raises(fullconv.InputError, match=message):
        fullconv.verify(model, fullconv.convert(model, 18), images)


def test_macs_are_counted_as_by_hand():
    model = unpadded()
    body = 8 * 8 * 9 * 3 * 4 + 6 * 6 * 9 * 4 * 5
    assert macs(model, (1, 3, 18, 18)) == body + 180 * 4
    fcn = fullconv.convert(model, 18)
    wide = 16 * 16 * 9 * 3 * 4 + 14 * 14 * 9 * 4 * 5 + 9 * 9 * 180 * 4
    assert macs(fcn, (1, 3, 34, 34)) == wide
    assert ceiling(model, fcn, (34, 34)) == pytest.approx(81 * (body + 180 * 4) / wide)


def test_vgg16_costs_what_the_literature_says():
    from fullconv.models.torchvision_import import import_torchvision

    with torch.device("meta"):
        vgg = import_torchvision().models.vgg16()
    assert macs(vgg, (1, 3, 224, 224)) == 15_470_264_320
    assert ceiling(vgg, fullconv.convert(vgg, 224), (512, 512)) == pytest.approx(16.7, abs=0.05)
