import subprocess
import sys
import time

import pytest
from cli_runs import SRC, process

import fullconv as package
from fullconv.cli.commands import COMMANDS as ALL

COMMANDS = (
    "plan", "check", "convert", "classify", "heatmap", "scan", "evaluate", "audit", "allconv", "study",
    "study", "export", "demo",
)  # fmt: skip


def test_help_answers_within_a_third_of_a_second():
    times = []
    for _ in range(6):
        start = time.perf_counter()
        run = process("--help")
        times.append(time.perf_counter() - start)
        assert run.code == 0
    assert min(times) < 0.3, times


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([c, "--help"] for c in COMMANDS)])
def test_help_imports_neither_torch_nor_numpy(words):
    code = (
        "import sys; sys.argv = ['fullconv', *sys.argv[1:]]\n"
        "from fullconv.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'numpy', 'PIL', 'rich', 'safetensors'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True,
        env={"PYTHONPATH": str(SRC)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_help_names_the_commands_the_models_and_the_exit_codes(fullconv):
    text = fullconv("--help").out
    for word in (*COMMANDS, "torchvision:NAME", "timm:NAME", "file.py:factory", "textures"):
        assert word in text
    assert "Exit codes: 0 ok, 1 failed, 2 usage, 3 bad input, 4 refused model" in text
    assert " ".join(text.split("FILE.safetensors")[1].split()[:12]) == (
        'written by "fullconv convert" or "allconv"; for heatmap, scan, classify and evaluate'
    )
    for command in COMMANDS:
        assert f"  fullconv {command}" in text.split("Examples:")[1]
    assert "..." not in text.split("Commands:")[1].split("Examples:")[0]  # nothing is cut off


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help(command, flag, fullconv):
    run = fullconv(command, flag)
    assert run.code == 0
    assert run.out.startswith(f"Usage: fullconv {command} [OPTIONS]")
    assert "--json" in run.out
    assert run.err == ""
    assert all(len(line) <= 100 for line in run.out.splitlines())


def test_the_version(fullconv):
    run = fullconv("--version")
    assert run.code == 0
    assert run.out.strip() == f"fullconv, version {package.__version__}"


def test_without_words_the_help_is_shown_as_an_error(fullconv):
    run = fullconv()
    assert run.code == 2
    assert run.out == ""
    assert "Usage: fullconv" in run.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plan", "x.py:f", "--wndow", "3"],
         "No such option '--wndow'. Did you mean '--window'?\nTry fullconv plan --help."),
        (["frobnicate"], "No such command 'frobnicate'.\nTry fullconv --help."),
        (["plan"], "Missing argument 'MODEL'.\nTry fullconv plan --help."),
        (["heatmap", "x.py:f"], "Missing argument 'IMAGE'.\nTry fullconv heatmap --help."),
        (["convert", "x.py:f"], "Missing option '-o' / '--output'.\nTry fullconv convert --help."),
        (["plan", "x.py:f", "--window", "0"], "'0' is no size; write 224, or 224x160"),
        (["plan", "x.py:f", "--window", "big"], "'big' is no size"),
        (["plan", "x.py:f", "--window", "99999999999999999999"], "is no size"),
        (["plan", "x.py:f", "--stride", "-2"], "'-2' is no size"),
        (["heatmap", "x.py:f", "a.png", "--mean", "a,b"], "'a,b' is no list of numbers"),
        (["heatmap", "x.py:f", "a.png", "--std", ""], "'' is no list of numbers"),
        (["heatmap", "x.py:f", "a.png", "--std", "nan"], "'nan' is no list of numbers"),
        (["heatmap", "x.py:f", "a.png", "--max-pixels", "0"], "0 is not in the range x>=1"),
        (["check", "x.py:f", "--cells", "1"], "1 is not in the range x>=2"),
        (["plan", "x.py:f", "extra"], "Got unexpected extra argument"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_one_error_that_says_where_help_is(words, message, fullconv):
    run = fullconv(*words)
    assert run.code == 2
    assert message in run.error
    assert f"Try fullconv{' ' + words[0] if words[0] in COMMANDS else ''} --help." in run.error


def test_commands_that_score_images_have_the_same_options(fullconv):
    """Said in the same words; only what stands for nothing differs."""
    said = {}
    for command in ("classify", "heatmap", "evaluate"):
        options = next(one for one in ALL if one.name == command).params
        said[command] = {option.opts[-1]: option for option in options}
    for one, other in (("classify", "evaluate"), ("classify", "heatmap")):
        for name in ("--max-memory", "--max-pixels", "--classes", "--mean", "--std", "--device",
                     "--optimize", "--dtype", "--json", "--weights", "--window"):  # fmt: skip
            assert said[one][name].help == said[other][name].help
    for name in ("--batch", "--average"):
        assert said["classify"][name].help == said["evaluate"][name].help
    flips = {command: options["--flip"] for command, options in said.items()}
    assert {command: flip.default for command, flip in flips.items()} == {
        "classify": False, "heatmap": False, "evaluate": True
    }  # fmt: skip
    assert all(flip.secondary_opts == ["--no-flip"] for flip in flips.values())
    assert flips["classify"].help == flips["heatmap"].help
