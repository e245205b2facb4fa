"""A student's folder may hold anything: it is read safely, or left out and flagged."""

import os
import socket
import subprocess
import tracemalloc

import pytest
from nbgrader.coursedir import CourseDirectory

from tlcourse.grading.reading import submissions
from tlcourse.grading.reading.submissions import (
    missing_message,
    read_submissions,
    students_of,
)
from tlcourse.grading.records import Assignment, Master
from tlcourse.sandbox.limits import Limits

ASSIGNMENT = Assignment(
    name="02_losses",
    masters=(Master(name="exercises", notebook="{}"),),
    limits=Limits(file_mb=1),
)
MIB = 1 << 20


@pytest.fixture
def course(tmp_path):
    return CourseDirectory(root=str(tmp_path))


@pytest.fixture
def ada(tmp_path):
    """Ada's folder, with her notebook in it."""
    folder = tmp_path / "submitted" / "ada" / "02_losses"
    folder.mkdir(parents=True)
    (folder / "exercises.ipynb").write_bytes(b"hers")
    return folder


def read(course, student="ada"):
    (got,) = read_submissions(course, ASSIGNMENT, [student])
    got.model_dump_json(exclude={"files"})  # every text in it can be written
    return got


def kinds(course):
    return [flag.kind for flag in read(course).flags]


def test_an_ordinary_submission(course, ada):
    (ada / "data").mkdir()
    (ada / "data" / "points and h\u00e9.csv").write_bytes(b"1,2")
    (ada / "timestamp.txt").write_text("2026-11-21 17:00:00 UTC\n")
    got = read(course)
    assert got.student == "ada"
    assert got.files == {
        "exercises.ipynb": b"hers",
        "data/points and h\u00e9.csv": b"1,2",
    }
    assert got.timestamp == "2026-11-21 17:00:00 UTC"
    assert got.flags == ()


def test_what_nbgrader_ignores_is_ignored(course, ada):
    for name in (".ipynb_checkpoints", "__pycache__", "feedback", "__MACOSX"):
        (ada / name).mkdir()
        (ada / name / "exercises.ipynb").write_bytes(b"x")
    (ada / "a.pyc").write_bytes(b"x")
    (ada / "._exercises.ipynb").write_bytes(b"x")
    got = read(course)
    assert list(got.files) == ["exercises.ipynb"]
    assert got.flags == ()


def test_students_are_found_by_nbgraders_layout(course, tmp_path):
    for name in ("bea", "ada", ".hidden"):
        (tmp_path / "submitted" / name / "02_losses").mkdir(parents=True)
    (tmp_path / "submitted" / "cyd" / "01_other").mkdir(parents=True)
    (tmp_path / "submitted" / "notes.txt").write_text("x")
    assert students_of(course, "02_losses") == ["ada", "bea"]
    course.student_id_exclude = "ada,eve"
    assert students_of(course, "02_losses") == ["bea"]
    assert students_of(course, "03_none") == []


def test_no_folder_at_all(course):
    assert students_of(course, "02_losses") == []
    assert list(read_submissions(course, ASSIGNMENT)) == []
    got = read(course)
    assert (got.files, got.flags[0].kind) == ({}, "bad folder")


def test_other_layout(tmp_path):
    layout = os.path.join("{nbgrader_step}", "{assignment_id}", "s-{student_id}.d", "x")
    course = CourseDirectory(root=str(tmp_path), directory_structure=layout)
    folder = tmp_path / "submitted" / "02_losses" / "s-ada.d" / "x"
    folder.mkdir(parents=True)
    (folder / "exercises.ipynb").write_bytes(b"hers")
    (tmp_path / "submitted" / "02_losses" / "s-bea").mkdir()
    (got,) = read_submissions(course, ASSIGNMENT)
    assert (got.student, list(got.files)) == ("ada", ["exercises.ipynb"])


def test_layout_that_names_the_student_twice_is_refused(tmp_path):
    layout = "{nbgrader_step}/{student_id}/{assignment_id}/{student_id}"
    course = CourseDirectory(root=str(tmp_path), directory_structure=layout)
    with pytest.raises(ValueError, match="directory_structure"):
        students_of(course, "02_losses")


