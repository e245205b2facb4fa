"""An assignment's notebooks as the grader needs them.

A master is the teacher's source notebook in its order, prepared by the course's own
nbgrader preprocessors, with every graded or locked cell as the gradebook holds it:
solutions out, hidden tests in, the checksum and the points of the released version.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.api import Assignment as SavedAssignment
from nbgrader.api import Gradebook, Notebook, SourceCell
from nbgrader.converters import Autograde, GenerateAssignment
from nbgrader.preprocessors import InstantiateTests, SaveCells
from nbgrader.utils import capture_log, chdir, find_all_files, temp_attrs
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session
from traitlets.config import Config

from tlcourse.grading.assigning.seeds import seed_of
from tlcourse.grading.book.courses import Course, CourseError, load_course, opened
from tlcourse.grading.records import Assignment, Master, Rule
from tlcourse.sandbox.limits import Limits

__all__ = ["Course", "CourseError", "load_assignment", "load_course"]

Say = Callable[[str], None]


def load_assignment(
    course: Course,
    name: str,
    *,
    seed: int | None = None,
    per_student: bool | None = None,
    rule: Rule = "corrected",
    limits: Limits | None = None,
    isolated: bool = True,
    generate: bool = True,
    say: Say | None = None,
) -> Assignment:
    """What every submission of one assignment shares.

    Args:
        course: see :func:`load_course`.
        name: the assignment's folder in the source directory.
        seed: decides the hidden cases; by default the assignment's own.
        per_student: cases of their own for every student; by default as assigned.
        rule: how autograded cells that are not the kit's own are judged.
        limits: what a submission may use.
        isolated: whether student code runs in a sandbox.
        generate: whether cells that the gradebook lacks may be put into it.
        say: is told, in a sentence, what a teacher should know.

    Raises:
        CourseError: the assignment is unknown, does not generate, or its source
            has other graded cells than the gradebook.
    """
    say = say or (lambda sentence: None)
    folder = Path(course.format_path(course.source_directory, ".", name))
    found = {path.stem: path for path in sorted(folder.glob("[!.]*.ipynb"))}
    if not found:
        raise CourseError(_unknown(course, name, folder))
    with opened(course):
        if not _is_known(course, name, found):
            if not generate:
                raise CourseError(
                    f"The gradebook does not know the cells of {name} yet. "
                    f"Run `nbgrader generate_assignment {name}`."
                )
            say(f"The gradebook did not know {name}: its cells are read from {folder}.")
            _generate(course, name)
        with Gradebook(course.db_url, course.course_id) as book:
            masters = [
                _master(course, book.find_notebook(stem, name), path, say)
                for stem, path in found.items()
            ]
    own_seed, own_cases = seed_of(Path(course.root), name)
    return Assignment(
        name=name,
        masters=tuple(masters),
        files=_other_files(course, name, folder, say),
        seed=own_seed if seed is None else seed,
        per_student=own_cases if per_student is None else per_student,
        rule=rule,
        limits=limits or Limits(),
        isolated=isolated,
    )


def _unknown(course: Course, name: str, folder: Path) -> str:
    names = {path.parent.name for path in folder.parent.glob("*/*.ipynb")}
    near = difflib.get_close_matches(name, names) or sorted(names)
    offer = f" Do you mean {' or '.join(near)}?" if near else ""
    return f"There is no notebook of {name!r} in {folder}.{offer}"


def _is_known(course: Course, name: str, found: dict[str, Path]) -> bool:
    """Whether the gradebook holds these notebooks; others with grades are an error."""
    url = make_url(course.db_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database).exists():
        return False  # looking must not make it
    engine = create_engine(url)
    try:
        if not inspect(engine).has_table(Notebook.__tablename__):
            return False
        with Session(engine) as db:
            query = db.query(SavedAssignment).filter(SavedAssignment.name == name)
            if (saved := query.one_or_none()) is None:
                return False
            held = {notebook.name for notebook in saved.notebooks}
            if held != set(found) and saved.submissions:
                raise CourseError(
                    f"{name} has other notebooks than when submissions were graded: "
                    f"{', '.join(sorted(held ^ set(found)))}. Put them back as they "
                    "were."
                )
            return held == set(found)
    finally:
        engine.dispose()


def _generate(course: Course, name: str) -> None:
    """Save the cells; the release folder stays as it was handed out."""
    with tempfile.TemporaryDirectory() as elsewhere:
        own = {"assignment_id": name, "release_directory": elsewhere}
        with temp_attrs(course, **own):
            converter = GenerateAssignment(coursedir=course, parent=course.parent)
            done = capture_log(converter)
    if not done["success"]:
        raise CourseError(
            f"`nbgrader generate_assignment {name}` fails. Mend the source notebook "
            f"until it passes. It says:\n{_shortened(done.get('log') or done['error'])}"
        )


def _shortened(log: str) -> str:
    """nbgrader's words, with only the last line of each traceback."""
    entries = re.split(r"\n(?=\[[A-Z]+\] )", log.strip())
    return "\n".join(
        entry.splitlines()[-1] if "Traceback (most" in entry else entry
        for entry in map(str.strip, entries)
    )


