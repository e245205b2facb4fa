"""Every row of the table of threats, graded as one class: scores, flags, effects."""

import hashlib
import os
import shutil
import socket
import threading
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import psutil
import pytest
from hostile import ATTACKS, EXERCISES, MORE, cheating, escaping, foreign, pages
from hostile.attack import hand_in, hand_in_attack
from hostile.endless import TOTAL

from tlcourse.authoring.release import student_version
from tlcourse.exercises import get
from tlcourse.grading.assigning.making import assign
from tlcourse.grading.book.autograded import write_autograded
from tlcourse.grading.book.gradebook import Book
from tlcourse.grading.book.masters import load_assignment, load_course
from tlcourse.grading.feedback import write_feedback
from tlcourse.grading.journal import Journal
from tlcourse.grading.reading.submissions import read_submissions
from tlcourse.grading.records import Result, Submission
from tlcourse.grading.running.serving import close_servers
from tlcourse.grading.unit import grade_submission
from tlcourse.sandbox.isolation import NoIsolation, find_isolation
from tlcourse.sandbox.limits import Limits

ROOT = Path(__file__).resolve().parents[2]
CELL_SECONDS = 3
LIMITS = Limits(
    cell_seconds=CELL_SECONDS,
    total_seconds=60,
    memory_mb=500,
    processes=60,
    disk_mb=50,
    output_bytes=20_000,
    file_mb=5,
)
KNOWN = escaping.attacks({"courses": [], "places": []})
NAMES = [attack.name for attack in (*ATTACKS, *KNOWN)]


def isolated() -> bool:
    try:
        find_isolation()
    except NoIsolation:
        return False
    return True


pytestmark = pytest.mark.skipif(
    not isolated(), reason="no isolation here (bubblewrap or user namespaces)"
)


@dataclass
class Outside:
    """What lies and listens outside the box, and what came of it."""

    course: Path
    home: Path
    connections: int = 0

    def listen(self) -> list[tuple]:
        """Listen on the network and on two Unix sockets; returns the addresses."""
        path = str(self.home / "socket")
        places = [
            (socket.AF_INET, ("127.0.0.1", 0)),
            (socket.AF_UNIX, path),
            (socket.AF_UNIX, f"\0{path}"),
        ]
        self._servers = []
        for family, address in places:
            server = socket.socket(family)
            server.bind(address)
            server.listen()
            self._servers.append(server)
            threading.Thread(target=self._accept, args=[server], daemon=True).start()
        return [(int(s.family), s.getsockname()) for s in self._servers[:1]] + [
            (int(family), address) for family, address in places[1:]
        ]

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                server.accept()[0].close()
            except OSError:
                return
            self.connections += 1

    def close(self) -> None:
        for server in self._servers:
            server.close()

    def fingerprint(self) -> dict[str, str]:
        """Of every file of the course, of the home folder and of the package."""
        tops = (self.course, self.home, ROOT / "tlcourse")
        files = (p for top in tops for p in sorted(top.rglob("*")) if p.is_file())
        return {
            str(p): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in files
            if "__pycache__" not in p.parts
        }


def hide_secrets(course: Path) -> None:
    """Put a word where only the teacher may read it."""
    path = course / "solutions" / "hw1" / "exercises.ipynb"
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace(
            "### BEGIN SOLUTION", f"### BEGIN SOLUTION\n    # {cheating.SECRET}"
        )
    nbformat.write(notebook, path)
    with (course / "classroom" / "seeds.toml").open("a") as file:
        file.write(f"# {cheating.SECRET}\n")


def hand_out(course: Path, name: str) -> nbformat.NotebookNode:
    path = course / "solutions" / name / "exercises.ipynb"
    return student_version(nbformat.read(path, as_version=4))


def submitted(course: Path, name: str, student: str) -> Path:
    return course / "classroom" / "submitted" / student / name


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A course with two assignments, a home folder, and what listens."""
    world = Outside(tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("home"))
    for name in ("nbgrader_config.py", "course.toml"):
        shutil.copy(ROOT / name, world.course)
    shutil.copytree(ROOT / "lessons", world.course / "lessons")
    assign(world.course, "hw1", EXERCISES, seed=20_261_121)
    hide_secrets(world.course)
    (world.course / "solutions" / foreign.NAME).mkdir()
    path = world.course / "solutions" / foreign.NAME / "exercises.ipynb"
    nbformat.write(foreign.source(), path)
    yield world
    world.close()


class Graded:
    """Both classes' results: each submission is graded once, when it is asked for."""

    def __init__(self, outside: Outside) -> None:
        self.course = load_course(outside.course)
        self.assignments = {
            name: load_assignment(self.course, name, limits=LIMITS)
            for name in ("hw1", foreign.NAME)
        }
        self.before = outside.fingerprint()
        self.results: dict[tuple[str, str], Result] = {}

    def submission(self, name: str, student: str) -> Submission:
        (found,) = read_submissions(self.course, self.assignments[name], [student])
        return found

    def __getitem__(self, key: tuple[str, str]) -> Result:
        if key not in self.results:
            submission = self.submission(*key)
            result = grade_submission(self.assignments[key[0]], submission)
            self.results[key] = result
        return self.results[key]


