"""What a pass takes, counted by hand for small networks, and what a limit lets through."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from fullconv.api import memory
from fullconv.api.memory import Budget, available_bytes, parse_bytes, peak_bytes, written_bytes
from networks import Net

MIB = 2**20


def converted(forward, dtype=torch.float64, **members) -> fullconv.FCN:
    """float64 and 1×1: convolutions that take nothing beside; head: 8×8, 2 channels to 3."""
    net = Net(lambda m, x: m.fc(forward(m, x).flatten(1)), fc=nn.Linear(128, 3), **members)
    return fullconv.convert(net.to(dtype).eval(), 8)


def head_bytes(cells: int, channels: int = 2, kernel: int = 64) -> int:
    """Columns of the head's convolution and its scores, float64."""
    return (channels * kernel + 3) * cells * 8


SIZE = (1, 4, 40, 30)
PIXELS, CELLS = 40 * 30, 33 * 23


# --- counted by hand; every case is the image, and what lives beside it ---


def test_a_chain_frees_what_it_has_read():
    """Image (4) and the widest pair of neighbours: 16 and 8 channels. The head takes less."""
    fcn = converted(
        lambda m, x: m.c(F.relu(m.b(m.a(x)))),
        a=nn.Conv2d(4, 16, 1), b=nn.Conv2d(16, 400, 1), c=nn.Conv2d(400, 2, 1),
    )  # fmt: skip
    # relu makes a map of its own: 400 twice, and the image
    assert peak_bytes(fcn, SIZE) == (4 + 400 + 400) * PIXELS * 8


def test_work_in_place_counts_once():
    fcn = converted(
        lambda m, x: m.c(F.relu(m.b(m.a(x)), inplace=True)),
        a=nn.Conv2d(4, 16, 1), b=nn.Conv2d(16, 400, 1), c=nn.Conv2d(400, 2, 1),
    )  # fmt: skip
    assert peak_bytes(fcn, SIZE) == (4 + 16 + 400) * PIXELS * 8


def test_views_count_once():
    fcn = converted(
        lambda m, x: m.c(m.a(x)[:, :300].transpose(2, 3).transpose(2, 3)),
        a=nn.Conv2d(4, 400, 1), c=nn.Conv2d(300, 2, 1),
    )  # fmt: skip
    assert peak_bytes(fcn, SIZE) == (4 + 400 + 2) * PIXELS * 8


def test_a_branch_is_kept_alive():
    """The shortcut lives through its branch; the sum is a map of its own."""
    fcn = converted(
        lambda m, x: m.d((lambda y: y + m.c(m.b(y)))(m.a(x))),
        a=nn.Conv2d(4, 100, 1), b=nn.Conv2d(100, 400, 1), c=nn.Conv2d(400, 100, 1),
        d=nn.Conv2d(100, 2, 1),
    )  # fmt: skip
    assert peak_bytes(fcn, SIZE) == (4 + 100 + 400 + 100) * PIXELS * 8


def test_the_head_and_its_columns():
    """Every cell of the head's map has its 2×8×8 numbers as a column."""
    fcn = converted(lambda m, x: m.a(x), a=nn.Conv2d(4, 2, 1))
    assert peak_bytes(fcn, SIZE) == (4 + 2) * PIXELS * 8 + head_bytes(CELLS)


def test_columns_of_all_images_but_one_where_dilated():
    plain = converted(lambda m, x: m.a(x), a=nn.Conv2d(4, 2, 5, padding=2))
    wide = converted(lambda m, x: m.a(x), a=nn.Conv2d(4, 2, 5, padding=4, dilation=2))
    columns = 4 * 25 * PIXELS * 8
    maps = 3 * (4 + 2) * PIXELS * 8
    heads = 3 * head_bytes(CELLS)
    assert peak_bytes(plain, (3, *SIZE[1:])) == maps + max(3 * columns, heads)
    assert peak_bytes(wide, (3, *SIZE[1:])) == maps + max(columns, heads)


def test_one_dnn_reorders_weights_and_maps_that_are_not_channels_last():
    fcn = converted(
        lambda m, x: m.c(m.b(x)), torch.float32, b=nn.Conv2d(4, 400, 1), c=nn.Conv2d(400, 2, 1)
    )
    maps = (4 + 400 + 2) * PIXELS * 4
    weights = 2 * 400 * 4
    assert peak_bytes(fcn, SIZE) == maps + 400 * PIXELS * 4 + weights
    # The caller's float32 image stays beside the one that lies channels last.
    assert peak_bytes(fcn.optimize(), SIZE) == maps + 4 * PIXELS * 4 + weights


def test_half_precision_takes_half():
    fcn = converted(
        lambda m, x: m.c(m.b(x)), torch.float32, b=nn.Conv2d(4, 400, 1), c=nn.Conv2d(400, 2, 1)
    )
    expected = 4 * PIXELS * 4 + (4 + 400 + 2) * PIXELS * 2 + 2 * 400 * 2
    assert peak_bytes(fcn.optimize(torch.bfloat16), SIZE) == expected


