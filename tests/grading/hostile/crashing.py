"""Ends the process that runs it."""

from hostile.attack import breaking, breaking_cell

ROW = "os._exit; segfaults"
CRASHED = ("crashed",)
_SEGFAULT = "import ctypes\nctypes.string_at(0)"
_EXITS = {
    "os-exit": "import os\nos._exit(0)",
    "segfault": _SEGFAULT,
    "kills-itself": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "aborts": "import os\nos.abort()",
}

ATTACKS = (
    *(breaking(f"{n}-in-answer", ROW, s, *CRASHED) for n, s in _EXITS.items()),
    # In its box a kernel is the first process, and those cannot be killed from inside.
    *(
        breaking_cell(f"{n}-in-cell", ROW, s, *CRASHED, "failed")
        for n, s in _EXITS.items()
    ),
    breaking("sys-exit-in-answer", ROW, "import sys\nsys.exit(0)", "failed"),
    breaking_cell("sys-exit-in-cell", ROW, "import sys\nsys.exit(0)"),
    breaking_cell("quits", ROW, "quit()"),
    breaking(
        "endless-recursion",
        ROW,
        "def f():\n    return f()\nreturn f()",
        "failed",
        "crashed",
    ),
    breaking(
        "stack-overflow-in-c",
        ROW,
        """\
        import sys
        sys.setrecursionlimit(10**9)
        nested = None
        for _ in range(10**6):
            nested = [nested]
        return repr(nested), 0.0
        """,
        "failed",
        "crashed",
        "out of time",
    ),
    breaking_cell(
        "exits-later",
        ROW,
        """\
        import os, threading
        def ci95(accuracies):
            return 0.0, 0.0
        threading.Timer(0.3, os._exit, [0]).start()
        """,
        full=None,
    ),
)
