"""``build`` and ``study``: what authors run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tlcourse.authoring.building import Target
    from tlcourse.course import Chapter


def build(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 on a difference.")
    ] = False,
    only: Annotated[
        str | None, typer.Option(metavar="NN", help="One chapter only.")
    ] = None,
    execute: Annotated[
        str | None,
        typer.Option(metavar="NN|all", help="Also run the notebooks of a chapter."),
    ] = None,
) -> None:
    """Make chapters/ and solutions/ from lessons/. Outputs are kept.

    A notebook in which a learner has answered, or changed or added a cell, is
    copied aside first.

    Examples:

      tlcourse build                  all chapters
      tlcourse build --only 02        one chapter
      tlcourse build --execute 02     also run its lesson and its solutions
      tlcourse build --check          write nothing; is all up to date?
    """
    if check and execute:
        raise typer.BadParameter("--check writes nothing, so it cannot --execute.")
    from tlcourse.course import root

    folder = root()
    chosen = _chapters(only if only is not None or execute == "all" else execute)
    made = _targets(folder, chosen, required=len(chosen) == 1)
    if check:
        _compare(made)
        return
    for target in made:
        _write(target, folder)
    if execute:
        wanted = {chapter.folder for chapter in _chapters(execute)}
        for target in made:
            if target.path.parent.name in wanted and _is_run(target):
                _execute(target, folder)


def _chapters(name: str | None) -> tuple[Chapter, ...]:
    from tlcourse.course import all_chapters, find_chapter

    return all_chapters() if name in (None, "all") else (find_chapter(name),)


def _targets(root: Path, chapters: tuple[Chapter, ...], required: bool) -> list[Target]:
    from rich.console import Console
    from rich.progress import track

    from tlcourse.authoring.building import targets

    bar = track(
        chapters, "Reading lessons", transient=True, console=Console(stderr=True)
    )
    made = [target for chapter in bar for target in targets(root, chapter)]
    if required and not made:
        folder = f"lessons/{chapters[0].folder}"
        raise ValueError(f"{folder} has neither lesson.py nor exercises.py.")
    return made


def _compare(made: list[Target]) -> None:
    from tlcourse.authoring.building import differences

    found = [line for target in made for line in differences(target)]
    for line in found:
        print(line)
    if found:
        print("Run `tlcourse build`.")
        raise typer.Exit(1)
    print(f"{len(made)} notebooks are as their sources say.")


def _write(target: Target, root: Path) -> None:
    from tlcourse.authoring.building import write

    backup = write(target)
    print(f"wrote {target.path.relative_to(root)}")
    if backup:
        print(f"  it had answers; they are kept in {backup.relative_to(root)}")


def _is_run(target: Target) -> bool:
    """Whether a notebook stores outputs: all but the learner's exercises."""
    return not (
        target.path.name == "exercises.ipynb"
        and target.path.parent.parent.name == "chapters"
    )


def _execute(target: Target, root: Path) -> None:
    from nbclient.exceptions import CellExecutionError

    from tlcourse.authoring.building import save
    from tlcourse.authoring.executing import execute
    from tlcourse.authoring.reading import LessonError

    name = str(target.path.relative_to(root))
    try:
        execute(target.notebook, target.path.parent, name)
    except CellExecutionError as error:
        raise LessonError(f"{name}: a cell failed; not saved.\n{error}") from error
    save(target.notebook, target.path)
    print(f"ran   {name}")


def study(
    chapter: Annotated[str, typer.Argument(help="A chapter: 01, why_transfer.")],
    workers: Annotated[
        int, typer.Option(help="Processes, one thread each.", min=1)
    ] = 1,
) -> None:
    """Run what is missing of a chapter's study and write its results.json.

    It can be interrupted at any time: finished runs are kept.

    Example:

      tlcourse study 01 --workers 2
    """
    from tlcourse.studies import run_study

    print(f"wrote {run_study(chapter, workers)}")
