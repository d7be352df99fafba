"""`fcn.optimize()`: the same map from a network made for speed; what is folded and what is not."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fullconv
from by_hand import assert_same, assert_untouched, crop_map, difference, numbers, portrait
from fullconv.errors import FullconvError, MissingExtraError
from fullconv.hosts.torch_fx.optimized import compiler
from fullconv.hosts.torch_fx.optimized.network import Optimization
from fullconv.models.torchvision_import import import_timm, import_torchvision
from networks import Net, noise, ready


def unpadded(dims: int = 2) -> nn.Module:
    """7 px per axis to one vector, nothing pads: two convolutions and a layer, all with norms."""
    conv, norm = getattr(nn, f"Conv{dims}d"), getattr(nn, f"BatchNorm{dims}d")
    return Net(
        lambda m, x: m.out(m.norm3(m.fc(m.body(x).flatten(1)))),
        body=nn.Sequential(
            conv(3, 4, 3, stride=2, bias=False), norm(4), nn.ReLU(inplace=True),
            conv(4, 6, 2, groups=2), norm(6), nn.ReLU(),
        ),
        fc=nn.Linear(6 * 2**dims, 5),
        norm3=nn.BatchNorm1d(5),
        out=nn.Linear(5, 3),
    )  # fmt: skip


@pytest.fixture
def model() -> nn.Module:
    return ready(unpadded())


@pytest.fixture
def fcn(model) -> fullconv.FCN:
    return fullconv.convert(model, 7)


IMAGE = noise(2, 3, 15, 12)


# --- what it computes ---


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("stride", "method"), [(2, "dilate"), (1, "dilate"), (1, "fragments")])
def test_the_map_is_the_classifier_on_every_crop(dims, stride, method):
    model = ready(unpadded(dims))
    image = noise(2, 3, *(12, 9, 10)[:dims])
    fast = fullconv.convert(model, 7, stride=stride, method=method).optimize()
    expected = crop_map(model, image, (7,) * dims, (stride,) * dims)
    assert_same(fast(image), expected)
    assert fast.optimization.folded == (3 if method == "dilate" or stride == 2 else 2)


@torch.no_grad()
def test_a_padded_network_is_what_its_layers_compute_by_hand():
    """Zero padding stays zero: it must not become what the batch norm makes of zero."""
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3, padding=1)]
    body = ready(nn.Sequential(*layers, nn.BatchNorm2d(5), nn.ReLU()))
    model = ready(Net(lambda m, x: m.fc(m.body(x).mean((2, 3))), body=body, fc=nn.Linear(5, 2)))
    x = image = noise(1, 1, 11, 10)
    for conv, norm in ((body[0], body[1]), (body[2], body[3])):
        x = F.conv2d(x, conv.weight, conv.bias, padding=1)
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        x = (x - norm.running_mean[:, None, None]) * scale[:, None, None]
        x = x + norm.bias[:, None, None]
    x = F.avg_pool2d(F.relu(x), 8, stride=1)
    fast = fullconv.convert(model, 8).optimize()
    assert_same(fast(image), F.conv2d(x, model.fc.weight[..., None, None], model.fc.bias))
    assert fast.optimization.folded == 2


def test_fragments_of_a_padded_network_see_the_same_at_the_borders():
    """What is added to make phases equally long is zero behind the batch norm, not before it."""
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, 2, 1), nn.BatchNorm2d(4),
        nn.Conv2d(4, 5, 3, 1, 1), nn.BatchNorm2d(5), nn.ReLU(),
    )  # fmt: skip
    model = ready(Net(lambda m, x: m.fc(m.body(x).mean((2, 3))), body=body, fc=nn.Linear(5, 2)))
    fcn = fullconv.convert(model, 16, stride=1, method="fragments")
    fast = fcn.optimize()
    for size in ((16, 16), (21, 18), (23, 31)):
        image = noise(1, 3, *size)
        with torch.no_grad():
            assert difference(fast(image), fcn(image)) <= 1e-10
    assert [name for name, _ in fast.optimization.left] == ["body.1", "body.3"]


def test_norms_without_weights_and_other_eps(model):
    model.body[1] = nn.BatchNorm2d(4, eps=0.5, affine=False)
    ready(model)
    fast = fullconv.convert(model, 7).optimize()
    assert fast.optimization.folded == 3
    assert_same(fast(IMAGE), crop_map(model, IMAGE, (7, 7), (2, 2)))


class _Outer(nn.Conv2d):
    """A convolution of somebody else's, which the FCN calls as a function."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


