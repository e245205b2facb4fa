"""Tell IPython's magics from Python, line by line, without IPython.

IPython's own reader splits a cell into tokens again for every magic, up to 500
times: a cell of hostile length would keep a grader busy for minutes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(
    r"(?P<before>\s*(?:[\w.,*][\w.,* ]*=\s*)?)(?P<sign>%%?|!!?|\?)(?P<rest>.*)"
)
_HELP = re.compile(r"\s*%{0,2}[\w.]+\?{1,2}\s*")
_AROUND_CODE = {"capture", "prun", "time", "timeit"}
_HARMLESS = {
    *_AROUND_CODE,
    "autoreload",
    "config",
    "load_ext",
    "matplotlib",
    "pip",
    "precision",
    "who",
    "whos",
}
_SHELL = {"bash", "sh", "script", "sx", "system", "perl", "ruby", "python", "python3"}


@dataclass(frozen=True)
class Magic:
    """One line that IPython understands and Python does not.

    Args:
        text: the line.
        name: ``time`` for ``%time``; empty for ``!ls``.
    """

    text: str
    name: str

    @property
    def shell(self) -> bool:
        """Whether it starts a program."""
        return not self.name or self.name in _SHELL

    @property
    def harmless(self) -> bool:
        """Whether it only measures, shows or sets up."""
        return self.name in _HARMLESS


def split_magics(source: str) -> tuple[str, list[Magic]]:
    """The Python of a cell, line for line, and its magics.

    What a magic such as ``%time`` runs stays as Python; of a cell in another
    language no Python is left.
    """
    lines = source.split("\n")
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):
        magic = _magic(lines[first][2:])
        rest = lines[first + 1 :] if magic.name in _AROUND_CODE else []
        code, magics = split_magics("\n".join(rest))
        return code, [magic, *magics]
    code, magics = [], []
    for line in lines:
        python, magic = _split_line(line)
        code.append(python)
        magics += [magic] if magic else []
    return "\n".join(code), magics


def _split_line(line: str) -> tuple[str, Magic | None]:
    line = line.rstrip()
    if not line:  # spaces alone keep a regular expression busy
        return "", None
    if _HELP.fullmatch(line):
        return _indent(line) + "pass", None
    found = _LINE.fullmatch(line)
    if not found or _continues(line):
        return line, None
    before, sign, rest = found["before"], found["sign"], found["rest"]
    nothing = "None" if before.strip() else "pass"
    if sign == "?":
        return before + nothing, None
    magic = Magic(line.strip(), "") if sign[0] == "!" else _magic(rest)
    code = _without_options(rest) if magic.name in _AROUND_CODE else ""
    return before + (code or nothing), magic


def _magic(rest: str) -> Magic:
    name = rest.split()[0] if rest.split() else ""
    return Magic(f"%{rest.strip()}", name)


def _without_options(rest: str) -> str:
    """The statement in ``timeit -n 3 f(x)``."""
    return re.sub(r"^\w+\s*(?:-\w+\s*\d*\s*)*", "", rest)


def _continues(line: str) -> bool:
    """``% 7`` on a line of its own continues an expression; a magic has a name."""
    return re.match(r"\s*%{1,2}(?:\s|\W|$|\d)", line) is not None


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
