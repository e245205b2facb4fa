"""Canary cells: do asserts still fail, and values still arrive, in this kernel?

In an assignment that is not the kit's own, the asserts run in the learner's process,
which can be made to drop them. So before and after each test the grader runs cells of
which it alone knows what they must do. They are made anew each time and look like the
test: its imports, a wrong claim made with the test's own helpers, and then the rest of
the test, which an honest kernel never reaches. They leave no trace: silent, without
history, and no name is bound.

A kernel that knows the canaries' rule can still pretend: this detects, it does not
prevent.
"""

from __future__ import annotations

import ast
import copy
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

# Wrong claims by the name of the function that checks them; {f} is the function as the
# test calls it, {a} and {b} are numbers that differ. The first are expressions that
# must be false, the others must raise an AssertionError by themselves.
_FALSE = {
    "all": "{f}([{a} == {a}, {a} == {b}])",
    "any": "{f}([{a} == {b}])",
    "isinstance": "{f}('{a}', float)",
    "len": "{f}([{a}]) == 2",
    "sum": "{f}([{a}]) == {b}",
    "abs": "{f}(-{a}) == {b}",
    "callable": "{f}({a})",
    "float": "{f}({a}) == {b}",
    "hasattr": "{f}({a}, 'n{b}')",
    "max": "{f}({a}, 0) == {b}",
    "min": "{f}({b}, {a}) == {b}",
    "round": "{f}({a}) == {b}",
    "set": "{f}([{a}]) == {{{b}}}",
    "sorted": "{f}([{b}, {a}]) == [{b}, {a}]",
    "str": "{f}({a}) == '{b}'",
    "type": "{f}({a}) is bool",
    "isclose": "bool({f}({a}, {b}))",
    "array_equal": "bool({f}([{a}], [{b}]))",
}
_BY_LIBRARY = {
    ("torch", "allclose"): "{f}({m}.tensor([{a}]), {m}.tensor([{b}]))",
    ("torch", "equal"): "{f}({m}.tensor([{a}]), {m}.tensor([{b}]))",
    ("torch", "isclose"): "bool({f}({m}.tensor({a}), {m}.tensor({b})))",
    ("numpy", "allclose"): "{f}({a}, {b})",
}
_RAISING = {
    "assert_allclose": "{f}({a}, {b}, err_msg='{token}')",
    "assert_almost_equal": "{f}({a}, {b}, err_msg='{token}')",
    "assert_array_almost_equal": "{f}([{a}], [{b}], err_msg='{token}')",
    "assert_array_equal": "{f}([{a}], [{b}], err_msg='{token}')",
    "assert_equal": "{f}({a}, {b}, err_msg='{token}')",
    "assert_close": "{f}({a}, {b}, msg='{token}')",
}
_LIBRARIES = {"np": "numpy", "numpy": "numpy", "torch": "torch", "math": "math"}
# A value must arrive without being remembered as `_` or in `Out`.
FORGET = "get_ipython().displayhook.cache_size = 0"
REMEMBER = "get_ipython().displayhook.cache_size = get_ipython().cache_size"


@dataclass(frozen=True)
class Canary:
    """One cell and what it must do.

    Args:
        source: the cell.
        token: what its AssertionError must say, or the value it must give.
        beyond: what an error says that is raised behind a claim; any other error than
            these two says nothing, as a helper may rightly be missing, or be something
            else in the learner's notebook. Empty where any other is a bad sign.
    """

    source: str
    token: str
    beyond: str = ""


def asserting(test: str, own_names: frozenset[str]) -> list[Canary]:
    """Canaries that must fail, made after a test.

    Args:
        test: the source of the test cell.
        own_names: names that the teacher's notebook binds itself; they are no helpers.
    """
    body, imports = _parsed(test)
    if not body or "__future__" in test:  # it may not stand behind anything
        test = ""
    low, high = _numbers()
    token = _token()
    found = [Canary(f"assert {low} == {high}, '{token}'\n{test}", token)]
    claims: list[str] = []
    raising: list[str] = []
    for name, library in _helpers(body, own_names):
        module, _, short = name.rpartition(".")
        low, high = _numbers()
        filled = {"f": name, "m": module, "a": low, "b": high}
        false = _BY_LIBRARY.get((library, short)) or _FALSE.get(short)
        if false and (module or short in _FALSE):
            claims.append(false.format(**filled))
        elif short in _RAISING:
            raising.append(_RAISING[short].format(token="{token}", **filled))
    if claims:
        claim = " or ".join(dict.fromkeys(claims))
        found.append(_claiming(f"{imports}assert {claim}, '{{token}}'", test))
    for call in dict.fromkeys(raising):
        found.append(_claiming(f"{imports}{call}", test))
    return found