@pytest.mark.parametrize("dims", [1, 3])
def test_other_numbers_of_axes(dims):
    conv = getattr(nn, f"Conv{dims}d")
    net = Net(
        lambda m, x: m.fc(m.b(m.a(x)).flatten(1)), a=conv(3, 40, 1), b=conv(40, 1, 1),
        fc=nn.Linear(4**dims, 2),
    )  # fmt: skip
    fcn = fullconv.convert(net.double().eval(), 4)
    assert peak_bytes(fcn, (2, 3, *(9,) * dims)) == 2 * (3 + 40 + 1) * 9**dims * 8


def test_weights_do_not_count_though_they_are_seen_in_another_shape():
    """A layer used twice, with different edits, is a view of its weights at each use."""
    fc = nn.Linear(4 * 64, 4 * 64)
    net = Net(lambda m, x: m.fc(m.fc(x.flatten(1))), fc=fc)
    fcn = fullconv.convert(net.double().eval(), 8, example=torch.zeros(1, 4, 8, 8).double())
    weights = fc.weight.numel() * 8
    assert weights > 500_000 > peak_bytes(fcn, (1, 4, 8, 8))


def test_counting_leaves_the_network_alone():
    fcn = converted(lambda m, x: m.a(x), a=nn.Conv2d(4, 2, 1)).train()
    before = {name: tensor.clone() for name, tensor in fcn.state_dict().items()}
    peak_bytes(fcn, SIZE)
    assert fcn.training
    assert all(torch.equal(before[name], tensor) for name, tensor in fcn.state_dict().items())
    with pytest.raises(fullconv.InputError, match="smaller than the 8×8 window"):
        peak_bytes(fcn, (1, 4, 7, 9))


# --- a budget ---


def wide(**options) -> fullconv.FCN:
    """Native stride 4, window 16."""
    net = Net(
        lambda m, x: m.fc(F.relu(m.b(F.relu(m.a(x)))).mean((2, 3))),
        a=nn.Conv2d(3, 64, 3, padding=1, stride=2), b=nn.Conv2d(64, 64, 3, padding=1, stride=2),
        fc=nn.Linear(64, 10),
    )  # fmt: skip
    return fullconv.convert(net.eval(), 16, **options)


def test_what_does_not_fit_is_refused_with_what_would():
    budget = Budget(wide(), 600 * MIB)
    budget.admit((1000, 800))
    with pytest.raises(fullconv.InputError) as caught:
        budget.admit((3000, 4000), where="big.png")
    needed, largest = budget.needed((3000, 4000)), budget.largest((3000, 4000))
    assert needed > 600 * MIB
    assert largest is not None
    assert str(caught.value) == (
        f"big.png: a pass over 3000×4000 px needs {needed / 2**30:.1f} GiB of memory, and "
        "600.0 MiB is allowed.\n"
        f"At most {largest[0]}×{largest[1]} px of this shape fit. Scale the image down, cut it, or "
        "raise --max-memory."
    )


