"""``grade``, ``feedback`` and ``export``: what teachers run, term after term."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tlcourse.cli.assigning import course_root

if TYPE_CHECKING:
    from tlcourse.grading.batch.options import Options, Plan, Summary
    from tlcourse.sandbox.limits import Limits

Assignment = Annotated[str, typer.Argument(help="An assignment, such as 02_losses.")]
Students = Annotated[
    str | None,
    typer.Option(metavar="A,B|@FILE", help="Only these; @FILE has an id a line."),
]


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

    A submission may use at most cell_seconds=60, total_seconds=600,
    memory_mb=2000, processes=64, disk_mb=256, output_bytes=1000000 and
    file_mb=20, unless --limits names other numbers. Other limits are another
    grading: with them everybody is graded again.

    Examples:

      tlcourse grade 02_losses
      tlcourse grade 02_losses --dry-run
      tlcourse grade 02_losses --students ada,alan --regrade
      tlcourse grade 02_losses --limits "cell_seconds=30,memory_mb=4000"
      tlcourse grade 02_losses --scheduler tcp://cluster:8786
      tlcourse grade ps1 --rule stock             another course's assignment
    """
    from dask.system import CPU_COUNT

    from tlcourse.grading.batch.options import Options

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
        from tlcourse.grading.batch.session import plan

        _show_plan(plan(course_root(), assignment, options))
    else:
        _grade(assignment, options)


def _grade(assignment: str, options: Options) -> None:
    from tlcourse.cli.mistakes import tell

    try:
        from tlcourse.grading.batch import session

        summary = session.grade(course_root(), assignment, options)
    except KeyboardInterrupt as stop:  # before the run has begun, too
        number = getattr(stop, "number", signal.SIGINT)
        tell(
            KeyboardInterrupt(
                f"Stopped by {signal.Signals(number).name}. What was graded is kept: "
                "run the same command again to go on."
            )
        )
        raise typer.Exit(128 + number) from None
    _show_summary(summary)
    if summary.errors:
        raise typer.Exit(1)


def _show_summary(summary: Summary) -> None:
    from tlcourse.cli.mistakes import tell

    counts = ", ".join(f"{n} {status}" for status, n in sorted(summary.counts.items()))
    kept = f" ({summary.kept} by an earlier run)" if summary.kept else ""
    total = sum(summary.counts.values())
    print(f"{total} submission{'s' * (total != 1)}: {counts}{kept}")
    print(f"report: {summary.html}")
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
    from tlcourse.grading.book.masters import load_course
    from tlcourse.grading.feedback import write_feedback

    names = None if students is None else _names(students)
    pages = write_feedback(load_course(course_root()), assignment, names)
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
        Path | None,
        typer.Option(
            "--output", "-o", help="The file to write; by default among the reports."
        ),
    ] = None,
) -> None:
    """Write grades for another system: a table, Canvas or Moodle.

    Examples:

      tlcourse export                         all, classroom/reports/grades.csv
      tlcourse export 02_losses --to canvas
      tlcourse export 02_losses --to moodle -o moodle.csv
    """
    from tlcourse.grading.book.exporting import export as write
    from tlcourse.grading.book.masters import load_course

    course = load_course(course_root())
    if path is None:  # where git does not see it
        path = course.reports / ("grades.csv" if to == "csv" else f"grades_{to}.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
    for sentence in write(course, assignment, to, path):
        print(sentence)
    print(f"wrote {path}")
