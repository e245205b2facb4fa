import json
import os
import subprocess
import sys

import pytest
import small_course
from small_course import ANSWER

from tlcourse.cli.mistakes import is_mistake
from tlcourse.exercises import store


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return small_course.make(tmp_path)


COMMANDS = ("lab", "doctor", "check", "hint", "progress", "build", "study", "reset")
DATA = ("list", "show", "download", "pretrain")


@pytest.mark.parametrize(
    "words", [(c,) for c in COMMANDS] + [("data", c) for c in DATA]
)
def test_help_teaches(run, words):
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert "Example" in out and f"tlcourse {' '.join(words)}" in out


def test_help_names_every_command_and_imports_nothing_heavy():
    code = (
        "import sys\nfrom tlcourse.cli import main\nsys.argv = ['tlcourse', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([m for m in ('numpy', 'torch', 'nbformat') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "[]"
    assert all(f" {name} " in ran.stdout for name in (*COMMANDS, "data"))


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("check",),
        ("hint", "one", "two"),
        ("study", "02", "--workers", "0"),
        ("lab", "--port", "99999999"),
        ("build", "--check", "--execute", "02"),
    ],
)
def test_wrong_usage_is_2(run, words):
    code, _, err = run(*words)
    assert code == 2
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("check", "77"), "There is no chapter '77'"),
        (("check", "03"), "03_empty has no exercises"),
        (("check", "losses.cros_entropy"), "'losses.cross_entropy'"),
        (("hint", "losses.cros_entropy"), "'losses.cross_entropy'"),
        (("build", "--only", "x"), "There is no chapter 'x'"),
        (("build", "--only", "03"), "neither lesson.py nor exercises.py"),
        (("study", "02"), "has no study.py"),
        (("reset", "03", "--yes"), "has no text to restore from"),
        (("data", "show", "digit"), "'digits'"),
        (("data", "show", "imagefolder"), "root="),
        (("data", "download", "huggingface"), "path="),
        (("data", "pretrain", "resnet18"), "'glyphnet'"),
    ],
)
@pytest.mark.usefixtures("course")
def test_a_mistake_is_one_sentence(run, words, says):
    code, out, err = run(*words)
    assert code == 1
    assert says in err
    assert "Traceback" not in err and out == ""


def test_outside_the_course(run, tmp_path, monkeypatch):
    from tlcourse import course

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(course, "__file__", str(tmp_path / "a" / "b.py"))
    code, _, err = run("check", "02")
    assert code == 1 and "Run this inside the course folder" in err


def test_a_broken_lesson_is_a_mistake(run, course):
    lesson = course / "lessons" / "02_losses" / "lesson.py"
    lesson.write_text("# %% colour=3\n1\n")
    code, _, err = run("build")
    assert code == 1 and "unknown cell keys ['colour']" in err


