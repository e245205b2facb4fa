"""Item analysis: how hard an exercise was, whom it tells apart, what went wrong.

Difficulty is the mean share of the points. Discrimination is the corrected item-total
correlation: Pearson's r between the points of the exercise and the points of all the
other exercises together. Chapter on item analysis: Crocker and Algina,
*Introduction to Classical and Modern Test Theory* (1986), ch. 14.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel, ConfigDict

from tlcourse.grading.records import CellGrade

_NOT_TRIED = frozenset({"not attempted", "not run"})
_ENDED_BADLY = ("crashed", "out of time")
_FEW = 3  # fewer submissions have no correlation
_ENOUGH = 10  # fewer do not call an exercise broken by its correlation
_TRIES = 5  # fewer do not call it broken because nobody is right
_PERHAPS = "Perhaps this: "  # how a report begins that only suggests a mistake


class Misconception(BaseModel):
    """A mistake that has a name (a mutant of the exercise's key), and how often."""

    model_config = ConfigDict(frozen=True)

    name: str
    message: str
    count: int


class Item(BaseModel):
    """One exercise, over all submissions that were graded.

    Args:
        notebook: where it stands.
        grade_id: nbgrader's id of the cell.
        title: of the exercise; empty for tests that are not the kit's.
        max_points: full marks.
        graded: submissions that were graded.
        attempted: of these, with an answer that was tried.
        difficulty: mean share of the points, 0 to 1: a high number is an easy one.
        discrimination: -1 to 1; ``None`` where it is not defined.
        undefined: why it is not.
        full: submissions with all of the points.
        partial: with some.
        zero: with none.
        endings: how many ended in each status.
        misconceptions: mistakes that were recognised, the most common first.
        unnamed: wrong answers whose mistake has no name.
        suspicions: sentences that say why the exercise itself may be broken.
    """

    model_config = ConfigDict(frozen=True)

    notebook: str
    grade_id: str
    title: str
    max_points: float
    graded: int
    attempted: int
    difficulty: float | None
    discrimination: float | None
    undefined: str
    full: int
    partial: int
    zero: int
    endings: dict[str, int]
    misconceptions: tuple[Misconception, ...]
    unnamed: int
    suspicions: tuple[str, ...]


@dataclass
class Tally:
    """Counts for one exercise while results come in.

    Args:
        notebook: where it stands.
        grade_id: nbgrader's id of the cell.
        max_points: full marks.
        points: earned, by student.
        rest: points of all other exercises, by student.
    """

    notebook: str
    grade_id: str
    max_points: float
    title: str = ""
    points: dict[str, float] = field(default_factory=dict)
    rest: dict[str, float] = field(default_factory=dict)
    endings: Counter[str] = field(default_factory=Counter)
    mistakes: Counter[str] = field(default_factory=Counter)
    messages: dict[str, str] = field(default_factory=dict)
    unnamed: int = 0

    def add(self, student: str, grade: CellGrade) -> None:
        """Count one graded cell."""
        self.points[student] = grade.auto or 0.0
        self.endings[grade.status] += 1
        report = grade.report or {}
        self.title = self.title or str(report.get("title") or "")
        name = report.get("misconception")
        if name:
            self.mistakes[name] += 1
            self._learn(name, str(report.get("message") or ""))
        elif grade.status in ("failed", "partial") and grade.report:
            self.unnamed += 1

    def _learn(self, name: str, message: str) -> None:
        """Keep a mistake's own sentence rather than a suggestion of it."""
        if message.startswith(_PERHAPS):
            self.messages.setdefault(name, message.removeprefix(_PERHAPS))
        else:
            self.messages[name] = message

    def item(self) -> Item:
        """What the counts say."""
        points = np.array(list(self.points.values()))
        rest = np.array([self.rest.get(student, 0.0) for student in self.points])
        r, undefined = discrimination(points, rest)
        graded, full = len(points), int((points >= self.max_points).sum())
        zero = int((points <= 0).sum())
        tried = sum(n for status, n in self.endings.items() if status not in _NOT_TRIED)
        return Item(
            notebook=self.notebook,
            grade_id=self.grade_id,
            title=self.title,
            max_points=self.max_points,
            graded=graded,
            attempted=tried,
            difficulty=float(points.mean() / self.max_points) if graded else None,
            discrimination=r,
            undefined=undefined,
            full=full,
            partial=graded - full - zero,
            zero=zero,
            endings=dict(self.endings.most_common()),
            misconceptions=tuple(
                Misconception(name=name, message=self.messages[name], count=count)
                for name, count in sorted(
                    self.mistakes.items(), key=lambda pair: (-pair[1], pair[0])
                )
            ),
            unnamed=self.unnamed,
            suspicions=tuple(self._suspicions(r, graded, tried, full)),
        )

    def _suspicions(
        self, r: float | None, graded: int, tried: int, full: int
    ) -> list[str]:
        found = []
        if r is not None and graded >= _ENOUGH and upper_bound(r, graded) < 0:
            found.append(
                "Who does well elsewhere does worse here "
                f"(r = {r:.2f} over {graded} submissions). Is the check right?"
            )
        if tried >= _TRIES and full == 0:
            found.append(
                f"{tried} tried and nobody has full marks. "
                "Does the model answer pass, and does the statement say all it needs?"
            )
        ended = sum(self.endings[status] for status in _ENDED_BADLY)
        if tried >= _TRIES and 2 * ended >= tried:
            found.append(
                f"{ended} of {tried} answers crashed or ran out of time. "
                "Are the limits right for it?"
            )
        return found


def discrimination(points: np.ndarray, rest: np.ndarray) -> tuple[float | None, str]:
    """Pearson's r of an exercise's points and all others', or why there is none.

    Args:
        points: ``(n,)`` points of the exercise.
        rest: ``(n,)`` points of all other exercises together.
    """
    if len(points) < _FEW:
        return None, f"fewer than {_FEW} submissions"
    if np.ptp(points) < 1e-9:
        return None, "everyone has the same points here"
    if np.ptp(rest) < 1e-9:
        return None, "everyone has the same points elsewhere"
    a, b = points - points.mean(), rest - rest.mean()
    r = (a @ b) / np.sqrt((a @ a) * (b @ b))
    return float(np.clip(r, -1, 1)), ""


def upper_bound(r: float, n: int) -> float:
    """Upper end of the 95 % interval of a correlation (Fisher's z; n > 3)."""
    z = np.arctanh(np.clip(r, -0.999999, 0.999999))
    return float(np.tanh(z + 1.96 / np.sqrt(n - 3)))
