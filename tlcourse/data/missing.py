"""The cache folder of the hub families, and the error when files are not there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


class DataMissing(FileNotFoundError):
    """Files of a data set are not on this computer; the message says how to mend."""


def cache_folder() -> Path:
    """Where hub families look for files.

    ``TLCOURSE_DATA`` decides; otherwise the user's cache folder of the platform.
    """
    chosen = os.environ.get("TLCOURSE_DATA")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("tlcourse", appauthor=False) / "data"


def need(name: str, wanted: Sequence[Path], hint: str) -> None:
    """Raise :class:`DataMissing` unless all ``wanted`` files or folders exist.

    Args:
        name: the data set.
        wanted: files or folders.
        hint: how else they can be provided, one sentence.
    """
    lacking = [path for path in wanted if not path.exists()]
    if not lacking:
        return
    listed = "\n".join(f"  {path}" for path in lacking)
    raise DataMissing(
        f"{name!r} is not on this computer. Wanted:\n{listed}\n"
        f"Nothing is fetched unless you ask. {hint}\n"
        "The environment variable TLCOURSE_DATA names another cache folder."
    )