def _master(course: Course, saved: Notebook, path: Path, say: Say) -> Master:
    try:
        notebook = _prepare(course, saved, path)
    except Exception as error:  # preprocessors raise what they like
        raise CourseError(f"{path} does not prepare: {error}") from error
    cells = {_grade_id(cell): cell for cell in notebook.cells if _grade_id(cell)}
    held = {cell.name: cell for cell in saved.source_cells}
    other = set(cells) ^ set(held)
    other |= {k for k in held if k in cells and cells[k].cell_type != held[k].cell_type}
    if other:
        raise CourseError(
            f"{path} has other graded or locked cells than the gradebook: "
            f"{', '.join(sorted(other))}. Put them back as they were, "
            "or run `nbgrader generate_assignment` again before anything is graded."
        )
    points = {c.name: c.max_score for c in saved.grade_cells + saved.task_cells}
    changed = [key for key in held if _restore(cells[key], held[key], points)]
    if changed:
        say(
            f"{path.name} was changed after its cells were saved. The saved version "
            f"of these is used: {', '.join(sorted(changed))}."
        )
    if saved.kernelspec and (kernel := json.loads(saved.kernelspec)):
        notebook.metadata.kernelspec = kernel
    return Master(name=saved.name, notebook=nbformat.writes(notebook))


def _prepare(course: Course, saved: Notebook, path: Path) -> NotebookNode:
    """The source notebook as it was when nbgrader saved its cells."""
    converter = GenerateAssignment(coursedir=course, parent=course.parent)
    quiet = Config({"Exporter": {"default_preprocessors": []}})
    exporter = NotebookExporter(parent=converter, config=quiet)
    for step in converter.preprocessors:
        if step is SaveCells:
            break
        if step is not InstantiateTests:  # starts a kernel; the gradebook has its tests
            exporter.register_preprocessor(step(parent=converter), enabled=True)
    resources = {"nbgrader": {"notebook": saved.name, "db_url": course.db_url}}
    with chdir(course.root):
        text, _ = exporter.from_filename(str(path), resources=resources)
    return nbformat.reads(text, as_version=4)


def _grade_id(cell: NotebookNode) -> str | None:
    meta = cell.metadata.get("nbgrader", {})
    kinds = ("grade", "solution", "locked", "task")
    return meta.get("grade_id") if any(meta.get(kind) for kind in kinds) else None


def _restore(cell: NotebookNode, held: SourceCell, points: dict[str, float]) -> bool:
    """Give a cell the gradebook's text, checksum and points; says if they differ."""
    meta = cell.metadata.nbgrader
    differs = cell.source != held.source
    cell.source = held.source
    if held.checksum is not None:  # a task has none
        meta["checksum"] = held.checksum
    if held.name in points:
        differs |= float(meta["points"]) != points[held.name]
        meta["points"] = points[held.name]
    return differs


def _other_files(course: Course, name: str, folder: Path, say: Say) -> dict[str, bytes]:
    """What nbgrader lays beside a submission's notebooks before it grades them."""
    kept = Autograde(coursedir=course, parent=course.parent).exclude_overwriting
    files, left = {}, 1_000 * course.max_dir_size
    for path in map(Path, sorted(find_all_files(str(folder), course.ignore))):
        relative = path.relative_to(folder).as_posix()
        if fnmatch.fnmatch(path.name, "*.ipynb") or relative in kept.get(name, []):
            continue
        size = path.stat().st_size
        if size > min(1_000 * course.max_file_size, left):
            say(f"{relative} is left out: it is larger than nbgrader's limits allow.")
            continue
        left -= size
        files[relative] = path.read_bytes()
    return files
