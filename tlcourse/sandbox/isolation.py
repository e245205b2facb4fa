"""Find out what keeps a submission from everything else here; without it, refuse."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tlcourse.sandbox.mounts import BOX, RUN, Mount, bubblewrap_arguments, python_mounts

_MB = 2**20
# To make namespaces and mounts, to give up the user id, to look at and end a kernel.
_WARDENS_RIGHTS = (
    *("SYS_ADMIN", "SETUID", "SETGID", "SETPCAP"),
    *("CHOWN", "DAC_OVERRIDE", "KILL", "SYS_PTRACE"),
)
_TRIAL_SECONDS = 60
# What a warden does for each kernel, tried once before anything is graded.
_TRIAL = (
    "from tlcourse.sandbox import filtering, syscalls as s; import os; "
    "s.unshare(s.CLONE_NEWNS | s.CLONE_NEWPID | s.CLONE_NEWIPC | s.CLONE_NEWUTS); "
    "p = os.fork()\n"
    "if p == 0:\n"
    " s.mount(None, '/', None, s.MS_REC | s.MS_PRIVATE)\n"
    " s.mount('proc', '/proc', 'proc')\n"
    " filtering.refuse_calls()\n"
    " os._exit(0)\n"
    "os._exit(os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) and 1)"
)


class NoIsolation(RuntimeError):
    """Nothing here can isolate a submission; the message says how to get it."""


@dataclass(frozen=True)
class Isolation:
    """A means of isolation that was tried and works.

    Args:
        kind: ``bubblewrap``, or ``namespaces`` that we make ourselves.
        user: the unprivileged user id that kernels get; ``None`` where the one who
            grades is not root, and kernels keep that id without any rights.
    """

    kind: Literal["bubblewrap", "namespaces"]
    user: int | None = None

    def command(self, program: list[str], view: Path | None, run: Path) -> list[str]:
        """The command that runs ``program`` shut in.

        Args:
            program: what to run, by its path outside.
            view: see :class:`tlcourse.sandbox.server.ForkServer`.
            run: the folder of sockets, the only one shared with the outside.
        """
        home = Path(__file__).resolve().parents[2]
        mounts = python_mounts(
            view or home,
            tmp_bytes=64 * _MB,
            shm_bytes=64 * _MB,
            hidden=[home] if (home / "course.toml").is_file() else [],
        )
        mounts += [Mount("read-write", str(run), RUN), Mount("tmpfs", "", BOX, 4096)]
        if self.kind == "bubblewrap":
            shut_in = [*_bubblewrap(self.user is None), *bubblewrap_arguments(mounts)]
            return [*shut_in, "--", *program]
        from tlcourse.sandbox.enclose import enclose_command

        return enclose_command(mounts, program)


def _bubblewrap(new_user: bool) -> list[str]:
    """Own everything; rights inside only, for the wardens, which hand on none."""
    command = [shutil.which("bwrap") or "bwrap", "--unshare-pid", "--unshare-net"]
    command += ["--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    command += ["--new-session", "--hostname", "sandbox"]
    if new_user:
        command += ["--unshare-user", "--uid", "0", "--gid", "0"]
    for right in _WARDENS_RIGHTS:
        command += ["--cap-add", f"CAP_{right}"]
    return command


def find_isolation() -> Isolation:
    """The best isolation that works here, tried for real.

    Raises:
        NoIsolation: none works; the message says what was tried and how to mend it.
    """
    if sys.platform != "linux":
        raise NoIsolation(
            "Isolation needs Linux. On Windows grade in WSL 2, on macOS in a container."
        )
    user = 20_000 + os.getpid() % 40_000 if os.getuid() == 0 else None
    tried = []
    for kind in ("bubblewrap", "namespaces"):
        if kind == "bubblewrap" and not shutil.which("bwrap"):
            tried.append("bubblewrap: there is no program 'bwrap'")
            continue
        found = Isolation(kind, user)
        if not (words := _try(found)):
            return found
        tried.append(f"{kind}: {words}")
    raise NoIsolation(
        "Nothing here can isolate a submission, so nothing is graded.\n"
        + "\n".join(tried)
        + "\nInstall bubblewrap (`apt install bubblewrap`); in a container, allow user "
        "namespaces. `--unsafe` grades without isolation: only for people you trust."
    )


def _try(isolation: Isolation) -> str:
    """What went wrong, or an empty string."""
    program = [sys.executable, "-I", "-c", _TRIAL]
    with tempfile.TemporaryDirectory(prefix="tl-") as run:
        try:
            done = subprocess.run(
                isolation.command(program, None, Path(run)),
                capture_output=True,
                text=True,
                timeout=_TRIAL_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    return "" if done.returncode == 0 else done.stderr.strip()[-500:] or "it failed"
