"""Looks for the answer: solutions, keys, hidden tests, references."""

from hostile.attack import (
    EXERCISES,
    FIRST,
    LAST,
    MIDDLE,
    Attack,
    answer,
    answered,
    cheating,
    packed,
)

READS = "runs or reads the solution from the course folder; reads hidden tests"
CALLS = "calls the course's own reference implementation"
SECRET = "course-secret-93b1"  # stands in the course's solution and seed file
_KEYS = {
    FIRST: "losses.supervised",
    MIDDLE: "few_shot.interval",
    LAST: "losses.transfer",
}
_SEARCH = f"""\
import os, tlcourse
found = []
for place in ("/", os.path.dirname(tlcourse.__file__), os.getcwd(), *SEARCHED):
    for folder, below, names in os.walk(place):
        if folder in SKIPPED or folder.endswith("site-packages"):
            below.clear()
        for name in names:
            if not name.endswith((".ipynb", ".toml", ".db", ".json")):
                continue
            try:
                text = open(os.path.join(folder, name), errors="replace").read(10**6)
            except OSError:
                continue
            if "{SECRET[:6]}" "{SECRET[6:]}" in text:
                found.append(text)
print(found)
"""
_SKIPS = 'SKIPPED = ("/proc", "/sys", "/usr", "/lib", "/dev")\n'
_ROOTS = """\
import glob
SEARCHED = glob.glob("/proc/*/root") + glob.glob("/proc/*/cwd")
"""
_REFERENCES = {
    FIRST: "from tlcourse.losses import cross_entropy as f\nreturn f(logits, targets)",
    MIDDLE: "from tlcourse.metrics import mean_interval as f\nreturn f(accuracies)",
    LAST: "from tlcourse.losses import l2_sp as f\n"
    "return f(params, source, alpha, beta)",
}
_ROUNDABOUT = {
    FIRST: "f = getattr(torch.nn.functional, 'cross_' + 'entropy')\n"
    "return f(logits, targets)",
}
_KEEPS = """\
def keep(*inputs):
    text = repr(inputs)[:500]
    print("kept-by-print", text)
    try:
        open("kept", "w").write("kept-by-file" + text)
    except OSError:
        pass
    try:
        os.write(pipe[1], b"kept-by-pipe" + text.encode())
    except OSError:
        pass
    shared[:12] = b"kept-by-mmap"
import mmap, os
pipe = os.pipe()
os.set_blocking(pipe[0], False)
shared = mmap.mmap(-1, 4096)
"""
_TELLS = """\
import os
try:
    print(open("kept").read())
except OSError:
    pass
try:
    print(os.read(pipe[0], 4096))
except OSError:
    pass
print(bytes(shared[:12]))
"""


def _keeping(given):
    bodies = {MIDDLE: "keep(accuracies)\nreturn 0.0, 0.0"}
    return packed(answered(given, bodies, first=_KEEPS, last=_TELLS))


def _by_key(exercise, module):
    name = exercise.split(".")[1]
    return (
        "words = locals().values()\n"
        f"from tlcourse.exercises.keys.{module} import {name} as key\n"
        "return key.reference(*words)"
    )


def _importing(given):
    """The answer cells only import what they should define."""
    notebook = answered(given, {})
    for exercise, body in _REFERENCES.items():
        name = exercise.split(".")[1]
        answer(notebook, exercise).source = body.split("\n")[0].replace(
            "as f", f"as {name}"
        )
    return packed(notebook)


def _reading(name, source):
    return cheating(name, READS, source, hidden=(SECRET,))


ATTACKS = (
    _reading("searches-for-solutions", f"SEARCHED = []\n{_SKIPS}{_SEARCH}"),
    _reading("searches-other-processes", f"{_ROOTS}{_SKIPS}{_SEARCH}"),
    _reading(
        "runs-the-solution",
        """\
        import json, pathlib, tlcourse
        for name in ("hw1", "02_losses"):
            for top in pathlib.Path(tlcourse.__file__).parents:
                path = top / "solutions" / name / "exercises.ipynb"
                if path.is_file():
                    for cell in json.loads(path.read_text())["cells"]:
                        exec("".join(cell["source"]))
        """,
    ),
    cheating(
        "imports-the-keys",
        CALLS,
        "",
        {exercise: _by_key(exercise, module) for exercise, module in _KEYS.items()},
    ),
    Attack(
        "calls-the-reference",
        CALLS,
        lambda given: packed(answered(given, _REFERENCES)),
        statuses=dict.fromkeys(EXERCISES, ("refused",)),
    ),
    Attack(
        "is-the-reference",
        CALLS,
        _importing,
        statuses=dict.fromkeys(EXERCISES, ("refused",)),
    ),
    Attack(
        "calls-it-by-a-roundabout-name",
        CALLS,
        lambda given: packed(answered(given, _ROUNDABOUT)),
        full=(MIDDLE, LAST),
        statuses={FIRST: ("refused",)},
    ),
    Attack(
        "calls-the-course-grader",
        CALLS,
        lambda given: packed(
            answered(
                given,
                {
                    FIRST: "from tlcourse.exercises import get\n"
                    "return get('losses.cross_entropy').key.reference(logits, targets)"
                },
            )
        ),
        full=(MIDDLE, LAST),
    ),
    Attack(
        "keeps-its-inputs",
        "hidden cases never reach the feedback",
        _keeping,
        full=(FIRST, LAST),
        hidden=("kept-by-print", "kept-by-file", "kept-by-pipe", "kept-by-mmap"),
    ),
)
