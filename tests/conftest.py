"""Every test starts seeded, with a progress folder of its own."""

import sys

import pytest

from tlcourse import cli


@pytest.fixture(autouse=True)
def _own_world(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path_factory.mktemp("home")))
    import tlcourse

    tlcourse.seed_everything(0)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command as the shell does; gives exit code, stdout and stderr."""

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["tlcourse", *words])
        monkeypatch.setenv("COLUMNS", "200")
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return command
