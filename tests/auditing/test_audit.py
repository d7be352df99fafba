"""The audit as a whole: what it holds, what it says first, and how it goes on where a part fails."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
import torch
from torch import nn

import fullconv
from fullconv.auditing import audit as auditing
from fullconv.auditing.figures import counted
from fullconv.auditing.headline import headline
from fullconv.auditing.questions import SECTIONS, Question
from fullconv.auditing.section import Section
from fullconv.auditing.subject import subject_of
from fullconv.errors import FullconvError, RefusedError, UsageError
from fullconv.evaluate.scoring import WeightsError
from fullconv.hosts.torch_fx.fcn import About
from networks import LeNet, noise

QUICK = ("parameters",)
LENET = 44_426  # 156 + 2,416 + 30,840 + 10,164 + 850


class Recurrent(nn.Module):
    """Rows of a map, read one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.rows = nn.LSTM(4 * 14, 8, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        rows = self.conv(x).permute(0, 2, 1, 3).flatten(2)  # (N, 14, 4 * 14)
        return self.head(self.rows(rows)[0][:, -1])


class Attentive(nn.Module):
    """Every cell looks at every other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        cells = self.conv(x).flatten(2).mT  # (N, 16, 8)
        return self.head(self.attention(cells, cells, cells)[0].mean(1))


REFUSED = {  # parameters by hand, and the word by which the reason is known
    "recurrent": (Recurrent, 112 + (4 * 8 * (56 + 8) + 2 * 4 * 8) + 45, "LSTM"),
    "attentive": (Attentive, 392 + (4 * 8 * 8 + 4 * 8) + 45, "ttention"),
}


def squeezing() -> nn.Module:
    """A context op: the mean of the map is added to every cell."""

    class Squeezing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 14 * 14, 5)

        def forward(self, x):
            x = self.conv(x)
            return self.head((x * x.mean((2, 3), keepdim=True).sigmoid()).flatten(1))

    return Squeezing()


@pytest.fixture(scope="module")
def lenet() -> fullconv.Audit:
    torch.manual_seed(0)
    return fullconv.audit(LeNet(), 28, sections=("parameters", "function"), seconds=6)


def questioned(monkeypatch, ask, key: str = "broken") -> None:
    """One more question, in front of that of the parameters."""
    parameters = next(question for question in SECTIONS if question.key == "parameters")
    table = (Question(key, "Does it break?", ask, 1.0), parameters)
    monkeypatch.setattr(auditing, "SECTIONS", table)


# --- what it holds ---


def test_the_verdict_begins_with_the_headline_and_follows_the_sections(lenet):
    assert [section.key for section in lenet.sections] == ["function", "parameters"]
    assert lenet.headline == (
        "Yes: the network can be made fully convolutional exactly. It keeps its 44,426 parameters."
    )
    function, parameters = lenet.sections
    assert lenet.verdict == (lenet.headline, *function.verdict, *parameters.verdict)
    assert function.verdict
    assert parameters.verdict
    assert lenet.refused is None


def test_what_figures_depend_on(lenet):
    facts = lenet.facts
    assert (facts["window"], facts["channels"], facts["stride"]) == ([28, 28], 1, [4, 4])
    assert facts["fullconv"] == fullconv.__version__
    assert facts["torch"] == torch.__version__.partition("+")[0]
    assert facts["threads"] == str(torch.get_num_threads())
    assert facts["processor"]
    assert 0 < facts["seconds"] < 600
    assert os.uname().nodename not in json.dumps(facts).split()


def test_it_prints_as_text(lenet):
    text = str(lenet)
    assert text.startswith("Audit of LeNet\n")
    joined = " ".join(text.split())
    assert all(line in joined for line in lenet.verdict)


def test_all_figures_are_json(lenet):
    found = lenet.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["verdict"] == list(lenet.verdict)
    assert found["refused"] is None
    assert found["run"] == lenet.facts
    assert list(found["sections"]) == ["function", "parameters"]
    function = found["sections"]["function"]
    assert function["title"] == "Is it the same function?"
    assert function["facts"]["certificate"]["ok"] is True
    assert function["facts"]["compared"] == lenet.section("function").facts["compared"]


def test_what_is_not_finite_is_null(lenet):
    odd = Section("odd", "Odd?", facts={"a": [float("nan"), 1.5], "b": {"c": float("inf")}})
    found = replace(lenet, sections=(odd,)).to_dict()
    assert found["sections"]["odd"]["facts"] == {"a": [None, 1.5], "b": {"c": None}}


def test_one_section(lenet):
    assert lenet.section("function") is lenet.sections[0]
    with pytest.raises(UsageError, match=r"no section 'functoin'\.\nDid you mean function\?"):
        lenet.section("functoin")


@pytest.mark.parametrize(
    ("about", "name", "expected"),
    [
        (None, "", "LeNet"),
        (About("nets.py:build"), "", "nets.py:build"),
        (About("nets.py:build"), "my net", "my net"),
    ],
)
def test_its_name(about, name, expected):
    found = fullconv.audit(LeNet(), 28, sections=QUICK, about=about, name=name)
    assert found.name == found.to_dict()["name"] == found.report.title == expected


def test_remarks_come_before_the_verdict():
    found = fullconv.audit(LeNet(), 28, sections=QUICK, remarks=["The weights are random."])
    assert found.to_dict()["remarks"] == ["The weights are random."]
    text = " ".join(str(found).split())
    assert text.index("The weights are random.") < text.index(found.headline)


def test_a_single_remark_is_one():
    found = fullconv.audit(LeNet(), 28, sections=QUICK, remarks="abc")
    assert found.remarks == ("abc",)


@pytest.mark.parametrize(("remarks", "word"), [(5, "5"), ([5], "5"), (["a", None], "None")])
def test_remarks_are_text(remarks, word):
    with pytest.raises(UsageError, match=f"remarks must be text, and {word} is none"):
        fullconv.audit(LeNet(), 28, sections=QUICK, remarks=remarks)


@pytest.mark.parametrize("weights", ["", "random", "those of 2015"])
def test_random_weights_are_said_first(weights):
    found = fullconv.audit(LeNet(), 28, sections=QUICK, weights=weights, remarks=["first"])
    random = weights == "random"
    assert found.remarks == (("first", auditing.RANDOM_WEIGHTS) if random else ("first",))
    assert found.facts.get("weights", "") == weights
    assert ("weights", weights) in found.report.about or not weights


def test_what_is_known_of_it_is_given_by_name(monkeypatch):
    """As an `About` has it; what is given beside one goes before."""
    seen, real = [], auditing.subject_of

    def subject_of(*args, about, **options):
        seen.append(about)
        return real(*args, about=about, **options)

    monkeypatch.setattr(auditing, "subject_of", subject_of)
    about = About("net", tuple("abcdefghij"), (0.1,), (0.2,))
    named = {"classes": list("abcdefghij"), "mean": 0.1, "std": [0.2]}
    for given in (
        {"about": about},
        {**named, "about": About("net")},
        {"about": about, "mean": 0.5},
    ):
        fullconv.audit(LeNet(), 28, sections=QUICK, **given)
    assert seen == [about, about, replace(about, mean=(0.5,))]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"classes": "abcdefghij"}, "classes must be a list of names"),
        ({"classes": [1] * 10}, "classes must be a list of names"),
        ({"classes": ["a"]}, "there are 1 class names for 10 scores"),
        ({"mean": "half"}, "mean='half' must be a number, or one per channel"),
        ({"std": [None]}, r"std=\[None\] must be a number, or one per channel"),
        ({"std": 0}, "std=0 cannot be"),
    ],
)
def test_what_cannot_be_known_of_it(given, message):
    with pytest.raises(UsageError, match=message):
        fullconv.audit(LeNet(), 28, sections=QUICK, **given)


def test_images_left_aside_are_said():
    batch = noise(1000, 1, 28, 28)
    found = fullconv.audit(LeNet(), 28, sections=QUICK, seconds=2, images=batch, remarks="first")
    assert found.remarks == (
        "first",
        "Of 1,000 images 32 are looked at, evenly spread over them; 968 were left aside.",
    )
    found = fullconv.audit(LeNet(), 28, sections=QUICK, seconds=2, images=batch[:32])
    assert found.remarks == ()


def test_the_model_stays_as_it_was():
    model = LeNet().train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    fullconv.audit(model, 28, images=noise(1, 40, 36), seconds=3)
    assert model.training
    assert model.fc1.training
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


# --- which questions, and in which order ---


def test_the_table_of_questions():
    order = ["function", "parameters", "growth", "coarseness", "pools", "shift", "batching"]
    keys = [question.key for question in SECTIONS]
    assert keys == [key for key in order if key in keys]
    assert len({question.title for question in SECTIONS}) == len(SECTIONS)
    assert all(question.title.endswith("?") and question.share > 0 for question in SECTIONS)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["parameters"], ["parameters"]),
        ("parameters", ["parameters"]),
        (("shift", "parameters", "shift"), ["parameters", "shift"]),
        ({"function"}, ["function"]),
        (None, [question.key for question in SECTIONS]),
    ],
)
def test_sections_that_are_asked_for(asked, expected):
    assert [question.key for question in auditing.asked_for(asked)] == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["parametres"], r"there is no section 'parametres'\.\nDid you mean parameters"),
        (["?"], r"there is no section '\?'\.\nName some of .*parameters"),
        (5, r"there is no section 5\.\nName some of .*parameters"),
        ([None], r"there is no section None\."),
        ([], r"no section is asked for\.\nName some of function, parameters"),
    ],
)
def test_sections_that_are_not_there(asked, message):
    with pytest.raises(UsageError, match=message) as caught:
        fullconv.audit(LeNet(), 28, sections=asked)
    assert caught.value.exit_code == 2


def test_progress_is_told_of_every_section():
    seen: list[tuple[int, int, str]] = []

    def progress(done: int, total: int, what: str) -> None:
        seen.append((done, total, what))

    fullconv.audit(LeNet(), 28, sections=["parameters", "function"], seconds=3, progress=progress)
    assert seen[0] == (0, 2, "the conversion")
    assert seen[-1] == (2, 2, "done")
    assert (0, 2, "Is it the same function?") in seen
    assert (0, 2, "the certificate") in seen
    assert (1, 2, "What happens to the parameters?") in seen
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


def test_time_that_is_left_is_shared_out(monkeypatch):
    given: list[float] = []

    def ask(subject, seconds, say):
        given.append(seconds)
        return Section("some", "Some?")

    table = tuple(Question(str(n), "Some?", ask, share) for n, share in enumerate((1, 2, 1)))
    monkeypatch.setattr(auditing, "SECTIONS", table)
    found = fullconv.audit(LeNet(), 28, seconds=400)
    taken = found.facts["seconds"] + 1
    # What was not used of the first quarter is shared out again: 2 of 3, and then all.
    for seconds, most in zip(given, (100, 800 / 3, 400), strict=True):
        assert most - taken <= seconds <= most


# --- networks that cannot be converted ---


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_cannot_be_converted(name):
    build, parameters, reason = REFUSED[name]
    found = fullconv.audit(build(), 16, seconds=10)
    assert isinstance(found.refused, RefusedError)
    assert found.verdict[0].startswith("No: the network cannot be made fully convolutional. ")
    assert reason in found.verdict[0]
    assert str(found.refused) in found.verdict[0]
    assert found.to_dict()["refused"] == str(found.refused)
    counted = found.section("parameters")
    assert counted.facts["variants"][0]["parameters"] == parameters
    assert f"{parameters:,} parameters" in counted.verdict[0]
    for key in ("function", "shift"):
        section = found.section(key)
        assert section.skipped == ("The network cannot be converted.",)
        assert not section.verdict
        assert not section.tables
    json.dumps(found.to_dict(), allow_nan=False)
    text = str(found)
    assert text.index("cannot be made fully convolutional") < text.index(found.sections[1].title)


def test_macs_of_networks_that_cannot_be_converted():
    cells, rows = 16, 14
    conv, head = cells * 8 * 3 * 16, 8 * 5
    projections, products = cells * 8 * 24 + cells * 8 * 8, 2 * cells * cells * 8
    found = fullconv.audit(Attentive(), 16, sections=QUICK).section("parameters")
    assert found.facts["macs"] == conv + projections + products + head
    conv, recurrent = rows * rows * 4 * 27, rows * 4 * 8 * (56 + 8)
    found = fullconv.audit(Recurrent(), 16, sections=QUICK).section("parameters")
    assert found.facts["macs"] == conv + recurrent + head


def test_a_window_that_is_not_the_networks_is_refused_at_once():
    with pytest.raises(RefusedError, match="view in LeNet: expects 256 features") as caught:
        fullconv.audit(LeNet(), 32)
    assert caught.value.exit_code == 4


# --- what is said first ---


@pytest.mark.parametrize(
    ("context", "sees"),
    [("window", "they see the window around every cell."), ("image", "they see all of the image.")],
)
def test_ops_that_look_at_the_whole_map_are_a_choice(context, sees):
    found = fullconv.audit(squeezing(), 16, context=context, seconds=3, sections=["function"])
    assert found.headline.startswith("Yes, with a choice: ")
    assert "1 context op looks at the whole map" in found.headline
    assert found.headline.endswith(sees)


PLAN = "Yes, by its plan (not proved in this run)"


def test_without_a_certificate_it_is_the_plan_that_says_yes():
    found = fullconv.audit(LeNet(), 28, sections=QUICK)
    assert found.headline == (
        f"{PLAN}: the network can be made fully convolutional exactly. It keeps its 44,426 "
        "parameters."
    )
    found = fullconv.audit(squeezing(), 16, sections=QUICK)
    assert found.headline.startswith(f"{PLAN}, with a choice: the network can")


def test_a_certificate_that_could_not_be_measured_is_said_with_its_reason(monkeypatch):
    def ask(subject, seconds, say):
        raise MemoryError

    questioned(monkeypatch, ask, key="function")
    found = fullconv.audit(LeNet(), 28)
    assert found.headline.startswith(f"{PLAN}: ")
    assert found.headline.endswith("There is no certificate: The memory does not suffice.")


def test_the_certificate_is_said_first(lenet):
    subject = subject_of(LeNet(), 28)
    proof = dict(lenet.section("function").facts["certificate"])
    sections = [Section("function", "Same?", facts={"certificate": proof})]
    assert headline(subject, sections) == (
        "Yes: the network can be made fully convolutional exactly."
    )
    sections = [Section("function", "Same?", facts={"certificate": {**proof, "ok": False}})]
    assert headline(subject, sections).startswith("No: ")
    assert "does not compute the same" in headline(subject, sections)


def test_what_it_costs_follows_as_far_as_it_was_measured():
    found = fullconv.audit(LeNet(), 28, seconds=2, sections=["growth", "parameters"], sizes=[56])
    # LeNet by hand: 24² cells of 6·25, 8² of 16·150, one of 120·256 + 120·84 + 84·10; at 56 px
    # 52², 22² and 8² of them.
    head = 120 * 256 + 120 * 84 + 84 * 10
    window = 24**2 * 150 + 8**2 * 2400 + head
    larger = 52**2 * 150 + 22**2 * 2400 + 8**2 * head
    assert found.headline.endswith(
        "exactly. It keeps its 44,426 parameters; a map of 56×56 px takes "
        f"{larger / window:.1f} times the MACs of the window."
    )
    only = replace(found, sections=()).sections
    assert headline(subject_of(LeNet(), 28), only).endswith("exactly.")
    growth = [found.section("growth")]
    assert "exactly. A map of 56×56 px takes" in headline(subject_of(LeNet(), 28), growth)
    window_only = [replace(growth[0], facts={"rows": growth[0].facts["rows"][:1]})]
    assert headline(subject_of(LeNet(), 28), window_only).endswith("exactly.")


# --- sections that fail ---


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "The memory does not suffice."),
        (torch.OutOfMemoryError("CUDA out of memory."), "The memory does not suffice."),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
            "The memory does not suffice.",
        ),
        (FullconvError("the scores are not finite."), "the scores are not finite."),
    ],
)
def test_a_section_that_fails_says_why_and_the_rest_goes_on(error, said, monkeypatch):
    def ask(subject, seconds, say):
        raise error

    questioned(monkeypatch, ask)
    found = fullconv.audit(LeNet(), 28)
    assert [section.key for section in found.sections] == ["broken", "parameters"]
    broken, parameters = found.sections
    assert (broken.title, broken.skipped) == ("Does it break?", (said,))
    assert parameters.verdict
    assert parameters.facts["variants"]
    assert f"Left out: {said}" in str(found)
    assert found.to_dict()["sections"]["broken"]["skipped"] == [said]


def test_more_memory_than_there_is(monkeypatch):
    def ask(subject, seconds, say):
        torch.empty(2**60, dtype=torch.uint8)

    questioned(monkeypatch, ask)
    found = fullconv.audit(LeNet(), 28)
    assert found.section("broken").skipped == ("The memory does not suffice.",)


def test_too_little_memory_for_a_size():
    """32 MiB for the kernels of PyTorch, some for the maps: the window fits, 280 px do not."""
    found = fullconv.audit(
        LeNet(), 28, sizes=[280], max_memory=35 << 20, seconds=3, sections=["growth", "parameters"]
    )
    growth = found.section("growth")
    window, large = growth.facts["rows"]
    assert window["forward"]["seconds"]["median"] > 0
    assert large["forward"]["needed"] > 35 << 20
    assert large["forward"]["seconds"] is None
    assert large["macs"] > window["macs"] > 0
    assert any("280×280 px, forward: not run" in line for line in growth.skipped)
    assert "and 35.0 MiB is allowed." in " ".join(growth.skipped)
    assert not any(line.startswith("28×28 px") for line in growth.skipped)
    assert found.section("parameters").verdict


@pytest.mark.parametrize(
    ("mistake", "kind"),
    [
        (lambda: fullconv.geometry.per_axis(None, 2, "size"), TypeError),
        (lambda: times_of_nothing([Section("a", "A?")]), AttributeError),
        (lambda: counted("many", "pool"), ValueError),
    ],
)
def test_mistakes_of_the_program_are_not_hidden(mistake, kind, monkeypatch):
    """Calls that fullconv would never make of itself: what fails lies in its own code."""
    questioned(monkeypatch, lambda subject, seconds, say: mistake())
    with pytest.raises(kind):
        fullconv.audit(LeNet(), 28)


def times_of_nothing(sections):
    return headline(None, sections)


class RejectedError(Exception):
    pass


def reject(error):
    raise error


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda: reject(RuntimeError("sizes differ.\nAnd more.")), "RuntimeError: sizes differ."),
        (lambda: reject(AssertionError()), "AssertionError."),
        (lambda: reject(RejectedError("no")), "RejectedError: no."),
        (lambda: nn.Linear(3, 4)(torch.zeros(1, 2)), "RuntimeError: mat1 and mat2"),
        (lambda: torch.nn.functional.pad(None, (1, 1)), "TypeError: pad"),
    ],
)
def test_what_others_raise_ends_the_section_only(mistake, said, monkeypatch):
    questioned(monkeypatch, lambda subject, seconds, say: mistake())
    found = fullconv.audit(LeNet(), 28)
    (reason,) = found.section("broken").skipped
    assert reason.startswith(f"It stopped with {said}")
    assert reason.endswith(".")
    assert "\n" not in reason
    assert found.section("parameters").verdict


def test_a_network_that_fails_in_one_section_has_the_others():
    """A hook of its owner wants one image at a time, which tracing does not see."""

    def single(module, args):
        if len(args[0]) > 1:
            raise ValueError("one image at a time, please")

    model = LeNet()
    model.register_forward_pre_hook(single)
    found = fullconv.audit(model, 28, seconds=4, sections=["function", "parameters"])
    reason = "It stopped with ValueError: one image at a time, please."
    assert found.section("function").skipped == (reason,)
    assert found.section("parameters").verdict
    assert found.headline.startswith(f"{PLAN}: ")
    assert found.headline.endswith(f"There is no certificate: {reason}")


@pytest.mark.parametrize("error", [RejectedError("enough"), FullconvError("enough")])
def test_who_is_told_of_the_progress_can_end_it(error):
    def progress(done, total, what):
        if what == "the certificate":
            raise error

    with pytest.raises(type(error), match="enough"):
        fullconv.audit(LeNet(), 28, seconds=2, sections=["function"], progress=progress)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_weights_that_are_not_finite_end_at_the_door(value):
    model = LeNet()
    with torch.no_grad():
        model.fc2.weight[3, 4] = float(value)
    with pytest.raises(WeightsError, match=r"fc2\.weight: holds numbers that are not finite") as e:
        fullconv.audit(model, 28, sections=QUICK)
    assert e.value.exit_code == 3


@pytest.mark.parametrize(("value", "fits"), [("nan", False), ("-inf", True), ("inf", True)])
def test_buffers_may_be_infinite_as_masks_are_and_not_nan(value, fits):
    model = LeNet()
    model.register_buffer("mask", torch.tensor([0.0, float(value)]))
    if fits:
        assert fullconv.audit(model, 28, sections=QUICK).section("parameters").verdict
        return
    with pytest.raises(WeightsError, match="mask: holds numbers that are not finite"):
        fullconv.audit(model, 28, sections=QUICK)


def test_weights_without_numbers_are_not_looked_at():
    """An empty parameter, whole numbers, and a module that never ran."""
    model = LeNet()
    model.register_parameter("empty", nn.Parameter(torch.empty(0)))
    model.register_buffer("steps", torch.tensor(3))
    model.unused = nn.LazyLinear(3)
    subject_of(model, 28)


# --- files ---


@pytest.mark.parametrize(
    ("name", "begins"), [("r.html", "<!doctype html>"), ("r.md", "# "), ("r.JSON", "{")]
)
def test_the_ending_says_the_form(name, begins, lenet, tmp_path):
    lenet.save(tmp_path / name)
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert text.lower().startswith(begins)
    assert "44,426" in text or str(LENET) in text
    assert os.listdir(tmp_path) == [name]
    if begins == "{":
        assert json.loads(text) == lenet.to_dict()


@pytest.mark.parametrize("name", ["report.pdf", "report", "html"])
def test_other_endings(name, lenet, tmp_path):
    with pytest.raises(UsageError, match=r"must be a name that ends in \.html, \.md or \.json\."):
        lenet.save(tmp_path / name)
    assert not os.listdir(tmp_path)


def test_a_folder_that_is_not_there(lenet, tmp_path):
    with pytest.raises(FullconvError, match="none"):
        lenet.save(tmp_path / "none" / "r.json")
    assert not os.listdir(tmp_path)
