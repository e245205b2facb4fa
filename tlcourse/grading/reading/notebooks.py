"""Read a notebook that a stranger wrote: a clean one comes out, or one sentence."""

from __future__ import annotations

import json
import math
import re
from itertools import count, islice
from typing import Any

import nbformat
from nbformat import NotebookNode

KINDS = ("code", "markdown", "raw")
_MAX_PARTS = 1_000_000  # lists and dicts: each takes some 60 bytes when parsed
_MAX_VALUES = 5_000_000
_MAX_CELLS = 10_000
_MAX_TEXT = 1_000_000  # characters of one cell
_MAX_MARKS = 50  # nbgrader writes nine
_LONGEST_NUMBER = 25
_CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PICTURE = re.compile(r"image/(png|jpeg|gif|webp|bmp)")  # an SVG may hold a script
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_AGAIN = "Open it in JupyterLab, save it, and hand it in again."


class Unreadable(ValueError):
    """The file is no notebook that can be graded; the message is for the learner."""


def read_notebook(data: bytes) -> NotebookNode:
    """A clean notebook of nbformat 4.5 from the bytes of a file.

    Cells keep their kind, their source (with ``\\n`` as line end), a unique id, the
    plain values of nbgrader's metadata, their tags and attached pictures. Outputs
    and all other metadata are dropped: the grader makes its own.

    Raises:
        Unreadable: nothing can be graded; the message says why and what to do.
    """
    found = _parse(data)
    cells, taken = [], set()
    for cell in _cells_of(found):
        made = _clean_cell(cell)
        if made is not None:
            made["id"] = _free_id(cell.get("id"), len(cells), taken)
            cells.append(made)
    if any(len(cell.source) > _MAX_TEXT for cell in cells):
        raise Unreadable(
            f"A cell has more than {_MAX_TEXT:,} characters. Put data in a file "
            "beside the notebook, save it, and hand it in again."
        )
    if not any(cell.source.strip() for cell in cells):
        raise Unreadable(
            "The notebook has no cell with any text in it. Was it saved after the "
            "work was done? " + _AGAIN
        )
    return nbformat.v4.new_notebook(cells=cells, nbformat_minor=5)


def _parse(data: bytes) -> dict[str, Any]:
    """The JSON object in ``data``, bounded in size, depth and numbers."""
    if not data.strip():
        raise Unreadable(f"The file is empty. {_AGAIN}")
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        raise Unreadable(f"The file is not text, so no notebook. {_AGAIN}") from None
    text = text.removeprefix("\ufeff")
    parts = text.count("{") + text.count("[")
    if parts > _MAX_PARTS or text.count(",") > _MAX_VALUES:
        raise Unreadable(
            "The file has far more parts than any notebook. Clear the outputs "
            "(Edit, Clear Outputs of All Cells), save it, and hand it in again."
        )
    try:
        found = json.loads(text, parse_int=_number, parse_constant=lambda _: None)
    except RecursionError:
        raise Unreadable(
            f"The file is nested far deeper than any notebook. {_AGAIN}"
        ) from None
    except ValueError as error:
        raise Unreadable(f"{_why_broken(text, error)} {_AGAIN}") from None
    if not isinstance(found, dict):
        raise Unreadable(f"The file is JSON, but not a notebook. {_AGAIN}")
    return found


def _why_broken(text: str, error: ValueError) -> str:
    start = text[:2_000].lstrip()
    if start.startswith(("<<<<<<<", "=======")) or "\n<<<<<<< " in text:
        return "The file holds the marks of an unfinished merge (<<<<<<<)."
    if not start.startswith(("{", "[")):
        return "The file is not a notebook: a notebook is JSON and starts with '{'."
    line = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
    return f"The file is broken: it is not valid JSON{line}."


def _number(digits: str) -> int | None:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else None


