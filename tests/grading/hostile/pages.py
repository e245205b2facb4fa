"""Puts scripts where a browser would run them."""

import nbformat

from hostile.attack import EXERCISES, MIDDLE, Attack, answered, breaking, packed

ROW = "puts <script> in an output"
SCRIPT = "<script>document.title='owned'</script>"
_SHOWS = f"""\
from IPython.display import HTML, SVG, Javascript, Markdown, display
script = {SCRIPT!r}
display(HTML(script), HTML("<img src=x onerror=alert(1)>"))
display(HTML("<iframe srcdoc='" + script + "'></iframe>"))
display(HTML("<a href='javascript:alert(1)'>x</a><svg onload=alert(1)></svg>"))
display(Markdown(script), Javascript("document.title='owned'"))
display(SVG("<svg xmlns='http://www.w3.org/2000/svg'>" + script + "</svg>"))
display({{"text/latex": script, "application/javascript": "alert(1)"}}, raw=True)
display({{"text/html": ["<scr", "ipt>alert(1)</script>"]}}, raw=True)
print("\\x1b]8;;javascript:alert(1)\\x07x\\x1b]8;;\\x07", script)
raise ValueError(script)
"""


def _texts(given):
    notebook = answered(given, {})
    cell = nbformat.v4.new_markdown_cell(
        f"{SCRIPT}\n\n[x](javascript:alert(1))", id="texts"
    )
    cell["attachments"] = {"x.svg": {"image/svg+xml": "PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+"}}
    notebook.cells.append(cell)
    return packed(notebook)


ATTACKS = (
    Attack(
        "shows-scripts",
        ROW,
        lambda given: packed(answered(given, {}, last=_SHOWS)),
        full=EXERCISES,
    ),
    Attack("writes-scripts", ROW, _texts, full=EXERCISES),
    breaking("raises-scripts", ROW, f"raise ValueError({SCRIPT!r})"),
    breaking("returns-scripts", ROW, f"return {SCRIPT!r}, {SCRIPT!r}"),
    breaking(
        "is-called-script",
        ROW,
        f"raise type({SCRIPT!r}, (Exception,), {{}})({MIDDLE!r})",
    ),
)