@pytest.mark.parametrize("size", [(3000, 4000), (4000, 3000), (8000, 500)])
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("kind", ["plain", "optimized"])
def test_the_size_named_fits_and_the_next_does_not(size, images, kind):
    fcn = wide() if kind == "plain" else wide().optimize()
    budget = Budget(fcn, 400 * MIB)
    assert budget.needed(size, images) > budget.limit
    largest = budget.largest(size, images)
    assert largest is not None
    assert budget.needed(largest, images) <= budget.limit
    long = size.index(max(size))
    step = [0, 0]
    step[long] = fcn.stride[long]
    assert (size[long] - largest[long]) % 4 == 0
    following = [n * (largest[long] + 4) // size[long] for n in size]
    assert budget.needed(tuple(following), images) > budget.limit
    assert largest[1 - long] == size[1 - long] * largest[long] // size[long]


def test_not_even_one_window():
    budget = Budget(wide(), 32 * MIB)
    with pytest.raises(fullconv.InputError) as caught:
        budget.admit((100, 80), images=2)
    needed = budget.needed((100, 80), 2)
    assert str(caught.value) == (
        f"a pass over 2 images of 100×80 px needs {needed / MIB:.1f} MiB of memory, and 32.0 MiB "
        "is allowed.\n"
        "Not even one window, 16×16 px, fits. Raise --max-memory."
    )


def test_how_many_images_fit():
    budget = Budget(wide(), 600 * MIB)
    count = budget.images((512, 512), 1000)
    assert 1 < count < 1000
    assert budget.needed((512, 512), count) <= budget.limit < budget.needed((512, 512), count + 1)
    assert budget.images((512, 512), 2) == 2
    with pytest.raises(fullconv.InputError, match="a pass over 4000×4000 px needs"):
        budget.images((4000, 4000), 5)


def test_far_below_the_limit_four_runs_do_for_all_sizes(monkeypatch):
    runs = []
    course = memory._course
    monkeypatch.setattr(
        memory, "_course", lambda fcn, shape: runs.append(shape) or course(fcn, shape)
    )
    budget = Budget(wide(), 10 * 2**30)
    rough = {side: budget.needed((side, side)) for side in (100, 333, 1000, 2000)}
    assert len(runs) == 4
    near = Budget(wide(), 1)  # nothing is far below this
    for side, found in rough.items():
        assert near.needed((side, side)) <= found <= 1.1 * near.needed((side, side))


def test_the_prediction_follows_whatever_op_needs_most():
    """A small image needs most for the weights of the head, a large one for the first map."""
    net = Net(
        lambda m, x: m.out(m.fc(F.max_pool2d(m.a(x), 4).flatten(1))), a=nn.Conv2d(3, 64, 3, padding=1),
        fc=nn.Linear(64 * 64, 2000), out=nn.Linear(2000, 2),
    )  # fmt: skip
    fcn = fullconv.convert(net.eval(), 32)
    for side in (40, 200, 1000, 3000):
        for images in (1, 3):
            rough = Budget(fcn, 2**50).needed((side, side), images)
            exact = Budget(fcn, 1).needed((side, side), images)
            assert exact <= rough <= 1.1 * exact


def test_an_image_below_the_window_is_no_matter_of_memory():
    with pytest.raises(fullconv.InputError, match="smaller than the 16×16 window"):
        Budget(wide(), 2**30).admit((15, 20))


def test_without_a_limit_nine_tenths_of_what_is_left(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    assert Budget(wide()).limit == 900
    with pytest.raises(fullconv.UsageError, match="limit=0 must be a positive number of bytes"):
        Budget(wide(), 0)


# --- amounts in words ---


@pytest.mark.parametrize(
    ("text", "count"),
    [("1", 1), ("800000000", 800_000_000), ("12b", 12), ("500MB", 500_000_000), ("1kB", 1000),
     ("2GiB", 2 * 2**30), ("2 gib", 2 * 2**30), ("1.5g", 3 * 2**29), (" .5k ", 512),
     ("3TiB", 3 * 2**40), ("1.TB", 10**12), ("64m", 2**26)],
)  # fmt: skip
def test_amounts(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text", ["", "GiB", "-1g", "0", "0.1", "1e9", "2 GiB RAM", "5PB", "٣g", "nan"]
)
def test_what_is_no_amount(text):
    with pytest.raises(fullconv.UsageError) as caught:
        parse_bytes(text)
    assert str(caught.value) == (
        f"{text!r} is no amount of memory.\nWrite it like 2GiB, 500MB, 1.5g or 800000000."
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (3 * 2**29, "1.5 GiB"),
     (2**30 - 1, "1.0 GiB"), (2**50, "1024.0 TiB")],
)  # fmt: skip
def test_amounts_for_people(count, text):
    assert written_bytes(count) == text


# --- what the machine has left ---


@pytest.fixture
def system(tmp_path):
    """A machine with 1000 KiB available; `write` adds files of its control groups."""

    def write(path: str, text: str) -> None:
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    write("meminfo", "MemTotal: 9999 kB\nMemAvailable:    1000 kB\n")
    write.asked = lambda: available_bytes(
        tmp_path / "meminfo", tmp_path / "own", tmp_path / "groups"
    )
    return write


def test_without_groups_it_is_what_the_kernel_says(system):
    assert system.asked() == 1000 * 1024


def test_a_group_around_the_process_leaves_less(system):
    system("own", "0::/a/b\n")
    system("groups/a/b/memory.max", "max\n")
    system("groups/a/b/memory.current", "77\n")
    system("groups/a/memory.max", "500000\n")
    system("groups/a/memory.current", "300000\n")
    system("groups/a/memory.stat", "anon 1\ninactive_file 50000\nactive_file 3\n")
    assert system.asked() == 250_000
    system("groups/memory.max", "900000\n")
    system("groups/memory.current", "890000\n")
    assert system.asked() == 10_000


def test_a_group_that_is_over_its_limit_leaves_nothing(system):
    system("own", "0::/\n")
    system("groups/memory.max", "100\n")
    system("groups/memory.current", "200\n")
    assert system.asked() == 0


def test_the_first_version_of_groups(system):
    system("own", "9:cpu:/x\n4:memory:/x\n")
    system("groups/memory/x/memory.limit_in_bytes", "600000\n")
    system("groups/memory/x/memory.usage_in_bytes", "500000\n")
    system("groups/memory/x/memory.stat", "total_inactive_file 7\n")
    assert system.asked() == 100_007
    system("groups/memory/x/memory.limit_in_bytes", "9223372036854771712\n")
    assert system.asked() == 1000 * 1024


def test_elsewhere_it_is_all_the_machine_has(tmp_path, monkeypatch):
    sizes = {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", sizes.__getitem__)
    assert available_bytes(tmp_path / "none", tmp_path / "none", tmp_path) == 40960