def _cells_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells of a notebook of any version that people still have."""
    version = found.get("nbformat")
    if isinstance(version, int) and version > nbformat.current_nbformat:
        raise Unreadable(
            f"The notebook is in format {version}; formats up to "
            f"{nbformat.current_nbformat} can be graded. {_AGAIN}"
        )
    cells = found.get("cells")
    if cells is None and isinstance(found.get("worksheets"), list):
        sheets = (s for s in found["worksheets"] if isinstance(s, dict))
        lists = (s.get("cells") for s in sheets)
        cells = [_upgraded(c) for part in lists if isinstance(part, list) for c in part]
    if not isinstance(cells, list):
        raise Unreadable(
            f"The file is not a notebook: it has no list of cells. {_AGAIN}"
        )
    if len(cells) > _MAX_CELLS:
        raise Unreadable(
            f"The notebook has {len(cells):,} cells; at most {_MAX_CELLS:,} can be "
            "graded. Delete what is no answer, save it, and hand it in again."
        )
    return [cell for cell in cells if isinstance(cell, dict)]


def _upgraded(cell: Any) -> Any:
    """A cell of nbformat 3 and older in the words of nbformat 4."""
    if not isinstance(cell, dict):
        return None
    kind, source = cell.get("cell_type"), _text(cell.get("source"))
    if kind == "code":
        source = _text(cell.get("input"))
    elif kind == "heading":
        level = cell.get("level")
        marks = "#" * (level if level in range(1, 7) else 1)
        source = f"{marks} {' '.join(source.splitlines())}"
    kind = "markdown" if kind in ("heading", "html") else kind
    return {**cell, "cell_type": kind, "source": source}


def _clean_cell(cell: dict[str, Any]) -> NotebookNode | None:
    """The cell with what grading needs; ``None`` if it is not a cell at all."""
    kind, source = cell.get("cell_type"), _text(cell.get("source"))
    if not isinstance(kind, str):
        return None
    metadata = cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    kept: dict[str, Any] = {}
    if isinstance(metadata.get("nbgrader"), dict):
        kept["nbgrader"] = _plain(metadata["nbgrader"])
    if isinstance(metadata.get("tags"), list):
        kept["tags"] = sorted({_mended(t) for t in metadata["tags"] if _is_tag(t)})
    made = {"cell_type": kind if kind in KINDS else "raw", "source": source}
    if made["cell_type"] == "code":
        made |= {"execution_count": None, "outputs": []}
    elif pictures := _pictures(cell.get("attachments")):
        made["attachments"] = pictures
    return nbformat.from_dict({**made, "metadata": kept})


def _text(source: Any) -> str:
    """Source text; a list of lines is joined, anything else is no text."""
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    if not isinstance(source, str):
        return ""
    return _mended(source).replace("\r\n", "\n").replace("\r", "\n")


def _mended(text: str) -> str:
    """Half a character (a lone surrogate) cannot be written to a file or a socket."""
    return _LONE_SURROGATE.sub("\ufffd", text)


def _is_tag(tag: Any) -> bool:
    return isinstance(tag, str) and bool(tag) and "," not in tag


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Only texts, truth values and finite numbers; nothing nested."""
    plain = {}
    for key, value in islice(values.items(), _MAX_MARKS):
        if isinstance(value, str):
            plain[_mended(key)] = _mended(value)
        elif isinstance(value, bool | int | float) and math.isfinite(value):
            plain[_mended(key)] = value
    return plain


def _pictures(attachments: Any) -> dict[str, dict[str, str]]:
    """Attached pictures: an answer by hand may be a photograph of a page."""
    found: dict[str, dict[str, str]] = {}
    for name, bundle in attachments.items() if isinstance(attachments, dict) else ():
        kept = {
            kind: text
            for kind, data in (bundle.items() if isinstance(bundle, dict) else ())
            if _PICTURE.fullmatch(kind) and _BASE64.fullmatch(text := _text(data))
        }
        if kept:
            found[_mended(name)] = kept
    return found


def _free_id(wanted: Any, position: int, taken: set[str]) -> str:
    """The cell's own id if it is a valid one that no earlier cell has."""
    chosen = wanted if isinstance(wanted, str) and _CELL_ID.fullmatch(wanted) else ""
    if not chosen or chosen in taken:
        chosen = unused_id(f"unnamed-{position}", taken)
    taken.add(chosen)
    return chosen


def unused_id(stem: str, taken: set[str]) -> str:
    """``stem``, or ``stem`` and the first number that nothing in ``taken`` has."""
    if stem not in taken:
        return stem
    return next(i for n in count(2) if (i := f"{stem}-{n}") not in taken)
