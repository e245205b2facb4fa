"""Flag facilities in a student's code with which a check could be fooled.

Only the syntax tree is read; nothing runs. A flag changes no points: honest code
may need what is flagged, and a teacher decides.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec

from tlcourse.grading.judging.magics import Magic, split_magics
from tlcourse.grading.records import Flag

KINDS: Mapping[str, str] = {
    "tracing": "With Python's tracing, frames or garbage collector, code can read or "
    "switch off what watches it.",
    "inner attribute": "Through inner attributes, code can reach or rewrite functions "
    "that are not its own.",
    "compiled code": "Compiled code runs unseen by the watch for forbidden functions.",
    "process or thread": "Another process or thread can work unseen, or harm others.",
    "network": "An answer needs no network.",
    "system file": "An answer needs no file of the operating system.",
    "own comparison": "An object that decides what it equals can fool tests.",
    "kernel": "Through the kernel, code can change how cells run, or read tests.",
    "grader": "An answer needs nothing of what observes and grades it.",
    "code from text": "Code that is made from text cannot be read before it runs.",
    "computed name": "A name that is worked out at run time hides what is used.",
    "patched library": "Changing a library's or the kit's functions can fool tests.",
    "own module": "It runs code from a file that is neither installed nor the "
    "teacher's; the file may be another one by then.",
    "unreadable code": "This code cannot be read, so nothing is known about it.",
}
# Characters of a cell and of all cells: reading takes memory and time.
_LONGEST, _MOST = 50_000, 250_000
_MOST_PARTS = 12  # of a dotted name

# Dotted names, and what lies below them.
_NAMES = {
    "tracing": "sys.setprofile sys.getprofile sys.settrace sys.gettrace sys.monitoring "
    "sys._getframe sys._current_frames threading.setprofile threading.settrace gc "
    "inspect.stack inspect.currentframe inspect.getouterframes inspect.getinnerframes "
    "inspect.trace traceback.extract_stack traceback.walk_stack traceback.print_stack "
    "traceback.format_stack linecache cProfile profile _lsprof bdb pdb",
    "compiled code": "ctypes _ctypes cffi torch._C torch.ops torch.jit torch.library "
    "torch.classes torch.utils.cpp_extension",
    "process or thread": "threading _thread multiprocessing subprocess concurrent "
    "_posixsubprocess torch.multiprocessing torch.distributed joblib webbrowser pty "
    "asyncio.to_thread asyncio.create_subprocess_exec asyncio.create_subprocess_shell "
    "asyncio.subprocess tqdm.contrib.concurrent signal os.system os.popen os.fork "
    "os.forkpty os.kill os.killpg os._exit os.abort os.execv os.execve os.execvp "
    "os.execl os.spawnv os.spawnl os.posix_spawn os.posix_spawnp",
    "network": "socket _socket ssl requests urllib urllib3 http httpx aiohttp ftplib "
    "smtplib telnetlib socketserver",
    "own comparison": "pytest hamcrest unittest.mock.ANY",
    "kernel": "IPython.get_ipython IPython.core IPython.lib IPython.terminal ipykernel "
    "jupyter_client get_ipython",
    "grader": "tlcourse.exercises tlcourse.sandbox tlcourse.grading nbgrader",
    "code from text": "builtins.eval builtins.exec builtins.compile "
    "types.FunctionType types.CodeType marshal pickle dill cloudpickle runpy code "
    "codeop doctest trace shelve zipimport",
    "computed name": "builtins.__import__ builtins.globals sys.modules",
    "patched library": "unittest.mock mock",
}
_KIND_OF = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_PARENTS = {name.rpartition(".")[0] for name in _KIND_OF} - {"", "torch"}
# Attributes and names that mean the same wherever they stand.
_WORDS = {
    "inner attribute": "__globals__ __code__ __closure__ __subclasses__ __builtins__ "
    "__wrapped__ f_back f_locals f_globals f_builtins f_code tb_frame gi_frame "
    "cr_frame ag_frame co_consts co_code __torch_function__ __torch_dispatch__ "
    "__getattribute__ __reduce__ __reduce_ex__",
    "own comparison": "__eq__ __ne__ __lt__ __le__ __gt__ __ge__ __radd__ __rsub__ "
    "__array_ufunc__ __array_function__ __instancecheck__ __subclasscheck__",
    # What IPython's ``exit`` holds, and where it keeps what cells said.
    "kernel": "_ip _ih _oh _dh _i _ii _iii In Out user_ns history_manager",
}
_KIND_OF_WORD = {word: kind for kind, text in _WORDS.items() for word in text.split()}
# Names that nobody needs to import; any other counts only if it was imported.
_BUILT_IN = {"builtins": "builtins", "get_ipython": "get_ipython"} | {
    name: f"builtins.{name}"
    for name in (
        *("__import__", "compile", "delattr", "eval", "exec", "getattr", "globals"),
        *("setattr", "vars"),
    )
}
_SETTINGS = ("torch.backends", "pandas.options", "matplotlib.rcParams")
# What tests compare with; nobody gives a thing of their own such a name.
_COMPARING = {"allclose", "isclose", "array_equal", "array_equiv", "assert_close"}
_KIT = {"check", "torch", "np", "numpy", "tlcourse"}
Found = tuple[str, str]  # a kind, and the name that was met


def scan(cells: Sequence[tuple[str, str]], given: Collection[str] = ()) -> list[Flag]:
    """Flags on one notebook's code, each kind once a cell.

    Args:
        cells: where a cell stands, in words a teacher understands, and its source.
        given: paths of the teacher's files, which code may import.
    """
    ours = {path.split("/")[0].removesuffix(".py") for path in given}
    known: dict[str, str] = {}  # what names of the notebook stand for
    flags, left = [], _MOST
    for where, source in cells:
        seen: dict[str, str] = {}
        left -= len(source)
        for kind, name in _scan_cell(source, known, left):
            if kind != "own module" or name not in ours:
                seen.setdefault(kind, name)
        flags += [
            Flag(kind=kind, where=where, what=f"{KINDS[kind]} It says: {name[:80]}")
            for kind, name in seen.items()
        ]
    return flags


def _scan_cell(source: str, known: dict[str, str], left: int) -> Iterator[Found]:
    if len(source) > _LONGEST or left < 0:
        yield "unreadable code", f"{len(source):,} characters, too much to read"
        return
    code, magics = split_magics(source)
    yield from (_of_magic(magic) for magic in magics if not magic.harmless)
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield "unreadable code", type(error).__name__
        return
    for node in ast.walk(tree):
        _learn(node, known)
    yield from _of_new_meanings(tree)
    yield from _of_words(tree)
    for node in ast.walk(tree):
        yield from _of_names(node, known)
        yield from _of_computed(node, known)
        yield from _of_patches(node, known)


def _of_magic(magic: Magic) -> Found:
    return ("process or thread" if magic.shell else "kernel"), magic.text


def _learn(node: ast.AST, known: dict[str, str]) -> None:
    """Remember what an import, or ``t = torch``, calls a module."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            name = alias.name if alias.asname else alias.name.split(".")[0]
            known[alias.asname or name] = name
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    elif isinstance(node, ast.Assign) and (dotted := _dotted(node.value, known)):
        for target in node.targets:
            if isinstance(target, ast.Name):
                known.setdefault(target.id, dotted)