def test_link_to_a_file_is_not_followed(course, ada, tmp_path):
    (tmp_path / "gradebook.db").write_bytes(b"secret")
    (ada / "stolen.txt").symlink_to(tmp_path / "gradebook.db")
    (ada / "dangling.txt").symlink_to(tmp_path / "nothing")
    got = read(course)
    assert list(got.files) == ["exercises.ipynb"]
    assert [(f.kind, f.where) for f in got.flags] == [
        ("rejected link", "dangling.txt"),
        ("rejected link", "stolen.txt"),
    ]


def test_link_in_place_of_the_notebook(course, ada):
    (ada / "exercises.ipynb").rename(ada / "real.ipynb")
    (ada / "exercises.ipynb").symlink_to("real.ipynb")
    got = read(course)
    assert list(got.files) == ["real.ipynb"]
    assert "is a link" in missing_message(got, "exercises")


def test_link_to_a_folder_is_not_followed(course, ada, tmp_path):
    (ada / "up").symlink_to(tmp_path)
    (ada / "loop").symlink_to(ada)
    assert kinds(course) == ["rejected link", "rejected link"]


@pytest.mark.parametrize("level", ["student", "assignment"])
def test_link_in_place_of_a_students_folder(course, ada, tmp_path, level):
    other = tmp_path / "submitted" / "eve"
    if level == "student":
        other.symlink_to("ada")
    else:
        other.mkdir()
        (other / "02_losses").symlink_to(ada)
    assert students_of(course, "02_losses") == ["ada", "eve"]
    got = read(course, "eve")
    assert (got.files, [f.kind for f in got.flags]) == ({}, ["bad folder"])


def test_file_in_place_of_the_folder(course, tmp_path):
    (tmp_path / "submitted" / "ada").mkdir(parents=True)
    (tmp_path / "submitted" / "ada" / "02_losses").write_text("x")
    assert kinds(course) == ["bad folder"]


