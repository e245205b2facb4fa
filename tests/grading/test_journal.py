import errno
import os

import pytest

from tlcourse.grading.journal import Journal
from tlcourse.grading.records import Result

IDS = ["ada", "Ada", "ADA", ".", "..", "../x", "a/b", "a b", "é", "x" * 300, "con", ""]


def result(student, message=""):
    return Result(
        student=student,
        assignment="hw",
        digest="d",
        status="graded",
        message=message,
        notebooks=(),
    )


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "results")


def test_any_id_is_one_file_inside_the_folder(journal):
    for student in IDS:
        journal.write(result(student))
    names = {path.name.lower() for path in journal.folder.iterdir()}
    assert len(names) == len(IDS)  # also where file names ignore case
    assert all(journal.path(s).resolve().parent == journal.folder for s in IDS)
    assert sorted(r.student for r in journal.results()) == sorted(IDS)
    assert all(journal.read(s) == result(s) for s in IDS)


def test_what_cannot_be_read_is_set_aside(journal):
    journal.write(result("ada"))
    journal.write(result("bob"))
    journal.path("ada").write_text('{"student": "ada"')
    (journal.folder / ".left.tmp").write_text("half")
    (moved,) = journal.set_aside()
    assert moved.read_text() == '{"student": "ada"'
    assert journal.read("ada") is None and journal.read("bob") == result("bob")
    assert not (journal.folder / ".left.tmp").exists()
    assert journal.set_aside() == []


def test_a_file_under_another_name_counts_for_nobody(journal):
    journal.write(result("ada"))
    journal.path("ada").rename(journal.path("bob"))
    assert journal.read("bob") is None and list(journal.results()) == []


def test_a_full_disk_leaves_the_old_file(journal, monkeypatch):
    journal.write(result("ada", "old"))

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        journal.write(result("ada", "new"))
    assert journal.read("ada").message == "old"
    assert [path.name for path in journal.folder.iterdir()] == ["ada.json"]
