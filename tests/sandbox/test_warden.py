"""What the warden adds up, at its very limits; processes are made up here."""

import os

import pytest

from tlcourse.sandbox import warden
from tlcourse.sandbox.limits import Limits

MB = 2**20
BASE = 500 * MB  # what the server holds


def told(monkeypatch, *members, base=BASE, **limits):
    """What the watch says of processes (resident, proportional, threads)."""
    seen = dict(enumerate(members, 1_000_000))
    monkeypatch.setattr(warden, "_in_namespace_of", lambda _: list(seen))
    mine = {os.getpid(): (base, base, 1)}
    everyone = mine | seen
    monkeypatch.setattr(warden, "_resident", lambda p: everyone[p][::2])
    monkeypatch.setattr(warden, "_proportional", lambda p: everyone[p][1])
    return warden.Watch(Limits(**limits)).look(1)


@pytest.mark.parametrize(("threads", "says"), [(32, ""), (33, "processes")])
def test_threads_of_all_processes_count(monkeypatch, threads, says):
    members = (BASE, BASE, 32), (BASE, 0, threads)
    assert told(monkeypatch, *members, processes=64) == says


@pytest.mark.parametrize(("extra", "says"), [(300, ""), (301, "memory")])
def test_memory_beyond_the_servers_counts(monkeypatch, extra, says):
    size = BASE + extra * MB
    assert told(monkeypatch, (size, size, 1), memory_mb=300) == says


def test_shared_pages_are_no_new_memory(monkeypatch):
    fork = BASE + 100 * MB, BASE // 5 + 20 * MB, 1
    assert told(monkeypatch, *[fork] * 5, memory_mb=300) == ""