def test_pipes_and_sockets_are_not_read(course, ada, monkeypatch):
    os.mkfifo(ada / "pipe")
    monkeypatch.chdir(ada)  # a socket's path may have 107 bytes only
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    assert kinds(course) == ["rejected file", "rejected file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_device_is_not_read(course, ada):
    try:
        os.mknod(ada / "zero", 0o20666, os.makedev(1, 5))
    except OSError:
        pytest.skip("this system lets nobody make a device")
    assert kinds(course) == ["rejected file"]


def test_file_that_becomes_a_link_after_it_was_looked_at(course, ada, monkeypatch):
    (ada / "a.txt").write_bytes(b"x")
    look = os.stat

    def look_and_swap(path, **more):
        found = look(path, **more)
        if path == "a.txt":
            (ada / "a.txt").unlink()
            (ada / "a.txt").symlink_to("/etc/hostname")
        return found

    monkeypatch.setattr(submissions.os, "stat", look_and_swap)
    got = read(course)
    assert list(got.files) == ["exercises.ipynb"]
    assert [f.kind for f in got.flags] == ["rejected file"]


def test_file_that_becomes_a_pipe_after_it_was_looked_at(course, ada, monkeypatch):
    (ada / "a.txt").write_bytes(b"x")
    look = os.stat

    def look_and_swap(path, **more):
        found = look(path, **more)
        if path == "a.txt":
            (ada / "a.txt").unlink()
            os.mkfifo(ada / "a.txt")
        return found

    monkeypatch.setattr(submissions.os, "stat", look_and_swap)
    assert kinds(course) == ["rejected file"]


@pytest.mark.parametrize("name", ["exercises.ipynb", "data"])
def test_what_may_not_be_opened_is_flagged(course, ada, monkeypatch, name):
    (ada / "data").mkdir()
    open_it = os.open

    def refuse(path, *rest, **more):
        if path == name:
            raise PermissionError(13, "Permission denied")
        return open_it(path, *rest, **more)

    monkeypatch.setattr(submissions.os, "open", refuse)
    (flag,) = read(course).flags
    assert (flag.kind, flag.where) == ("rejected file", name)
    assert "permission denied" in flag.what


ODD = [b"new\nline", b"not-utf-8-\xff", b"-rf", b"esc\x1b[31m", b"back\\slash", b"\x7f"]
ODD += ["right\u202eleft".encode(), b"n" * 201]


@pytest.mark.parametrize("name", ODD, ids=lambda n: repr(n)[:20])
def test_odd_names_are_left_out(course, ada, name):
    with open(os.path.join(os.fsencode(ada), name), "wb"):
        pass
    got = read(course)
    assert list(got.files) == ["exercises.ipynb"]
    assert [f.kind for f in got.flags] == ["odd name"]
    assert got.flags[0].where.isprintable()


@pytest.mark.parametrize("name", [b"a\nb", b"\xff\xfe"])
def test_odd_student(course, tmp_path, name):
    os.makedirs(os.path.join(os.fsencode(tmp_path / "submitted"), name, b"02_losses"))
    (got,) = read_submissions(course, ASSIGNMENT)
    assert got.student.isprintable()
    assert (got.files, [f.kind for f in got.flags]) == ({}, ["odd name"])


@pytest.mark.parametrize("student", ["..", ".", "", "a/b", "../ada", "/etc", "a\0b"])
def test_student_that_would_lead_elsewhere(course, ada, student):
    got = read(course, student)
    assert (got.files, [f.kind for f in got.flags]) == ({}, ["odd name"])


def test_very_deep_tree(course, ada):
    inside = ada
    for _ in range(40):
        inside = inside / "d"
    inside.mkdir(parents=True)
    assert kinds(course) == ["too deep"]


def test_tree_deeper_than_any_path(course, ada):
    here = os.getcwd()
    os.chdir(ada)
    try:
        for _ in range(1_500):
            os.mkdir("deep")
            os.chdir("deep")
    finally:
        os.chdir(here)
    try:
        assert kinds(course) == ["too deep"]
    finally:
        subprocess.run(["rm", "-rf", ada / "deep"], check=True)  # shutil gives up


def test_thousands_of_files_stop_at_the_cap(course, ada, monkeypatch):
    monkeypatch.setattr(submissions, "MAX_FILES", 50)
    for n in range(60):
        (ada / f"a{n}").write_bytes(b"x")
    got = read(course)
    assert len(got.files) == 50
    assert "exercises.ipynb" in got.files
    assert [f.kind for f in got.flags] == ["too many files"]


def test_thousands_of_names_stop_at_the_cap(course, ada, monkeypatch):
    monkeypatch.setattr(submissions, "MAX_NAMES", 30)
    for n in range(20):
        (ada / f"a{n}").mkdir()
        for k in range(20):
            (ada / f"a{n}" / f"b{k}").mkdir()
    got = read(course)
    assert list(got.files) == ["exercises.ipynb"]
    assert [f.kind for f in got.flags] == ["too many files"]


def test_many_flags_are_counted(course, ada):
    for n in range(100):
        (ada / f"link{n:03}").symlink_to("/")
    flags = read(course).flags
    assert len(flags) == submissions.MAX_FLAGS + 1
    assert flags[-1].what.startswith("80 more")


def sparse(path, size):
    with open(path, "wb") as file:
        file.truncate(size)


def test_too_large_a_notebook(course, ada):
    sparse(ada / "exercises.ipynb", 50 * MIB)
    tracemalloc.start()
    got = read(course)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MIB
    assert (got.files, [f.kind for f in got.flags]) == ({}, ["too large"])
    assert "too large: at most 1 MiB" in missing_message(got, "exercises")


def test_file_of_exactly_the_size_is_read(course, ada):
    (ada / "a").write_bytes(bytes(MIB))
    (ada / "b").write_bytes(bytes(MIB + 1))
    got = read(course)
    assert sorted(got.files) == ["a", "exercises.ipynb"]
    assert [f.kind for f in got.flags] == ["too large"]


def test_all_files_together_are_bounded(course, ada):
    for n in range(9):
        (ada / f"a{n}").write_bytes(bytes(MIB - 100))
    got = read(course)
    assert sum(map(len, got.files.values())) < 3 * MIB
    assert "exercises.ipynb" in got.files
    assert {f.kind for f in got.flags} == {"too large"}


def test_memory_is_flat_in_the_number_of_students(course, tmp_path):
    for n in range(40):
        folder = tmp_path / "submitted" / f"s{n:02}" / "02_losses"
        folder.mkdir(parents=True)
        (folder / "exercises.ipynb").write_bytes(bytes(MIB))
    tracemalloc.start()
    count = sum(1 for _ in read_submissions(course, ASSIGNMENT))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 40
    assert peak < 5 * MIB


@pytest.mark.parametrize(
    "text", [b"soon", b"\xff", b"99999999999999999999", b"2026-99-99", b"x" * 10_000]
)
def test_bad_timestamp(course, ada, text):
    (ada / "timestamp.txt").write_bytes(text)
    got = read(course)
    assert got.timestamp is None
    assert [f.kind for f in got.flags] == ["bad timestamp"]


def test_empty_timestamp_is_none(course, ada):
    (ada / "timestamp.txt").write_text("\n")
    got = read(course)
    assert (got.timestamp, got.flags) == (None, ())


def test_timestamp_by_link_or_pipe(course, ada, tmp_path):
    (tmp_path / "t").write_text("2026-11-21 17:00:00 UTC")
    (ada / "timestamp.txt").symlink_to(tmp_path / "t")
    assert kinds(course) == ["bad timestamp"]
    (ada / "timestamp.txt").unlink()
    os.mkfifo(ada / "timestamp.txt")
    assert kinds(course) == ["bad timestamp"]


MEANT = [
    "Exercises.ipynb",
    "exercises (1).ipynb",
    "exercises(2).ipynb",
    "exercises-Copy1.ipynb",
    "Copy of exercises.ipynb",
    "exercises.ipynb.txt",
    "exercises.ipynb.json",
    " exercises .ipynb",
    "ada_exercises_final.ipynb",
    "02_losses/exercises.ipynb",
    "02_losses\\exercises.ipynb",
    "homework.ipynb",
]


@pytest.mark.parametrize("name", MEANT)
def test_misnamed_notebook_is_not_graded_but_named(course, ada, name):
    (ada / name).parent.mkdir(exist_ok=True)
    (ada / "exercises.ipynb").rename(ada / name)
    got = read(course)
    assert "exercises.ipynb" not in got.files
    said = missing_message(got, "exercises")
    assert "name it 'exercises.ipynb'" in said
    flag = next(f for f in got.flags if f.kind == "ignored notebook")
    assert (flag.where, flag.what) == ("exercises.ipynb", said)


def test_several_notebooks_could_be_meant(course, ada):
    (ada / "exercises.ipynb").rename(ada / "exercises (1).ipynb")
    (ada / "exercises (2).ipynb").write_bytes(b"x")
    (ada / "lesson.ipynb").write_bytes(b"x")
    said = missing_message(read(course), "exercises")
    assert "'exercises (1).ipynb', 'exercises (2).ipynb' were found" in said


def test_only_a_checkpoint_was_handed_in(course, ada):
    (ada / ".ipynb_checkpoints").mkdir()
    (ada / "exercises.ipynb").rename(ada / ".ipynb_checkpoints" / "exercises.ipynb")
    assert ".ipynb_checkpoints" in missing_message(read(course), "exercises")


def test_nothing_was_handed_in(course, ada):
    (ada / "exercises.ipynb").unlink()
    got = read(course)
    assert got.flags == ()
    said = missing_message(got, "exercises")
    assert said == "No 'exercises.ipynb' was handed in."


def test_other_notebooks_beside_the_right_one_are_no_flag(course, ada):
    (ada / "exercises (1).ipynb").write_bytes(b"x")
    assert kinds(course) == []


def test_what_zip_collect_makes(course, tmp_path):
    """nbgrader's own command, from a platform's zip file to what is read here."""
    import zipfile

    from nbgrader.apps import ZipCollectApp

    archive = tmp_path / "downloaded" / "02_losses" / "archive"
    archive.mkdir(parents=True)
    with zipfile.ZipFile(archive / "all.zip", "w") as file:
        name = "02_losses_{}_attempt_2026-11-21-17-00-00_exercises.ipynb"
        for student in ("ada", "bea"):
            file.writestr(name.format(student), student)
    app = ZipCollectApp()
    app.coursedir = course
    app.coursedir.assignment_id = "02_losses"
    app.config.FileNameCollectorPlugin.named_regexp = (
        r".*_(?P<student_id>\w+)_attempt_(?P<timestamp>[0-9\-]+)_(?P<file_id>.*)"
    )
    app.init_plugins()
    app.extract_archive_files()
    app.process_extracted_files()
    got = list(read_submissions(course, ASSIGNMENT))
    assert [(s.student, s.files) for s in got] == [
        (n, {"exercises.ipynb": n.encode()}) for n in ("ada", "bea")
    ]
    assert all(s.timestamp and not s.flags for s in got)