@pytest.mark.parametrize("bias", [True, False])
def test_convolutions_by_function(model, bias):
    model.body[0] = _Outer(3, 4, 3, stride=2, bias=bias)
    ready(model)
    fast = fullconv.convert(model, 7).optimize()
    assert not any(node.target == "body.0" for node in fast.graph.nodes)
    assert fast.optimization.folded == 3
    assert_same(fast(IMAGE), crop_map(model, IMAGE, (7, 7), (2, 2)))


def test_batch_norm_by_function_with_tensors_of_its_own():
    mean, var = noise(4), noise(4).square() + 0.5
    net = Net(
        lambda m, x: m.fc(F.batch_norm(m.conv(x), m.mean, m.var, eps=0.1).flatten(1)),
        conv=nn.Conv2d(3, 4, 3), mean=mean, var=var, fc=nn.Linear(4 * 25, 2),
    )  # fmt: skip
    model = ready(net)
    fast = fullconv.convert(model, 7).optimize()
    assert fast.optimization.folded == 1
    assert_same(fast(IMAGE), crop_map(model, IMAGE, (7, 7), (1, 1)))


def test_a_layer_over_overlapping_bins():
    """A linear layer after adaptive pooling, held as a kernel over bins, with a norm behind it."""
    model = ready(Net(
        lambda m, x: m.norm(m.fc(F.adaptive_avg_pool2d(m.conv(x), 3).flatten(1))),
        conv=nn.Conv2d(3, 4, 3), fc=nn.Linear(36, 5), norm=nn.BatchNorm1d(5),
    ))  # fmt: skip
    fcn = fullconv.convert(model, 7)
    assert type(fcn.fc).__name__ == "FoldedConv"
    fast = fcn.optimize()
    assert fast.optimization.folded == 1
    assert_same(fast(IMAGE), crop_map(model, IMAGE, (7, 7), (1, 1)))


def test_several_answers_keep_their_form():
    model = ready(Net(
        lambda m, x: {"a": m.a(m.norm(m.conv(x)).flatten(1)), "b": m.b(m.conv(x).flatten(1))},
        conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), a=nn.Linear(100, 2), b=nn.Linear(100, 3),
    ))  # fmt: skip
    answers = fullconv.convert(model, 7).optimize(torch.bfloat16)(IMAGE)
    assert {name: (tuple(map_.shape), map_.dtype) for name, map_ in answers.items()} == {
        "a": ((2, 2, 9, 6), torch.float32),
        "b": ((2, 3, 9, 6), torch.float32),
    }


# --- what is folded, and what is not ---


def left(model: nn.Module, window: int = 7) -> tuple[tuple[str, str], ...]:
    """What stays; the map is checked on the way."""
    fast = fullconv.convert(model, window).optimize()
    fcn = fullconv.convert(model, window)
    expected = crop_map(model, IMAGE, fcn.window, fcn.stride)
    assert_same(fast(IMAGE), expected)
    return fast.optimization.left


def small(forward, **members) -> nn.Module:
    """`forward` gives a map `(N, 4, 5, 5)` of a 7 px image."""
    return ready(Net(lambda m, x: m.fc(forward(m, x).flatten(1)), fc=nn.Linear(100, 2), **members))


def test_a_convolution_used_twice():
    model = small(
        lambda m, x: m.norm(m.conv(x)) + m.other(m.conv(x + 1)),
        conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), other=nn.BatchNorm2d(4),
    )  # fmt: skip
    why = "the convolution is used elsewhere too"
    assert left(model) == (("norm", why), ("other", why))


def test_a_convolution_whose_output_is_read_elsewhere():
    model = small(
        lambda m, x: (lambda y: m.norm(y) + y)(m.conv(x)),
        conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4),
    )  # fmt: skip
    assert left(model) == (("norm", "something else reads the convolution too"),)


def test_a_convolution_whose_weight_is_read_elsewhere():
    model = small(
        lambda m, x: m.norm(m.conv(x)) + m.conv.weight.sum(),
        conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4),
    )  # fmt: skip
    assert left(model) == (("norm", "the convolution is used elsewhere too"),)


def test_a_norm_used_twice_is_folded_into_both():
    model = small(
        lambda m, x: m.norm(m.conv(x)) + m.norm(m.other(x)),
        conv=nn.Conv2d(3, 4, 3), other=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4),
    )  # fmt: skip
    assert left(model) == ()


