"""What a teacher sees while a class is graded: a live table, or now and then a line."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tlcourse.grading.records import Result

_STYLES = {
    "graded": "green",
    "unreadable": "yellow",
    "missing": "yellow",
    "stopped": "yellow",
    "error": "red",
}
_LIVE_EVERY, _LINE_EVERY = 0.25, 30.0  # seconds between two updates
_MOST_NAMES = 8


class Board:
    """Counts results and shows how the run stands.

    Args:
        total: how many submissions there are.
        console: where to show it; a live table where it is a terminal.
        clock: seconds, ever growing.
    """

    def __init__(
        self,
        total: int,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is shown before the first update."""
        self.console = console or Console()
        self.total, self.counts, self.kept = total, Counter[str](), 0
        self._clock, self._began, self._shown = clock, clock(), clock()
        self._running: dict[str, float] = {}
        self._doing = ""
        self._live: Live | None = None

    def __enter__(self) -> Board:
        """Begin to show."""
        if self.console.is_terminal:
            self._live = Live(
                self._table(), console=self.console, auto_refresh=False, transient=True
            )
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the table away."""
        if self._live is not None:
            self._live.__exit__(kind, error, traceback)
            self._live = None

    @property
    def done(self) -> int:
        """Submissions with a result, those of earlier runs included."""
        return self.counts.total()

    def say(self, sentence: str) -> None:
        """Print a sentence, above the table where there is one."""
        self.console.print(Text(sentence), soft_wrap=True)

    def count(self, result: Result, kept: bool = False) -> None:
        """A submission has its result; ``kept`` where an earlier run found it."""
        self.counts[result.status] += 1
        self.kept += kept

    def refresh(self, running: Mapping[str, float]) -> None:
        """Show how things stand, unless that was done a moment ago.

        Args:
            running: since when each student's submission is being graded.
        """
        now = self._clock()
        if now - self._shown < (_LIVE_EVERY if self._live else _LINE_EVERY):
            return
        self._shown, self._running = now, dict(running)
        if running:
            self._doing = ""
        if self._live:
            self._live.update(self._table(), refresh=True)
        else:
            self.say(self.line())

    def doing(self, what: str) -> None:
        """Show at once what takes a while now, beside or instead of grading."""
        self._doing = what
        if self._live:
            self._live.update(self._table(), refresh=True)

    def line(self) -> str:
        """The state in one line."""
        parts = [f"{self.done} of {self.total} done"]
        parts += [f"{n} {status}" for status, n in self._by_status() if n]
        parts.append(f"{len(self._running)} running")
        if pace := self._pace():
            parts += [pace[0], f"{pace[1]} left"]
        return ", ".join(parts)

    def _by_status(self) -> list[tuple[str, int]]:
        return [(status, self.counts[status]) for status in _STYLES]

    def _pace(self) -> tuple[str, str] | None:
        """Rate and time left, as soon as there is something to go by."""
        fresh, minutes = self.done - self.kept, (self._clock() - self._began) / 60
        if not fresh or not minutes:
            return None
        rate = fresh / minutes
        left = max(0, self.total - self.done) / rate
        return f"{rate:.1f} a minute", _duration(60 * left)

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD)
        for name in ("done", *_STYLES, "rate", "time left"):
            table.add_column(name, justify="right")
        numbers = [
            Text(str(n), style=_STYLES[status] if n else "dim")
            for status, n in self._by_status()
        ]
        pace = self._pace() or ("", "")
        table.add_row(f"{self.done} / {self.total}", *numbers, *pace)
        names = sorted(self._running, key=self._running.__getitem__)
        more = len(names) - _MOST_NAMES
        text = ", ".join(names[:_MOST_NAMES]) + (
            f" and {more} more" if more > 0 else ""
        )
        caption = self._doing or f"running: {text or 'nobody'}"
        table.caption = Text(caption, overflow="ellipsis")
        return table


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
