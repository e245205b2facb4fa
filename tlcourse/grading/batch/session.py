"""Grade a class: what is done is kept, the rest is spread over workers and written.

::

    submitted/ ─► done before? ─► workers ─► journal ─► gradebook, autograded/ ─► report

Everything is written by this process, one submission after the other, the journal
first. So a run that ends anywhere, even by ``kill -9``, is gone on with by the same
command: what the journal has is not graded again, only applied where it is missing.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import MappingProxyType

from tlcourse.grading.batch.holding import hold
from tlcourse.grading.batch.options import Options, Plan, Summary
from tlcourse.grading.batch.scheduling import Pool
from tlcourse.grading.batch.stopping import Interrupted, Stopped, explained, signals
from tlcourse.grading.batch.table import Board
from tlcourse.grading.batch.workers import Grade, grade_submission, open_client
from tlcourse.grading.book.autograded import has_autograded, write_autograded
from tlcourse.grading.book.gradebook import Book, Refused
from tlcourse.grading.book.masters import Course, load_assignment, load_course
from tlcourse.grading.digests import digest
from tlcourse.grading.journal import Journal
from tlcourse.grading.reading.submissions import read_submissions, students_of
from tlcourse.grading.records import Assignment, Result, Submission
from tlcourse.sandbox.isolation import NoIsolation, find_isolation
from tlcourse.sandbox.limits import Limits


def grade(
    root: Path,
    name: str,
    options: Options,
    board: Callable[[int], Board] = Board,
    work: Grade = grade_submission,
) -> Summary:
    """Grade an assignment's submissions, write the results, and report.

    Args:
        root: the course folder, with ``nbgrader_config.py``.
        name: the assignment.
        options: see :class:`Options`.
        board: makes what shows the progress, from the number of submissions.
        work: grades one submission, in a worker.

    Raises:
        NoIsolation: student code cannot be isolated here, nor was that waived.
        Stopped: disk or gradebook cannot be written.
        Lost: the workers are gone.
        Interrupted: Ctrl-C.
    """
    if not options.unsafe and options.scheduler is None:
        find_isolation()
    course = load_course(root)
    said: list[str] = []
    with explained(), signals() as asked:
        assignment = _assignment(course, name, options, said.append)
        students = _chosen(course, name, options.students)
        with (
            hold(course.reports / name, name) as scratch,
            Book.of(course) as book,
            board(len(students)) as shown,
        ):
            run = _Run(course, assignment, book, shown, options, asked)
            run.begin(said)
            todo = run.todo(students)
            for first in todo:  # no worker is started where nothing is to be done
                run.spread(chain([first], todo), work, scratch)
            shown.doing("writing the report")
            from tlcourse.grading.report import write_report  # needs matplotlib

            html, json = write_report(course, name, run.journal.results())
    return Summary(shown.counts, shown.kept, tuple(run.errors), html, json)


def plan(root: Path, name: str, options: Options) -> Plan:
    """What :func:`grade` would do; changes nothing."""
    course = load_course(root)
    assignment = _assignment(course, name, options, generate=False)
    students = _chosen(course, name, options.students)
    journal = Journal(course.reports / name / "results")
    todo, done = [], []
    for submission in read_submissions(course, assignment, students):
        kept = _kept(journal, assignment, submission, options)
        (done if kept else todo).append(submission.student)
    try:
        what, isolated = find_isolation().kind, True
    except NoIsolation as error:
        what, isolated = str(error), False
    if options.unsafe:
        what, isolated = "none: --unsafe was given", False
    return Plan(tuple(todo), tuple(done), what, isolated)


@dataclass
class _Run:
    """Reads and writes for one run; the one writer of gradebook and journal."""

    course: Course
    assignment: Assignment
    book: Book
    board: Board
    options: Options
    asked: Sequence[int]  # signals that ask this run to stop
    errors: list[tuple[str, str]] = field(default_factory=list)

    @property
    def journal(self) -> Journal:
        return Journal(self.course.reports / self.assignment.name / "results")

    def begin(self, said: Sequence[str]) -> None:
        for path in self.journal.set_aside():
            self.board.say(f"{path} cannot be read; that submission is graded again.")
        for sentence in said:
            self.board.say(sentence)

    def tick(self, running: Mapping[str, float] = MappingProxyType({})) -> None:
        self.board.refresh(running)
        if self.asked:
            self.board.doing("stopping, in order; Ctrl-C again stops at once")
            raise Interrupted(self.asked[0])

    def todo(self, students: list[str]) -> Iterator[Submission]:
        """Submissions to grade. What is done is applied on the way."""
        for submission in read_submissions(self.course, self.assignment, students):
            kept = _kept(self.journal, self.assignment, submission, self.options)
            if kept is not None:
                with suppress(Refused):  # then it is graded again
                    self._apply(submission, kept)
                    self.board.count(kept, kept=True)
                    self.tick()
                    continue
            yield submission

    def spread(
        self, submissions: Iterable[Submission], work: Grade, scratch: Path
    ) -> None:
        """Grade submissions on workers."""
        options = self.options
        seconds = _hung_after(options.limits)
        workers = min(options.workers, self.board.total)
        self.board.doing("starting the workers")
        with open_client(workers, options.scheduler, scratch) as client:
            pool = Pool(client, self.assignment, work, seconds, (NoIsolation,))
            for submission, result in pool.run(submissions, self.tick):
                self.finish(submission, result)
            self.board.doing("ending the workers")

    def finish(self, submission: Submission, result: Result) -> None:
        """Keep a new result: the journal first."""
        self.journal.write(result)
        try:
            self._apply(submission, result)
        except Refused as error:
            failed = {"status": "error", "message": str(error), "notebooks": ()}
            result = result.model_copy(update=failed)
            self.journal.write(result)
        if result.status == "error":
            self.errors.append((result.student, result.message))
        self.board.count(result)

    def _apply(self, submission: Submission, result: Result) -> None:
        """Bring gradebook and autograded/ to what the result says."""
        if result.status == "error":
            return
        if not self.book.has(result):
            self.book.write(result)
        if not has_autograded(self.course, result):
            write_autograded(self.course, result, self.assignment, submission)


def _hung_after(limits: Limits) -> float:
    """Seconds after which a worker that is not done with one submission is hung.

    Its cells, then the observations of its checks, each keep to the total limit; a
    failure of the grader is tried twice; starting kernels on a busy computer is slow.
    """
    return 4 * limits.total_seconds + 300


def _kept(
    journal: Journal, assignment: Assignment, submission: Submission, options: Options
) -> Result | None:
    """The result of an earlier run, where the same things decided it."""
    if options.regrade:
        return None
    kept = journal.read(submission.student)
    if kept is None or kept.status == "error":
        return None
    return kept if kept.digest == digest(assignment, submission) else None


def _chosen(course: Course, name: str, students: tuple[str, ...] | None) -> list[str]:
    """Who is to be graded.

    Raises:
        Stopped: nobody is, or somebody has handed in nothing.
    """
    there = students_of(course, name)
    if not there:
        raise Stopped(
            f"Nobody has handed in {name}: there is no "
            f"{course.submitted}/STUDENT/{name}."
        )
    for student in students or ():
        if student not in there:
            near = difflib.get_close_matches(student, there)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise Stopped(f"{student!r} has handed in nothing for {name}.{hint}")
    return there if students is None else list(dict.fromkeys(students))


def _assignment(
    course: Course,
    name: str,
    options: Options,
    say: Callable[[str], None] | None = None,
    generate: bool = True,
) -> Assignment:
    return load_assignment(
        course,
        name,
        rule=options.rule,
        limits=options.limits,
        isolated=not options.unsafe,
        generate=generate,
        say=say,
    )
