"""Isolated kernels for real: what they can reach, and how they end."""

import asyncio
import os
import shutil
import signal
import subprocess
from ast import literal_eval
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import tlcourse
from tlcourse.exercises import get, wire
from tlcourse.exercises.judging import verdict
from tlcourse.sandbox import warden
from tlcourse.sandbox.isolation import Isolation, NoIsolation, find_isolation
from tlcourse.sandbox.limits import Limits
from tlcourse.sandbox.server import ForkServer, ServerFailed

EXERCISES = ("losses.cross_entropy", "losses.triplet_loss")
SMALL = Limits(memory_mb=300, processes=40, disk_mb=50)


@pytest.fixture(scope="module")
def isolation():
    try:
        return find_isolation()
    except NoIsolation as why:
        pytest.skip(str(why))


@pytest.fixture(scope="module")
def server(isolation):
    with ForkServer(None, isolation, EXERCISES) as server:
        yield server


@asynccontextmanager
async def kernel_of(server, files=None, limits=SMALL):
    manager = server.kernel_manager(files, limits)
    await manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=60)
        yield manager, client
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


async def execute(client, code) -> str:
    """What a cell prints, shows or raises, as text."""
    asked, said = client.execute(code), []
    while True:
        message = await client.get_iopub_msg(timeout=60)
        content = message["content"]
        if message["parent_header"].get("msg_id") != asked:
            continue
        if content.get("execution_state") == "idle":
            return "".join(said)
        data = content.get("data", {})
        said.append(content.get("text", data.get("text/plain", "")))
        said.append(content.get("ename", ""))


def run(server, *cells, files=None, limits=SMALL):
    async def main():
        async with kernel_of(server, files, limits) as (_, client):
            return [await execute(client, cell) for cell in cells]

    return asyncio.run(main())


def ending(server, cell, limits=SMALL) -> str:
    """How the kernel of a cell that ends it has ended."""

    async def main():
        async with kernel_of(server, limits=limits) as (manager, client):
            client.execute(cell)
            await asyncio.wait_for(manager.provisioner.wait(), 15)
            return manager.provisioner.ending

    return asyncio.run(main())


def test_a_kernel_sees_no_course_no_secret_and_no_network(server, monkeypatch):
    course = Path(tlcourse.__file__).resolve().parents[1]
    seen = run(
        server,
        "import os, socket; print(sorted(os.environ))",
        f"print([n for n in os.listdir({str(course)!r})])",
        "print(os.listdir('/proc/1/root'), os.getpid(), os.listdir('.'))",
        "socket.create_connection(('127.0.0.1', 22), timeout=1)",
        "wanted = ('CapEff', 'NoNewP')\n"
        "print([l for l in open('/proc/self/status') if l[:6] in wanted])",
        files={"data/a.txt": b"x"},
    )
    assert "MPLBACKEND" in seen[0] and "TLCOURSE_HOME" in seen[0]
    assert not {"PWD", "SHELL", "SSH_AUTH_SOCK", "PYTEST_VERSION"} & set(
        literal_eval(seen[0])  # our own text: a list of names
    )
    assert set(literal_eval(seen[1])) <= {"tlcourse", ".venv"}
    assert "'data'" in seen[2] and " 1 " in seen[2]
    assert "Error" in seen[3]
    assert "0000000000000000" in seen[4] and "NoNewPrivs:\\t1" in seen[4]


def test_nothing_can_be_written_but_memory(server):
    seen = run(
        server,
        "import os, sys\nok = []\n"
        "tops = ['/', '/usr', '/etc', '/dev', '/run/tl', '/box', '/tmp', '/dev/shm']\n"
        "for top in [*tops, os.path.expanduser('~'), *sys.path]:\n"
        "    try:\n"
        "        open(os.path.join(top, 'trace'), 'w').close(); ok.append(top)\n"
        "    except OSError: pass\n"
        "print(ok)",
        "open('/tmp/big', 'wb').write(b'1' * 60_000_000)",
    )
    assert literal_eval(seen[0]) == [
        "/box",
        "/tmp",
        "/dev/shm",
        "/box/home",
        "/box/work",
    ]
    assert "OSError" in seen[1]


