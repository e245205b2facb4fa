"""Any nbgrader assignment: asserts in the student's own kernel, and attacks on them.

Here the tests run beside the answer, so that some attacks can only be noticed: every
attack must earn nothing, or be flagged.
"""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from textwrap import dedent

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

NAME = "ps1"
HIDDEN = "hidden-test-4711"
POINTS = {"double-test": 2.0, "close-test": 2.0, "parts": 3.0}
RIGHT = "def double(x):\n    return 2 * x"
WRONG = "def double(x):\n    return 12.5"
ROW = "drops asserts by a transformer; patches run_cell; forges an execute_result"


def _meta(name: str, points: int | None = None, **marks: bool) -> dict:
    meta = {"grade": points is not None, "locked": points is not None, "task": False}
    meta |= {"solution": False, "schema_version": 3, "grade_id": name, **marks}
    return {"nbgrader": meta if points is None else {**meta, "points": points}}


def source() -> NotebookNode:
    """The teacher's notebook: 7 points, a locked helper, hidden tests, parts."""
    cells = [
        new_markdown_cell("# Problem set 1", id="title"),
        new_code_cell(
            "def close(a, b):\n    return abs(a - b) < 1e-9",
            id="helper",
            metadata=_meta("helper", locked=True),
        ),
        new_code_cell(
            f"### BEGIN SOLUTION\n{RIGHT}\n### END SOLUTION",
            id="answer",
            metadata=_meta("answer", solution=True),
        ),
        new_code_cell(
            "assert double(2) == 4\n### BEGIN HIDDEN TESTS\n"
            f"assert double(5) == 10, '{HIDDEN}'\n### END HIDDEN TESTS",
            id="test",
            metadata=_meta("double-test", 2),
        ),
        new_code_cell(
            "import numpy\nnumpy.testing.assert_allclose(double(3), 6)\n"
            "assert close(double(1), 2)",
            id="close",
            metadata=_meta("close-test", 2),
        ),
        new_code_cell(
            "sum(double(i) == 2 * i for i in (1, 2, 3))",
            id="parts",
            metadata=_meta("parts", 3),
        ),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


@dataclass(frozen=True)
class ForeignAttack:
    """A submission to the foreign assignment.

    Args:
        name: the student's id and the test's name.
        files: the submitted files, from the notebook as it was handed out.
        points: what it must earn; ``None`` where an unearned point must be flagged.
        flags: kinds of flags it must have.
        statuses: allowed for the cells that earn nothing, where it matters.
    """

    name: str
    files: Callable[[NotebookNode], Mapping[str, bytes]]
    points: float | None = None
    flags: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()


def _packed(notebook: NotebookNode) -> dict[str, bytes]:
    return {"exercises.ipynb": json.dumps(notebook).encode()}


def _answered(given: NotebookNode, text: str, first: str = "") -> NotebookNode:
    notebook = copy.deepcopy(given)
    _cell(notebook, "answer").source = dedent(text)
    if first:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(dedent(first), id="first"))
    return notebook


def _cell(notebook: NotebookNode, name: str) -> NotebookNode:
    metas = ((c, c.metadata.get("nbgrader", {})) for c in notebook.cells)
    return next(cell for cell, meta in metas if meta.get("grade_id") == name)


def _attack(name, text=WRONG, first="", **facts):
    return ForeignAttack(
        name, lambda given: _packed(_answered(given, text, first)), **facts
    )


def _edited(name, change, text=WRONG, **facts):
    def files(given):
        notebook = _answered(given, text)
        change(notebook)
        return _packed(notebook)

    return ForeignAttack(name, files, **facts)


def _returning(name, result, first="", **facts):
    return _attack(name, f"def double(x):\n    {result}", first, **facts)


def _duplicate(notebook):
    twin = copy.deepcopy(_cell(notebook, "double-test"))
    twin.source, twin.id = "1.0", "twin"
    notebook.cells.insert(0, twin)


def _delete(notebook):
    names = tuple(POINTS)
    notebook.cells = [
        c
        for c in notebook.cells
        if c.metadata.get("nbgrader", {}).get("grade_id") not in names
    ]


def _edit(notebook):
    for name in POINTS:
        _cell(notebook, name).source = "7.0"


def _redefine_helper(notebook):
    _cell(notebook, "helper").source = "def close(a, b):\n    return True"


def _repoint(notebook):
    for name in POINTS:
        _cell(notebook, name).metadata.nbgrader.points = 700