def _dotted(node: ast.AST | None, known: Mapping[str, str]) -> str:
    """``torch.nn.functional.relu`` for ``F.relu``; empty for what was not imported."""
    parts = []
    while isinstance(node, ast.Attribute) and len(parts) < _MOST_PARTS:
        parts.append(node.attr)
        node = node.value
    root = node.id if isinstance(node, ast.Name) else ""
    meant = known.get(root) or _BUILT_IN.get(root)
    return ".".join([meant, *reversed(parts)]) if meant else ""


def _kind_of(dotted: str) -> str | None:
    parts = dotted.split(".")
    starts = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
    return next((_KIND_OF[start] for start in starts if start in _KIND_OF), None)


def _of_names(node: ast.AST, known: Mapping[str, str]) -> Iterator[Found]:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
        yield from _of_own_modules(names)
    elif isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from _of_own_modules([node.module] if node.module else [])
        if names[0].endswith(".*") and node.module in _PARENTS:
            yield "computed name", names[0]
    elif (
        isinstance(node, ast.Attribute)
        or isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Load)
    ):
        names = [_dotted(node, known)]
    yield from ((kind, name) for name in names if (kind := _kind_of(name)))


def _of_own_modules(names: Sequence[str]) -> Iterator[Found]:
    tops = dict.fromkeys(name.split(".")[0] for name in names)
    yield from (("own module", top) for top in tops if not _is_installed(top))


