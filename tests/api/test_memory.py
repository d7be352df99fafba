"""What a limit lets through, amounts of memory in words, and what the machine has left."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from fullconv.api import memory
from fullconv.api.memory import Budget, available_bytes, parse_bytes, written_bytes
from networks import Net

MIB = 2**20


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
        "raise the limit (max_memory, --max-memory)."
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
        "Not even one window, 16×16 px, fits. Raise the limit (max_memory, --max-memory)."
    )


def test_without_a_limit_the_refusal_speaks_of_what_is_free(monkeypatch):
    """To allow more than there is would invite the system to kill the process."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 400 * MIB)
    fcn = wide()
    budget = Budget(fcn)
    needed, largest = budget.needed((3000, 4000)), budget.largest((3000, 4000))
    assert largest is not None
    with pytest.raises(fullconv.InputError) as caught:
        budget.images((3000, 4000), 5, where="big.png")
    assert str(caught.value) == (
        f"big.png: a pass over 3000×4000 px needs {needed / 2**30:.1f} GiB of memory, and "
        "360.0 MiB is free.\n"
        f"At most {largest[0]}×{largest[1]} px of this shape fit. Scale the image down, cut it, or "
        "free some memory."
    )
    budget = Budget(fcn, beside=350 * MIB)
    needed = budget.needed((100, 80))
    with pytest.raises(fullconv.InputError) as caught:
        budget.admit((100, 80))
    assert str(caught.value) == (
        f"a pass over 100×80 px needs {needed / MIB:.1f} MiB of memory, and 10.0 MiB is free.\n"
        "Not even one window, 16×16 px, fits. Free some memory."
    )


def test_how_many_images_fit():
    budget = Budget(wide(), 600 * MIB)
    count = budget.images((512, 512), 1000)
    assert 1 < count < 1000
    assert budget.needed((512, 512), count) <= budget.limit < budget.needed((512, 512), count + 1)
    assert budget.images((512, 512), 2) == 2
    with pytest.raises(fullconv.InputError, match="a pass over 4000×4000 px needs"):
        budget.images((4000, 4000), 5)


@pytest.fixture
def passes(monkeypatch):
    """The shapes of the passes counted, for the prediction and for a size itself."""
    made: dict[str, list[tuple[int, ...]]] = {"course": [], "peak_bytes": []}
    for name, shapes in made.items():
        real = getattr(memory, name)
        monkeypatch.setattr(
            memory,
            name,
            lambda fcn, shape, real=real, shapes=shapes: shapes.append(shape) or real(fcn, shape),
        )
    return made


def test_far_below_the_limit_a_few_passes_do_for_all_sizes(passes):
    fcn, sides = wide(), (16, 17, 100, 333, 1000, 2000)
    budget = Budget(fcn, 10 * 2**30)
    rough = {(side, n): budget.needed((side, side), n) for side in sides for n in (1, 2, 5)}
    again = Budget(fcn, 10 * 2**30)  # as long as the network lives
    assert again.needed((100, 100)) == rough[100, 1]
    assert [shape[0] for shape in passes["course"]] == [1] * 4 + [2] * 4
    assert not passes["peak_bytes"]
    near = Budget(fcn, 1)  # nothing is far below this
    for (side, n), found in rough.items():
        exact = near.needed((side, side), n)
        assert exact <= found <= (1.1 if side >= 100 else 1.2) * exact


def test_where_the_ops_differ_from_size_to_size_every_pass_is_counted(monkeypatch):
    fcn = wide()
    monkeypatch.setattr(memory, "course", lambda fcn, shape: [1] * (shape[2] % 7 + shape[3] % 11))
    needed = Budget(fcn, 2**50).needed((500, 400), 3)
    assert needed == Budget(wide(), 1).needed((500, 400), 3) > 100 * MIB


def test_another_form_of_the_network_is_predicted_anew():
    fcn = wide()
    single = Budget(fcn, 2**50).needed((500, 400))
    assert Budget(fcn.double(), 2**50).needed((500, 400)) > 1.5 * single


@pytest.mark.parametrize("size", [(500, 4000), (4000, 500), (16, 3000)])
def test_narrow_images_and_uneven_windows(size):
    net = Net(
        lambda m, x: m.fc(F.relu(m.a(x)).flatten(1)), a=nn.Conv2d(3, 8, (1, 7), stride=(2, 1)),
        fc=nn.Linear(8 * 8 * 26, 40),
    )  # fmt: skip
    fcn = fullconv.convert(net.eval(), (16, 32))
    for images in (1, 4):
        exact = Budget(fcn, 1).needed(size, images)
        assert exact <= Budget(fcn, 2**50).needed(size, images) <= 1.1 * exact


