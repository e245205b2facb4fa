"""Loops for ever, politely or not."""

from hostile.attack import (
    FIRST,
    LAST,
    MIDDLE,
    Attack,
    answered,
    breaking,
    breaking_cell,
    packed,
)

LOOPS = "loops for ever"
IGNORES = "loops and ignores interrupts; sits in a C call"
LATE = ("out of time", "crashed")


def _slow_everywhere(given):
    """No cell is too slow by itself, all of them together are."""
    notebook = answered(given, {})
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source += "\n\nimport time\ntime.sleep(0.9)"
    return packed(notebook)


ATTACKS = (
    breaking("loop-in-answer", LOOPS, "while True:\n    pass", "out of time"),
    breaking_cell("loop-in-cell", LOOPS, "while True:\n    pass", *LATE),
    breaking_cell(
        "loop-ignores-interrupts",
        IGNORES,
        """\
        import signal
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass
        """,
        *LATE,
    ),
    breaking(
        "loop-swallows-time-out",
        IGNORES,
        """\
        import signal
        signal.setitimer(signal.ITIMER_REAL, 0)
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass
        """,
        *LATE,
    ),
    breaking_cell("c-call-in-cell", IGNORES, "sum(iter(int, 1))", *LATE),
    breaking("c-call-in-answer", IGNORES, "return sum(iter(int, 1))", *LATE),
    breaking(
        "endless-iterator",
        LOOPS,
        "return iter(int, 1), iter(int, 1)",
    ),
    breaking(
        "endless-generator-item",
        LOOPS,
        """\
        class Endless(list):
            def __iter__(self):
                while True:
                    yield 1.0
        return Endless(), Endless()
        """,
    ),
    breaking_cell(
        "waits-for-input",
        LOOPS,
        "def ci95(accuracies):\n    return 0.0, 0.0\n\ninput('password? ')",
    ),
)
TOTAL = Attack(
    "slow-everywhere",
    "a total limit too",
    _slow_everywhere,
    full=(FIRST,),
    statuses={LAST: ("not run",), MIDDLE: ("passed", "not run")},
    status="stopped",
)
