"""Linux calls that Python 3.11 has no function for; each raises ``OSError``.

The C library is looked up at the first call, so that the module can be imported
on every system.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from functools import cache

# linux/sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# linux/mount.h
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_SYS_MOUNT_SETATTR = 442  # the same on every architecture but alpha

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522

Path = str | os.PathLike[str]


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object, about: Path | None = None) -> int:
    """Call a function of the C library; -1 becomes an ``OSError``."""
    ctypes.set_errno(0)
    value = getattr(_library(), name)(*arguments)
    if value == -1:
        number = ctypes.get_errno()
        what = f"{name}: {os.strerror(number)}"
        raise OSError(number, what, None if about is None else os.fspath(about))
    return value


def _bytes(text: Path | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def _word(number: int) -> ctypes.c_ulong:
    """A full machine word: what a C function with variable arguments reads."""
    return ctypes.c_ulong(number)


def mount(
    source: Path | None,
    target: Path,
    fstype: str | None = None,
    flags: int = 0,
    data: str | None = None,
) -> None:
    """mount(2)."""
    arguments = _bytes(source), _bytes(target), _bytes(fstype)
    _call("mount", *arguments, _word(flags), _bytes(data), about=target)


def umount2(target: Path, flags: int = 0) -> None:
    """umount2(2)."""
    _call("umount2", _bytes(target), flags, about=target)


def pivot_root(new_root: Path, put_old: Path) -> None:
    """pivot_root(2): the current root is found at ``put_old`` afterwards."""
    _call("pivot_root", _bytes(new_root), _bytes(put_old), about=new_root)


def restrict_mount(target: Path, attributes: int, recursive: bool = True) -> None:
    """mount_setattr(2): add ``MOUNT_ATTR_…`` to a mount and what is mounted below.

    Raises:
        OSError: ``ENOSYS`` where Linux is older than 5.12.
    """
    # struct mount_attr: attributes to set, to clear, propagation, user namespace
    request = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    where = ctypes.c_long(_AT_FDCWD), ctypes.c_char_p(_bytes(target))
    how = _word(_AT_RECURSIVE if recursive else 0), request, _word(32)
    number = ctypes.c_long(_SYS_MOUNT_SETATTR)
    _call("syscall", number, *where, *how, about=target)


def unshare(flags: int) -> None:
    """unshare(2): leave the namespaces named by ``CLONE_NEW…``.

    A new pid namespace is entered by the children, not by the caller.
    """
    _call("unshare", flags)


def _prctl(option: int, *arguments: int) -> int:
    words = [_word(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    return _call("prctl", option, *words)


def set_no_new_privs() -> None:
    """From now on no program that is executed gains privileges, setuid or not."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_filter(program: Sequence[bytes]) -> None:
    """seccomp(2): run a filter at every system call from now on.

    Args:
        program: ``struct sock_filter``, one after the other.
    """
    steps = ctypes.create_string_buffer(b"".join(program))
    # struct sock_fprog: a number of 16 bits, a gap, a pointer
    header = (ctypes.c_size_t * 2)(len(program), ctypes.addressof(steps))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(header))


def die_with_parent(signal: int) -> None:
    """Receive ``signal`` when the *thread* that forked this process ends.

    A change of user id clears it, so call it after that, and compare
    ``os.getppid()``: the parent may be gone already.
    """
    _prctl(_PR_SET_PDEATHSIG, signal)


def set_dumpable(dumpable: bool) -> None:
    """Whether processes of the same user may trace this one and read its memory."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable))


def drop_bounding_set() -> None:
    """Take every capability out of what a program executed later may gain.

    Raises:
        PermissionError: the caller has no ``CAP_SETPCAP``.
    """
    for capability in range(64):
        try:
            held = _prctl(_PR_CAPBSET_READ, capability)
        except OSError as error:
            if error.errno == errno.EINVAL:  # this kernel knows no more of them
                return
            raise
        if held:
            _prctl(_PR_CAPBSET_DROP, capability)


def drop_capabilities() -> None:
    """Give up every capability for good, in all five sets.

    Best before it: :func:`drop_bounding_set`, then the change of user id. Without
    ``CAP_SETPCAP`` the bounding set stays, and no new privileges make it harmless.
    """
    try:
        drop_bounding_set()
    except PermissionError:
        set_no_new_privs()
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)  # 0: this process
    nothing = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    _call("capset", header, nothing)
