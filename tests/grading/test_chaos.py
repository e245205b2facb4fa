"""``kill -9`` of anything, at any moment: the same grades in the end, and nobody left.

The moments are seeded: after so many results and so much of a second.
"""

import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import small_class
from nbgrader.api import Gradebook
from small_class import NAME

import tlcourse
from tlcourse.sandbox.isolation import NoIsolation, find_isolation

pytestmark = pytest.mark.timeout(900)  # several whole runs each
RUNS = 51
PATIENCE = 240  # seconds for a run on a busy computer
# The package under test, wherever it stands: results depend on every line of it.
PACKAGE = str(Path(tlcourse.__file__).resolve().parents[1])
ENVIRONMENT = os.environ | {"PYTHONPATH": PACKAGE}
VICTIMS = {
    "grader": lambda p, words: "grade" in words and p.name() != "bwrap",
    "worker": lambda p, words: any("spawn_main" in w for w in words),
    "fork server": lambda p, words: (
        p.name() == "bwrap" or any("tlcourse.sandbox.forkserver" in w for w in words)
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _isolated():
    try:
        find_isolation()
    except NoIsolation as error:
        pytest.skip(f"no chaos without isolation: {error}")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = small_class.make(tmp_path_factory.mktemp("made"))
    small_class.fill(folder)
    return folder


@pytest.fixture
def course(made, tmp_path):
    return shutil.copytree(made, tmp_path / "course")


@pytest.fixture(scope="module")
def undisturbed(made, tmp_path_factory):
    """What a run leaves that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed") / "course"
    shutil.copytree(made, folder)
    assert finish(start(folder)) == 0
    return outcome(folder)


def start(course, *words):
    """A grader, as a teacher starts one."""
    command = [sys.executable, "-m", "tlcourse", "grade", NAME, *words]
    log = (course / "log").open("ab")
    with log:
        return subprocess.Popen(
            command, cwd=course, env=ENVIRONMENT, stdout=log, stderr=log
        )


def finish(grader):
    try:
        return grader.wait(PATIENCE)
    finally:
        grader.kill()


def outcome(course):
    """Rows, notebooks, journal and report; all but how long it took."""
    room = course / "classroom"
    return {
        "rows": rows(room / "gradebook.db"),
        "notebooks": {
            str(path.relative_to(room)): path.read_text()
            for path in sorted((room / "autograded").rglob("*.ipynb"))
        },
        "journal": [
            timeless(json.loads(path.read_text()))
            for path in sorted((room / "reports" / NAME / "results").glob("*.json"))
        ],
        "report": timeless(
            json.loads((room / "reports" / NAME / "report.json").read_text())
        ),
    }


def rows(path):
    found = []
    with Gradebook(f"sqlite:///{path}") as book:
        for submission in book.assignment_submissions(NAME):
            for notebook in submission.notebooks:
                for grade in notebook.grades:
                    row = (submission.student.id, grade.name, grade.auto_score)
                    found.append((*row, grade.needs_manual_grade))
    return sorted(found)


def timeless(record):
    """Without what says how long it took."""
    if isinstance(record, dict):
        kept = (k for k in record if not k.endswith("seconds"))
        return {k: timeless(record[k]) for k in kept}
    return [timeless(v) for v in record] if isinstance(record, list) else record


def family(grader):
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(grader.pid)
        return [root, *root.children(recursive=True)]
    return []


def wait_until(grader, there):
    """Poll; what ``there`` found, or ``None`` when the run ended before."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and grader.poll() is None:
        if found := there():
            return found
        time.sleep(0.02)
    return None


def done(course):
    return len(list((course / "classroom" / "reports" / NAME).glob("results/*.json")))


def victims(grader, kind):
    found = []
    for process in family(grader):
        with contextlib.suppress(psutil.Error):
            if VICTIMS[kind](process, process.cmdline()):
                found.append(process)
    return found


def strike(grader, course, kind, rng):
    """Kill one of a kind at a random moment; what was alive then."""
    enough, moment = rng.randrange(4), rng.random()
    if wait_until(grader, lambda: done(course) >= enough) is None:
        return []
    found = wait_until(grader, lambda: victims(grader, kind))
    time.sleep(moment)
    alive = family(grader)
    for process in rng.sample(found or [], bool(found)):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return alive


@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=[pytest.mark.slow] * (seed > 2)) for seed in range(RUNS)],
)
def test_killed_at_a_random_moment(course, undisturbed, seed):
    kind = list(VICTIMS)[seed % len(VICTIMS)]
    rng = random.Random(seed)
    grader = start(course, "--workers", str(rng.choice([1, 2])))
    try:
        alive = strike(grader, course, kind, rng)
        code = grader.wait(PATIENCE)
    finally:
        grader.kill()
    assert code == (-9 if kind == "grader" and alive else 0), log(course)
    _, left = psutil.wait_procs(alive, timeout=30)
    assert left == []
    assert finish(start(course)) == 0, log(course)
    assert outcome(course) == undisturbed
    assert leftovers(course) == []