@lru_cache(maxsize=1024)
def _is_installed(name: str) -> bool:
    try:
        return name in sys.stdlib_module_names or find_spec(name) is not None
    except (ImportError, ValueError):  # what is half loaded, or no name
        return name in sys.modules


def _of_words(tree: ast.Module) -> Iterator[Found]:
    """Telling words as an attribute, a name, a text, or the name of a method."""
    stored = {part.id for part in ast.walk(tree) if _is_name(part)}
    for node in ast.walk(tree):
        word = getattr(node, "attr", None) or getattr(node, "name", None)
        if isinstance(node, ast.Name) and node.id not in stored & {"_i"}:
            word = node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            word = node.value if node.value.startswith("_") else None
            if node.value.startswith(("/proc", "/sys/", "/etc/", "/dev/")):
                yield "system file", node.value
        elif word == "__class__" and _is_changed(node):
            yield "own comparison", word
        if word in _KIND_OF_WORD:
            yield _KIND_OF_WORD[word], word


def _of_computed(node: ast.AST, known: Mapping[str, str]) -> Iterator[Found]:
    """``getattr(torch, name)`` and ``importlib.import_module(name)``."""
    if not isinstance(node, ast.Call):
        return
    called = _dotted(node.func, known)
    texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
    if called.startswith("importlib."):
        given = str(texts[0]) if texts else ""
        yield (_kind_of(given) or "computed name"), given or called
    elif called in ("builtins.getattr", "builtins.vars") and node.args:
        of = _dotted(node.args[0], known)
        if of and texts and type(texts[0]) is str:
            kind = _kind_of(f"{of}.{texts[0]}")
            yield from [(kind, f"{of}.{texts[0]}")] if kind else []
        elif of:
            yield "computed name", f"{called}({of}, ...)"


def _of_patches(node: ast.AST, known: Mapping[str, str]) -> Iterator[Found]:
    """``torch.allclose = ...``, ``setattr(torch, ...)``, ``global check``."""
    if isinstance(node, ast.Attribute) and _is_changed(node):
        of = _dotted(node, known)
        if of and not of.startswith(_SETTINGS):
            yield "patched library", of
        elif node.attr in _COMPARING or node.attr.startswith("assert_"):
            yield "patched library", node.attr
    elif isinstance(node, ast.Call) and node.args:
        called = _dotted(node.func, known)
        of = _dotted(node.args[0], known)
        if of and called in ("builtins.setattr", "builtins.delattr"):
            yield "patched library", f"{called}({of}, ...)"
    elif isinstance(node, ast.Global):
        yield from (("patched library", name) for name in node.names if name in _KIT)


def _of_new_meanings(tree: ast.Module) -> Iterator[Found]:
    """``check = ...`` and ``def check(...)``; inside a function it is harmless."""
    for statement in tree.body:
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        names = [
            part.id for t in targets if t for part in ast.walk(t) if _is_name(part)
        ]
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.append(statement.name)
        yield from (("patched library", name) for name in names if name in _KIT)


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and _is_changed(node)


def _is_changed(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)
