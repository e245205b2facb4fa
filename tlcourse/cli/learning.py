"""``check``, ``hint``, ``progress`` and ``reset``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from tlcourse.exercises.overview import Row
    from tlcourse.notebooks import Graded

_MARKS = {"passed": "green", "partial": "yellow", "not attempted": "dim"}
AsJson = Annotated[bool, typer.Option("--json", help="Print the records as JSON.")]


def check(
    target: Annotated[
        str, typer.Argument(help="A chapter (03, losses) or an exercise's id.")
    ],
    as_json: AsJson = False,
) -> None:
    """Grade your exercises notebook as a file, outside JupyterLab.

    Runs chapters/NN_slug/exercises.ipynb from top to bottom without changing
    it, and records one attempt per exercise. The exit code is 0 if all points
    are earned, else 1.

    Examples:

      tlcourse check 02                       a whole chapter
      tlcourse check losses.cross_entropy     one exercise
      tlcourse check losses --json            for another program
    """
    from rich.console import Console

    from tlcourse.notebooks import grade

    with Console(stderr=True).status("Running your notebook …"):
        graded = grade(target)
    if as_json:
        print(json.dumps([report.to_json() for report in graded.reports], indent=1))
    else:
        _show_graded(graded)
    if graded.points < graded.max_points:
        raise typer.Exit(1)


def _show_graded(graded: Graded) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(_graded_table(graded))
    for report in graded.reports:
        if report.status not in ("passed", "not attempted"):
            console.print(Text(f"\n{report}"), soft_wrap=True)
    for note in graded.notes:
        console.print(Text(f"\nNote: {note}", style="yellow"), soft_wrap=True)
    total = f"\n{graded.points:g} of {graded.max_points} points"
    if graded.questions:
        total += f"; a person grades questions worth {graded.questions} more"
    console.print(Text(f"{total}.", style="bold"))


def _graded_table(graded: Graded) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("exercise", "points", "result", "likely mistake"):
        right = name == "points"
        table.add_column(
            name, justify="right" if right else "left", no_wrap=name == "exercise"
        )
    for report in graded.reports:
        table.add_row(
            Text(report.exercise),
            f"{report.points:g} / {report.max_points}",
            Text(report.status, style=_MARKS.get(report.status, "red")),
            Text(report.misconception or ""),
        )
    return table


def hint(
    exercise: Annotated[str, typer.Argument(help="For example losses.cross_entropy.")],
) -> None:
    """Print the next hint: a question, then the formula, then almost the code.

    Using a hint is recorded and costs no points.

    Example:

      tlcourse hint losses.cross_entropy
    """
    from tlcourse import exercises

    print(exercises.hint(exercise))


def progress(as_json: AsJson = False) -> None:
    """Show points, attempts, hints and open misconceptions, chapter by chapter.

    Examples:

      tlcourse progress
      tlcourse progress --json     for another program
    """
    from tlcourse.exercises import Progress

    seen = Progress.read()
    if as_json:
        record = {
            "points": seen.points,
            "max_points": seen.max_points,
            "unreadable_lines": seen.unreadable,
            "exercises": [_record(row) for row in seen.rows],
        }
        print(json.dumps(record, indent=1))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(_progress_table(seen.rows))
    console.print(Text(f"{seen.points:g} of {seen.max_points} points.", style="bold"))
    if seen.note():
        console.print(Text(seen.note(), style="yellow"), soft_wrap=True)


def _record(row: Row) -> dict[str, object]:
    return {
        "exercise": row.exercise,
        "points": row.points,
        "max_points": row.max_points,
        "attempts": row.standing.attempts,
        "hints": row.standing.hints,
        "open_misconceptions": list(row.standing.open_misconceptions),
    }


def _progress_table(rows: tuple[Row, ...]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("exercise", no_wrap=True)
    for name in ("points", "attempts", "hints"):
        table.add_column(name, justify="right")
    table.add_column("open misconceptions", overflow="fold")
    chapters: dict[str, list[Row]] = {}
    for row in rows:
        chapters.setdefault(row.exercise.split(".")[0], []).append(row)
    for slug, members in chapters.items():
        earned = sum(row.points for row in members)
        most = sum(row.max_points for row in members)
        table.add_row(f"[bold]{slug}[/]", f"[bold]{earned:g} / {most}[/]")
        for row in members:
            table.add_row(
                row.exercise,
                f"{row.points:g} / {row.max_points}",
                f"{row.standing.attempts}",
                f"{row.standing.hints:g}",
                Text(", ".join(row.standing.open_misconceptions)),
                end_section=row is members[-1],
            )
    return table


def reset(
    target: Annotated[str, typer.Argument(help="A chapter: 03, losses, 02_losses.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Put a chapter's notebooks back; your version is kept aside.

    Points and attempts are not touched.

    Examples:

      tlcourse reset 02
      tlcourse reset losses --yes     without a question
    """
    from tlcourse.course import find_chapter
    from tlcourse.restoring import restore

    chapter = find_chapter(target)
    if not yes:
        typer.confirm(f"Restore the notebooks of {chapter.folder}?", abort=True)
    for restored in restore(chapter):
        print(f"restored {restored.path}")
        if restored.backup:
            print(f"  your version is kept in {restored.backup}")
