"""Make what a learner wrote safe to show: text, Markdown, HTML, pictures.

Nothing that passes here can run, ask the network for anything, style the page or
leave its box. A page also has a :class:`Budget`: what would make it heavy, or slow to
clean (bleach needs time in the square of the nesting), is left out, and said so.
"""

from __future__ import annotations

import base64
import io
import re
import warnings

from bleach.sanitizer import Cleaner
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from nbconvert.filters import strip_ansi
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from PIL import Image

MAX_TEXT = 20_000  # characters of one piece of text
_MAX_SIDE = 8_000  # pixels
_PICTURES = {"image/png": "PNG", "image/jpeg": "JPEG"}
_DATA = re.compile(r"data:(image/(?:png|jpeg));base64,([A-Za-z0-9+/=\s]*)")
_LINK = re.compile(r"(https?://|mailto:)[^\s]", re.IGNORECASE)
# Only so that a style sheet does not appear as text, and that no tag has thousands of
# attributes, which would take minutes: it is bleach that makes the page safe.
_UNREADABLE = re.compile(
    r"<(script|style|title)\b.*?(?:</\1\s*>|$)|<!--.*?(?:-->|$)", re.I | re.S
)
_ATTRIBUTE = r"""\s+[\w:.-]+(?:\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=`]+))?"""
_NO_TAG = re.compile(rf"<(?!/?[a-z][a-z0-9]*(?:{_ATTRIBUTE}){{0,20}}\s*/?>)", re.I)
# Controls, and marks that reorder text so that code reads other than it runs.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# fmt: off
_TAGS = frozenset({
    "a", "b", "blockquote", "br", "caption", "code", "dd", "del", "div", "dl", "dt",
    "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li",
    "mark", "ol", "p", "pre", "s", "samp", "small", "span", "strong", "sub", "sup",
    "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul", "var",
})
# fmt: on


class Budget:
    """How much more a page may hold: characters, a learner's tags, picture bytes."""

    def __init__(self) -> None:
        """A whole page."""
        self.left = {"text": 400_000, "tags": 4_000, "pictures": 1_500_000}

    def take(self, what: str, amount: int) -> bool:
        """Whether there is room for so much more; if so, it is used up."""
        if amount > self.left[what]:
            return False
        self.left[what] -= amount
        return True


def plain(text: object, limit: int = MAX_TEXT) -> str:
    """Text without colour codes, progress bars' old states, and control characters."""
    raw = _text(text)
    cut = raw[: 4 * limit]  # colour codes are long
    lines = strip_ansi(cut.replace("\r\n", "\n")).split("\n")
    latest = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines)
    clean = _CONTROLS.sub("\ufffd", "\n".join(latest))
    if len(clean) <= limit and len(cut) == len(raw):
        return clean
    return f"{clean[:limit]}\n… (cut: it has {len(raw):,} characters)"


def preformatted(text: object, budget: Budget) -> Markup:
    """Text as it stands, in a box."""
    if not budget.take("text", min(len(_text(text)), MAX_TEXT)):
        return left_out("text", "the page is long enough")
    return Markup("<pre>{}</pre>").format(plain(text))


def left_out(what: str, why: str) -> Markup:
    """The note that stands where something is not shown."""
    return Markup("<p><small>({} left out: {})</small></p>").format(what, why)


def html(text: object, budget: Budget) -> Markup | None:
    """A learner's HTML, cleaned; ``None`` where it is too much to show as such."""
    raw = _text(text)
    tags = raw.count("<")
    if len(raw) > 5 * MAX_TEXT or not budget.take("tags", tags):
        return None
    if not budget.take("text", len(raw)):
        return None
    raw = _NO_TAG.sub("&lt;", _UNREADABLE.sub("", _CONTROLS.sub("\ufffd", raw)))
    cleaner = Cleaner(
        tags=_TAGS,
        attributes=_Attributes(budget),
        protocols={"http", "https", "mailto", "data"},
        strip=True,
    )
    try:
        return Markup(cleaner.clean(raw))
    except Exception:  # a parser that gives up must not cost the page
        return None


def markdown(
    text: object, budget: Budget, pictures: object = None, escape: bool = False
) -> Markup:
    """Somebody's Markdown, rendered and cleaned; formulas stay as they were typed.

    Args:
        text: what was written.
        budget: what the page may still hold.
        pictures: the cell's attachments.
        escape: whether HTML in it is shown as text.
    """
    source = plain(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            renderer = IPythonRenderer(
                escape=escape, exclude_anchor_links=True, attachments=pictures or {}
            )
            rendered = html(MarkdownWithMath(renderer=renderer).render(source), budget)
    except Exception:  # for example an attachment that is not there
        rendered = None
    return preformatted(source, budget) if rendered is None else rendered


@pass_context
def safe_markdown(context: Context, text: object) -> Markup:
    """In formgrader's pages, in place of nbconvert's filter ``markdown2html``.

    Its templates show a learner's answer as that filter leaves it, scripts and all,
    whatever ``HTMLExporter.sanitize_html`` says; and there a script could grade.
    """
    pictures = context.get("cell", {}).get("attachments")
    return markdown(text, Budget(), pictures)


def picture(mime: str, data: object, budget: Budget) -> Markup:
    """A PNG or JPEG picture inside the page, or a note that it is left out."""
    raw = _text(data)
    address = f"data:{mime};base64,{''.join(raw.split())}"
    if mime not in _PICTURES:
        return left_out("picture", "only PNG and JPEG are shown")
    if not _is_picture(address):
        return left_out("picture", "it cannot be read, or is too large")
    if not budget.take("pictures", len(address)):
        return left_out("picture", "the page is large enough")
    return Markup('<img alt="picture" src="{}">').format(address)


def _text(value: object) -> str:
    """Text as notebooks keep it, whole or in lines; anything else is none."""
    if isinstance(value, list):
        return "".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def _is_picture(address: str) -> bool:
    """Whether a data address holds a PNG or JPEG of a size that browsers can draw."""
    match = _DATA.fullmatch(address)
    if match is None:
        return False
    try:
        content = base64.b64decode(match[2], validate=True)
        kind = _PICTURES[match[1]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=[kind]) as image:
                return max(image.size) <= _MAX_SIDE
    except (ValueError, OSError, SyntaxError):
        return False
    except Image.DecompressionBombError:
        return False


class _Attributes:
    """Which attributes bleach keeps: layout of tables, plain links, real pictures."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

    def __call__(self, tag: str, name: str, value: str) -> bool:
        if tag in ("td", "th") and name in ("colspan", "rowspan"):
            return value.isdecimal() and len(value) <= 3
        if tag == "a" and name == "href":
            return _LINK.match(value) is not None
        if tag == "img" and name == "src":
            return _is_picture(value) and self.budget.take("pictures", len(value))
        return name == "alt" and tag == "img"