@pytest.mark.parametrize(
    ("cell", "how"),
    [
        ("import os; os._exit(3)", "exit 3"),
        ("import ctypes; ctypes.string_at(0)", "signal 11"),
        ("import os; os.kill(1, 9); os._exit(1)", "exit 1"),
        (
            "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n"
            "        x = bytearray(200 * 2**20); time.sleep(60)\ntime.sleep(60)",
            "memory",
        ),
        (
            "import mmap, time\nx = mmap.mmap(-1, 900 * 2**20)\n"
            "for i in range(0, len(x), 4096): x[i] = 1\ntime.sleep(60)",
            "memory",
        ),
        (
            "import subprocess, sys, time\n"
            "hold = 'import time; x = bytearray(250 * 2**20); time.sleep(60)'\n"
            "for _ in range(4): subprocess.Popen([sys.executable, '-Sc', hold])\n"
            "time.sleep(60)",
            "memory",
        ),
    ],
    ids=["exit", "segfault", "kill", "memory", "shared memory", "programs"],
)
def test_how_a_kernel_ends_is_told(server, cell, how):
    assert ending(server, cell) == how


UNSEEN = {
    "memory without a name": "os.memfd_create('x')",
    "a shared segment": "called(libc.shmget(0, 2**20, 0o1600))",
    "a user namespace": "called(libc.unshare(0x10000000))",
    "a fork into a namespace": "called(libc.syscall(clone, 0x10000011, 0, 0, 0, 0))",
    "a mount": "called(libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None))",
    "another group": "os.setpgid(0, 0)",
    "a file beside the sockets": "open('/box/run/x', 'w')",
    "a folder beside the sockets": "os.mkdir('/box/run/x')",
}


def test_nothing_is_used_that_a_warden_cannot_see(server):
    prepare = (
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "clone = {'x86_64': 56, 'aarch64': 220}[os.uname().machine]\n"
        "def called(value):\n"
        "    if value == -1: raise OSError(ctypes.get_errno(), 'refused')"
    )
    seen = run(server, prepare, *UNSEEN.values())[1:]
    assert dict(zip(UNSEEN, seen, strict=True)) == {
        way: "OSError" if "sockets" in way else "PermissionError" for way in UNSEEN
    }


