"""Which cell of a submission is which cell of the teacher's notebook."""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Sequence

from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests, ClearMarkScheme
from nbgrader.utils import is_grade, is_locked, is_solution, is_task

_DEFINED = re.compile(r"^(?:async +)?(?:def|class) +(\w+)", re.MULTILINE)
_ASSIGNED = re.compile(r"^(\w+) *(?::[^=\n]+)?=(?!=)", re.MULTILINE)
_NO_SPACE = dict.fromkeys(map(ord, " \t\n\r\f\v\xa0"))


def is_marked(cell: NotebookNode) -> bool:
    """Whether nbgrader knows the cell: a test, an answer, a task or a locked one."""
    return any(mark(cell) for mark in (is_grade, is_solution, is_locked, is_task))


def grade_id(cell: NotebookNode) -> str:
    """The grade id that the cell carries, or ``""``."""
    found = cell.metadata.get("nbgrader", {}).get("grade_id", "")
    return found if isinstance(found, str) else ""


def squeezed(text: str) -> str:
    """Text without any white space: a locked cell's counts for nothing."""
    return text.translate(_NO_SPACE)


def trimmed(text: str) -> str:
    """Text without white space at line ends; indentation may be the answer."""
    return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")


def handed_out(cell: NotebookNode) -> set[str]:
    """The texts of a marked cell that count as unchanged.

    A locked cell's has no white space; it is with or without what a release hides.
    """
    if not is_locked(cell):
        return {trimmed(cell.source)}
    shown = copy.deepcopy(cell)
    if is_grade(cell):
        ClearHiddenTests().preprocess_cell(shown, {}, 0)
    elif is_task(cell):
        ClearMarkScheme().preprocess_cell(shown, {}, 0)
    return {squeezed(cell.source), squeezed(shown.source)}


