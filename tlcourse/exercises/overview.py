"""How far a learner has come, chapter by chapter."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from tlcourse.exercises.catalog import all_probes
from tlcourse.exercises.feedback import earned
from tlcourse.exercises.store import Standing, events, standings


@dataclass(frozen=True)
class Row:
    """One exercise in the overview."""

    exercise: str
    title: str
    max_points: int
    standing: Standing

    @property
    def points(self) -> float:
        """Best points so far."""
        return earned(self.max_points, self.standing.best)


@dataclass(frozen=True)
class Progress:
    """All exercises with their best points, attempts and open misconceptions."""

    rows: tuple[Row, ...]
    unreadable: int  # lines of the progress file that could not be read

    @classmethod
    def read(cls) -> Progress:
        """The overview as the progress file has it now."""
        happened, bad = events()
        by_id = standings(happened)
        rows = tuple(
            Row(p.id, p.title, p.points, by_id.get(p.id, Standing()))
            for p in all_probes()
        )
        return cls(rows, bad)

    @property
    def points(self) -> float:
        """Best points, summed."""
        return round(sum(row.points for row in self.rows), 2)

    @property
    def max_points(self) -> int:
        """Points there are."""
        return sum(row.max_points for row in self.rows)

    def note(self) -> str:
        """What is wrong with the progress file, or an empty text."""
        if not self.unreadable:
            return ""
        lines = f"{self.unreadable} line{'s' * (self.unreadable > 1)}"
        return f"{lines} of the progress file cannot be read; kept there, not counted."

    def _cells(self) -> list[tuple[str, str, str, str, str]]:
        return [
            (
                row.exercise,
                f"{row.points:g} / {row.max_points}",
                str(row.standing.attempts),
                f"{row.standing.hints:g}",
                ", ".join(row.standing.open_misconceptions),
            )
            for row in self.rows
        ]

    def __str__(self) -> str:
        """The table for a terminal."""
        head = ("exercise", "points", "attempts", "hints", "open misconceptions")
        table = [head, *self._cells()]
        widths = [max(len(row[i]) for row in table) for i in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(w) for cell, w in zip(row, widths, strict=True)
            ).rstrip()
            for row in table
        ]
        total = f"{self.points:g} of {self.max_points} points"
        return "\n".join([*lines, total, *filter(None, [self.note()])])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = ("exercise", "points", "attempts", "hints", "open misconceptions")
        rows = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
            for cells in self._cells()
        )
        titles = "".join(f"<th>{name}</th>" for name in head)
        return (
            f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"
            f"<p>{self.points:g} of {self.max_points} points. {escape(self.note())}</p>"
        )
