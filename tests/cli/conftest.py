"""The program, run in this process in an empty folder."""

import sys

import pytest

from tsforge.cli import main as program


@pytest.fixture
def tsforge_says(monkeypatch, capsys, tmp_path):
    """Runs the command line: exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tsforge", *words])
        try:
            program.main()
            code = 0
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run
