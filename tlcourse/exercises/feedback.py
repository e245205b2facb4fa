"""The verdict as a record, and how it looks in a notebook and in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

from tlcourse.exercises.escaping import ESCAPES

if TYPE_CHECKING:
    from tlcourse.exercises.comparing import Difference
    from tlcourse.exercises.observing import Raised
    from tlcourse.exercises.spec import Case, Exercise

# JupyterLab's own colours suit its themes; elsewhere, ones that read on both.
_COLOURS = {
    "passed": "var(--jp-success-color1, #2da44e)",
    "partial": "var(--jp-warn-color1, #bf8700)",
}
_FAILED = "var(--jp-error-color1, #e5534b)"


def earned(max_points: int, score: float) -> float:
    """Points for a share of them: full marks exactly, else rounded down to 0.01."""
    return (
        float(max_points) if score == 1 else int(max_points * score * 100 + 1e-9) / 100
    )


@dataclass(frozen=True)
class GroupResult:
    """How many cases of one group passed; a group counts when all do."""

    name: str
    right: int
    cases: int

    @property
    def passed(self) -> bool:
        """Whether every case of the group is right."""
        return self.right == self.cases


@dataclass(frozen=True)
class Report:
    """What a check found.

    In a notebook it shows itself as HTML; as the last value of an nbgrader cell its
    plain text is exactly the earned points, which nbgrader reads as partial credit;
    ``str()`` is the form for a terminal.

    Args:
        exercise: the id.
        title: the exercise's title.
        status: ``passed``, ``partial``, ``failed``, ``not attempted``, ``refused``,
            ``out of time`` or, in a notebook graded as a file, ``not run``.
        score: share of the points, 0 to 1.
        max_points: full marks.
        groups: results per group of cases.
        misconception: the name of the mistake that was recognised, else ``None``.
        message: the sentence that helps.
        detail: what was expected, what came, and for which case.
        printed: what the learner's code printed while it was checked.
        next_hint: number of the next hint, 1 to 3, or ``None``.
    """

    exercise: str
    title: str
    status: str
    score: float
    max_points: int
    groups: tuple[GroupResult, ...] = ()
    misconception: str | None = None
    message: str = ""
    detail: str = ""
    printed: str = ""
    next_hint: int | None = None

    @property
    def points(self) -> float:
        """Earned points: full marks exactly, or a share rounded down to 0.01."""
        return earned(self.max_points, self.score)

    def to_json(self) -> dict[str, Any]:
        """The record as plain data: no time, no path, no random id."""
        return {**asdict(self), "points": self.points}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Report:
        """The report that :meth:`to_json` wrote."""
        fields = {k: v for k, v in record.items() if k != "points"}
        groups = tuple(GroupResult(**group) for group in record["groups"])
        return cls(**{**fields, "groups": groups})

    @classmethod
    def _empty(cls, exercise: Exercise, status: str, message: str) -> Report:
        probe = exercise.probe
        return cls(probe.id, probe.title, status, 0.0, probe.points, message=message)

    @classmethod
    def refused(cls, exercise: Exercise, name: str) -> Report:
        """The candidate called what it was asked to write, or hid what it called."""
        why = (
            "with which code can hide what it calls. Leave that out."
            if name in ESCAPES
            else "which does the work you are asked to do. Write that part yourself."
        )
        return cls._empty(exercise, "refused", f"Your answer calls {name}, {why}")

    @classmethod
    def late(cls, exercise: Exercise, case: str) -> Report:
        """The candidate did not finish."""
        seconds = exercise.probe.limits.seconds
        return cls._empty(
            exercise,
            "out of time",
            f"Your code was stopped after {seconds:g} s, in the case “{case}”. "
            "Is there a loop that never ends, or one over single numbers? If it only "
            "loaded a large library, run the check again.",
        )

    @classmethod
    def not_run(cls, exercise: Exercise, why: str) -> Report:
        """The notebook did not come as far as the check."""
        return cls._empty(exercise, "not run", why)

    @classmethod
    def not_attempted(cls, exercise: Exercise) -> Report:
        """The stub is still there."""
        return cls._empty(
            exercise, "not attempted", "Nothing to check yet: replace the stub."
        )

    @classmethod
    def judged(
        cls,
        exercise: Exercise,
        groups: tuple[GroupResult, ...],
        score: float,
        printed: str,
    ) -> Report:
        """Points by group, without a diagnosis yet."""
        status = "passed" if score == 1 else "partial" if score else "failed"
        report = cls._empty(exercise, status, "" if score < 1 else "All cases pass.")
        return replace(report, score=score, groups=groups, printed=printed)

    def saying(self, message: str) -> Report:
        """The same report with another sentence."""
        return replace(self, message=message)

    def diagnosed(self, name: str, message: str) -> Report:
        """The same report, with the mistake named."""
        return replace(self, misconception=name, message=message)

    def with_difference(
        self, gap: Difference, case: Case, raised: Raised | None
    ) -> Report:
        """Add expected, got and the case; and a sentence if there is none yet."""
        what = f"`{gap.name}`" if gap.name else "your answer"
        sentences = {
            "missing": f"{what} is missing.",
            "type": f"{what} has the wrong type.",
            "shape": f"{what} has the wrong shape.",
            "dtype": f"{what} has the wrong dtype.",
            "finite": f"{what} is not finite.",
            "value": f"{what} has a wrong value.",
            "changed": f"Your code changed its input ({gap.got}); work on a copy.",
            "raised": "Your code raised an error."
            if raised
            else "Your code accepted what it should have refused.",
        }
        lines = [f"case: {case.about}"]
        if raised and raised.line:
            lines.append(f"your line {raised.lineno}: {raised.line}")
        if raised:
            lines.append(f"error: {raised.type}: {raised.message}")
        if gap.expected and (raised is None or gap.expected != "no error"):
            lines += [f"expected: {gap.expected}", f"got: {gap.got}"]
        message = self.message or sentences[gap.step]
        return replace(self, message=message, detail="\n".join(lines))

    def _headline(self) -> str:
        return f"{self.title}: {self.points:g} / {self.max_points} points"

    def _hint_line(self) -> str:
        if self.score == 1 or self.next_hint is None:
            return ""
        return f'Stuck? hint("{self.exercise}") gives hint {self.next_hint} of 3.'

    def __repr__(self) -> str:
        """Exactly the earned points, for nbgrader."""
        return repr(self.points)

    def __str__(self) -> str:
        """The report for a terminal."""
        marks = [
            f"  {'ok  ' if g.passed else 'FAIL'} {g.name} ({g.right}/{g.cases})"
            for g in self.groups
        ]
        parts = [f"{self._headline()} ({self.status})", *marks]
        parts += [part for part in (self.message, self.detail) if part]
        if self.printed:
            parts.append(f"Your code printed:\n{self.printed}")
        return "\n".join([*parts, *filter(None, [self._hint_line()])])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self.to_html()}

    def to_html(self) -> str:
        """The report as a box that suits light and dark themes; fully escaped."""
        colour = _COLOURS.get(self.status, _FAILED)
        marks = "".join(
            f"<li>{'✓' if g.passed else '✗'} {escape(g.name)} "
            f"({g.right}/{g.cases})</li>"
            for g in self.groups
        )
        blocks = "".join(
            f"<pre style='margin:.4em 0;white-space:pre-wrap'>{escape(text)}</pre>"
            for text in (self.detail, self.printed and f"printed:\n{self.printed}")
            if text
        )
        hint = self._hint_line()
        return (
            f"<div style='border-left:4px solid {colour};padding:.4em .8em'>"
            f"<strong>{escape(self._headline())}</strong> "
            f"<span style='color:{colour}'>{escape(self.status)}</span>"
            f"<ul style='list-style:none;margin:.2em 0;padding:0'>{marks}</ul>"
            f"<div>{_inline_code(self.message)}</div>{blocks}"
            + (f"<small>{_inline_code(hint)}</small>" if hint else "")
            + "</div>"
        )


def _inline_code(text: str) -> str:
    """Escape, and set what stands between backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))
