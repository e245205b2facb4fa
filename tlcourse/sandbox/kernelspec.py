"""Warm kernels under a name that every Jupyter program understands.

The name belongs to this Python environment: the provisioner that forks the kernels
is an entry point of the package, so only the Jupyter installed beside it has it.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

NAME = "tlcourse-warm"
_MARK = "tlcourse"  # in the metadata of the kernels that are ours to remove


class KernelNameTaken(ValueError):
    """The name is not one of ours, or cannot be a kernel's name."""


def can_fork() -> bool:
    """Whether this system can fork a process that has torch loaded."""
    return sys.platform == "linux"


def write_kernelspec(kernels: Path, name: str = NAME) -> Path:
    """Write the kernelspec ``name`` into a folder of kernelspecs; returns its own.

    Where :func:`can_fork` says no, it is an ordinary kernel under the same name.
    """
    provisioner = {"kernel_provisioner": {"provisioner_name": NAME}}
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Transfer learning" + (" (warm)" if can_fork() else ""),
        "language": "python",
        "metadata": {_MARK: True} | (provisioner if can_fork() else {}),
    }
    folder = kernels / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernel.json").write_text(json.dumps(spec, indent=1) + "\n", "utf-8")
    return folder


def install(name: str = NAME) -> Path:
    """Install the kernelspec into this environment; returns its folder.

    Raises:
        KernelNameTaken: another kernel has this name.
    """
    folder = _folder(name)
    if folder.exists() and not _is_ours(folder):
        raise KernelNameTaken(
            f"{folder} is another kernel; choose another name: --name NAME."
        )
    return write_kernelspec(folder.parent, name)


def remove(name: str = NAME) -> bool:
    """Remove the kernelspec; whether there was one.

    Raises:
        KernelNameTaken: the kernel of this name was installed by something else.
    """
    folder = _folder(name)
    if not folder.exists():
        return False
    if not _is_ours(folder):
        raise KernelNameTaken(f"{folder} was not installed by tlcourse; it stays.")
    shutil.rmtree(folder)
    return True


def _folder(name: str) -> Path:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise KernelNameTaken(
            f"a kernel's name is made of a-z, 0-9, '-', '_' and '.'; got {name!r}."
        )
    return Path(sys.prefix) / "share" / "jupyter" / "kernels" / name


def _is_ours(folder: Path) -> bool:
    try:
        spec = json.loads((folder / "kernel.json").read_text("utf-8"))
        return _MARK in spec["metadata"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
