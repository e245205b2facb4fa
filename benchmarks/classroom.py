"""Make a class: submissions of every kind, each with the grade it must get.

``python benchmarks/classroom.py COURSE --students 200`` writes
``classroom/submitted/STUDENT/hw1/exercises.ipynb`` and, apart from them,
``classroom/expected/hw1.json``. A folder that is no course yet becomes one, with an
assignment ``hw1``. After ``tlcourse grade hw1``, ``--compare`` names every grade that
is not as it must be. The same seed makes the same class.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests" / "grading")]

from answer_variants import Variants  # noqa: E402
from hostile import ATTACKS, Attack  # noqa: E402
from hostile.attack import HEADS, hand_in, hand_in_attack, packed  # noqa: E402

ASSIGNMENT = "hw1"
EXERCISES = (
    *HEADS,  # the hostile submissions attack these three
    "start_here.accuracy",
    "losses.triplet_loss",
    "few_shot.prototypes",
    "losses-why",
)
# How many of each kind among the honest, in parts of their sum.
SHARES = {"right": 6, "another style": 3, "wrong": 6, "unfinished": 2, "noisy": 3}


@dataclass(frozen=True)
class Expected:
    """What one submission must get.

    Args:
        kind: how it was made.
        status: of the whole submission.
        points: by grade id; what is not listed is not compared.
        flags: kinds of flags it must have.
    """

    kind: str
    status: str
    points: dict[str, float]
    flags: tuple[str, ...] = ()


def make_course(folder: Path, exercises: tuple[str, ...] = EXERCISES) -> None:
    """An empty folder becomes a course with one assignment."""
    from tlcourse.grading.assigning.making import assign

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("nbgrader_config.py", "course.toml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "lessons", folder / "lessons", dirs_exist_ok=True)
    assign(folder, ASSIGNMENT, exercises, seed=2_024)


def make_class(
    course: Path,
    assignment: str,
    students: int,
    *,
    seed: int = 0,
    hostile: float = 0.2,
) -> dict[str, Expected]:
    """Write a class's submissions; returns and keeps what each must get.

    Args:
        course: a folder with ``nbgrader_config.py``.
        assignment: one made of the kit's exercises, in one notebook.
        students: how many.
        seed: decides who hands in what.
        hostile: share of hostile submissions; they need the exercises of
            :data:`EXERCISES`, and come in turn.
    """
    draw = random.Random(seed)
    variants = Variants(course, assignment)
    attacks = [a for a in ATTACKS if set(HEADS) <= set(variants.exercises)]
    turns = itertools.cycle(draw.sample(attacks, len(attacks)))
    expected: dict[str, Expected] = {}
    for number in range(students):
        name = f"student-{number:05d}"
        place = course / "classroom" / "submitted" / name / assignment
        if attacks and draw.random() < hostile:
            attack = next(turns)
            hand_in_attack(attack, variants.right(), course, place)
            expected[name] = _of_attack(attack, variants)
        else:
            kind = draw.choices(list(SHARES), list(SHARES.values()))[0]
            notebook, expected[name] = _honest(kind, variants, draw, name)
            hand_in(packed(notebook), place)
    _keep(course, assignment, expected)
    return expected


def _of_attack(attack: Attack, variants: Variants) -> Expected:
    full = variants.max_points
    if attack.status in ("unreadable", "missing"):
        points = dict.fromkeys(full, 0.0)
    elif attack.full is None:
        points = {}
    else:
        names = {name: name.replace(".", "-") for name in HEADS}
        points = {i: full[i] * (name in attack.full) for name, i in names.items()}
    return Expected(f"hostile: {attack.name}", attack.status, points, attack.flags)


def _honest(
    kind: str, variants: Variants, draw: random.Random, student: str
) -> tuple[NotebookNode, Expected]:
    chosen = {name: "solution" for name in variants.exercises}
    for name in variants.exercises:
        if kind == "another style":
            chosen[name] = "another style"
        elif kind == "unfinished" and draw.random() < 0.6:
            chosen[name] = "stub"
        elif kind == "wrong" and draw.random() < 0.5:
            chosen[name] = draw.choice(variants.mutants(name) or ["solution"])
    notebook = variants.notebook(chosen)
    if kind == "noisy":
        for number, (place, source) in enumerate(draw.sample(_NOISE, 2)):
            at = len(notebook.cells) if place == "last" else 1
            cell = nbformat.v4.new_code_cell(source, id=f"noise{number}")
            notebook.cells.insert(at, cell)
    points = {n: variants.points(n, which, student) for n, which in chosen.items()}
    by_id = {name.replace(".", "-"): earned for name, earned in points.items()}
    said = [f"{n}: {which}" for n, which in chosen.items() if which != "solution"]
    about = f"{kind} ({', '.join(said)})" if said else kind
    return notebook, Expected(about, "graded", by_id)


_NOISE = (
    ("first", "import warnings\nwarnings.warn('this may change')"),
    ("last", "from tqdm.auto import tqdm\nfor _ in tqdm(range(50)):\n    pass"),
    ("last", "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2]);"),
    ("last", "import sys\nprint('a note', file=sys.stderr)"),
    ("first", "for i in range(300):\n    print('line', i)"),
    ("last", "1 / 0"),
)


def _keep(course: Path, assignment: str, expected: dict[str, Expected]) -> None:
    path = _expected_path(course, assignment)
    path.parent.mkdir(parents=True, exist_ok=True)
    records = {name: asdict(one) for name, one in expected.items()}
    path.write_text(json.dumps(records, indent=1), encoding="utf-8")


def _expected_path(course: Path, assignment: str) -> Path:
    return course / "classroom" / "expected" / f"{assignment}.json"


def compare(course: Path, assignment: str) -> Iterator[str]:
    """Every way in which the results are not what they must be, in a line each."""
    from tlcourse.grading.records import Result

    records = json.loads(_expected_path(course, assignment).read_text("utf-8"))
    results = course / "classroom" / "reports" / assignment / "results"
    for name, record in records.items():
        path = results / f"{name}.json"
        if not path.is_file():
            yield f"{name} ({record['kind']}): no result"
            continue
        result = Result.model_validate_json(path.read_text("utf-8"))
        yield from (f"{name} ({record['kind']}): {w}" for w in _wrong(record, result))


def _wrong(record: dict, result) -> Iterator[str]:  # noqa: ANN001
    if result.status != record["status"]:
        yield f"status {result.status!r}, not {record['status']!r}"
    grades = {g.grade_id: g.auto for n in result.notebooks for g in n.grades}
    for grade_id, points in record["points"].items():
        if grades.get(grade_id) != points:
            yield f"{grade_id}: {grades.get(grade_id)} points, not {points}"
    missing = set(record["flags"]) - {flag.kind for flag in result.flags}
    if missing:
        yield f"not flagged: {', '.join(sorted(missing))}"


def main() -> None:
    """Make a class, or compare its results; exit 1 if a grade is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("course", type=Path, help="the course folder, made if empty")
    parser.add_argument("--assignment", default=ASSIGNMENT)
    parser.add_argument("--students", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hostile", type=float, default=0.2, help="share, 0 to 1")
    parser.add_argument(
        "--compare", action="store_true", help="look at the results instead"
    )
    given = parser.parse_args()
    if given.compare:
        lines = list(compare(given.course, given.assignment))
        print("\n".join(lines) or "Every grade is as it must be.")
        sys.exit(bool(lines))
    if not (given.course / "nbgrader_config.py").is_file():
        make_course(given.course)
    expected = make_class(
        given.course,
        given.assignment,
        given.students,
        seed=given.seed,
        hostile=given.hostile,
    )
    print(f"{len(expected)} submissions in {given.course / 'classroom/submitted'}")


if __name__ == "__main__":
    main()