def test_weights_that_two_convolutions_share():
    model = small(
        lambda m, x: m.norm(m.conv(x)) + m.other(x) + m.third(x),
        conv=nn.Conv2d(3, 4, 3), other=nn.Conv2d(3, 4, 3), third=nn.Conv2d(3, 4, 3),
        norm=nn.BatchNorm2d(4),
    )  # fmt: skip
    model.other.weight = model.third.weight = model.conv.weight
    assert left(model) == ()
    fast = fullconv.convert(model, 7).optimize()
    assert fast.other.weight is fast.third.weight
    assert fast.conv.weight is not fast.other.weight


def test_a_norm_that_follows_no_convolution():
    model = small(
        lambda m, x: m.norm(F.relu(m.conv(x))), conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4)
    )
    assert left(model) == (("norm", "no convolution is in front of it"),)


@pytest.mark.parametrize("name", ["conv", "norm"])
def test_hooks_keep_a_norm_and_go_on_working(name):
    model = small(lambda m, x: m.norm(m.conv(x)), conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4))
    seen = []
    model.get_submodule(name).register_forward_hook(lambda *args: seen.append(name))
    what = {"conv": "the convolution", "norm": "the batch norm"}[name]
    assert left(model) == (("norm", f"{what} has hooks"),)
    fast = fullconv.convert(model, 7).optimize()
    seen.clear()
    fast(IMAGE)
    assert seen == [name]


def test_a_forward_put_in_a_layers_place():
    model = small(lambda m, x: m.norm(m.conv(x)), conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4))
    fcn = fullconv.convert(model, 7)
    plain = fcn.conv.forward
    fcn.conv.forward = lambda x: plain(x) * 2
    fast = fcn.optimize()
    assert fast.optimization.left == (("norm", "the convolution has a forward of its own"),)


ZOO = {
    "resnet18": (20, 0),
    "mobilenet_v2": (52, 0),
    "googlenet": (57, 0),
    "densenet121": (59, 62),
}


def _torchvision(name: str) -> nn.Module:
    try:
        models = import_torchvision().models
    except MissingExtraError:
        pytest.skip("torchvision is not installed")
    extra = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    return ready(getattr(models, name)(weights=None, **extra))


@pytest.mark.parametrize("name", ZOO)
def test_known_networks(name):
    fcn = fullconv.convert(_torchvision(name), 224)
    fast = fcn.optimize()
    image = noise(1, 3, 256, 224)
    with torch.no_grad():
        assert difference(fast(image), fcn(image)) <= 1e-10
    assert (fast.optimization.folded, len(fast.optimization.left)) == ZOO[name]


@pytest.mark.parametrize(("method", "folded", "stays"), [("dilate", 53, 0), ("fragments", 49, 4)])
def test_counts_at_a_finer_stride(method, folded, stays):
    with torch.device("meta"):
        model = _torchvision("resnet50").float()
    done = fullconv.convert(model, 224, stride=8, method=method).optimize().optimization
    assert (done.folded, len(done.left)) == (folded, stays)
    assert {why for _, why in done.left} <= {"phases move into the batch before it"}


def test_same_padding_of_timm():
    try:
        timm = import_timm()
    except MissingExtraError:
        pytest.skip("timm is not installed")
    model = ready(timm.create_model("mobilenetv2_100", pad_type="same"))
    fcn = fullconv.convert(model, 224)
    fast = fcn.optimize()
    image = noise(1, 3, 224, 256)
    with torch.no_grad():
        assert difference(fast(image), fcn(image)) <= 1e-10
    assert (fast.optimization.folded, fast.optimization.left) == (52, ())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())


# --- what it is ---


def test_the_fcn_and_the_classifier_are_untouched(model, fcn):
    before = [(portrait(net), numbers(net)) for net in (model, fcn)]
    code = fcn.code
    fast = fcn.optimize(torch.float32)
    with torch.no_grad():
        for tensor in fast.state_dict().values():
            tensor.zero_()
    for net, was in zip((model, fcn), before, strict=True):
        assert_untouched(net, was)
    assert fcn.code == code


def test_nothing_is_shared_with_it(model, fcn):
    fast = fcn.optimize()
    ours = {t.untyped_storage().data_ptr() for t in (*fast.parameters(), *fast.buffers())}
    theirs = {t.untyped_storage().data_ptr() for t in (*fcn.parameters(), *fcn.buffers())}
    assert not ours & theirs
    fired = []
    model.out.register_forward_hook(lambda *args: fired.append(1))
    fast(IMAGE)
    assert fired == []


