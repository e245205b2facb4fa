"""The report as a page and as JSON, in ``reports/ASSIGNMENT/``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from markupsafe import Markup
from sqlalchemy.exc import SQLAlchemyError

from tlcourse.grading.book.marks import MarksReader
from tlcourse.grading.pages import render, write
from tlcourse.grading.records import Result
from tlcourse.grading.report.figure import points_svg
from tlcourse.grading.report.statistics import ClassReport, Row, describe

if TYPE_CHECKING:
    from tlcourse.grading.book.courses import Course

STATUSES = {
    "error": "not graded, because the grader itself failed: no points were written; "
    "run it again",
    "stopped": "stopped at the total time: what came before it counts",
    "unreadable": "unreadable: 0 points until a notebook comes that can be read",
    "missing": "missing: 0 points, there is no notebook of the right name",
}
_NAMED = 12  # ids that a sentence names; the rest is a number


class Need(NamedTuple):
    """Something a person should look at: how bad, how many, what, where it stands."""

    edge: str
    count: int
    what: str
    anchor: str
    names: tuple[str, ...] = ()


def write_report(
    course: Course, assignment: str, results: Iterable[Result]
) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.json`` for one assignment.

    Args:
        course: where the folders and the gradebook are.
        assignment: its name.
        results: one of each student; an iterator is fine, only small rows are kept.

    Returns:
        The page and the JSON file.
    """
    by_hand, readable = _by_hand(course, assignment)
    report = describe(assignment, results, by_hand)
    folder = Path(course.reports) / assignment
    link = _linker(course, assignment, folder)
    page = write(folder / "report.html", to_html(report, link, readable))
    return page, write(folder / "report.json", report.model_dump_json(indent=1) + "\n")


def to_html(
    report: ClassReport,
    link: Callable[[str, str], str],
    gradebook_readable: bool = True,
) -> str:
    """The report as one page without script or network.

    Args:
        report: what to show.
        link: ``link(student, notebook)`` is the address of an autograded notebook.
        gradebook_readable: else the page says that it knows no marks of people.
    """
    figure = None
    if report.histogram is not None and report.median_points is not None:
        figure = Markup(  # matplotlib made it, from numbers alone
            points_svg(report.histogram, report.median_points, report.max_points)
        )
    return render(
        "report.html.j2",
        report=report,
        needs=needs(report),
        figure=figure,
        flagged=[row for row in report.rows if row.flags],
        kinds=Counter(
            kind for row in report.rows for kind in {flag.kind for flag in row.flags}
        ).most_common(),
        ungraded=sorted(
            (row for row in report.rows if row.status != "graded"),
            key=lambda row: (list(STATUSES).index(row.status), row.student),
        ),
        meanings=STATUSES,
        many=len({item.notebook for item in report.items}) > 1,
        link=link,
        gradebook_readable=gradebook_readable,
    )


def needs(report: ClassReport) -> list[Need]:
    """What needs attention, the most urgent first."""
    found = []
    for status, what in STATUSES.items():
        rows = [row for row in report.rows if row.status == status]
        if rows:
            edge = "bad-edge" if status == "error" else "part-edge"
            found.append(Need(edge, len(rows), what, "ungraded", _names(rows)))
    broken = [item for item in report.items if item.suspicions]
    for item in broken:
        what = f"{item.title or item.grade_id}: {' '.join(item.suspicions)}"
        found.append(Need("bad-edge", 1, what, f"item-{report.items.index(item)}"))
    flagged = [row for row in report.rows if row.flags]
    if flagged:
        what = "flagged: look at them before you trust their points"
        found.append(Need("part-edge", len(flagged), what, "flags", _names(flagged)))
    if report.waiting:
        count = sum(question.answers for question in report.waiting)
        found.append(Need("note-edge", count, "answers wait for a person", "waiting"))
    return found


def _names(rows: list[Row]) -> tuple[str, ...]:
    names = tuple(row.student for row in rows[:_NAMED])
    more = len(rows) - len(names)
    return (*names, f"and {more} more") if more else names


def _linker(course: Course, assignment: str, folder: Path) -> Callable[[str, str], str]:
    def link(student: str, notebook: str) -> str:
        place = course.format_path(course.autograded_directory, student, assignment)
        path = os.path.relpath(Path(place) / f"{notebook}.ipynb", folder)
        return quote(Path(path).as_posix(), errors="replace")

    return link


def _by_hand(course: Course, assignment: str) -> tuple[set[tuple[str, str, str]], bool]:
    """What people have graded, and whether the gradebook could be read.

    The points are safe in it by now: a report must not fail because it is away.
    """
    try:
        with MarksReader(course, assignment) as marks:
            return marks.by_hand(), True
    except SQLAlchemyError:
        return set(), False
