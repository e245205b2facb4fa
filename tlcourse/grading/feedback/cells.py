"""A learner's own cells and outputs, cleaned, for the lower part of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_locked, is_solution, is_task
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from tlcourse.grading.feedback.cleaning import (
    MAX_TEXT,
    Budget,
    html,
    left_out,
    markdown,
    picture,
    plain,
    preformatted,
)

_MAX_CELLS = 300
_MAX_OUTPUTS = 20  # of one cell
_FORMATTER = HtmlFormatter(nowrap=True)
_RICH = ("image/png", "image/jpeg", "text/html", "text/markdown", "image/svg+xml")


@dataclass(frozen=True)
class Shown:
    """One cell as it stands on the page.

    Args:
        name: what to call it.
        body: its source.
        outputs: what it showed.
    """

    name: str
    body: Markup
    outputs: tuple[Markup, ...] = ()


def is_learners(cell: NotebookNode) -> bool:
    """Whether a cell may be shown: the teacher's tests and tasks never are."""
    if is_solution(cell):
        return True
    return not (is_grade(cell) or is_task(cell) or is_locked(cell))


def take_out_hidden_tests(notebook: NotebookNode, delimiter: str) -> frozenset[str]:
    """Empty every cell with a region that learners never got; gives their grade ids.

    Whatever a cell says of itself: metadata can be forged.
    """
    hidden = set()
    for cell in notebook.cells:
        if delimiter in cell.source:
            hidden.add(str(cell.metadata.get("nbgrader", {}).get("grade_id", "")))
            cell.source = ""
    return frozenset(hidden)


def learners_cells(
    notebook: NotebookNode,
    budget: Budget,
    outputs: Mapping[str, list[Any]] | None = None,
) -> list[Shown]:
    """The cells that a learner could write in, in their order.

    Args:
        notebook: the autograded one.
        budget: what the page may still hold.
        outputs: to show instead of the notebook's own, by source.
    """
    shown: list[Shown] = []
    number = 0
    for cell in notebook.cells:
        number += cell.cell_type == "code"
        if not is_learners(cell) or not cell.source.strip():
            continue
        if len(shown) == _MAX_CELLS:
            return [*shown, Shown("", left_out("cells", "there are too many"))]
        pieces: tuple[Markup, ...] = ()
        if cell.cell_type == "code":
            theirs = cell.outputs if outputs is None else outputs.get(cell.source, [])
            pieces = tuple(_outputs(theirs, budget))
        name = f"Code {number}" if cell.cell_type == "code" else "Text"
        shown.append(Shown(name, source_of(cell, budget), pieces))
    return shown


def source_of(cell: NotebookNode, budget: Budget) -> Markup:
    """What a learner wrote in a cell, cleaned."""
    show = {"code": _code, "markdown": markdown}.get(cell.cell_type, preformatted)
    return show(cell.source, budget)


def error_of(cell: NotebookNode) -> str:
    """The error that a cell ended with, in one short text; empty if there is none."""
    for output in cell.get("outputs", []):
        if output.get("output_type") == "error":
            name, text = output.get("ename", ""), output.get("evalue", "")
            return plain(f"{name}: {text}" if text else name, 1_000)
    return ""


def _code(source: str, budget: Budget) -> Markup:
    if not budget.take("text", min(len(source), MAX_TEXT)):
        return left_out("code", "the page is long enough")
    clean = plain(source)
    # Pygments escapes every token.
    coloured = highlight(clean, PythonLexer(ensurenl=False, stripnl=False), _FORMATTER)
    return Markup("<pre class='code'>{}</pre>").format(Markup(coloured))


def _outputs(outputs: Any, budget: Budget) -> Any:
    """Each output cleaned; anything that is no output is passed over."""
    outputs = [o for o in outputs if isinstance(o, Mapping)] if outputs else []
    for output in outputs[:_MAX_OUTPUTS]:
        kind = output.get("output_type")
        if kind == "stream":
            yield preformatted(output.get("text"), budget)
        elif kind == "error":
            name, text = output.get("ename", ""), output.get("evalue", "")
            yield preformatted(f"{name}: {text}", budget)
        elif kind in ("display_data", "execute_result"):
            yield _data(output.get("data"), budget)
    if len(outputs) > _MAX_OUTPUTS:
        yield left_out(f"{len(outputs) - _MAX_OUTPUTS} more outputs", "too many")


def _data(data: Any, budget: Budget) -> Markup:
    """The richest form that can be shown safely; else the plain text."""
    data = data if isinstance(data, Mapping) else {}
    kind = next((mime for mime in _RICH if mime in data), None)
    if kind == "text/html":
        cleaned = html(data[kind], budget)
        if cleaned is not None and (cleaned.striptags() or "<img" in cleaned):
            return Markup("<div class='rich'>{}</div>").format(cleaned)
    elif kind == "text/markdown":
        return Markup("<div class='rich'>{}</div>").format(markdown(data[kind], budget))
    elif kind is not None:
        return picture(kind, data[kind], budget)
    if "text/plain" in data:
        return preformatted(data["text/plain"], budget)
    return left_out("output", "it can only be shown in JupyterLab")
