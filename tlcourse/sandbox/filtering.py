"""Refuse system calls that no notebook needs and that would undo the box.

Memory in unnamed files (``memfd_create``) and in System V segments, queues and
semaphores is no process's resident memory, so a warden cannot see it. In a user
namespace of its own a process may mount folders without a bound and hide its children
in a process namespace. The first process of a namespace that joins the group of one
that has ended can never end itself: Linux waits for the number to be free. The others
open large parts of Linux that were often broken.
"""

from __future__ import annotations

import errno
import os
import struct

from tlcourse.sandbox import syscalls as linux

# linux/audit.h, and the numbers of system calls by machine (asm/unistd.h)
_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_REFUSED = {
    "x86_64": {
        **{"memfd_create": 319, "shmget": 29, "msgget": 68, "semget": 64},
        "setpgid": 109,
        **{"unshare": 272, "setns": 308, "mount": 165, "add_key": 248},
        **{"request_key": 249, "keyctl": 250, "bpf": 321, "userfaultfd": 323},
        **{"perf_event_open": 298},
    },
    "aarch64": {
        **{"memfd_create": 279, "shmget": 194, "msgget": 186, "semget": 190},
        "setpgid": 154,
        **{"unshare": 97, "setns": 268, "mount": 40, "add_key": 217},
        **{"request_key": 218, "keyctl": 219, "bpf": 280, "userfaultfd": 282},
        **{"perf_event_open": 241},
    },
}
_REFUSED_EVERYWHERE = {
    **{"io_uring_setup": 425, "open_tree": 428, "fsopen": 430, "memfd_secret": 447},
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435  # its flags are behind a pointer; the C library goes back to clone
_NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW… that clone takes
_OTHER_CALLS = 0x40000000  # the same calls again, by x86_64's second interface

# linux/filter.h and linux/seccomp.h
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # places in struct seccomp_data
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def refuse_calls() -> None:
    """Refuse them to this process and its children, for good, with ``EPERM``.

    Raises:
        OSError: Linux has no filters here, or this machine's calls are not known.
    """
    machine = os.uname().machine
    if machine not in _MACHINES:
        known = " and ".join(_MACHINES)
        raise OSError(
            errno.ENOSYS, f"system calls are known of {known}, not of {machine}"
        )
    linux.set_no_new_privs()
    linux.set_filter(_program(machine))


def _program(machine: str) -> list[bytes]:
    """The filter, in the language of Linux's packet filters."""
    refuse = _step(_RETURN, _ERRNO | errno.EPERM)
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, _MACHINES[machine], passing=1, failing=0),
        refuse,
        _step(_LOAD, _NUMBER),
        *(_step(_AT_LEAST, _OTHER_CALLS), refuse),
    ]
    for number in (*_REFUSED[machine].values(), *_REFUSED_EVERYWHERE.values()):
        steps += [_step(_EQUAL, number), refuse]
    steps += [_step(_EQUAL, _CLONE3), _step(_RETURN, _ERRNO | errno.ENOSYS)]
    steps += [_step(_EQUAL, _CLONE[machine], failing=3)]
    steps += [_step(_LOAD, _FIRST_ARGUMENT), _step(_ANY_BIT, _NEW_NAMESPACES), refuse]
    return [*steps, _step(_RETURN, _ALLOW)]


def _step(code: int, value: int, passing: int = 0, failing: int = 1) -> bytes:
    """One instruction; a comparison passes over so many of those behind it."""
    compares = code in (_EQUAL, _AT_LEAST, _ANY_BIT)
    jumps = (passing, failing) if compares else (0, 0)
    return struct.pack("=HBBI", code, *jumps, value)