def _claiming(claim: str, test: str) -> Canary:
    """A claim that must fail before what stands behind it is reached."""
    token, beyond = _token(), _token()
    claim = claim.replace("{token}", token)
    return Canary(f"{claim}\nraise ValueError('{beyond}')\n{test}", token, beyond)


def turned_round(test: str) -> Canary | None:
    """One claim of a test that passed, with another number: now it must fail.

    It does not in a kernel that drops just the test's own asserts, nor for an answer
    that equals everything. Only plain calls are repeated: they change nothing.
    """
    body, imports = _parsed(test)
    claims = []
    for node in body:
        if isinstance(node, ast.Assert) and (claim := _with_another(node.test)):
            claims.append(f"assert {claim}, '{{token}}'")
        elif isinstance(node, ast.Expr) and (claim := _with_another(node.value)):
            claims.append(claim)
    return _claiming(f"{imports}{secrets.choice(claims)}", test) if claims else None


def _with_another(claim: ast.expr) -> str:
    """The claim with another number on one side; empty if it has no such form."""
    claim = copy.deepcopy(claim)
    if isinstance(claim, ast.Compare) and isinstance(claim.ops[0], ast.Eq):
        if len(claim.ops) > 1:
            return ""
        sides = [claim.left, claim.comparators[0]]
    elif isinstance(claim, ast.Call) and len(claim.args) > 1:
        if _dotted(claim.func).rpartition(".")[2] not in {*_RAISING, "allclose"}:
            return ""
        sides = claim.args[:2]
    else:
        return ""
    numbers = [side for side in sides if _is_number(side)]
    others = [side for side in sides if not _is_number(side)]
    if len(numbers) != 1 or not _only_plain_calls(others[0]):
        return ""
    numbers[0].value = 1_000 + secrets.randbelow(10**7) / 1_000
    return ast.unparse(claim)


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _only_plain_calls(node: ast.expr) -> bool:
    """Whether it calls functions by name, and no methods: those may change things."""
    calls = [inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    plain = (
        isinstance(func, ast.Name) or _dotted(func).split(".")[0] in _LIBRARIES
        for func in calls
    )
    return bool(calls) and all(plain) and "next(" not in ast.unparse(node)


def value(test: str) -> Canary | None:
    """A canary that must give a value, if the test is one that may give points so."""
    body, _ = _parsed(test)
    if not body or not isinstance(body[-1], ast.Expr):
        return None
    number = secrets.randbelow(10**6) / 1_000
    return Canary(f"{number!r} if {_numbers()[0]} else None", repr(number))


def bound_names(sources: list[str]) -> frozenset[str]:
    """Names that cells bind: by assignment, definition or import of another thing."""
    found: set[str] = set()
    for source in sources:
        for node in ast.walk(ast.Module(_parsed(source)[0], [])):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return frozenset(found)


def _parsed(test: str) -> tuple[list[ast.stmt], str]:
    """The statements of a cell, and its imports as text; magics are no Python."""
    try:
        body = ast.parse(test).body
    except SyntaxError:
        return [], ""
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    return body, "".join(f"{ast.unparse(node)}\n" for node in imports)


def _helpers(
    body: list[ast.stmt], own_names: frozenset[str]
) -> Iterator[tuple[str, str]]:
    """Dotted names that the test calls, each with the library it seems to be of."""
    seen = set()
    for node in ast.walk(ast.Module(body, [])):
        if not isinstance(node, ast.Call):
            continue
        name = _dotted(node.func)
        first = name.split(".")[0]
        if not name or name in seen or first in own_names:
            continue
        seen.add(name)
        library = _LIBRARIES.get(first, "")
        yield name, library


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def _numbers() -> tuple[str, str]:
    """Two numbers that differ by more than any tolerance."""
    low = 1 + secrets.randbelow(10**4) / 1_000
    return f"{low!r}", f"{low + 7 + secrets.randbelow(10**4) / 1_000:.3f}"


def _token() -> str:
    return f"the value is off by {secrets.randbelow(10**12):,}"
