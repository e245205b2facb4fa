"""``assign``: a new assignment from the bank of exercises."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
        bool, typer.Option("--list", help="List the exercises and questions there are.")
    ] = False,
) -> None:
    """Make an nbgrader assignment from exercises of the bank.

    Its private seed decides the cases that answers are graded on, so what learners
    see in their own checks does not give them away.

    Examples:

      tlcourse assign --list
      tlcourse assign hw1 losses.cross_entropy losses.triplet_loss
      tlcourse assign hw2 "losses.*" losses-why --per-student
      nbgrader generate_assignment hw1                          then release it
    """
    if show:
        _list_exercises()
        return
    if name is None or not exercises:
        raise typer.BadParameter(
            "Give a name and exercises, or --list: "
            "tlcourse assign hw1 losses.triplet_loss"
        )
    from tlcourse.grading.assigning.making import assign as make

    made = make(
        course_root(),
        name,
        exercises,
        title=title,
        per_student=per_student,
        seed=seed,
    )
    print(f"wrote {made}")
    print(f"Next: nbgrader generate_assignment {name}")


def _list_exercises() -> None:
    """The bank, in the order of the lessons; questions stand after their chapter."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tlcourse.exercises import get_probe
    from tlcourse.grading.assigning.bank import read_bank

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("exercise", "title", "points", "min", "level", "kind", "forgeable"):
        right = column in ("points", "min")
        table.add_column(
            column,
            justify="right" if right else "left",
            no_wrap=column != "title",
            overflow="fold",
        )
    for chapter in read_bank(course_root()).values():
        for name, block in chapter.blocks.items():
            if "." not in name:
                points = f"{block[-1].metadata.nbgrader.points}"
                row = (name, "A question that you mark", points, "", "", "question", "")
                table.add_row(*map(Text, row))
                continue
            probe = get_probe(name)
            numbers = (f"{probe.points}", f"{probe.minutes}", f"{probe.level}")
            forgeable = "yes" if probe.forgeable else ""
            row = (probe.id, probe.title, *numbers, probe.kind, forgeable)
            table.add_row(*map(Text, row))
    console = Console()
    # A narrow terminal or a pipe gets longer lines, not cut ids.
    console.width = max(console.width, 120)
    console.print(table)


def course_root() -> Path:
    """The nearest folder above with a ``nbgrader_config.py``, else this course's."""
    from tlcourse.course import root

    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "nbgrader_config.py").is_file():
            return folder
    return root()
