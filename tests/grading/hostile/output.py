"""Prints more than anyone reads."""

from hostile.attack import EXERCISES, Attack, answered, breaking, breaking_cell, packed

ROW = "prints 200,000 lines; 100 MB on one line; for ever"


def _printing(name, source):
    """Right answers, and a last cell that prints: full marks, a short notebook."""
    return Attack(
        name,
        ROW,
        lambda given: packed(answered(given, {}, last=source)),
        full=EXERCISES,
    )


ATTACKS = (
    _printing("prints-200000-lines", "for i in range(200_000):\n    print(i)"),
    _printing("prints-100-megabytes", "print('x' * 100_000_000)"),
    _printing(
        "prints-by-descriptor",
        "import os\nfor _ in range(2_000):\n    os.write(1, b'x' * 10_000)",
    ),
    _printing("shows-a-huge-value", "'x' * 30_000_000"),
    _printing(
        "shows-many-outputs",
        """\
        from IPython.display import HTML, display
        for i in range(3_000):
            display(HTML(f"<p>{i}</p>"))
        """,
    ),
    _printing("raises-a-huge-message", "raise ValueError('x' * 20_000_000)"),
    _printing(
        "warns-without-end", "import sys\nwhile True:\n    sys.stderr.write('x' * 99)"
    ),
    breaking_cell(
        "prints-for-ever",
        ROW,
        "while True:\n    print('again ' * 100)",
        "out of time",
        "crashed",
        "failed",
        "stopped",
    ),
    breaking(
        "prints-for-ever-in-answer", ROW, "while True:\n    print('again ' * 100)"
    ),
    breaking("raises-a-huge-message-in-answer", ROW, "raise ValueError('x' * 10**8)"),
    breaking("returns-a-huge-tensor", ROW, "return torch.zeros(60_000_000), 0.0"),
)
