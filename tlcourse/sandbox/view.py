"""What student code may see of the package: no answers, and nothing to grade with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from tlcourse.exercises.spec import Probe
from tlcourse.sandbox.emptying import empty, used_by

_PACKAGE = Path(__file__).resolve().parents[1]
_LEFT_OUT = {
    "tlcourse/__main__.py",
    "tlcourse/authoring",
    "tlcourse/cli",
    "tlcourse/doctor",
    "tlcourse/exercises/keys",
    "tlcourse/grading",
    "tlcourse/interview",
    "tlcourse/notebooks.py",
    "tlcourse/restoring.py",
}


def make_view(folder: Path, probes: Sequence[Probe]) -> Path:
    """Copy the package to ``folder``, without what answers the probes.

    Left out are the keys and whatever grades. A function or class of the package that
    a probe forbids is emptied: calling it is refused by its name. One that a hint of
    another probe tells learners to call, ``grad_reverse(...)``, stays whole, and only
    :func:`tlcourse.exercises.forbidding.watch` guards it.

    Args:
        folder: a new or empty folder; put it first on the path where student code
            runs.
        probes: those of one assignment.

    Returns:
        The folder.

    Raises:
        FileExistsError: there is a package in the folder already.
    """
    sources, others = _contents()
    changed = empty(sources, emptied_names(probes))
    files = others | {p: text.encode() for p, text in (sources | changed).items()}
    (folder / "tlcourse").mkdir(parents=True)
    for parent in sorted({(folder / path).parent for path in files}):
        parent.mkdir(parents=True, exist_ok=True)
    for path, content in sorted(files.items()):
        (folder / path).write_bytes(content)
    return folder


def emptied_names(probes: Sequence[Probe]) -> list[str]:
    """The package's own names that a view for ``probes`` refuses, sorted."""
    sources, _ = _contents()
    forbidden = {name for probe in probes for name in probe.forbid}
    ours = {name for name in forbidden if name.startswith("tlcourse.")}
    whole = {name for name in ours if _is_recommended(name, probes)}
    while needed := {
        name
        for name in ours - whole
        if any(name.rpartition(".")[2] in used_by(sources, kept) for kept in whole)
    }:
        whole |= needed
    return sorted(ours - whole)


def _is_recommended(name: str, probes: Sequence[Probe]) -> bool:
    """Whether a hint calls it; ``train()`` without an argument is a module's own."""
    home, last = name.split(".")[-2:]
    before = r"\." if home[0].isupper() else rf"(?<![\w.])(?:{home}\.)?"
    call = re.compile(rf"{before}{last}\((?!\))")
    others = (probe for probe in probes if name not in probe.forbid)
    return any(call.search(hint) for probe in others for hint in probe.hints)


@lru_cache(maxsize=1)
def _contents() -> tuple[dict[str, str], dict[str, bytes]]:
    """Modules and other files of the package by path; read once."""
    sources, others = {}, {}
    for path in sorted(_PACKAGE.rglob("*")):
        name = path.relative_to(_PACKAGE.parent)
        within = {part.as_posix() for part in (name, *name.parents)}
        if within & _LEFT_OUT or "__pycache__" in name.parts or not path.is_file():
            continue
        if path.suffix == ".py":
            sources[name.as_posix()] = path.read_text(encoding="utf-8")
        else:
            others[name.as_posix()] = path.read_bytes()
    return sources, others