def test_it_is_an_fcn_like_the_other(fcn):
    fcn.about = fullconv.hosts.torch_fx.fcn.About("a", ("x", "y", "z"))
    fast = fcn.optimize()
    assert isinstance(fast, fullconv.FCN)
    for name in ("plan", "about", "window", "stride", "receptive_field"):
        assert getattr(fast, name) == getattr(fcn, name)
    assert fast.grid((15, 12)) == fcn.grid((15, 12))
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    with pytest.raises(fullconv.InputError, match="6×9 px, smaller than the 7×7 window"):
        fast(noise(1, 3, 6, 9))
    with pytest.raises(fullconv.InputError, match=r"the input has shape \(3, 15, 12\)"):
        fast(IMAGE[0])


def test_it_infers_even_where_the_fcn_is_in_training():
    model = small(
        lambda m, x: m.drop(m.norm(m.conv(x))),
        conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), drop=nn.Dropout(0.5),
    )  # fmt: skip
    fcn = fullconv.convert(model, 7).train()
    fast = fcn.optimize()
    assert fcn.training
    assert not any(module.training for module in fast.modules())
    scores = fast(IMAGE)
    assert scores.is_inference()
    assert_same(scores.clone(), crop_map(model, IMAGE, (7, 7), (1, 1)))


@pytest.mark.parametrize(
    ("dims", "layout", "name"),
    [(1, torch.contiguous_format, "contiguous"), (2, torch.channels_last, "channels_last"),
     (3, torch.channels_last_3d, "channels_last_3d")],
)  # fmt: skip
def test_channels_lie_last(dims, layout, name):
    fast = fullconv.convert(ready(unpadded(dims)), 7).optimize(torch.float32)
    assert fast.optimization.memory_format == name
    seen = []
    conv = fast.get_submodule("body.3")
    conv.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    fast(noise(2, 3, *(9, 10, 11)[:dims]))
    for tensor in (seen[0], conv.weight, fast.fc.weight):
        assert tensor.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(
    ("dtype", "scores", "tolerance"),
    [(torch.bfloat16, torch.float32, 0.05), (torch.float16, torch.float32, 0.01),
     (torch.float32, torch.float32, 1e-5), (torch.float64, torch.float64, 1e-10)],
)  # fmt: skip
def test_dtypes(model, fcn, dtype, scores, tolerance):
    fast = fcn.optimize(dtype)
    assert {parameter.dtype for parameter in fast.parameters()} == {dtype}
    expected = crop_map(model, IMAGE, (7, 7), (2, 2))
    for image in (IMAGE, IMAGE.float()):
        found = fast(image)
        assert found.dtype == scores
        assert difference(found.double(), expected) <= tolerance + 1e-6 * (image is not IMAGE)
    assert fast.optimization.dtype == dtype


def test_it_moves_and_says_so(fcn):
    fast = fcn.optimize()
    expected = fast(IMAGE)
    assert fast.to(torch.float32) is fast
    assert fast.optimization.dtype == torch.float32
    assert fast(IMAGE).dtype == torch.float32
    assert difference(fast.bfloat16()(IMAGE).double(), expected) <= 0.05
    assert "bfloat16, scores float32" in str(fast.optimization)


def test_a_deep_copy_is_as_fast_and_independent(fcn):
    fast = fcn.optimize(torch.float32)
    twin = copy.deepcopy(fast)
    expected = fast(IMAGE)
    assert torch.equal(twin(IMAGE), expected)
    assert type(twin).__mro__[1] is type(fast).__mro__[1]
    assert (twin.optimization, twin.plan, twin.about) == (
        fast.optimization, fast.plan, fast.about
    )  # fmt: skip
    assert twin.fc.weight.is_contiguous(memory_format=torch.channels_last)
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    with torch.no_grad():
        twin.fc.weight.zero_()
    assert torch.equal(fast(IMAGE), expected)


def test_what_was_done_in_words():
    done = Optimization(
        2, (("a.norm", "no convolution is in front of it"), ("b.norm", "no convolution is in front of it")),
        3, torch.bfloat16, "channels_last", True,
    )  # fmt: skip
    assert str(done).splitlines() == [
        "batch norms      2 of 4 folded",
        "                 2 left, first a.norm: no convolution is in front of it",
        "matrix products  3 on small maps",
        "numbers          bfloat16, scores float32",
        "memory format    channels_last",
        "compiled         yes, anew for each size of image",
    ]


# --- refusals ---


KEEP = "Keep the FCN it came from, "