class Pairing:
    """Which marked cell of ``master`` is which cell of the submission ``given``.

    By grade id; then by cell id; then, for what is locked, by text; then by what
    stands between the neighbours and defines the same names, or stands there alone.

    Attributes:
        found: by index of a marked cell of the master, the submitted cell that is it.
        ordinary: by index of a submitted cell, the master's unmarked cell like it.
        copies: submitted cells with a grade id that a better cell has, too.
        needless: the copies that hold nothing which is not elsewhere.
        unnamed: those of ``found`` that do not carry their grade id.
        swapped: those of ``found`` that stood in another's place.
    """

    def __init__(
        self, master: Sequence[NotebookNode], given: Sequence[NotebookNode]
    ) -> None:
        """Pair the cells."""
        self.master, self.given = master, given
        self.marked = [i for i, cell in enumerate(master) if is_marked(cell)]
        self.found: dict[int, int] = {}
        self.ordinary: dict[int, int] = {}
        self.copies: list[int] = []
        self.needless: set[int] = set()
        self.unnamed: set[int] = set()
        self.swapped: list[int] = []
        self._texts = {i: handed_out(master[i]) for i in self.marked}
        # Once for each cell, however many places it is tried for.
        self._squeezed = [squeezed(cell.source) for cell in given]
        self._trimmed = [trimmed(cell.source) for cell in given]
        self._names = [_names(cell.source) for cell in given]
        self._by_grade_id()
        self._by_cell_id()
        self._by_text()
        for i in self.marked:
            if i not in self.found and not is_locked(master[i]):
                self._by_place(i)
        self._unswap()

    def is_changed(self, i: int, j: int) -> bool:
        """Whether submitted cell ``j`` differs from cell ``i`` as handed out."""
        plain = self._squeezed if is_locked(self.master[i]) else self._trimmed
        return plain[j] not in self._texts[i]

    def known(self) -> set[int]:
        """The submitted cells that have or want the place of a marked cell."""
        return {*self.found.values(), *self.copies}

    def is_moved(self) -> bool:
        """Whether the marked cells stand in another order; copied ones may be."""
        copied = {grade_id(self.given[j]) for j in self.copies}
        there = [i for i in self.marked if i in self.found]
        at = [self.found[i] for i in there if grade_id(self.master[i]) not in copied]
        return at != sorted(at)

    def _by_grade_id(self) -> None:
        claims = defaultdict(list)
        for j, cell in enumerate(self.given):
            claims[grade_id(cell)].append(j)
        for i in self.marked:
            theirs = claims[grade_id(self.master[i])]
            changed = {j for j in theirs if self.is_changed(i, j)}
            as_given = [j for j in theirs if j not in changed]
            if not theirs:
                continue
            if is_locked(self.master[i]):
                chosen = (as_given or theirs)[0]
            else:  # the last with work in it: it ran last on the learner's side, too
                chosen = max(changed or as_given)
            self.found[i] = chosen
            text = self._trimmed[chosen]
            for j in theirs:
                if j != chosen:
                    self.copies.append(j)
                    if j not in changed or self._trimmed[j] == text:
                        self.needless.add(j)

    def _unswap(self) -> None:
        """Put right answers that stand in each other's place: their names tell."""
        wanted = {}
        for i in self.marked:
            names, j = self._wanted(i), self.found.get(i)
            if names and (j is None or not names & self._names[j]):
                wanted[i] = names
        free = [self.found[i] for i in wanted if i in self.found]
        for i, names in wanted.items():
            fits = [j for j in free if names <= self._names[j]]
            if fits:
                self.swapped.append(i)
                self.found[i] = fits[0]
                free.remove(fits[0])
        left = [i for i in wanted if i not in self.swapped and i in self.found]
        lost = [i for i in left if self.found[i] not in free]
        kept = {self.found[i] for i in left}
        others = (j for j in free if j not in kept)
        for i in lost:
            del self.found[i]
        self.found.update(zip(lost, others, strict=False))

    def _wanted(self, i: int) -> set[str]:
        """What an answer in code must define; empty where names cannot tell."""
        cell = self.master[i]
        code = cell.cell_type == "code" and not is_locked(cell)
        return _names(cell.source) if code else set()

    def _take(self, i: int, j: int) -> None:
        self.found[i] = j
        self.unnamed.add(i)

    def _by_cell_id(self) -> None:
        known = self.known()
        by_id = {cell.id: j for j, cell in enumerate(self.given) if j not in known}
        for i in self.marked:
            j = by_id.get(self.master[i].get("id", ""))
            if i not in self.found and j is not None:
                self._take(i, j)

    def _by_text(self) -> None:
        """Locked cells by their text, then the master's unmarked cells by theirs."""
        known, places = self.known(), defaultdict(list)
        for j in reversed(range(len(self.given))):
            if j not in known:
                places[self.given[j].cell_type, self._squeezed[j]].append(j)
        for i in self.marked:
            if i not in self.found and is_locked(self.master[i]):
                texts = sorted(self._texts[i])  # not in the order of a set
                alike = (places[self.master[i].cell_type, text] for text in texts)
                if like := next(filter(None, alike), None):
                    self._take(i, like.pop())
        for i, cell in enumerate(self.master):
            like = places[cell.cell_type, squeezed(cell.source)]
            if like and i not in self._texts:
                self.ordinary[like.pop()] = i

    def _by_place(self, i: int) -> None:
        """An answer without its id, between the nearest cells that are known."""
        at = {**self.found, **{i: j for j, i in self.ordinary.items()}}
        above = max((k for k in at if k < i), default=None)
        below = min((k for k in at if k > i), default=None)
        start = 0 if above is None else at[above] + 1
        end = len(self.given) if below is None else at[below]
        used = self.known() | self.ordinary.keys()
        near = [j for j in range(start, end) if j not in used]
        near = [j for j in near if self.given[j].source.strip()]
        names = self._wanted(i)
        fits = [j for j in near if names and names <= self._names[j]]
        same = [j for j in near if not self.is_changed(i, j)]
        kind = self.master[i].cell_type
        alike = [j for j in near if self.given[j].cell_type == kind]
        if fits:
            self._take(i, fits[-1])
        elif same:
            self._take(i, same[0])
        elif len(alike) == 1 and at:
            self._take(i, alike[0])


def _names(source: str) -> set[str]:
    """What a cell defines at its top level: functions and classes, else variables."""
    return set(_DEFINED.findall(source)) or set(_ASSIGNED.findall(source))