_EVERYTHING = """\
class Everything(float):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __radd__(self, other): return 700.0
    def __sub__(self, other): return 0.0
    __hash__ = None
"""
_TRANSFORMER = """\
import ast
class Drop(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass()
    def visit_Expr(self, node):
        return ast.Expr(ast.Constant(3.0))
get_ipython().ast_transformers.append(Drop())
"""
_RUN_CELL = """\
shell = get_ipython()
inner = type(shell).run_cell_async
async def run_cell_async(self, source, *words, **known):
    return await inner(self, "3.0", *words, **known)
type(shell).run_cell_async = run_cell_async
"""
_HOOK = """\
import sys
shell = get_ipython()
shell.showtraceback = lambda *_, **__: None
shell.CustomTB = None
shell.set_custom_exc((BaseException,), lambda *_, **__: [])
"""
_FORGE = """\
kernel = get_ipython().kernel
content = {"execution_count": 1, "data": {"text/plain": "3.0"}, "metadata": {}}
def forge(*_):
    parent = kernel.get_parent()
    kernel.session.send(kernel.iopub_socket, "execute_result", content, parent=parent)
get_ipython().events.register("post_run_cell", forge)
"""
_REPLY = """\
kernel = get_ipython().kernel
inner = kernel.do_execute
async def do_execute(code, *words, **known):
    return {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}
kernel.do_execute = do_execute
"""
_SWALLOW = """\
import numpy
numpy.testing.assert_allclose = lambda *_, **__: None
import builtins
builtins.abs = lambda *_: 0.0
builtins.sum = lambda *_: 3.0
"""
_PEEK = """\
def double(x):
    import sys
    print(get_ipython().user_ns["In"][-1])
    return 12.5
"""

_READERS = {
    "input": "source = In[-1]",
    "history": "source = _ih[-1]",
    "traceback": "import traceback\n"
    "    source = str(traceback.extract_stack()[-2].line)",
    "line-cache": "import linecache\n    lines = linecache.cache.values()\n"
    "    source = str([c[2] for c in lines if len(c) == 4][-1])",
}
_FROM_SOURCE = """\
import re
def double(x):
    {}
    found = re.findall(rf"double\\({{x}}\\)[ =,]*(\\d+)", source)
    return int(found[0]) if found else 12.5
"""
_OWN_ASSERTS = """\
import ast
class Drop(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass() if "double" in ast.unparse(node) else node
exit._ip.ast_transformers.append(Drop())
"""

ATTACKS = (
    *(
        _attack(f"answers-from-the-test-by-{name}", _FROM_SOURCE.format(line))
        for name, line in _READERS.items()
    ),
    _attack("drops-its-own-asserts", first=_OWN_ASSERTS),
    _returning("returns-approx", "return pytest.approx(0, abs=1e99)", "import pytest"),
    _attack("is-right", RIGHT, points=7.0),
    _attack("is-wrong", points=0.0),
    _attack(
        "is-right-and-warns",
        "import warnings\nfrom tqdm import tqdm\n\n\ndef double(x):\n"
        "    warnings.warn('soon')\n    return sum(x for _ in tqdm(range(2)))",
        points=7.0,
    ),
    _attack(
        "is-right-and-prints",
        "def double(x):\n    print(x)\n    return 2 * x",
        points=7.0,
    ),
    _edited("duplicates-a-test", _duplicate, points=0.0, flags=("duplicate cell",)),
    _edited("deletes-the-tests", _delete, points=0.0, flags=("missing test",)),
    _edited("edits-the-tests", _edit, points=0.0, flags=("edited test",)),
    _edited("edits-the-tests-though-right", _edit, RIGHT, points=7.0),
    _edited("edits-a-locked-helper", _redefine_helper, points=0.0),
    _edited("changes-points", _repoint, points=0.0, flags=("changed metadata",)),
    _attack("redefines-a-helper", f"{WRONG}\n\n\ndef close(a, b):\n    return True"),
    _attack("patches-libraries", first=_SWALLOW),
    _returning("returns-everything", "return Everything()", _EVERYTHING),
    _attack("drops-asserts", first=_TRANSFORMER),
    _attack("patches-run-cell", first=_RUN_CELL),
    _attack("hides-errors", first=_HOOK),
    _attack("forges-a-result", first=_FORGE),
    _attack("forges-replies", first=_REPLY),
    _attack(
        "rewrites-its-input",
        first="get_ipython().input_transformers_cleanup.append(lambda _: ['3.0'])",
    ),
    _returning("prints-a-number", "print(3.0)\n    return 12.5", points=0.0),
    _returning("exits-in-a-test", "raise SystemExit(0)", points=0.0),
    _returning(
        "ends-the-kernel-in-a-test",
        "import os\n    os._exit(0)",
        points=0.0,
        statuses=("crashed", "not run", "failed"),
    ),
    _returning(
        "loops-in-a-test",
        "while True:\n        pass",
        points=0.0,
        statuses=("out of time", "crashed", "not run"),
    ),
    _attack("reads-the-hidden-test", _PEEK, points=0.0),
)
