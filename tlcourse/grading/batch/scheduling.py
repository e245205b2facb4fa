"""Spread submissions over workers, a few ahead, and give up on none too early."""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from distributed import CancelledError, Client, Future, KilledWorker, TimeoutError

from tlcourse.grading.batch.workers import PATIENCE, Desk, Grade, Lost, grade_at_desk
from tlcourse.grading.records import Assignment, Result, Submission

PER_WORKER = 3  # tasks handed out ahead, so that no worker waits for this process
MOST_DEATHS = 3  # workers that one submission may take with it
Tick = Callable[[Mapping[str, float]], None]
_LOOK = 0.2  # seconds between two looks at the table and the scheduler


@dataclass(eq=False)
class _Task:
    submission: Submission
    deaths: int = 0


@dataclass(eq=False)
class Pool:
    """Grades submissions on a client's workers.

    Args:
        client: see :func:`open_client`.
        assignment: what all submissions are graded by.
        grade: what a worker does with one.
        seconds: after which a worker counts as hung.
        fatal: exceptions of ``grade`` that end the run; any other one costs only its
            submission.
        patience: seconds without scheduler or workers until the run ends.
    """

    client: Client
    assignment: Assignment
    grade: Grade
    seconds: float
    fatal: tuple[type[Exception], ...] = ()
    patience: float = PATIENCE
    running: dict[str, float] = field(default_factory=dict)  # student: since when
    _open: dict[Future, _Task] = field(default_factory=dict)
    _suspects: deque[_Task] = field(default_factory=deque)
    _done: queue.SimpleQueue[Future] = field(default_factory=queue.SimpleQueue)
    _name: str = field(default_factory=lambda: f"tlcourse-{uuid.uuid4().hex[:12]}")
    _count: int = 0
    _seen: float = 0.0  # when the workers were last there
    _threads: int = 0

    def run(
        self, submissions: Iterable[Submission], tick: Tick
    ) -> Iterator[tuple[Submission, Result]]:
        """Every submission once with its result, as they come.

        Args:
            submissions: taken as workers become free.
            tick: called several times a second with the students that are being graded,
                and since when; may raise to stop the run.

        Raises:
            Lost: scheduler or workers are gone.
        """
        self._seen = time.monotonic()
        desk = Desk(self._name, self.assignment, self.grade, self.seconds)
        try:
            self._wait_for_workers(tick)
            self.client.subscribe_topic(self._name, self._note)
            self.client.register_plugin(desk, self._name)
            yield from self._work(map(_Task, submissions), tick, alone=False)
            # What was on a worker that died is tried again, one at a time: then it is
            # plain whose fault it was.
            while self._suspects:
                yield from self._work(iter([self._suspects.popleft()]), tick, True)
        finally:
            self._leave()

    def _work(
        self, tasks: Iterator[_Task], tick: Tick, alone: bool
    ) -> Iterator[tuple[Submission, Result]]:
        while True:
            self._look()
            while len(self._open) < (1 if alone else PER_WORKER * self._threads):
                task = next(tasks, None)
                if task is None:
                    break
                self._submit(task)
            if not self._open:
                return
            future = self._next(tick)
            task = self._open.pop(future)
            result = self._conclude(task, future, alone, tick)
            self.running.pop(task.submission.student, None)
            future.release()
            if result is not None:
                yield task.submission, result

    def _submit(self, task: _Task) -> None:
        self._count += 1
        future = self.client.submit(
            grade_at_desk,
            self._name,
            task.submission,
            key=f"{self._name}-{self._count}",
            pure=False,
        )
        self._open[future] = task
        future.add_done_callback(self._done.put)

    def _next(self, tick: Tick) -> Future:
        while True:
            tick(self.running)
            try:
                return self._done.get(timeout=_LOOK)
            except queue.Empty:
                self._look()

    def _conclude(
        self, task: _Task, future: Future, alone: bool, tick: Tick
    ) -> Result | None:
        """The task's result, or ``None`` where it must be tried again."""
        try:
            return _fetch(future, lambda: tick(self.running))
        except KilledWorker as death:
            task.deaths += death.allowed_failures + 1
            if not alone or task.deaths < MOST_DEATHS:
                self._suspects.append(task)
                return None
            what = (
                f"It took {task.deaths} workers with it, the last ones while nothing "
                "else ran, so it was given up. Look at this submission by hand."
            )
        except self.fatal:
            raise
        except CancelledError as error:
            raise self._lost() from error
        except Exception as error:
            what = f"The grader itself failed: {type(error).__name__}: {error}"
        return Result(
            student=task.submission.student,
            assignment=self.assignment.name,
            digest="",
            status="error",
            message=what[:1_000],
            notebooks=(),
            flags=task.submission.flags,
            timestamp=task.submission.timestamp,
        )

    def _note(self, event: tuple[float, Any]) -> None:
        student = event[1]  # comes from dask's thread, perhaps after the result
        if any(task.submission.student == student for task in [*self._open.values()]):
            self.running[student] = time.monotonic()

    def _wait_for_workers(self, tick: Tick) -> None:
        while True:
            self._look()
            if self._threads:
                return
            tick(self.running)
            time.sleep(_LOOK)

    def _look(self) -> None:
        """Count the workers; raise when they have been away for too long."""
        now = time.monotonic()
        if self._threads and now - self._seen < 1:
            return
        try:
            here = self.client.status == "running"
            self._threads = sum(self.client.nthreads().values()) if here else 0
        except (OSError, TimeoutError, ValueError):
            self._threads = 0
        if self._threads:
            self._seen = now
        elif self.client.status == "closed" or now - self._seen > self.patience:
            raise self._lost()

    def _lost(self) -> Lost:
        if self.client.status == "running":
            return Lost(
                f"No worker came within {self.patience:.0f} s. Start some with "
                "`dask worker --nthreads 1 ADDRESS`, then run the same command again."
            )
        return Lost(
            "The dask scheduler is gone. What was graded is kept; run the same "
            "command again when it is back."
        )

    def _leave(self) -> None:
        """Hand back what waits on the workers, as far as they can still be reached."""
        open_, self._open = list(self._open), {}
        if self.client.status != "running":
            return
        with contextlib.suppress(OSError, TimeoutError, ValueError, KeyError):
            self.client.cancel(open_, force=True)
            self.client.unsubscribe_topic(self._name)
            self.client.unregister_worker_plugin(self._name)


def _fetch(future: Future, tick: Callable[[], None]) -> Result:
    """A finished future's result; dask computes it again if its worker has died."""
    while True:
        try:
            return future.result(timeout=_LOOK * 5)
        except TimeoutError:
            if future.status == "error":  # the task's own exception
                raise
            tick()