def test_an_unknown_error_keeps_its_traceback(run, monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("tlcourse.exercises.hint", broken)
    with pytest.raises(ZeroDivisionError):
        run("hint", "losses.cross_entropy")


def test_a_foreign_value_error_is_no_mistake():
    with pytest.raises(ValueError) as foreign:
        int("x")
    assert not is_mistake(foreign.value)
    with pytest.raises(ValueError) as deep:
        json.loads("{")
    assert not is_mistake(deep.value)
    assert is_mistake(PermissionError(13, "Permission denied", "file"))


def test_check_grades_the_file(run, course):
    def learner(cells):
        cells["losses-cross_entropy-answer"].source = ANSWER
        cells["losses-l2_sp-answer"].source = "def l2_sp(*args):\n    return 1 / 0"

    small_course.edit(course, learner)
    code, out, err = run("check", "02")
    assert code == 1
    assert "losses.cross_entropy" in out and "3 / 3" in out and "passed" in out
    assert "ZeroDivisionError" in out and "3 of 7 points" in out
    assert "questions worth 2" in out
    code, out, _ = run("check", "losses.cross_entropy", "--json")
    (record,) = json.loads(out)
    assert (code, record["points"], record["status"]) == (0, 3.0, "passed")


def test_hint_and_progress(run):
    code, out, _ = run("hint", "losses.cross_entropy")
    assert code == 0 and out.startswith("Hint 1 of 3: ")
    event = {"score": 0.5, "misconception": "[bold]summed"}
    store.record("attempt", "losses.cross_entropy", **event)
    code, out, _ = run("progress")
    assert code == 0
    assert "losses.cross_entropy" in out and "[bold]summed" in out
    assert "1.5 / 3" in out
    code, out, _ = run("progress", "--json")
    rows = {row["exercise"]: row for row in json.loads(out)["exercises"]}
    assert rows["losses.cross_entropy"] == {
        "exercise": "losses.cross_entropy",
        "points": 1.5,
        "max_points": 3,
        "attempts": 1,
        "hints": 1,
        "open_misconceptions": ["[bold]summed"],
    }


def test_build_check_and_backups(run, course):
    code, out, _ = run("build", "--check")
    assert code == 0 and "3 notebooks" in out
    exercises = course / "lessons" / "02_losses" / "exercises.py"
    exercises.write_text(small_course.EXERCISES.replace("# Why?", "# Why so?"))
    code, out, _ = run("build", "--check")
    assert (
        code == 1 and "other cells than its source" in out and "tlcourse build" in out
    )

    def learner(cells):
        cells["losses-cross_entropy-answer"].source = ANSWER

    small_course.edit(course, learner)
    code, out, _ = run("build", "--only", "losses")
    assert code == 0
    assert "wrote chapters/02_losses/exercises.ipynb" in out
    assert "kept in chapters/02_losses/exercises.backup-1.ipynb" in out
    assert run("build", "--check")[0] == 0


def test_build_executes(run, course):
    lesson = course / "lessons" / "02_losses"
    (lesson / "exercises.py").unlink()
    code, out, _ = run("build", "--execute", "02")
    assert code == 0 and "ran   chapters/02_losses/lesson.ipynb" in out
    text = (course / "chapters" / "02_losses" / "lesson.ipynb").read_text()
    assert '"text/plain"' in text
    (lesson / "lesson.py").write_text("# %%\nraise RuntimeError('false claim')\n")
    code, _, err = run("build", "--execute", "02")
    assert code == 1 and "a cell failed" in err and "false claim" in err


def test_reset_asks_first(run, course, monkeypatch):
    def learner(cells):
        cells["losses-cross_entropy-answer"].source = ANSWER

    path = small_course.edit(course, learner)
    before = path.read_bytes()
    monkeypatch.setattr("typer.confirm", _refuse)
    assert run("reset", "02")[0] == 1
    assert path.read_bytes() == before
    code, out, _ = run("reset", "02", "--yes")
    assert code == 0 and "kept in" in out
    assert path.with_name("exercises.backup-1.ipynb").read_bytes() == before


def _refuse(*args, **kwargs):
    import typer

    raise typer.Abort


def test_study_writes_results(run, course):
    study = course / "lessons" / "02_losses" / "study.py"
    study.write_text(
        "SEEDS = (0, 1)\nMETRICS = {'a': 'A'}\n"
        "def arms():\n    return [{'k': 1}]\n"
        "def run(arm, seed):\n    return {'a': seed + arm['k']}\n"
    )
    code, out, _ = run("study", "losses")
    assert code == 0 and "results.json" in out
    stored = json.loads(study.with_name("results.json").read_text())
    assert [r["metrics"]["a"] for r in stored["runs"]] == [1, 2]


def test_data_sets(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TLCOURSE_DATA", str(tmp_path))
    code, out, _ = run("data", "show", "wine")
    assert code == 0 and "licence:" in out and 'load("wine")' in out
    code, out, _ = run("data", "download", "wine")
    assert code == 0 and "nothing to download" in out
    code, _, err = run("data", "show", "mnist")
    assert code == 1 and "train-images-idx3-ubyte" in err


def test_data_list(run, tmp_path, monkeypatch):
    from tlcourse import data

    monkeypatch.setenv("TLCOURSE_DATA", str(tmp_path))
    load = data.load
    monkeypatch.setattr(data, "load", lambda n, **o: load(n if o == {} else "wine"))
    code, out, _ = run("data", "list")
    lines = {line.split()[0]: line for line in out.splitlines() if line.split()}
    assert code == 0
    assert all(name in lines for name in data.names())
    assert "not needed" in lines["wine"] and lines["mnist"].rstrip().endswith(
        "  needed"
    )
    assert "your files" in lines["imagefolder"]


def test_pretrain(run, monkeypatch):
    from tlcourse.models import glyphnet_pretraining

    monkeypatch.setattr(glyphnet_pretraining, "pretrain", lambda: "weights.safetensors")
    assert run("data", "pretrain", "glyphnet")[:2] == (0, "wrote weights.safetensors\n")


def test_doctor_exit_code(run, monkeypatch):
    from tlcourse import doctor

    found = [doctor.Finding("OK", "[bold]fine"), doctor.Finding("NOTE", "hm", "Mend.")]
    monkeypatch.setattr(doctor, "examine", lambda *checks: iter(found))
    code, out, _ = run("doctor")
    assert code == 0
    assert out == "OK   [bold]fine\nNOTE hm\n      Mend.\n"
    found.append(doctor.Finding("FAIL", "broken", "Mend it."))
    code, out, _ = run("doctor", "--quick")
    assert code == 1 and "FAIL broken\n      Mend it." in out


@pytest.mark.skipif(os.name == "nt", reason="no exec there")
def test_lab_starts_jupyterlab(run, course, monkeypatch):
    started = []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "execvp", lambda program, words: started.append(words))
    page = course / "chapters" / "00_start_here" / "lesson.ipynb"
    assert run("lab")[0] == 0
    page.parent.mkdir()
    page.touch()
    assert run("lab", "--no-browser", "--port", "8890")[0] == 0
    first, second = started
    root = f"--ServerApp.root_dir={course}"
    begin = [sys.executable, "-m", "jupyterlab", root]
    assert first == [*begin, "--LabApp.default_url=/lab"]
    url = "--LabApp.default_url=/lab/tree/chapters/00_start_here/lesson.ipynb"
    assert second == [*begin, url, "--no-browser", "--port=8890"]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert run("lab")[0] == 0
    assert started[-1] == [*begin, url, "--allow-root"]
