import json

import pytest

COMMANDS = ("assign", "grade", "feedback", "export")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course folder, and the working folder somewhere in it."""
    (tmp_path / "nbgrader_config.py").touch()
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    return tmp_path


@pytest.fixture
def graded(monkeypatch, course):
    """Catches what ``grade`` asks for; the summary can be set."""
    from tlcourse.grading.batch import session
    from tlcourse.grading.batch.options import Summary

    class Asked:
        summary = Summary(
            counts={"graded": 3, "stopped": 1},
            kept=2,
            errors=(),
            html=course / "report.html",
            json=course / "report.json",
        )

        def grade(self, *words):
            self.root, self.name, self.options = words
            if isinstance(self.summary, BaseException):
                raise self.summary
            return self.summary

    asked = Asked()
    monkeypatch.setattr(session, "grade", asked.grade)
    return asked


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches(run, name):
    code, out, _ = run(name, "--help")
    assert code == 0
    assert "Example" in out and f"tlcourse {name}" in out


def test_teaching_is_a_panel_of_its_own(run):
    _, out, _ = run("--help")
    panel = out[out.index("Teaching") :].split("╰")[0]
    assert all(f" {name} " in panel for name in COMMANDS)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("grade",), "Missing argument"),
        (("grade", "hw", "--rule", "mild"), "mild"),
        (("grade", "hw", "--workers", "0"), "workers"),
        (("grade", "hw", "--limits", "cell_secs=3"), "cell_seconds"),
        (("grade", "hw", "--limits", "cell_seconds=soon"), "cell_seconds"),
        (("grade", "hw", "--limits", "cell_seconds"), "name=number"),
        (("grade", "hw", "--students", ","), "names nobody"),
        (("export", "--to", "paper"), "paper"),
        (("assign",), "tlcourse assign hw1"),
        (("assign", "hw1"), "tlcourse assign hw1"),
        (("assign", "hw1", "losses.triplet_loss", "--seed", "0"), "seed"),
    ],
)
@pytest.mark.usefixtures("course")
def test_wrong_usage_is_2(run, words, says):
    code, _, err = run(*words)
    assert code == 2
    assert says in err and "Traceback" not in err


def test_grade_says_what_came_of_it(run, graded, course):
    code, out, err = run("grade", "hw")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "4 submissions: 3 graded, 1 stopped (2 by an earlier run)",
        f"report: {course}/report.html",
    ]
    assert (graded.root, graded.name) == (course, "hw")
    assert graded.options.students is None and not graded.options.unsafe


def test_grade_passes_on_what_was_asked(run, graded, course):
    (course / "who").write_text("ada\n\n Bob O'Neil \n")
    words = ("--workers", "3", "--rule", "stock", "--regrade", "--unsafe")
    words += ("--limits", "cell_seconds=30, memory_mb=4000")
    assert run("grade", "hw", *words, "--students", f"@{course}/who")[0] == 0
    asked = graded.options
    assert asked.students == ("ada", "Bob O'Neil") and asked.workers == 3
    assert (asked.rule, asked.regrade, asked.unsafe) == ("stock", True, True)
    assert (asked.limits.cell_seconds, asked.limits.memory_mb) == (30, 4000)
    run("grade", "hw", "--students", "ada, eve", "--scheduler", "tcp://a:1")
    assert graded.options.students == ("ada", "eve")
    assert graded.options.scheduler == "tcp://a:1"


def test_an_error_of_the_grader_is_1_and_named(run, graded):
    from dataclasses import replace

    graded.summary = replace(graded.summary, errors=(("ada", "no torch"),))
    code, _, err = run("grade", "hw")
    assert (code, err) == (1, "ada: no torch\n")


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        ("Stopped", 1, "the disk is full"),
        ("NoIsolation", 1, "install bubblewrap"),
        ("Interrupted", 143, "Stopped by SIGTERM. What was graded is kept"),
        ("KeyboardInterrupt", 130, "Stopped by SIGINT. What was graded is kept"),
    ],
)
def test_what_ends_a_run_is_a_sentence(run, graded, error, code, says):
    from tlcourse.grading.batch.stopping import Interrupted, Stopped
    from tlcourse.sandbox.isolation import NoIsolation

    graded.summary = {
        "Stopped": Stopped("the disk is full"),
        "NoIsolation": NoIsolation("install bubblewrap"),
        "Interrupted": Interrupted(15),
        "KeyboardInterrupt": KeyboardInterrupt(),
    }[error]
    got, out, err = run("grade", "hw")
    assert (got, out) == (code, "")
    assert says in err and err.count("\n") == 1


def test_dry_run(run, course, monkeypatch):
    from tlcourse.grading.batch import session
    from tlcourse.grading.batch.options import Plan

    plan = Plan(todo=("ada", "eve"), done=(), isolation="none here", isolated=False)
    monkeypatch.setattr(session, "plan", lambda *words: plan)
    monkeypatch.setattr(session, "grade", None)
    assert run("grade", "hw", "--dry-run")[:2] == (
        0,
        "would grade 2: ada, eve\nwould keep 0\nisolation: none here\n",
    )


def test_help_names_the_limits_as_they_are(run):
    from tlcourse.sandbox.limits import Limits

    words = " ".join(run("grade", "--help")[1].split())
    for name, number in Limits().model_dump().items():
        assert f"{name}={number:.0f}" in words


def test_assign_lists_the_bank(run):
    from tlcourse.exercises import all_exercises

    code, out, _ = run("assign", "--list")
    lines = {line.split()[0]: line for line in out.splitlines() if line.split()}
    assert code == 0
    for exercise in all_exercises():
        assert exercise.probe.title[:20] in lines[exercise.probe.id]
        if exercise.probe.forgeable:
            assert lines[exercise.probe.id].rstrip().endswith("yes")
    assert "question" in lines["losses-why"]


def test_assign_makes_a_source(run, course):
    code, out, err = run("assign", "hw1", "losses.cross_entropy", "--seed", "5")
    assert (code, err) == (0, "")
    (path,) = course.rglob("exercises.ipynb")
    assert f"wrote {path}" in out
    assert "nbgrader generate_assignment hw1" in out
    assert json.loads(path.read_text())["cells"]


def test_feedback_names_the_pages(run, course, monkeypatch):
    from tlcourse.grading import feedback

    asked = []

    def write(found, assignment, students):
        asked.append((found.root, assignment, students))
        return ["ada.html"] if students else []

    monkeypatch.setattr(feedback, "write_feedback", write)
    assert run("feedback", "hw", "--students", "ada")[:2] == (0, "wrote ada.html\n")
    assert asked == [(str(course), "hw", ("ada",))]
    code, out, _ = run("feedback", "hw")
    assert code == 1 and "tlcourse grade hw" in out


def test_export_names_the_file(run, course, monkeypatch):
    from tlcourse.grading.book import exporting

    asked = []

    def write(found, assignment, to, path):
        asked.append((assignment, to, str(path)))
        return ["2 questions wait for a person."]

    monkeypatch.setattr(exporting, "export", write)
    reports = course / "reports"
    assert run("export")[:2] == (
        0,
        f"2 questions wait for a person.\nwrote {reports / 'grades.csv'}\n",
    )
    run("export", "hw", "--to", "moodle", "-o", "m.csv")
    run("export", "hw", "--to", "canvas")
    assert asked == [
        (None, "csv", str(reports / "grades.csv")),
        ("hw", "moodle", "m.csv"),
        ("hw", "canvas", str(reports / "grades_canvas.csv")),
    ]
