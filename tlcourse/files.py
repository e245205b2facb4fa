"""Write a file so that it is whole or as before, whenever the power fails."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

DRAFT = ".tmp"  # the end of a name that only a crash leaves behind


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file in one step; its folder is made.

    Args:
        path: the file, made or replaced.
        content: all of it.
        mode: who may read and write it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=DRAFT)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
