"""``assign``, ``grade``, ``feedback`` and ``export``: what teachers run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from tlcourse.grading.options import Options, Plan, Summary
    from tlcourse.sandbox.limits import Limits

Assignment = Annotated[str, typer.Argument(help="An assignment, such as 02_losses.")]
Students = Annotated[
    str | None,
    typer.Option(metavar="A,B|@FILE", help="Only these; @FILE has an id a line."),
]


def assign(
    name: Annotated[str | None, typer.Argument(help="The new assignment.")] = None,
    exercises: Annotated[
        list[str] | None,
        typer.Argument(help="Exercises, questions or chapters, in their order."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="The notebook's heading.")] = None,
    per_student: Annotated[
        bool, typer.Option("--per-student", help="Every student has other cases.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Decides the hidden cases.", min=1)
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="List the exercises there are.")
    ] = False,
) -> None:
    """Make an nbgrader assignment from exercises of the bank.

    Its private seed decides the cases that answers are graded on, so what learners
    see in their own checks does not give them away.

    Examples:

      tlcourse assign --list
      tlcourse assign hw1 losses.cross_entropy losses.triplet
      tlcourse assign hw2 "losses.*" losses-why --per-student
      nbgrader generate_assignment hw1                          then release it
    """
    if show:
        _list_exercises()
        return
    if name is None or not exercises:
        raise typer.BadParameter(
            "Give a name and exercises, or --list: tlcourse assign hw1 losses.triplet"
        )
    from tlcourse.grading.assigning import assign as make

    made = make(
        _course_root(),
        name,
        exercises,
        title=title,
        per_student=per_student,
        seed=seed,
    )
    print(f"wrote {made}")
    print(f"Next: nbgrader generate_assignment {name}")


def _list_exercises() -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tlcourse.exercises import all_exercises

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("exercise", "title", "points", "min", "level", "kind", "forgeable"):
        right = column in ("points", "min")
        table.add_column(
            column,
            justify="right" if right else "left",
            no_wrap=column == "exercise",
        )
    for exercise in all_exercises():
        probe = exercise.probe
        numbers = (f"{probe.points}", f"{probe.minutes}", f"{probe.level}")
        forgeable = "yes" if probe.forgeable else ""
        row = (probe.id, probe.title, *numbers, probe.kind, forgeable)
        table.add_row(*map(Text, row))
    Console().print(table)


def grade(
    assignment: Assignment,
    students: Students = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes on this computer; one a core by default.", min=1),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A dask scheduler, in place of workers."),
    ] = None,
    regrade: Annotated[
        bool,
        typer.Option("--regrade/--resume", help="Also what is done, or only the rest."),
    ] = False,
    rule: Annotated[
        Literal["corrected", "stock"],
        typer.Option(help="stock: exactly nbgrader's points."),
    ] = "corrected",
    limits: Annotated[
        str | None,
        typer.Option(metavar="NAME=NUMBER,...", help="What a submission may use."),
    ] = None,
    unsafe: Annotated[
        bool,
        typer.Option("--unsafe", help="Run submissions with your own rights."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")
    ] = False,
) -> None:
    """Grade what was submitted, and write gradebook, notebooks and a report.

    Reads classroom/submitted/STUDENT/ASSIGNMENT/, as nbgrader does. What is graded
    already is kept, unless it was handed in again; a run that was stopped, by
    whatever, goes on where it was. Submissions run isolated from your files, from
    the network and from each other; where that is impossible, nothing is graded.

    The exit code is 1 if the grader itself failed on a submission; that one is
    graded again by the next run.

    Limits are cell_seconds, total_seconds, memory_mb, processes, disk_mb,
    output_bytes and file_mb.

    Examples:

      tlcourse grade 02_losses
      tlcourse grade 02_losses --dry-run
      tlcourse grade 02_losses --students ada,alan --regrade
      tlcourse grade 02_losses --limits "cell_seconds=30,memory_mb=4000"
      tlcourse grade 02_losses --scheduler tcp://cluster:8786
      tlcourse grade ps1 --rule stock             another course's assignment
    """
    from dask.system import CPU_COUNT

    from tlcourse.grading.options import Options

    options = Options(
        students=None if students is None else _names(students),
        workers=workers or CPU_COUNT,
        scheduler=scheduler,
        regrade=regrade,
        rule=rule,
        limits=_limits(limits or ""),
        unsafe=unsafe,
    )
    if dry_run:
        from tlcourse.grading.session import plan

        _show_plan(plan(_course_root(), assignment, options))
    else:
        _grade(assignment, options)


def _grade(assignment: str, options: Options) -> None:
    from tlcourse.cli.mistakes import tell
    from tlcourse.grading import session
    from tlcourse.grading.stopping import Interrupted

    try:
        summary = session.grade(_course_root(), assignment, options)
    except Interrupted as stop:
        tell(stop)
        raise typer.Exit(128 + stop.number) from None
    _show_summary(summary)
    if summary.errors:
        raise typer.Exit(1)


def _show_summary(summary: Summary) -> None:
    from tlcourse.cli.mistakes import tell

    counts = ", ".join(f"{n} {status}" for status, n in sorted(summary.counts.items()))
    kept = f" ({summary.kept} by an earlier run)" if summary.kept else ""
    print(f"{sum(summary.counts.values())} submissions: {counts}{kept}")
    print(f"report {summary.html}")
    for student, message in summary.errors:
        tell(RuntimeError(f"{student}: {message}"))


def _show_plan(plan: Plan) -> None:
    for word, students in (("would grade", plan.todo), ("would keep", plan.done)):
        print(f"{word} {len(students)}" + ": " * bool(students) + ", ".join(students))
    print(f"isolation: {plan.isolation}")


def _names(text: str) -> tuple[str, ...]:
    """The ids in ``a,b``, or in the file of ``@file``."""
    if text.startswith("@"):
        words = Path(text[1:]).read_text(encoding="utf-8").splitlines()
    else:
        words = text.split(",")
    names = tuple(word.strip() for word in words if word.strip())
    if not names:
        raise typer.BadParameter(f"--students {text} names nobody.")
    return names


def _limits(text: str) -> Limits:
    """The limits in ``name=number,name=number``."""
    from pydantic import ValidationError

    from tlcourse.sandbox.limits import Limits

    given = [word.partition("=") for word in text.split(",") if word.strip()]
    try:
        return Limits(**{name.strip(): value.strip() for name, _, value in given})
    except ValidationError as error:
        wrong = error.errors()[0]
        names = ", ".join(Limits.model_fields)
        raise typer.BadParameter(
            f"--limits {text!r}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}. "
            f"Write name=number, with commas between; names are {names}."
        ) from None


def feedback(assignment: Assignment, students: Students = None) -> None:
    """Write one page for each learner: what passed, what failed, and why.

    It has no hidden case and no script. Points given by hand in formgrader are in
    it; write it again after you have changed them.

    Examples:

      tlcourse feedback 02_losses
      tlcourse feedback 02_losses --students ada
    """
    from tlcourse.grading.feedback import write_feedback
    from tlcourse.grading.masters import load_course

    names = None if students is None else _names(students)
    pages = write_feedback(load_course(_course_root()), assignment, names)
    for page in pages:
        print(f"wrote {page}")
    if not pages:
        print(f"Nothing of {assignment} is graded yet: tlcourse grade {assignment}")
        raise typer.Exit(1)


def export(
    assignment: Annotated[
        str | None, typer.Argument(help="Only this one; all by default.")
    ] = None,
    to: Annotated[
        Literal["csv", "canvas", "moodle"], typer.Option(help="For which system.")
    ] = "csv",
    path: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write.")
    ] = None,
) -> None:
    """Write grades for another system: a table, Canvas or Moodle.

    Examples:

      tlcourse export                              all assignments, grades.csv
      tlcourse export 02_losses --to canvas
      tlcourse export 02_losses --to moodle -o moodle.csv
    """
    from tlcourse.grading.exporting import export as write
    from tlcourse.grading.masters import load_course

    path = path or Path("grades.csv" if to == "csv" else f"grades_{to}.csv")
    for sentence in write(load_course(_course_root()), assignment, to, path):
        print(sentence)
    print(f"wrote {path}")


def _course_root() -> Path:
    """The nearest folder above with a ``nbgrader_config.py``, else this course's."""
    from tlcourse.course import root

    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "nbgrader_config.py").is_file():
            return folder
    return root()
