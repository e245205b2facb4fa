"""What one cell shows, cut at a number of bytes; made from messages of any content."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

SHOWN = (
    "text/plain",
    "text/html",
    "text/markdown",
    "text/latex",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/svg+xml",
)
_OVERHEAD = 100  # bytes that any output takes, however short
_ALWAYS = 5  # so many errors and values are kept, shortened, whatever else there is
_SHORT = 1_000  # characters of those
_LINES = 25  # lines kept at either end of a traceback


class Outputs:
    """Collects the outputs of a cell.

    Errors and values decide about points, so they are kept even when the cell has
    shown too much, and even when it clears its outputs.

    Args:
        most: bytes that are kept.
    """

    def __init__(self, most: int) -> None:
        """Nothing yet."""
        self.values: list[str] = []  # as text; every value, cleared or not
        self.failed = False  # an error was shown, cleared or not
        self.lost = 0  # bytes that were left out
        self.torn = False  # the end of the outputs never came
        self._most, self._used, self._kept = most, 0, 0
        self._nodes: list[NotebookNode | _Stream] = []
        self._displays: dict[str, list[NotebookNode]] = {}
        self._clear_next = False

    def take(self, kind: str, content: dict[str, Any]) -> None:
        """Add what one message says; nothing in it raises."""
        if kind == "clear_output":
            self._clear_next = bool(content.get("wait"))
            if not self._clear_next:
                self._clear()
        elif kind == "update_display_data":
            self._update(content)
        elif kind in ("stream", "display_data", "execute_result", "error"):
            if self._clear_next:
                self._clear()
            getattr(self, f"_take_{kind}")(content)

    def fail(self, name: str, sentence: str) -> None:
        """Add an error of our own, as nbgrader does for a cell that ran too long."""
        self.failed, name, sentence = True, _text(name), _text(sentence)
        lines = [f"\x1b[0;31m{name}\x1b[0m: {sentence}"]
        self._nodes.append(
            new_output("error", ename=name, evalue=sentence, traceback=lines)
        )

    def nodes(self) -> list[NotebookNode]:
        """The outputs for the notebook, with a sentence if something is left out."""
        found = [n.node() if isinstance(n, _Stream) else n for n in self._nodes]
        if self.cut:
            text = f"[Too much output: {self.cut} left out.]\n"
            found.append(new_output("stream", name="stdout", text=f"\n{text}"))
        return found

    @property
    def used(self) -> int:
        """Bytes that are kept, about."""
        return self._used

    @property
    def cut(self) -> str:
        """How much was left out; empty if nothing was."""
        if self.lost:
            return f"{self.lost:,} bytes are"
        return "a part is" if self.torn else ""

    def _clear(self) -> None:
        self._nodes.clear()
        self._displays.clear()
        self._used, self._clear_next = 0, False

    def _room(self, size: int) -> bool:
        """Whether so many bytes fit; if so, they are taken."""
        if self._used + size > self._most:
            return False
        self._used += size
        return True

    def _always(self) -> bool:
        self._kept += 1
        return self._kept <= _ALWAYS

    def _take_stream(self, content: dict[str, Any]) -> None:
        name, text = content.get("name"), _text(content.get("text"))
        if name not in ("stdout", "stderr") or not text:
            return
        last = self._nodes[-1] if self._nodes else None
        if not (isinstance(last, _Stream) and last.name == name):
            last = _Stream(name)
            # That there is an stderr counts for nbgrader: its first is always there.
            first = not any(
                isinstance(n, _Stream) and n.name == name for n in self._nodes
            )
            if not self._room(_OVERHEAD) and not first:
                self.lost += len(text)
                return
            self._nodes.append(last)
        keep = text[: max(0, self._most - self._used)]
        self.lost += len(text) - len(keep)
        self._used += last.write(keep)

    def _take_display_data(self, content: dict[str, Any]) -> None:
        node = new_output("display_data", data=self._fitting(_bundle(content)))
        if node.data:
            self._nodes.append(node)
            shown_as = _display_id(content)
            if shown_as:
                self._displays.setdefault(shown_as, []).append(node)

    def _take_execute_result(self, content: dict[str, Any]) -> None:
        bundle = _bundle(content)
        plain = bundle.get("text/plain", "")
        if len(self.values) < _ALWAYS:
            self.values.append(plain[:_SHORT])
        data = self._fitting(bundle)
        if not data and self._always():
            data = {"text/plain": plain[:_SHORT]}
        if data:
            node = new_output("execute_result", data=data)
            self._nodes.append(node)
            shown_as = _display_id(content)
            if shown_as:
                self._displays.setdefault(shown_as, []).append(node)

    def _take_error(self, content: dict[str, Any]) -> None:
        self.failed = True
        lines = content.get("traceback")
        lines = [_text(line) for line in lines] if isinstance(lines, list) else []
        if len(lines) > 2 * _LINES:
            lines = [*lines[:_LINES], "... (lines left out)", *lines[-_LINES:]]
        name, value = (_text(content.get(key))[:_SHORT] for key in ("ename", "evalue"))
        if not self._room(sum(map(len, lines)) + len(name) + len(value) + _OVERHEAD):
            self.lost += sum(map(len, lines))
            if not self._always():
                return
            lines = [line[:_SHORT] for line in lines[-3:]]
        self._nodes.append(
            new_output("error", ename=name, evalue=value, traceback=lines)
        )

    def _update(self, content: dict[str, Any]) -> None:
        """Show something else where a display was; all places count."""
        bundle = _bundle(content)
        for node in self._displays.get(_display_id(content), ()):
            self._used -= _size(node.data)
            data = self._fitting(bundle)
            node.data = NotebookNode(data or {"text/plain": ""})

    def _fitting(self, bundle: dict[str, str]) -> dict[str, str]:
        """All of a bundle, or its plain text, or nothing."""
        if not bundle or self._room(_size(bundle)):
            return bundle
        self.lost += _size(bundle)
        plain = {k: v for k, v in bundle.items() if k == "text/plain"}
        return plain if plain and self._room(_size(plain)) else {}


class _Stream:
    """Text as a terminal shows it: a carriage return starts the line anew."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lines: list[str] = []
        self._line: list[str] = []
        self._returned = False

    def write(self, text: str) -> int:
        """Add text; returns by how much the whole has grown (or shrunk)."""
        grown = 0
        for number, piece in enumerate(text.replace("\r\n", "\n").split("\n")):
            if number:
                self._lines += [*self._line, "\n"]
                self._line, self._returned = [], False
                grown += 1
            for after_return, part in enumerate(piece.split("\r")):
                self._returned = self._returned or after_return > 0
                if part and self._returned:
                    grown -= sum(map(len, self._line))
                    self._line, self._returned = [], False
                if part:
                    self._line.append(part)
                    grown += len(part)
        return grown

    def node(self) -> NotebookNode:
        """The output of a notebook."""
        text = "".join([*self._lines, *self._line])
        return new_output("stream", name=self.name, text=text)


def _text(value: Any) -> str:
    """A string that can be saved; half a surrogate pair cannot."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _bundle(content: dict[str, Any]) -> dict[str, str]:
    """What of a rich output is text of a known type; scripts and widgets are not."""
    data = content.get("data")
    if not isinstance(data, dict):
        return {}
    known = ((mime, data.get(mime)) for mime in SHOWN)
    return {mime: _text(value) for mime, value in known if isinstance(value, str)}


def _size(bundle: dict[str, str]) -> int:
    return sum(map(len, bundle.values())) + _OVERHEAD


def _display_id(content: dict[str, Any]) -> str:
    transient = content.get("transient")
    name = transient.get("display_id") if isinstance(transient, dict) else ""
    return name if isinstance(name, str) else ""