@pytest.mark.parametrize(
    ("do", "message"),
    [
        (lambda fast: fast.train(),
         f"an optimized FCN is for inference and cannot be trained.\n{KEEP}train that, and optimize it again."),
        (lambda fast: fast.requires_grad_(),
         f"an optimized FCN is for inference and has no gradients.\n{KEEP}train that, and optimize it again."),
        (lambda fast: fast.load_state_dict({}),
         f"an optimized FCN takes no state dict: batch norms are folded into it.\n{KEEP}load it into that, and optimize it again."),
        (lambda fast: fast.to_classifier_state(),
         f"an optimized FCN is no longer the classifier, layer for layer.\n{KEEP}ask that, and optimize it again."),
        (lambda fast: fast.optimize(torch.float32),
         f"an optimized FCN is optimized already.\n{KEEP}call optimize of that, and optimize it again."),
        (lambda fast: pickle.dumps(fast),
         f"an optimized FCN is not pickled: reading a pickle can run code.\n{KEEP}save that, and optimize it again."),
    ],
)  # fmt: skip
def test_what_it_refuses(fcn, do, message):
    fast = fcn.optimize()
    with pytest.raises(fullconv.UsageError) as caught:
        do(fast)
    assert str(caught.value) == message
    assert not fast.eval().training
    assert fast.requires_grad_(False) is fast


def test_it_is_not_saved(fcn, tmp_path):
    with pytest.raises(fullconv.UsageError) as caught:
        fullconv.save(fcn.optimize(), tmp_path / "a.safetensors")
    assert str(caught.value) == (
        "an optimized FCN is not saved.\n"
        "Save the FCN it came from; once loaded, it is optimized again in a moment."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, "bfloat16"])
def test_dtypes_it_cannot_compute_in(fcn, dtype):
    with pytest.raises(fullconv.UsageError) as caught:
        fcn.optimize(dtype)
    assert str(caught.value) == (
        f"dtype={dtype!r} is nothing a network can compute in.\n"
        "Pass one of torch.bfloat16, torch.float16, torch.float32, torch.float64."
    )


def test_a_network_that_insists_on_its_dtype():
    model = small(
        lambda m, x: m.norm(m.conv(x)).double(), conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4)
    )
    fcn = fullconv.convert(model, 7)
    assert fcn.optimize().optimization.folded == 1
    with pytest.raises(FullconvError) as caught:
        fcn.optimize(torch.bfloat16)
    assert str(caught.value).startswith("the network cannot compute in bfloat16: ")
    assert caught.value.hint == "Optimize it without a dtype."


def test_a_member_that_has_the_name_of_what_it_says(model):
    model.optimization = nn.Identity()
    net = ready(
        Net(lambda m, x: m.inner(m.optimization(x)), inner=model, optimization=nn.Identity())
    )
    fcn = fullconv.convert(net, 7)
    with pytest.raises(fullconv.RefusedError, match="'optimization', a name that FCN uses itself"):
        fcn.optimize()


# --- compiled ---


def _no_compiler() -> str:
    try:
        compiler.check_compiler()
    except FullconvError as error:
        return str(error)
    return ""


def test_compiled():
    missing = _no_compiler()
    if missing:
        pytest.skip(missing)
    model = small(lambda m, x: m.norm(m.conv(x)), conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4))
    fast = fullconv.convert(model, 7).optimize(compile=True)
    assert fast.optimization.compiled
    image = IMAGE[:1, :, :9, :7]
    assert_same(fast(image), crop_map(model, image, (7, 7), (1, 1)))
    with pytest.raises(fullconv.InputError, match="smaller than the 7×7 window"):
        fast(noise(1, 3, 6, 9))
    assert copy.deepcopy(fast).optimization.compiled


def test_compiling_without_a_compiler(fcn, monkeypatch):
    def none():
        raise RuntimeError("a page of advice")

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", none)
    with pytest.raises(FullconvError) as caught:
        fcn.optimize(compile=True)
    assert str(caught.value) == (
        "torch.compile needs a C++ compiler, and none was found.\n"
        "Install g++ or clang, or name one in the environment variable CXX; or call optimize "
        "without compile=True."
    )


def test_compiling_with_a_compiler_that_does_not_work(fcn, monkeypatch, tmp_path):
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho 'no such header' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", lambda: str(broken))
    with pytest.raises(FullconvError) as caught:
        fcn.optimize(compile=True)
    assert str(caught.value).splitlines()[0] == (
        f"torch.compile needs a C++ compiler, and {broken} does not work: no such header"
    )
