"""What a hostile submission is: how it is made, and what it must get.

Every submission answers the same three short exercises. An attack on the score
gives wrong answers and must earn nothing; an attack on the grader breaks one
exercise, and the other two, answered rightly, must earn full marks.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

import nbformat
from nbformat import NotebookNode

FIRST, MIDDLE, LAST = EXERCISES = (
    "losses.cross_entropy",
    "few_shot.ci95",
    "losses.l2_sp",
)
HEADS = {
    FIRST: "def cross_entropy(logits, targets):",
    MIDDLE: "def ci95(accuracies):",
    LAST: "def l2_sp(params, source, alpha, beta):",
}
RIGHT = {
    FIRST: """\
        if targets.min() < 0 or targets.max() >= logits.shape[1]:
            raise ValueError("class index out of range")
        shifted = logits - logits.max(dim=1, keepdim=True).values
        rows = torch.arange(len(targets))
        return (shifted.exp().sum(dim=1).log() - shifted[rows, targets]).mean()
        """,
    MIDDLE: """\
        if len(accuracies) < 2:
            raise ValueError("an interval needs at least two episodes")
        return accuracies.mean(), 1.96 * accuracies.std() / len(accuracies) ** 0.5
        """,
    LAST: """\
        total = 0
        for name, w in params.items():
            known = name in source and source[name].shape == w.shape
            start = source[name].detach() if known else 0
            total = total + (alpha if known else beta) / 2 * ((w - start) ** 2).sum()
        return total
        """,
}
WRONG = {
    FIRST: "return logits.sum() * 0 + 12.5",
    MIDDLE: "return 12.5, 12.5",
    LAST: "return sum(w.sum() for w in params.values()) * 0 + 12.5",
}
Files = Callable[[NotebookNode], Mapping[str, bytes]]


@dataclass(frozen=True)
class Attack:
    """One submission and what must become of it.

    Args:
        name: the student's id and the test's name.
        row: what it does, as the table of threats says it.
        files: the submitted files, made from the notebook as it was handed out.
        full: exercises that must earn full marks, all others 0; ``None`` where it is
            by chance how much of the honest rest is lost.
        statuses: what must stand beside an exercise, where it matters.
        status: what must become of the whole submission.
        flags: kinds of flags it must have.
        hidden: words that must be nowhere in the graded notebook.
        links: symbolic links to plant, from the submission to a course's file.
        noticed: it may earn something, for a person to look at: ``flags`` count.
    """

    name: str
    row: str
    files: Files
    full: tuple[str, ...] | None = ()
    statuses: Mapping[str, tuple[str, ...]] | None = None
    status: str = "graded"
    flags: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    links: Mapping[str, str] | None = None
    noticed: bool = False


def write(exercise: str, body: str) -> str:
    """An answer's source: the function of an exercise with this body."""
    return f"{HEADS[exercise]}\n{indent(dedent(body), '    ')}"


def answered(
    handed_out: NotebookNode, bodies: Mapping[str, str], **cells: str
) -> NotebookNode:
    """The notebook with these bodies as answers.

    Args:
        handed_out: as the learner got it.
        bodies: body of the function by exercise; the others are answered rightly.
        **cells: code cells to add, ``first`` of all or at the ``last``.
    """
    notebook = nbformat.from_dict(handed_out)
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        exercise = name.removesuffix("-answer").replace("-", ".", 1)
        if name.endswith("-answer") and exercise in EXERCISES:
            cell.source = write(exercise, bodies.get(exercise, RIGHT[exercise]))
    for place, source in cells.items():
        at = 0 if place == "first" else len(notebook.cells)
        notebook.cells.insert(at, nbformat.v4.new_code_cell(dedent(source), id=place))
    return notebook


def packed(notebook: NotebookNode, **more: bytes) -> dict[str, bytes]:
    """Submitted files: the notebook under its right name, and others."""
    return {"exercises.ipynb": json.dumps(notebook).encode(), **more}


def breaking(
    name: str, row: str, body: str, *statuses: str, before: str = "", **facts: object
) -> Attack:
    """An attack in the middle exercise's function, between two right answers."""
    return Attack(
        name,
        row,
        lambda given: packed(
            answered(given, {MIDDLE: body}, **({"first": before} if before else {}))
        ),
        full=(FIRST, LAST),
        statuses={MIDDLE: statuses} if statuses else None,
        **facts,
    )


def breaking_cell(
    name: str,
    row: str,
    source: str,
    *statuses: str,
    full: tuple[str, ...] | None = (FIRST, LAST),
    **facts: object,
) -> Attack:
    """An attack when the middle answer's cell runs, between two right answers."""

    def files(given: NotebookNode) -> dict[str, bytes]:
        notebook = answered(given, {})
        answer(notebook, MIDDLE).source = dedent(source)
        return packed(notebook)

    return Attack(
        name,
        row,
        files,
        full=full,
        statuses={MIDDLE: statuses} if statuses else None,
        **facts,
    )


def cheating(
    name: str,
    row: str,
    cell: str,
    bodies: Mapping[str, str] | None = None,
    **facts: object,
) -> Attack:
    """Wrong answers everywhere, and a first cell that should make them right."""

    def files(given: NotebookNode) -> dict[str, bytes]:
        extra = {"first": cell} if cell else {}
        return packed(answered(given, {**WRONG, **(bodies or {})}, **extra))

    return Attack(name, row, files, **facts)


def changing(
    name: str,
    row: str,
    change: Callable[[NotebookNode], object],
    *,
    right: bool = False,
    **facts: object,
) -> Attack:
    """A notebook that was edited by ``change`` after it was answered."""

    def files(given: NotebookNode) -> dict[str, bytes]:
        notebook = answered(given, {} if right else WRONG)
        change(notebook)
        return packed(notebook)

    return Attack(name, row, files, full=EXERCISES if right else (), **facts)


def answer(notebook: NotebookNode, exercise: str) -> NotebookNode:
    """The answer cell of an exercise."""
    return by_grade_id(notebook, exercise.replace(".", "-") + "-answer")


def check(notebook: NotebookNode, exercise: str) -> NotebookNode:
    """The check cell of an exercise."""
    return by_grade_id(notebook, exercise.replace(".", "-"))


def by_grade_id(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    """The cell with this grade id."""
    return next(
        cell
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id
    )


def hand_in(files: Mapping[str, bytes], place: Path) -> None:
    """Write a submission's files into its own folder."""
    place.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (place / name).write_bytes(data)


def hand_in_attack(
    attack: Attack, given: NotebookNode, course: Path, place: Path
) -> None:
    """Write an attack's files and links into its own folder."""
    hand_in(attack.files(given), place)
    for name, target in (attack.links or {}).items():
        (place / name).symlink_to(course / target)