def test_a_process_that_leads_no_group_is_killed():
    with subprocess.Popen(["sleep", "60"]) as process:  # it stays in this group
        warden._signal(process.pid, signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL


def test_what_is_too_large_is_an_error_of_the_cell(server):
    assert "MemoryError" in run(server, "x = bytearray(10**9)")[0]
    threads = "import threading, time\nfor _ in range(80):\n"
    threads += "    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
    said = run(server, threads)[0] if os.getuid() == 0 else "RuntimeError"
    assert "RuntimeError" in said


def test_a_daemon_ends_with_its_kernel(server, tmp_path):
    before = _sleepers()
    run(
        server,
        "import subprocess\n"
        "p = subprocess.Popen(['sleep', '4321'], start_new_session=True)",
    )
    for _ in range(100):
        if _sleepers() == before:
            return
        asyncio.run(asyncio.sleep(0.05))
    pytest.fail("a process of the submission is still there")


def _sleepers() -> int:
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += path.read_bytes() == b"sleep\x004321\x00"
        except OSError:
            continue
    return count


def test_the_installed_torch_comes_before_a_submitted_one(server):
    wrong = {"json.py": b"evil = 1", "helper.py": b"x = 5", "torch.py": b"evil = 1"}
    seen = run(
        server,
        "import json, torch, helper; print(hasattr(json, 'evil'), helper.x)",
        "print(hasattr(torch, 'evil'))",
        files=wrong,
    )
    assert seen == ["False 5\n", "False\n"]


def test_each_kernel_begins_anew(server):
    cell = "import torch, numpy, random; print(torch.rand(1), numpy.random.rand())"
    first, second = run(server, cell)[0], run(server, cell)[0]
    assert first.split(")")[0] == second.split(")")[0]  # as in a new process of torch
    assert first != second


def test_figures_are_shown(server):
    seen = run(server, "import matplotlib.pyplot as plt; plt.plot([1, 2]);")
    assert "Figure" in seen[0]


ANSWERS = """
import os
def right(logits, targets, reduction="mean"):
    return 1
def leave(*a, **k): os._exit(4)
def spin(*a, **k):
    while True: pass
"""


async def _ask(client, kind, **content) -> dict:
    client.shell_channel.send(client.session.msg(f"{kind}_request", content))
    while True:
        reply = await client.get_shell_msg(timeout=60)
        if reply["msg_type"] == f"{kind}_reply":
            return reply["content"]


def observed(server, cells, name, seconds=5.0, later=""):
    """The reply for ``name`` after ``cells``; ``later`` runs before the cases come."""

    async def main():
        exercise = get(EXERCISES[0])
        async with kernel_of(server) as (_, client):
            for cell in cells:
                await execute(client, cell)
            for other in EXERCISES:
                done = await _ask(client, "prepare", exercise=other, name=name)
                assert done == {"status": "ok"}
            await execute(client, later)
            cases = exercise.probe.make(7)
            sent = wire.encode_cases(cases)
            reply = await _ask(
                client, "observe", exercise=exercise.id, cases=sent, seconds=seconds
            )
            if reply["status"] == "ended":
                return reply["how"]
            run = wire.decode_run(reply["run"], cases)
            return verdict(exercise, run, cases, 7)

    return asyncio.run(main())


def test_an_answer_is_observed_at_its_moment(server):
    assert observed(server, [ANSWERS], "right", later="right = None").status == "failed"
    assert observed(server, [ANSWERS], "nothing").message.startswith("Your code raised")
    assert observed(server, [ANSWERS], "leave") == "exit 4"
    assert observed(server, [ANSWERS], "spin", seconds=0.5).status == "out of time"
    everyone = "import os, signal; os.kill(-1, signal.SIGKILL)"
    assert observed(server, [ANSWERS], "right", later=everyone) == "signal 9"


def test_no_other_process_helps_an_answer(server):
    exercise = get(EXERCISES[0])
    asked = {"exercise": exercise.id, "name": "f"}
    cases = wire.encode_cases(exercise.probe.make(7))

    async def main():
        async with kernel_of(server) as (_, client):
            start = "import subprocess; helper = subprocess.Popen(['sleep', '60'])"
            await execute(client, start)
            await _ask(client, "prepare", **asked)
            await _ask(client, "observe", **asked, cases=cases, seconds=5.0)
            return await execute(client, "helper.wait()")

    assert asyncio.run(main()) == "-9"


def test_a_server_that_dies_is_replaced(isolation):
    with ForkServer(None, isolation) as server:
        assert run(server, "print(1)") == ["1\n"]
        os.kill(server.pid, 9)
        server._process.wait(10)
        assert run(server, "print(2)") == ["2\n"]
        folder = server._folder
    assert not server.alive and not folder.exists()


def test_a_server_that_cannot_start_says_why(isolation, tmp_path):
    shutil.copytree(Path(tlcourse.__file__).parent, tmp_path / "tlcourse")
    (tmp_path / "tlcourse" / "sandbox" / "forkserver.py").write_text("1 / 0")
    server = ForkServer(tmp_path, isolation)
    with pytest.raises(ServerFailed, match="ZeroDivisionError"):
        run(server, "1")


def test_without_isolation_nothing_is_found(monkeypatch):
    monkeypatch.setattr("tlcourse.sandbox.isolation._try", lambda _: "not permitted")
    with pytest.raises(NoIsolation, match="(?s)namespaces: not permitted.*--unsafe"):
        find_isolation()


def test_namespaces_serve_where_bubblewrap_is_missing(isolation):
    user = isolation.user
    with ForkServer(None, Isolation("namespaces", user), EXERCISES) as server:
        assert run(server, "import os; print(os.getpid())") == ["1\n"]
        assert ending(server, "import os; os._exit(3)") == "exit 3"
