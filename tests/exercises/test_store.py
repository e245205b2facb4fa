import json
import multiprocessing
import os

import pytest

import tlcourse
from tlcourse.exercises import Progress, UnknownExercise, get, store
from tlcourse.exercises.store import standings

ID = "losses.cross_entropy"


def wrong(logits, targets):
    return logits.sum()


def test_an_attempt_is_recorded():
    report = tlcourse.check(ID, wrong)
    (event,), bad = store.events()
    assert bad == 0
    assert (event["exercise"], event["score"]) == (ID, report.score)


def test_the_stub_is_no_attempt():
    def stub(logits, targets):
        raise NotImplementedError

    assert tlcourse.check(ID, stub).next_hint == 1
    assert store.events() == ([], 0)


def test_check_writes_nothing(capfd):
    def noisy(logits, targets):
        import sys

        print("out"), print("err", file=sys.stderr)
        return logits.sum()

    tlcourse.check(ID, noisy)
    assert capfd.readouterr() == ("", "")


def test_hints_come_one_after_the_other():
    texts = [str(tlcourse.hint(ID)) for _ in range(4)]
    for number, text in zip((1, 2, 3, 3), texts, strict=True):
        assert text == f"Hint {number} of 3: {get(ID).hints[number - 1]}"
    assert [e["number"] for e in store.events()[0]] == [1, 2, 3, 3]
    assert tlcourse.check(ID, wrong).next_hint is None


def test_unknown_ids_suggest_the_nearest():
    for ask in (tlcourse.hint, get, lambda name: tlcourse.check(name, wrong)):
        with pytest.raises(UnknownExercise, match="'losses.cross_entropy'"):
            ask("losses.cros_entropy")
    assert store.events() == ([], 0)


def test_broken_lines_are_kept_and_counted():
    store.record("attempt", ID, score=0.5)
    path = store.progress_file()
    broken = b'nonsense\n[1, 2]\n"text"\n{"kind": "hint"}\n\xff\xfe\n' + b"[" * 99_999
    path.write_bytes(path.read_bytes() + broken)
    store.record("attempt", ID, score=1.0)
    good, bad = store.events()
    assert [event["score"] for event in good] == [0.5, 1.0]
    assert bad == 6
    assert broken in path.read_bytes()
    assert Progress.read().note().startswith("6 lines")


def test_a_half_written_last_line_costs_only_itself():
    store.record("attempt", ID, score=0.5)
    path = store.progress_file()
    path.write_bytes(path.read_bytes()[:-9])
    store.record("attempt", ID, score=1.0)
    good, bad = store.events()
    assert [event["score"] for event in good] == [1.0]
    assert bad == 1


@pytest.mark.parametrize("value", ["NaN", "1e999", "-3", "7", "null", '"2"', "[1]"])
def test_strange_numbers_do_not_count(value):
    path = store.progress_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'{{"kind": "hint", "exercise": "{ID}", "number": {value}}}\n'
        f'{{"kind": "attempt", "exercise": "{ID}", "score": {value}}}\n'
    )
    standing = standings(store.events()[0])[ID]
    assert (standing.hints, standing.best, standing.attempts) == (0, 0, 1)
    assert tlcourse.check(ID, wrong).next_hint == 1


@pytest.fixture
def no_folder(tmp_path, monkeypatch):
    """A progress folder that cannot be made, not even by root."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path / "file" / "below"))


@pytest.mark.usefixtures("no_folder")
def test_without_a_folder_checks_and_hints_still_work():
    report = tlcourse.check(ID, wrong)
    assert report.status == "failed"
    assert "progress was not saved" in report.message
    assert "Hint 1 of 3" in tlcourse.hint(ID)
    assert "Hint 2 of 3" in tlcourse.hint(ID)  # remembered until Python ends
    standing = {r.exercise: r.standing for r in tlcourse.progress().rows}[ID]
    assert (standing.attempts, standing.hints) == (1, 2)


def _append(home, worker):
    os.environ["TLCOURSE_HOME"] = home
    for number in range(200):
        store.record("attempt", ID, score=0.5, worker=worker, number=number)


def test_two_processes_lose_nothing():
    home = os.environ["TLCOURSE_HOME"]
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append, args=(home, w)) for w in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    good, bad = store.events()
    assert bad == 0
    seen = sorted((event["worker"], event["number"]) for event in good)
    assert seen == [(w, n) for w in range(2) for n in range(200)]


def test_standings():
    def attempt(score, misconception=None):
        return {
            "kind": "attempt",
            "exercise": ID,
            "score": score,
            "misconception": misconception,
        }

    events = [attempt(0, "summed"), attempt(0.5, "summed"), attempt(0.2)]
    standing = standings(events)[ID]
    assert (standing.attempts, standing.best) == (3, 0.5)
    assert standing.open_misconceptions == ("summed",)
    solved = standings([*events, attempt(1)])[ID]
    assert solved.open_misconceptions == ()


def test_the_overview_shows_itself():
    tlcourse.check(ID, wrong)
    seen = tlcourse.progress()
    assert f"of {seen.max_points} points" in str(seen)
    assert ID in seen._repr_html_()
    assert repr(seen) == str(seen)


def test_the_overview_escapes_what_the_file_says():
    event = {"kind": "attempt", "exercise": ID, "score": 0}
    path = store.progress_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**event, "misconception": "<script>"}))
    assert "<script>" not in tlcourse.progress()._repr_html_()
