"""Take the bodies out of functions and classes, by their syntax trees.

What stays is the name, the signature and the docstring; calling it raises
:class:`~tlcourse.exercises.forbidding.ForbiddenCall`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def empty(sources: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """The modules that change when ``names`` are emptied, as new sources.

    A function that nothing but emptied ones used is emptied with them, so that its
    caller cannot be put together again from its parts.

    Args:
        sources: texts of modules by path, ``"tlcourse/losses/__init__.py"``.
        names: dotted names, ``"tlcourse.losses.nt_xent"``, as they are imported.

    Raises:
        ValueError: a name does not exist.
    """
    trees: dict[str, ast.Module] = {}
    emptied: list[ast.AST] = []
    needed: dict[str, str] = {}  # what emptied bodies used, and whose body it was
    for name in names:
        path, inside = locate(sources, name)
        if path not in trees:
            trees[path] = ast.parse(sources[path])
        node = _definition(trees[path], inside)
        needed |= dict.fromkeys(_take_out(node, name), name)
        emptied.append(node)
    untouched = [text for path, text in sources.items() if path not in trees]
    statements = [statement for tree in trees.values() for statement in tree.body]
    while node := _unused(statements, needed, emptied, untouched):
        name = needed[node.name]
        needed |= dict.fromkeys(_take_out(node, name), name)
        emptied.append(node)
    return {path: f"{ast.unparse(tree)}\n" for path, tree in trees.items()}


def locate(sources: Mapping[str, str], name: str) -> tuple[str, list[str]]:
    """The module in which a dotted name is defined, and its name inside it.

    Raises:
        ValueError: there is no such definition.
    """
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        path = _module(sources, parts[:cut])
        if path is not None:
            found = _follow(sources, path, parts[cut:])
            if found is not None:
                return found
    raise ValueError(f"{name!r} is not defined in the package; check its spelling.")


def used_by(sources: Mapping[str, str], name: str) -> set[str]:
    """Every name that occurs in the definition behind a dotted name.

    Raises:
        ValueError: there is no such definition.
    """
    path, inside = locate(sources, name)
    return set(_used(_definition(_parsed(sources[path]), inside)))


def _module(sources: Mapping[str, str], parts: Sequence[str]) -> str | None:
    base = "/".join(parts)
    paths = (f"{base}.py", f"{base}/__init__.py")
    return next((path for path in paths if path in sources), None)


def _follow(
    sources: Mapping[str, str], path: str, inside: list[str]
) -> tuple[str, list[str]] | None:
    """Where a module's name is defined: in it, or where it imports it from."""
    tree = _parsed(sources[path])
    if _definition(tree, inside) is not None:
        return path, inside
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node.level or not node.module:
            continue
        home = _module(sources, node.module.split("."))
        for alias in node.names if home else ():
            if (alias.asname or alias.name) == inside[0]:
                return _follow(sources, home, [alias.name, *inside[1:]])
    return None


def _definition(tree: ast.AST, inside: Sequence[str]) -> Definition | None:
    for part in inside:
        body = getattr(tree, "body", ())
        found = (n for n in body if isinstance(n, _DEFINITIONS) and n.name == part)
        tree = next(found, None)
    return tree


def _take_out(node: Definition, name: str) -> set[str]:
    """Empty one definition; the names that it used."""
    used = set(_used(node))
    methods: list[Any] = [node]
    if isinstance(node, ast.ClassDef):
        methods = [part for part in node.body if isinstance(part, _FUNCTIONS)]
        if not any(method.name == "__init__" for method in methods):
            methods += ast.parse("def __init__(self, *args, **options): pass").body
        node.body = [*_docstring(node), *methods]
        node.decorator_list = []  # a dataclass would write an __init__ of its own
    for method in methods:
        method.body = [*_docstring(method), *_refusal(name)]
    return used


def _docstring(node: Definition) -> list[ast.stmt]:
    return node.body[:1] if ast.get_docstring(node, clean=False) is not None else []


def _refusal(name: str) -> list[ast.stmt]:
    home = "tlcourse.exercises.forbidding"
    code = f"from {home} import ForbiddenCall\nraise ForbiddenCall({name!r})"
    return ast.parse(code).body


def _unused(
    statements: Sequence[ast.stmt],
    needed: Mapping[str, str],
    emptied: Sequence[ast.AST],
    untouched: Sequence[str],
) -> Definition | None:
    """A definition that emptied bodies needed and that nothing else mentions."""
    mentions = {id(statement): set(_used(statement)) for statement in statements}
    for node in statements:
        if not isinstance(node, _DEFINITIONS) or node.name not in needed:
            continue
        if any(node is other for other in emptied):
            continue
        others = (mentions[id(other)] for other in statements if other is not node)
        used = any(node.name in names for names in others)
        if not used and not any(node.name in _words(text) for text in untouched):
            return node
    return None


def _used(node: ast.AST) -> Iterator[str]:
    """Every name, attribute, imported name and string of a syntax tree."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr
        elif isinstance(part, ast.alias):
            yield part.name
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value  # in a list of exported names, say


@lru_cache(maxsize=256)
def _parsed(text: str) -> ast.Module:
    """A tree to look things up in; what is changed is parsed anew."""
    return ast.parse(text)


@lru_cache(maxsize=2048)
def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))
