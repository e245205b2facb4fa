"""The same promises for every way to run a program in a root of its own."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import tlcourse
from tlcourse.sandbox.mounts import Mount, bubblewrap_arguments, in_order, python_mounts

if sys.platform != "linux":
    pytest.skip("namespaces are Linux's", allow_module_level=True)
from tlcourse.sandbox import syscalls as linux
from tlcourse.sandbox.enclose import enclose_command

PACKAGE = Path(tlcourse.__file__).resolve().parent
ENVIRONMENT = {"PATH": "/usr/bin", "HOME": "/tmp"}
MIB = 2**20
# Without root's rights, but with access to the same files, wherever Python is.
ORDINARY = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
PROBE = """
import json, os, socket
import sys; sys.path.insert(0, sys.argv[1])
import tlcourse
def reached(family, address):
    with socket.socket(family) as s:
        return s.connect_ex(address) == 0
def written(name, count):
    try:
        with open(name, "wb") as file:
            for _ in range(count):
                file.write(bytes(2**20))
        return True
    except OSError:
        return False
mounts = [line.split() for line in open("/proc/self/mountinfo")]
print(json.dumps({
    "root": sorted(os.listdir("/")),
    "beside": sorted(os.listdir(sys.argv[1])),
    "environment": dict(os.environ),
    "view": tlcourse.VIEW,
    "processes": sum(name.isdigit() for name in os.listdir("/proc")),
    "tcp": reached(socket.AF_INET, ("127.0.0.1", int(sys.argv[2]))),
    "abstract": reached(socket.AF_UNIX, "\\0" + sys.argv[3]),
    "writable": [m[4] for m in mounts if "ro" not in m[5].split(",")],
    "hostname": socket.gethostname(),
    "null": open("/dev/null").read(),
    "terminal": os.openpty() != (),
    "small file": written("/tmp/small", 1),
    "large file": written("/tmp/large", 9),
    "large memory": written("/dev/shm/large", 9),
    "folder": os.getcwd(),
}))
"""


class Way:
    """One way to run a program with mounts: as somebody, by enclose or bubblewrap."""

    def __init__(self, somebody: list[str], by: str) -> None:
        self.somebody, self.by = somebody, by

    def line(self, program, mounts) -> list[str]:
        if self.by == "enclose":
            return [*self.somebody, *enclose_command(mounts, program)]
        line = ["bwrap", "--unshare-all", "--uid", "0", "--gid", "0"]
        line += ["--cap-add", "ALL", "--die-with-parent"]
        line += ["--hostname", "sandbox", "--chdir", "/tmp"]
        line += bubblewrap_arguments(mounts)
        return [*self.somebody, *line, "--", *program]

    def run(self, program, mounts) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.line(program, mounts),
            capture_output=True,
            text=True,
            timeout=60,
            env=ENVIRONMENT,
        )


def why_not(somebody: list[str], by: str) -> str:
    """Why this way cannot be tried here; empty if it can."""
    programs = [*somebody[:1], *(["bwrap"] if by == "bubblewrap" else [])]
    if missing := [name for name in programs if not shutil.which(name)]:
        return f"{missing[0]} is not installed"
    user = "" if os.geteuid() == 0 and not somebody else " | linux.CLONE_NEWUSER"
    trial = "from tlcourse.sandbox import syscalls as linux; "
    trial += f"linux.unshare(linux.CLONE_NEWNS{user})"
    done = subprocess.run(
        [*somebody, sys.executable, "-c", trial], capture_output=True, text=True
    )
    return done.stderr.strip()[-200:] if done.returncode else ""


@pytest.fixture(
    scope="module",
    params=[(who, by) for by in ("enclose", "bubblewrap") for who in ([], ORDINARY)],
    ids=["enclose", "enclose-ordinary", "bubblewrap", "bubblewrap-ordinary"],
)
def way(request):
    if reason := why_not(*request.param):
        pytest.skip(reason)
    return Way(*request.param)


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    (folder / PACKAGE.name).mkdir()
    (folder / PACKAGE.name / "__init__.py").write_text("VIEW = True\n")
    return folder


@pytest.fixture(scope="module")
def mounts(view):
    return python_mounts(view, tmp_bytes=8 * MIB, shm_bytes=8 * MIB)


@pytest.fixture(scope="module")
def seen(way, mounts):
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        name = f"tlcourse-test-{os.getpid()}"
        abstract.bind("\0" + name)
        abstract.listen()
        port = str(server.getsockname()[1])
        arguments = [str(PACKAGE.parent), port, name]
        done = way.run([sys.executable, "-I", "-c", PROBE, *arguments], mounts)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_only_the_listed_folders_exist(seen, mounts):
    expected = {mount.target.split("/")[1] for mount in mounts}
    assert set(seen["root"]) == expected
    assert not expected & {"home", "var", "run", "mnt", "srv", "opt", "media", "boot"}


def test_the_view_is_in_the_packages_place_and_the_course_is_absent(seen):
    assert seen["view"] is True
    assert set(seen["beside"]) <= {PACKAGE.name, Path(sys.prefix).name}


def test_the_environment_is_what_was_given(seen):
    added = {"LC_CTYPE", "PWD"}  # by Python, by bubblewrap
    left = {k: v for k, v in seen["environment"].items() if k not in added}
    assert left == ENVIRONMENT


def test_no_process_outside_is_seen(seen):
    assert seen["processes"] == 2  # process 1, which reaps, and the probe


@pytest.mark.parametrize("kind", ["tcp", "abstract"])
def test_no_socket_outside_is_reached(seen, kind):
    assert seen[kind] is False


def test_nothing_is_writable_but_memory_and_devices(seen):
    places = {"/tmp", "/dev/shm", "/dev/pts", "/proc"}
    others = set(seen["writable"]) - places
    devices = {"null", "zero", "full", "random", "urandom", "tty"}
    assert others <= {f"/dev/{name}" for name in devices}


def test_memory_folders_are_bounded(seen):
    assert seen["small file"] is True
    assert seen["large file"] is False
    assert seen["large memory"] is False


def test_terminals_and_devices_work(seen):
    assert (seen["null"], seen["terminal"]) == ("", True)


def test_host_name_and_folder(seen):
    assert (seen["hostname"], seen["folder"]) == ("sandbox", "/tmp")


def test_namespaces_nest(way, mounts):
    inner = "mount -t proc proc /proc && mount -t tmpfs none /tmp && echo $$"
    done = way.run(["/usr/bin/unshare", "-pmnf", "sh", "-c", inner], mounts)
    assert (done.stdout.strip(), done.stderr) == ("1", "")


@pytest.mark.parametrize(
    "script, code", [("exit 3", 3), ("kill -SEGV $$", 128 + signal.SIGSEGV)]
)
def test_the_exit_status_is_the_commands(way, mounts, script, code):
    assert way.run(["/bin/sh", "-c", script], mounts).returncode == code


def test_what_runs_inside_ends_with_it(way, mounts):
    line = way.line(["/bin/sh", "-c", "sleep 100 & echo up; wait"], mounts)
    with subprocess.Popen(line, stdout=subprocess.PIPE, env=ENVIRONMENT) as outer:
        assert outer.stdout.readline() == b"up\n"
        outer.kill()
        ended, _, _ = select.select([outer.stdout], [], [], 30)
        assert ended and outer.stdout.read() == b""  # nobody is left who could write


def test_a_source_that_is_missing_stops_it(way, mounts):
    wrong = [*mounts, Mount("read-only", "/no/such/folder", "/x")]
    done = way.run(["/bin/sh", "-c", "echo ran"], wrong)
    assert done.returncode != 0
    assert "/no/such/folder" in done.stderr
    assert done.stdout == ""


def test_a_hidden_folder_inside_pythons_own_is_empty(way, view):
    hidden = Path(sys.base_prefix, "share")
    mounts = python_mounts(view, tmp_bytes=MIB, shm_bytes=MIB, hidden=[hidden])
    target = str(hidden.resolve())
    done = way.run(["/bin/sh", "-c", f"ls -A {target}; : > {target}/x"], mounts)
    assert done.stdout == ""
    assert "ead-only" in done.stderr


def test_parents_come_before_what_is_inside_them():
    mounts = [Mount("tmpfs", "", name) for name in ("/a/b/c", "/d", "/a/b", "/", "/a")]
    places = [mount.target for mount in in_order(mounts)]
    assert places == ["/", "/d", "/a", "/a/b", "/a/b/c"]


def test_a_failing_call_names_what_it_was_about():
    with pytest.raises(OSError, match="umount2.*/no/such/folder"):
        linux.umount2("/no/such/folder")


def test_dropping_capabilities_leaves_none():
    script = (
        "from tlcourse.sandbox.syscalls import drop_capabilities as d; d(); "
        "lines = [line.split() for line in open('/proc/self/status')]; "
        "print([int(x[1], 16) for x in lines if x[0].startswith('Cap')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    held = json.loads(done.stdout)
    bounding = held.pop(3)
    assert held == [0] * 4
    assert os.geteuid() or bounding == 0  # only root may change the bounding set
