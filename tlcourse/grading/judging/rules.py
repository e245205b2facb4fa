"""How many points a foreign test cell gives, from what it showed.

nbgrader's own rule reads a cell's outputs in order: an error or any text on stderr
gives nothing, a value is the partial credit, all else is full marks. That takes marks
from whoever gets a warning, and gives full marks for `nan` or for what hides an error.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from nbformat import NotebookNode
from nbgrader.utils import determine_grade, is_solution

from tlcourse.grading.records import Rule
from tlcourse.grading.running.planning import CellRun

_STATUS = {"ended": "crashed", "late": "out of time", "not run": "not run"}
# How NumPy and torch write a single number.
_SCALAR = re.compile(r"(?:np\.(?:float|u?int)\d+|tensor|array)\(([^,()]+)(?:,.*)?\)")
MANUAL = "manual"
NO_ANSWER = "not attempted"


@dataclass(frozen=True)
class Points:
    """What one graded cell earns.

    Args:
        auto: points; ``None`` where a person must grade.
        status: as in :class:`tlcourse.grading.records.CellGrade`.
        flags: kind and sentence of what a teacher should look at.
    """

    auto: float | None
    status: str
    flags: tuple[tuple[str, str], ...] = ()


def points(cell: NotebookNode, run: CellRun | None, rule: Rule) -> Points:
    """The points of a graded cell that is no check cell of the kit.

    Args:
        cell: with its outputs.
        run: what became of it; ``None`` for what is not run.
        rule: ``corrected``, or ``stock`` for exactly nbgrader's.
    """
    if is_solution(cell) or cell.cell_type != "code":
        auto, most = determine_grade(cell)
        status = MANUAL if auto is None else NO_ANSWER if auto < most else "passed"
        return Points(auto if auto is None else float(auto), status)
    most = float(cell.metadata.nbgrader.points)
    auto, flags = (_stock if rule == "stock" else _corrected)(cell, run, most)
    status = "passed" if auto >= most else "partial" if auto > 0 else "failed"
    return Points(auto, _STATUS.get(run.status, status) if run else status, flags)


def _stock(
    cell: NotebookNode, run: CellRun | None, most: float
) -> tuple[float, tuple[tuple[str, str], ...]]:
    try:
        return float(determine_grade(cell)[0]), ()
    except (ValueError, KeyError) as error:
        sentence = f"nbgrader cannot grade this cell ({error}); it gives no points."
        return 0.0, (("stock stops", sentence),)


def _corrected(
    cell: NotebookNode, run: CellRun | None, most: float
) -> tuple[float, tuple[tuple[str, str], ...]]:
    if run is None:
        return most, ()
    flags: list[tuple[str, str]] = []
    earned = 0.0 if run.failed else _by_values(run.values, most, flags)
    if run.subverted:
        earned = 0.0
        flags.append(
            (
                "subverted kernel",
                "Asserts or values do not do here what they must: the learner's code "
                "has changed how cells run, or answers with what equals everything. "
                "This test and those after it give nothing.",
            )
        )
    return earned, tuple(flags)


def _by_values(
    values: tuple[str, ...], most: float, flags: list[tuple[str, str]]
) -> float:
    """The least number among the values, within 0 and ``most``; flags are added."""
    numbers = [number for number in map(_number, values) if number is not None]
    if len(values) > 1:
        flags.append(
            (
                "several results",
                f"The test gave {len(values)} values; the least counts.",
            )
        )
    if len(numbers) < len(values):
        flags.append(
            ("value is no number", "The test's value is no number: full marks for it.")
        )
    if not numbers:
        return most
    least = min(-math.inf if math.isnan(number) else number for number in numbers)
    clamped = min(max(least, 0.0), most) if least < math.inf else 0.0
    if clamped != least:
        shown = "nan" if any(map(math.isnan, numbers)) else f"{least:g}"
        flags.append(
            ("value clamped", f"The test's value is {shown}; {clamped:g} counts.")
        )
    return clamped


def _number(text: str) -> float | None:
    scalar = _SCALAR.fullmatch(text.strip())
    try:
        return float(scalar[1] if scalar else text)
    except ValueError:
        return None