def test_columns_of_one_image_do_not_grow_with_their_number():
    """A dilated convolution in float64 takes its columns image by image."""
    net = Net(
        lambda m, x: m.fc(m.b(F.max_pool2d(m.a(x), 2)).flatten(1)), a=nn.Conv2d(3, 8, 3, padding=1),
        b=nn.Conv2d(8, 8, 5, padding=2), fc=nn.Linear(8 * 8 * 8, 4),
    )  # fmt: skip
    fcn = fullconv.convert(net.double().eval(), 16, stride=1)
    for side in (16, 61, 400):
        for images in (1, 2, 7):
            exact = Budget(fcn, 1).needed((side, side), images)
            assert exact <= Budget(fcn, 2**50).needed((side, side), images) <= 1.2 * exact


def heavy(features: int = 1024) -> fullconv.FCN:
    """A head of 8×8 taps that needs most: stride 4, window 32; weights of `features` × 16 KiB."""
    net = Net(
        lambda m, x: m.out(F.relu(m.fc(F.relu(m.a(F.max_pool2d(x, 4))).flatten(1)))),
        a=nn.Conv2d(3, 64, 3, padding=1), fc=nn.Linear(64 * 64, features),
        out=nn.Linear(features, 2),
    )  # fmt: skip
    return fullconv.convert(net.eval(), 32).optimize()


CELLS = (1, 2, 3, 8, 15, 16, 17)
IMAGES = (1, 2, 4, 8, 63, 64, 65, 256, 257)
WEIGHTS = 64 * 64 * 1024 * 4


@pytest.mark.parametrize("features", [8, 1024])  # patches, or the weights, weigh most
def test_bounds_hold_on_both_sides_of_the_switch(passes, features):
    """From products to convolutions, by the cells of all images."""
    fcn = heavy(features)
    far, near = Budget(fcn, 2**50), Budget(fcn, 1)
    for cells in CELLS:
        for images in IMAGES:
            for size in ((28 + 4 * cells,) * 2, (31 + 4 * cells, 28 + 4 * cells)):
                exact = near.needed(size, images)
                assert exact <= far.needed(size, images)
    # To be far below the limit no pass of the size itself is counted.
    assert len(passes["peak_bytes"]) == 2 * len(CELLS) * len(IMAGES)


def test_what_a_batch_of_windows_takes_for_reordered_weights_is_seen_near_the_limit():
    """One window is a product, a batch of them a convolution whose weights are reordered."""
    fcn = heavy()
    one, eight = (Budget(fcn, 1).needed((32, 32), images) for images in (1, 8))
    assert eight > one + WEIGHTS
    budget = Budget(fcn, eight - 1)
    budget.admit((32, 32))
    with pytest.raises(fullconv.InputError, match="a pass over 8 images of 32×32 px needs"):
        budget.admit((32, 32), 8)
    Budget(fcn, eight).admit((32, 32), 8)


@pytest.mark.parametrize("predicted", [True, False])
def test_the_largest_size_is_found_in_a_few_passes(monkeypatch, passes, predicted):
    fcn = wide(stride=1)
    if not predicted:
        monkeypatch.setattr(memory, "_predicted", lambda *_: None)
    budget = Budget(fcn, 2000 * MIB)
    largest = budget.largest((3000, 4000))
    assert largest is not None
    assert 100 < largest[1] < 3900
    assert budget.needed(largest) <= budget.limit
    following = (3000 * (largest[1] + 1) // 4000, largest[1] + 1)
    assert budget.needed(following) > budget.limit
    assert len(passes["peak_bytes"]) <= (15 if predicted else 25)


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


def test_what_the_caller_holds_beside_is_taken_off_what_is_left(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    assert Budget(wide(), beside=300).limit == 600
    assert Budget(wide(), beside=901).limit == 0
    assert Budget(wide(), 500, beside=300).limit == 500  # a given one is for the pass alone


def test_on_a_gpu_what_the_allocator_holds_ready_is_free_too(monkeypatch):
    class OnGPU(torch.nn.Module):
        def parameters(self):
            return iter([Weight()])

    class Weight:
        device = torch.device("cuda", 1)

    counts = {"mem_get_info": (1000, 9000), "memory_reserved": 500, "memory_allocated": 200}
    for name, count in counts.items():
        monkeypatch.setattr(
            torch.cuda, name, lambda device, count=count: count if device.index == 1 else None
        )
    assert Budget(OnGPU()).limit == 1170


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
