"""Checkpoints of a training run: written whole or not at all, refused when wrong."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch


def digest(*tensors: torch.Tensor) -> str:
    """SHA-256 over shapes, dtypes and values: tells one data set from another.

    Args:
        tensors: any shapes and dtypes, on any device.
    """
    result = hashlib.sha256()
    for tensor in tensors:
        result.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        result.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return result.hexdigest()


def write(path: Path, state: dict[str, Any]) -> None:
    """Save ``state`` so that a kill at any moment leaves the old or the new file.

    The bytes go to a second file in the same folder, reach the disk, and take the
    name in one step.

    Raises:
        ValueError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ValueError(
            f"the checkpoint {path} cannot be written ({error.strerror}); "
            "name a file in a folder you may write to."
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise


def read(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """What :func:`write` saved under ``path``; None where there is no file.

    Args:
        path: the checkpoint.
        settings: what must be the same as when it was written.

    Raises:
        ValueError: the file is damaged, is no checkpoint of the course, or belongs
            to a run with other settings. The file stays as it is.
    """
    if not path.exists():
        return None
    mend = "It was kept; delete it to start anew, or name another file."
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"the checkpoint {path} cannot be read ({reason}). {mend}"
        ) from error
    if not isinstance(state, dict) or "settings" not in state:
        raise ValueError(f"{path} is not a checkpoint that fit wrote. {mend}")
    stored = state["settings"]
    wrong = [key for key in settings if stored.get(key) != settings[key]]
    if wrong:
        raise ValueError(
            f"the checkpoint {path} belongs to another run: "
            f"{', '.join(_difference(key, stored, settings) for key in wrong)}. {mend}"
        )
    return state


def _difference(key: str, stored: dict[str, Any], settings: dict[str, Any]) -> str:
    """One setting that differs, in words; long values only by their name."""
    before, now = repr(stored.get(key)), repr(settings[key])
    if len(before) + len(now) > 80:
        return f"other {key}"
    return f"{key} was {before}, now {now}"
