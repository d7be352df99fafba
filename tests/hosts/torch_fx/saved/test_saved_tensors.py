import pytest
import torch
from torch import nn

from fullconv.errors import FullconvError, RefusedError
from fullconv.hosts.torch_fx.saved.tensors import checked, empty, pack, unpack


class Holder(nn.Module):
    """A module with these members: parameters, buffers, or modules."""

    def __init__(self, **members) -> None:
        super().__init__()
        for name, member in members.items():
            if isinstance(member, torch.Tensor) and not isinstance(member, nn.Parameter):
                self.register_buffer(name, member, persistent=not name.startswith("fleeting"))
            else:
                setattr(self, name, member)


def again(module: nn.Module) -> dict[str, torch.Tensor]:
    entries, numbers = pack(module)
    return unpack(checked(entries), {name: tensor.clone() for name, tensor in numbers.items()})


def test_the_table_is_in_the_order_of_the_state_dict():
    module = Holder(
        b=nn.Conv2d(1, 2, 3), a=nn.BatchNorm1d(2), c=nn.Parameter(torch.ones(())),
        fleeting=torch.arange(3),
    )  # fmt: skip
    entries, numbers = pack(module)
    assert [e["name"] for e in entries if e["kind"] != "constant"] == list(module.state_dict())
    assert [e for e in entries if e["name"] in ("c", "fleeting", "a.num_batches_tracked")] == [
        {"name": "c", "kind": "parameter", "dtype": "float32", "shape": []},
        {"name": "fleeting", "kind": "constant", "dtype": "int64", "shape": [3]},
        {"name": "a.num_batches_tracked", "kind": "buffer", "dtype": "int64", "shape": []},
    ]
    assert set(numbers) == {e["name"] for e in entries}


LAYOUTS = {
    "plain": lambda: torch.randn(2, 3, 4),
    "turned": lambda: torch.randn(4, 3, 2).permute(2, 1, 0),
    "channels last": lambda: torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "channels last, one channel": lambda: torch.randn(2, 1, 4, 5).to(
        memory_format=torch.channels_last
    ),
    "ones": lambda: torch.randn(1, 7, 1).permute(2, 0, 1),
    "hwc": lambda: torch.randn(6, 40).view(6, 2, 4, 5).permute(0, 3, 1, 2),
    "scalar": lambda: torch.tensor(3.0),
    "nothing": lambda: torch.empty(0, 3),
    "nothing, turned": lambda: torch.empty(0, 3).T,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_numbers_lie_in_memory_as_they_did(name):
    tensor = LAYOUTS[name]()
    (made,) = again(Holder(x=nn.Parameter(tensor))).values()
    assert isinstance(made, nn.Parameter)
    assert torch.equal(made, tensor)
    assert made.stride() == tensor.stride()
    assert made.data_ptr() % 64 == 0


@pytest.mark.parametrize(
    "view", [lambda t: t[::2], lambda t: t[:, 1:3], lambda t: t[:1].expand(5, 6)]
)
def test_views_with_gaps_or_repeats_become_plain(view):
    tensor = view(torch.randn(5, 6))
    (made,) = again(Holder(x=tensor)).values()
    assert torch.equal(made, tensor)
    assert made.is_contiguous()


def test_the_same_numbers_are_written_once():
    shared = nn.Parameter(torch.randn(4, 4))
    module = Holder(a=shared, b=shared, c=nn.Parameter(shared.data), d=nn.Parameter(shared.data.T))
    entries, numbers = pack(module)
    assert [entry.get("same_as") for entry in entries] == [None, "a", "a", None]
    assert set(numbers) == {"a", "d"}
    made = again(module)
    assert made["a"] is made["b"] is made["c"]
    assert torch.equal(made["d"], shared.T)


def test_parameters_and_buffers_of_one_memory_stay_apart():
    numbers = torch.randn(3)
    made = again(Holder(a=nn.Parameter(numbers), b=numbers, fleeting=numbers))
    assert isinstance(made["a"], nn.Parameter)
    assert not isinstance(made["b"], nn.Parameter)
    assert all(torch.equal(tensor, numbers) for tensor in made.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8, torch.bool])
def test_every_kind_of_number(dtype):
    tensor = torch.ones(3).to(dtype)
    parameter = nn.Parameter(tensor, requires_grad=False)
    made = again(Holder(a=parameter, b=tensor.clone()))
    assert made["a"].dtype == made["b"].dtype == dtype
    assert made["a"].requires_grad == dtype.is_floating_point


def test_a_tensor_without_numbers():
    with pytest.raises(FullconvError, match=r"^weight: has no numbers: it is on the meta device"):
        pack(nn.Linear(1, 1, device="meta"))


ENTRY = {"name": "x", "kind": "parameter", "dtype": "float32", "shape": [2, 3]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "weight"}, "is no parameter or buffer or constant"),
        ({"shape": [2, -1]}, r"has the shape \[2, -1\]"),
        ({"shape": [2, True]}, "has the shape"),
        ({"shape": [2.0]}, "has the shape"),
        ({"same_as": "y"}, "cannot be the same as y"),
        ({"same_as": "x"}, "cannot be the same as x"),
        ({"same_as": "first", "shape": [3, 2]}, "cannot be the same as first"),
        ({"name": "first"}, "first is listed twice"),
    ],
)
def test_a_table_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        checked([{**ENTRY, "name": "first"}, {**ENTRY, **changes}])


def test_a_name_that_is_none():
    with pytest.raises(RefusedError):
        checked([{**ENTRY, "name": "__class__"}])


@pytest.mark.parametrize(
    "strides", [[1], [3, 1, 1], [1, 1], [0, 0], [10**12, 1], [-3, 1], ["3", 1]]
)
def test_strides_that_cannot_be(strides):
    with pytest.raises(ValueError, match="cannot have the strides"):
        empty({**ENTRY, "strides": strides}, "meta")


@pytest.mark.parametrize(
    ("numbers", "error"),
    [
        ({}, KeyError),
        ({"x": torch.ones(3, 2)}, ValueError),
        ({"x": torch.ones(2, 3, dtype=torch.float64)}, ValueError),
        ({"x": torch.ones(2, 3), "y": torch.ones(1)}, ValueError),
    ],
)
def test_numbers_of_another_table(numbers, error):
    with pytest.raises(error):
        unpack([ENTRY], numbers)
