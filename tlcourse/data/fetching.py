"""Downloads, only when asked for, by torchvision's own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlcourse.data.missing import DataMissing


def fetch(class_name: str, root: Path, mirror: str | None, **options: Any) -> None:
    """Download a torchvision data set into ``root``; MD5 sums are checked.

    Args:
        class_name: name in ``torchvision.datasets``.
        root: folder, made if needed.
        mirror: address of a folder that holds the same files, or None.
        **options: further arguments of the class (``train``, ``split``, ...).

    Raises:
        DataMissing: the files could not be fetched.
    """
    import torchvision.datasets

    owner = getattr(torchvision.datasets, class_name)
    if mirror is not None:
        owner = type(class_name, (owner,), _mirrored(owner, mirror.rstrip("/") + "/"))
    root.mkdir(parents=True, exist_ok=True)
    try:
        owner(str(root), download=True, **options)
    except (OSError, RuntimeError) as error:
        raise DataMissing(
            f"{class_name} could not be fetched into {root}: {error}. Check the "
            "network, name a folder that holds the files with mirror='https://...', "
            "or copy the files by hand."
        ) from error


def _mirrored(owner: Any, mirror: str) -> dict[str, Any]:
    """The class attributes that hold addresses, pointed at the mirror."""
    changed: dict[str, Any] = {}
    if hasattr(owner, "mirrors"):
        changed["mirrors"] = [mirror]
    if hasattr(owner, "url"):
        changed["url"] = mirror + owner.url.rpartition("/")[2]
    if hasattr(owner, "download_url_prefix"):
        changed["download_url_prefix"] = mirror.rstrip("/")
    if hasattr(owner, "_download_url_prefix"):
        changed["_download_url_prefix"] = mirror
    if hasattr(owner, "split_list"):
        changed["split_list"] = {
            part: [mirror + url.rpartition("/")[2], name, md5]
            for part, (url, name, md5) in owner.split_list.items()
        }
    return changed
