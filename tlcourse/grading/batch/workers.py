"""Dask workers: processes of our own, or those of any scheduler.

The assignment reaches each worker process once, by a plugin; a worker that dask
starts anew gets it again.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dask
from distributed import (
    Client,
    LocalCluster,
    TimeoutError,
    Worker,
    WorkerPlugin,
    get_worker,
)

from tlcourse.grading.records import Assignment, Result, Submission

Grade = Callable[[Assignment, Submission], Result]

PATIENCE = 60.0  # seconds to wait for a scheduler, or for a worker
_STARTS = 3
_SETTINGS = {
    "distributed.logging.distributed": "critical",
    # Else dask ends a worker for good that is being restarted when it happens to
    # look, this long after an earlier death.
    "distributed.deploy.lost-worker-timeout": "1000 days",
}


class Lost(RuntimeError):
    """The workers cannot be reached; the message says how to go on."""


@contextlib.contextmanager
def open_client(
    workers: int, scheduler: str | None, scratch: Path | None = None
) -> Iterator[Client]:
    """A client of a cluster of our own, or of the scheduler at an address.

    Args:
        workers: processes of one thread each; not used with ``scheduler``.
        scheduler: ``tcp://host:port``, or ``None``.
        scratch: where our own workers put temporary files.

    Raises:
        Lost: nothing answers at that address.
    """
    with dask.config.set(_SETTINGS), contextlib.ExitStack() as stack:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        if scheduler is None:
            cluster = stack.enter_context(_started(workers, scratch))
            yield stack.enter_context(Client(cluster, set_as_default=False))
            return
        try:
            client = Client(scheduler, timeout=PATIENCE / 4, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise Lost(
                f"No dask scheduler answers at {scheduler!r} ({error}). Start one "
                "with `dask scheduler`; its address looks like tcp://host:8786."
            ) from error
        yield stack.enter_context(client)


def _started(workers: int, scratch: Path | None) -> LocalCluster:
    """Our own cluster; tried again where a worker died before it had begun."""
    failed: Exception | None = None
    for _ in range(_STARTS):
        try:
            return _own_cluster(workers, scratch)
        except (RuntimeError, OSError, TimeoutError) as error:
            failed = error
    raise Lost(
        f"No worker process starts on this computer ({failed}). Try --workers 1, or "
        "look for what ends processes here: memory that is full, most often."
    ) from failed


def _own_cluster(workers: int, scratch: Path | None) -> LocalCluster:
    """Workers on this computer, watched by nannies; seen by nobody else."""
    environment = {"OMP_NUM_THREADS": "1"}
    if scratch is not None:
        environment["TMPDIR"] = str(scratch)
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        memory_limit=0,  # submissions have limits of their own
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
        local_directory=None if scratch is None else str(scratch),
        env=environment,
        scheduler_kwargs={
            "allowed_failures": 0,  # counted here, by submission
            "dashboard_address": "127.0.0.1:0",  # its web server takes a free port
        },
    )


@dataclass
class Desk(WorkerPlugin):
    """What a worker process has for the whole run."""

    name: str
    assignment: Assignment
    grade: Grade
    seconds: float
    idempotent = True

    def setup(self, worker: Worker) -> None:
        """Make a worker process fit for grading."""
        os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
        if threading.current_thread() is threading.main_thread():
            # Ctrl-C reaches the whole process group; the grader decides what it
            # means. A handler, not SIG_IGN: programs started here must not inherit it.
            signal.signal(signal.SIGINT, lambda *_: None)

    def teardown(self, worker: Worker) -> None:
        """End what its submissions ran in."""
        unit = sys.modules.get("tlcourse.grading.unit")
        close = getattr(unit, "close_servers", None)  # else it is being imported
        if close is not None:
            close()


def grade_submission(assignment: Assignment, submission: Submission) -> Result:
    """Grade one submission; torch is loaded here, in the worker, and nowhere else."""
    from tlcourse.grading.unit import grade_submission as work

    return work(assignment, submission)


def grade_at_desk(name: str, submission: Submission) -> Result:
    """The task: grade in the one thread of a worker process."""
    worker = get_worker()
    desk = worker.plugins[name]
    worker.log_event(name, submission.student)
    with _deadline(desk.seconds):
        return desk.grade(desk.assignment, submission)


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """End this process if it is still here then, whatever it does: it is hung.

    The timer is a thread of C: it fires too where Python's own threads cannot run.
    """
    with open(os.devnull, "w") as nothing:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nothing)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
