import io

import pytest
from rich.console import Console

from tlcourse.grading.batch.table import Board
from tlcourse.grading.records import Result


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def result(status):
    return Result(student="s", assignment="hw", digest="", status=status, notebooks=())


@pytest.fixture
def clock():
    return Clock()


def board(clock, terminal):
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=terminal, width=100, height=30, _environ={}
    )
    return Board(8, console, clock), out


def test_no_terminal_now_and_then_a_line(clock):
    shown, out = board(clock, terminal=False)
    with shown:
        shown.count(result("graded"), kept=True)
        for second in range(1, 61):
            clock.now = second
            if second in (10, 20):
                shown.count(result("graded" if second == 10 else "error"))
            shown.refresh({"ada": 0.0})
    assert out.getvalue().splitlines() == [
        "3 of 8 done, 2 graded, 1 error, 1 running, 4.0 a minute, 75 s left",
        "3 of 8 done, 2 graded, 1 error, 1 running, 2.0 a minute, 2 min left",
    ]


def test_a_terminal_shows_who_is_running(clock):
    shown, out = board(clock, terminal=True)
    with shown:
        clock.now = 30.0
        shown.count(result("stopped"))
        shown.refresh({f"s{n}[bold]": n for n in range(10)})
    assert "1 / 8" in out.getvalue() and "2.0 a minute" in out.getvalue()
    assert "running: s0[bold], s1[bold]" in out.getvalue()
    assert "and 2 more" in out.getvalue()


def test_what_takes_a_while_is_shown_at_once_until_somebody_runs(clock):
    shown, out = board(clock, terminal=True)
    with shown:
        shown.doing("starting the workers")
        assert "starting the workers" in out.getvalue()
        clock.now = 1.0
        out.truncate(0)
        shown.refresh({"ada": 0.0})
        assert "running: ada" in out.getvalue()


def test_a_few_updates_a_second_at_most(clock, monkeypatch):
    shown, out = board(clock, terminal=True)
    drawn = []
    monkeypatch.setattr(shown, "_table", lambda: drawn.append(clock.now) or "")
    with shown:
        for step in range(1000):
            clock.now = step / 1000
            shown.refresh({})
    assert len(drawn) <= 5
