import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tlcourse.grading.batch.holding import Held, hold

HOLD = """
import sys
from pathlib import Path
from tlcourse.grading.batch.holding import hold
with hold(Path(sys.argv[1]), "hw") as scratch:
    (scratch / "file").touch()
    print(scratch, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder, and its temporary folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_two_at_once_are_refused(tmp_path, other):
    with pytest.raises(Held, match="Another `tlcourse grade hw` is running"):
        hold(tmp_path, "hw").__enter__()


def test_a_killed_run_holds_nothing_and_is_swept_up(tmp_path, other):
    process, scratch = other
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (scratch / "file").exists()
    with hold(tmp_path, "hw") as own:
        assert own.is_dir() and not scratch.exists()
    assert not own.exists()


def test_only_folders_of_ours_are_removed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / ".temporary").write_text(str(tmp_path / "precious"))
    with hold(tmp_path, "hw"):
        assert (tmp_path / "precious").is_dir()
