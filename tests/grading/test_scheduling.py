"""Workers die, hang and fail; every submission still gets its one result."""

import signal
import socket
import subprocess
import sys

import fakes
import pytest

from tlcourse.grading.batch import scheduling, workers
from tlcourse.grading.batch.scheduling import PER_WORKER, Pool
from tlcourse.grading.batch.workers import Lost, open_client


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with open_client(2, None, tmp_path_factory.mktemp("scratch")) as opened:
        yield opened


def pool(client, **settings):
    settings = {"seconds": 60.0, "fatal": (fakes.Fatal,), **settings}
    return Pool(client, fakes.ASSIGNMENT, fakes.grade, **settings)


def idle(running):
    """A tick that only lets time pass."""


def statuses(client, *words, **settings):
    graded = pool(client, **settings).run(fakes.submissions(*words), idle)
    found = {s.files["do"].decode(): r for s, r in graded}
    assert len(found) == len(set(words))
    return {word: result.status for word, result in found.items()}


def test_each_once_with_its_own_result(client):
    given = fakes.submissions(*["fine"] * 20)
    got = list(pool(client).run(given, idle))
    assert sorted(s.student for s, _ in got) == [s.student for s in given]
    assert all(s.student == r.student for s, r in got)
    assert {r.message for _, r in got} == {"threads 1"}
    assert not client.futures  # nothing is kept of what is done


def test_submissions_are_taken_as_workers_become_free(client):
    taken = []

    def given():
        for submission in fakes.submissions(*["fine"] * 30):
            taken.append(submission)
            yield submission

    for done, _ in enumerate(pool(client).run(given(), idle)):
        assert len(taken) - done <= PER_WORKER * 2 + 1
    assert len(taken) == 30


def test_running_students_are_told(client):
    seen = set()
    list(pool(client).run(fakes.submissions("sleep 0.5"), seen.update))
    assert seen == {"s00"}


def test_an_exception_costs_only_its_submission(client):
    found = list(pool(client).run(fakes.submissions("raise", "fine"), idle))
    results = {s.files["do"]: r for s, r in found}
    assert results[b"fine"].status == "graded"
    assert results[b"raise"].status == "error"
    assert "RuntimeError: a bug" in results[b"raise"].message


def test_a_fatal_exception_ends_the_run(client):
    with pytest.raises(fakes.Fatal, match="no isolation"):
        list(pool(client).run(fakes.submissions("refuse", *["fine"] * 9), idle))
    assert statuses(client, "fine") == {"fine": "graded"}


def test_a_killer_is_found_and_its_neighbours_are_graded(client):
    found = statuses(client, "die", "sleep 0", "sleep 0.1", "fine")
    assert found.pop("die") == "error"
    assert set(found.values()) == {"graded"}


def test_a_hung_worker_is_ended(client, monkeypatch):
    monkeypatch.setattr(scheduling, "MOST_DEATHS", 1)
    assert statuses(client, "hang", "fine", seconds=0.5) == {
        "hang": "error",
        "fine": "graded",
    }


def test_stopping_cancels_and_the_workers_stay_usable(client):
    def stop(running):
        if running:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(pool(client).run(fakes.submissions(*["sleep 0.2"] * 40), stop))
    assert statuses(client, "fine") == {"fine": "graded"}


@pytest.mark.parametrize("deaths", [2, 3])
def test_workers_that_die_while_they_start(monkeypatch, deaths):
    started = []

    def start(**settings):
        started.append(settings)
        if len(started) <= deaths:
            raise RuntimeError("Nanny failed to start.")
        return "a cluster"

    monkeypatch.setattr(workers, "LocalCluster", start)
    if deaths == 2:
        assert workers._started(1, None) == "a cluster"
    else:
        with pytest.raises(Lost, match="Nanny failed to start.*--workers 1"):
            workers._started(1, None)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_nobody_at_the_address(monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 1.0)
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(Lost, match=f"No dask scheduler answers at '{address}'"):
        open_client(1, address).__enter__()


@pytest.fixture
def dask():
    """Starts ``dask ...`` commands; ends them."""
    started = []

    def start(*words):
        command = [sys.executable, "-m", "dask", *words]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, **quiet))
        return started[-1]

    yield start
    for process in reversed(started):
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_a_scheduler_by_address(dask, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 120.0)
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))  # the workers need the fakes
    address = f"tcp://127.0.0.1:{free_port()}"
    scheduler = dask("scheduler", "--host", address, "--no-dashboard")
    with open_client(1, address) as client:
        with pytest.raises(Lost, match="No worker came within 0 s"):
            list(pool(client, patience=0.2).run(fakes.submissions("fine"), idle))
        dask("worker", address, "--nthreads", "1", "--no-dashboard")
        run = pool(client, patience=60).run(fakes.submissions(*["fine"] * 9), idle)
        assert next(run)[1].status == "graded"
        run.close()
        run = pool(client, patience=2).run(fakes.submissions(*["sleep 5"] * 9), idle)
        scheduler.kill()
        with pytest.raises(Lost, match="scheduler is gone"):
            list(run)