@pytest.fixture(scope="module")
def graded(outside, monkeypatch_module):
    """Everything is handed in; results come by assignment and student."""
    known = {"courses": [str(outside.course)], "places": outside.listen()}
    given = hand_out(outside.course, "hw1")
    for attack in (*ATTACKS, *escaping.attacks(known), TOTAL):
        place = submitted(outside.course, "hw1", attack.name)
        hand_in_attack(attack, given, outside.course, place)
    given = hand_out(outside.course, foreign.NAME)
    for attack in foreign.ATTACKS:
        place = submitted(outside.course, foreign.NAME, attack.name)
        hand_in(attack.files(given), place)
    monkeypatch_module.setenv("TLCOURSE_SECRET", escaping.SECRET)
    monkeypatch_module.setenv("HOME", str(outside.home))
    yield Graded(outside)
    close_servers()


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def cost(attack) -> list:
    return [pytest.mark.slow] if attack.name in MORE else []


def points(result: Result) -> dict[str, float | None]:
    return {g.grade_id: g.auto for n in result.notebooks for g in n.grades}


def statuses(result: Result) -> dict[str, str]:
    return {g.grade_id: g.status for n in result.notebooks for g in n.grades}


def kinds(result: Result) -> set[str]:
    return {flag.kind for flag in result.flags}


def shown(result: Result) -> str:
    """All text of the graded notebooks' outputs."""
    return "".join(
        str(cell.get("outputs", ""))
        for n in result.notebooks
        if n.notebook
        for cell in nbformat.reads(n.notebook, as_version=4).cells
    )


@pytest.mark.parametrize(
    "attack", [pytest.param(a, id=a.name, marks=cost(a)) for a in (*ATTACKS, *KNOWN)]
)
def test_attack(graded, attack):
    result = graded["hw1", attack.name]
    assert result.status == attack.status, result.message
    most = {name.replace(".", "-"): float(get(name).points) for name in EXERCISES}
    earned = points(result)
    if attack.noticed:
        assert attack.flags
    elif attack.full is None:
        assert all(earned[name] in (0, most[name]) for name in most)
        assert earned[EXERCISES[1].replace(".", "-")] == 0
    else:
        full = {name.replace(".", "-") for name in attack.full}
        wanted = {name: most[name] * (name in full) for name in most}
        assert earned == wanted, statuses(result)
    for exercise, allowed in (attack.statuses or {}).items():
        assert statuses(result)[exercise.replace(".", "-")] in allowed
    assert set(attack.flags) <= kinds(result)
    for word in attack.hidden:
        assert word not in shown(result)


@pytest.mark.parametrize("attack", foreign.ATTACKS, ids=lambda attack: attack.name)
def test_foreign_attack(graded, attack):
    """No attack earns a point unflagged, and none more than there are."""
    result = graded[foreign.NAME, attack.name]
    earned = points(result)
    assert earned.keys() == foreign.POINTS.keys()
    assert all(0 <= earned[name] <= most for name, most in foreign.POINTS.items())
    total = sum(earned.values())
    if attack.points is None:
        assert total == 0 or result.flags
    else:
        assert total == attack.points, statuses(result)
    assert set(attack.flags) <= kinds(result)
    if attack.statuses:
        assert set(statuses(result).values()) <= set(attack.statuses)


def test_a_total_limit_ends_the_submission(graded):
    limits = LIMITS.model_copy(update={"total_seconds": 1.5})
    assignment = graded.assignments["hw1"].model_copy(update={"limits": limits})
    result = grade_submission(assignment, graded.submission("hw1", TOTAL.name))
    assert result.status == "stopped"
    assert statuses(result)["losses-l2_sp"] == "not run"


def test_the_environment_of_the_grader_is_not_shown(graded):
    result = graded["hw1", "reads-the-environment"]
    assert os.environ["TLCOURSE_SECRET"] not in result.model_dump_json()


def test_outputs_are_short_and_say_that_they_are_cut(graded):
    result = graded["hw1", "prints-100-megabytes"]
    assert "output cut" in kinds(result)
    assert len(result.model_dump_json()) < 40 * LIMITS.output_bytes


class Page(HTMLParser):
    """Everything on a page that a browser would run or load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.active: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "base", "form"):
            self.active.append(tag)
        for name, value in attrs:
            link = (value or "").strip().lower()
            if name.startswith("on") or link.startswith(("javascript:", "data:text")):
                self.active.append(f"{tag} {name}={value}")


@pytest.mark.parametrize("name", [a.name for a in pages.ATTACKS if a.name not in MORE])
def test_feedback_has_no_script(graded, outside, name, tmp_path):
    assignment, result = graded.assignments["hw1"], graded["hw1", name]
    submission = graded.submission("hw1", name)
    shutil.copytree(outside.course, tmp_path / "course", symlinks=True)
    course = load_course(tmp_path / "course")
    Journal(course.reports / "hw1" / "results").write(result)
    with Book.of(course) as book:
        book.write(result)
    write_autograded(course, result, assignment, submission)
    (page,) = write_feedback(course, "hw1", [name])
    assert not Page(page.read_text(encoding="utf-8")).active


def test_nothing_outside_has_changed(graded, outside):
    """Stands behind all attacks: what they did to the disk would show here."""
    changed = set(graded.before.items()) ^ set(outside.fingerprint().items())
    assert not {path for path, _ in changed}


def test_nobody_reached_the_network(graded, outside):
    assert outside.connections == 0


def test_nothing_is_left_running(graded):
    close_servers()
    assert not psutil.Process().children(recursive=True)


def test_names_are_unique():
    assert len(set(NAMES)) == len(NAMES)


def test_what_is_left_to_the_full_run_exists():
    assert set(NAMES) >= MORE
