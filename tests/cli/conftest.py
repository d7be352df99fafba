import sys
from pathlib import Path

import pytest
from cli_runs import NETS, Run, picture

from fullconv.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    """The working folder: a file of networks and a picture."""
    (tmp_path / "nets.py").write_text(NETS)
    picture(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fullconv(here, monkeypatch, capsys):
    """Runs the command line in this process and working folder."""

    def run(*words: str) -> Run:
        monkeypatch.setattr(sys, "argv", ["fullconv", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return Run(stop.value.code or 0, out, err)

    return run
