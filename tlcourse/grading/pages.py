"""HTML pages that need no network and no script, written in one step."""

from __future__ import annotations

from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tlcourse.files import write_whole


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = inline_code
    environment.filters["number"] = number
    return environment


def render(template: str, **values: Any) -> str:
    """A page from ``templates/``; every value is escaped unless it is Markup."""
    return _environment().get_template(template).render(values)


def inline_code(text: str) -> Markup:
    """Escape, and set what stands between backticks as code."""
    parts = escape(text).split("`")
    pieces = (f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))
    return Markup("".join(pieces))  # its parts were escaped above


def number(value: float) -> str:
    """Points as people write them: at most two decimals, none where none is needed."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    """Write a file whole or not at all.

    What UTF-8 cannot say (half of a surrogate pair from a notebook) becomes ``?``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode("utf-8", "replace"))
    path.chmod(mode)
    return path
