"""The processes of a study: what they hear, import, and say."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fullconv.errors import FullconvError
from fullconv.models import load_model
from fullconv.study.jobs import _held_interrupts
from learnable import write

SRC, TESTS = Path(__file__).parents[2] / "src", Path(__file__).parents[1]
POSIX = pytest.mark.skipif(os.name == "nt", reason="signals are others there")
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{SRC}{os.pathsep}{TESTS}"}

PRESSED = """
import os, signal
from fullconv.errors import FullconvError
from fullconv.models import load_model
from fullconv.study.jobs import _held_interrupts

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with _held_interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        print("held", flush=True)
        inside = True
    print("lost")
except KeyboardInterrupt:
    print("heard")
"""


@POSIX
def test_an_interrupt_while_a_process_starts_is_not_lost():
    done = subprocess.run(
        [sys.executable, "-c", PRESSED], env={**ENVIRONMENT, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["held", "heard"], done.stderr


@POSIX
def test_what_is_started_meanwhile_does_not_hear_interrupts():
    code = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('deaf')"
    with _held_interrupts():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "deaf\n"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


UNGUARDED = """
import sys
from learnable import network as build
from fullconv.cli import main

WINDOW = 16
sys.argv = ["fullconv", "study", "learnable_net.py:build", "d.npz", "--jobs", "2", "--seeds", "2",
            "--variants", "fc", "--epochs", "1", "--no-plot"]
main()
"""


def test_a_program_that_starts_a_study_at_its_top_does_not_start_others(tmp_path):
    write(tmp_path / "d.npz", 30, 12)
    (tmp_path / "learnable_net.py").write_text(
        "from learnable import network as build\nWINDOW = 16\n"
    )
    (tmp_path / "main.py").write_text(UNGUARDED)
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert "starts fullconv while fullconv imports it." in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 5
    assert "ended with code 2" in done.stderr
    assert "memory" not in done.stderr


def test_a_model_file_that_makes_a_study_at_its_top_is_refused(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "from fullconv.study import study\nfrom learnable import network as build\n"
        f"study(build(), 'd.npz', 16, folder={str(tmp_path / 's')!r}, jobs=2)\n"
    )
    with pytest.raises(FullconvError) as error:
        load_model(f"{file}:build")
    assert "starts fullconv while fullconv imports it." in str(error.value)
    assert f"{file}:3" in str(error.value)
    assert not (tmp_path / "s").exists()