def log(course):
    return (course / "log").read_text()


def leftovers(course):
    """Half-written files; in the end there are none."""
    return [str(path) for path in course.rglob("*") if path.suffix == ".tmp"]


def test_ctrl_c(course, undisturbed):
    """The whole process group gets it, as from a terminal."""
    command = [sys.executable, "-m", "tlcourse", "grade", NAME]
    grader = subprocess.Popen(
        command,
        cwd=course,
        env=ENVIRONMENT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(grader, lambda: victims(grader, "worker"))
    wait_until(grader, lambda: victims(grader, "fork server"))
    alive = family(grader)
    os.killpg(grader.pid, 2)
    _, err = grader.communicate(timeout=PATIENCE)
    assert grader.returncode == 130
    assert err == (
        "Stopped by SIGINT. What was graded is kept: run the same command again to go "
        "on.\n"
    )
    assert psutil.wait_procs(alive, timeout=30)[1] == []
    assert finish(start(course)) == 0
    assert outcome(course) == undisturbed


@pytest.mark.slow
def test_a_database_that_is_locked_for_a_while(course, undisturbed):
    assert finish(start(course, "--students", "eve")) == 0
    grader = start(course)
    path = course / "classroom" / "gradebook.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        # Loading the assignment must be over: then results wait for the gradebook.
        wait_until(grader, lambda: victims(grader, "fork server"))
        other.execute("BEGIN EXCLUSIVE")
        wait_until(grader, lambda: done(course) >= 2)
        other.execute("ROLLBACK")
    assert finish(grader) == 0, log(course)
    assert outcome(course) == undisturbed


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system with room for little, where one may be mounted."""
    place = tmp_path / "tiny"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(place)]
    if (
        not shutil.which("mount")
        or subprocess.run(mount, capture_output=True).returncode
    ):
        pytest.skip("a small tmpfs cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.slow  # test_session.py has the same without a disk
def test_a_full_disk(made, tiny_disk, undisturbed):
    course = shutil.copytree(made, tiny_disk / "course")
    assert finish(start(course, "--students", "eve")) == 0, log(course)
    ballast = tiny_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0" * 512)
    grader = start(course)
    assert finish(grader) == 1
    ballast.unlink()
    assert finish(start(course)) == 0, log(course)
    assert outcome(course) == undisturbed


@pytest.mark.slow  # the gradebook is waited for, a minute long
def test_a_gradebook_that_cannot_be_written(course, undisturbed):
    assert finish(start(course, "--students", "eve")) == 0
    path = course / "classroom" / "gradebook.db"
    with read_only(path):
        grader = start(course)
        assert finish(grader) == 1
    assert "gradebook" in log(course) and "Traceback" not in log(course)
    assert finish(start(course)) == 0
    assert outcome(course) == undisturbed


@contextlib.contextmanager
def read_only(path: Path):
    """Also for root, who may write what others may not: by a mount."""
    for words in ("--bind", path, path), ("-o", "remount,bind,ro", path):
        if subprocess.run(["mount", *map(str, words)], capture_output=True).returncode:
            pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
